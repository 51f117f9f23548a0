"""The names that a node makes up."""

import secrets
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS = 26
_RANDOM_BITS = 80


def new_hold_id() -> str:
    """Return `hold-` and a ULID: names sort by the time they were made, and never meet."""
    number = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    digits: list[str] = []
    for _ in range(_DIGITS):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "hold-" + "".join(reversed(digits))
