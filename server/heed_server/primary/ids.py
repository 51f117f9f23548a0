"""The names that a node makes up."""

import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS = 26
_RANDOM_BITS = 80


def new_hold_id() -> str:
    """Return `hold-` and a ULID: names sort by the time they were made, and never meet."""
    return f"hold-{_ulid()}"


def new_approval_id() -> str:
    """Return `approval-` and a ULID."""
    return f"approval-{_ulid()}"


def _ulid() -> str:
    number = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    digits: list[str] = []
    for _ in range(_DIGITS):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
