"""The text of an API key: made, read, and told from anything else.

    heed_<key id>_<secret>_<checksum>      heed_k3v9x0q2m7ta_<43 characters>_<6 characters>

Laws:
- The secret is 256 random bits; the store keeps only its SHA-256 (a slow hash protects weak
  secrets, and this one is not).
- Every part is of digits and letters alone, so that a double click selects the whole key.
- The prefix and the checksum (CRC-32 of all that stands before it) let scanners of source code and
  logs find leaked keys without asking us, and let us refuse a mistyped one without a look-up.
"""

import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

PREFIX = "heed"
SECRET_BYTES = 32
KEY_ID_CHARACTERS = 12
_SECRET_CHARACTERS = 43
_CHECKSUM_CHARACTERS = 6
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_PATTERN = re.compile(
    rf"{PREFIX}_([0-9a-z]{{{KEY_ID_CHARACTERS}}})_([0-9A-Za-z]{{{_SECRET_CHARACTERS}}})"
    rf"_([0-9A-Za-z]{{{_CHECKSUM_CHARACTERS}}})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedKey:
    """A well-formed key, taken apart; whether it is one of ours only the store knows."""

    key_id: str
    secret_hash: bytes = field(repr=False)


def make_key(random_bytes: Callable[[int], bytes]) -> tuple[str, ParsedKey]:
    """Return a new key's text, to be shown once, and what the store keeps of it."""
    id_number = int.from_bytes(random_bytes(16))
    key_id = _in_digits(id_number, _ID_ALPHABET, KEY_ID_CHARACTERS)
    secret_number = int.from_bytes(random_bytes(SECRET_BYTES))
    secret = _in_digits(secret_number, _ALPHABET, _SECRET_CHARACTERS)
    signed = f"{PREFIX}_{key_id}_{secret}"
    return f"{signed}_{_checksum(signed)}", ParsedKey(key_id=key_id, secret_hash=_hash(secret))


def parse_key(text: str) -> ParsedKey | None:
    """Return the parts of a well-formed key, or None for anything else."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        return None
    key_id, secret, checksum = match.groups()
    if _checksum(f"{PREFIX}_{key_id}_{secret}") != checksum:
        return None
    return ParsedKey(key_id=key_id, secret_hash=_hash(secret))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()


def _checksum(signed: str) -> str:
    return _in_digits(zlib.crc32(signed.encode("ascii")), _ALPHABET, _CHECKSUM_CHARACTERS)


def _in_digits(number: int, alphabet: str, width: int) -> str:
    """The number's last `width` digits in the base of the alphabet's length."""
    digits: list[str] = []
    for _ in range(width):
        number, digit = divmod(number, len(alphabet))
        digits.append(alphabet[digit])
    return "".join(reversed(digits))
