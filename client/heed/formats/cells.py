"""Reading single cells: who a row is about, what the vendor says, and why.

Laws:
- An address is taken as it stands, save for white space around it, a display name before it and
  the apostrophe that exporters put before what a spreadsheet would run. The server's normaliser
  does the rest, for every path alike.
- No reason keeps an address, or the name that is its local part (design, section 4).
"""

import re
from typing import Final

from heed.formats.rows import Record, RowRejectedError
from heed.formats.times import instant
from heed.model import REASON_CHARACTERS_MAX, SUBJECT_CHARACTERS_MAX, Instant

_REDACTED: Final = "[address]"
_REASON_READ_CHARACTERS: Final = 4 * REASON_CHARACTERS_MAX
_LOCAL_PART_CHARACTERS_MIN: Final = 3
"""A shorter local part is left in a reason: it would take letters out of words."""

_FORMULA_GUARD = re.compile(r"'[=+\-@\t\r]")
_DISPLAY_NAME = re.compile(r'(?:"[^"<>@]*"\s*|[^"<>@,;]*)<([^<>\s]+@[^<>\s]+)>')
_ADDRESS_IN_TEXT = re.compile(r"[^\s<>()\[\]{}\"',;:]*(?:@|%40|=40)[^\s<>()\[\]{}\"',;]*")
_LOOKS_LIKE_EMAIL = re.compile(r"<?[^\s@<>,;]+@[^\s@<>,;]+>?")
_LOOKS_LIKE_PHONE = re.compile(r"\+\d[\d ()./-]{5,24}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def text(record: Record, key: str) -> str:
    """Return a cell as stripped text; empty if it is missing or null.

    Raises:
        RowRejectedError: it is a list, an object or a truth value.
    """
    value = record.get(key)
    if isinstance(value, str):
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise RowRejectedError(key, f"is a {type(value).__name__}, not text")


def email(record: Record, key: str) -> str:
    """Return the email address of a cell.

    Raises:
        RowRejectedError: there is none, or no single one.
    """
    address = _unguarded(text(record, key), key)
    if "<" in address:
        named = _DISPLAY_NAME.fullmatch(address)
        if named is None:
            raise RowRejectedError(key, "is not one address; write one as name@domain")
        address = named[1]
    if "@" not in address:
        raise RowRejectedError(key, "is no email address; write it as name@domain")
    return address


def phone(record: Record, key: str) -> str:
    """Return the phone number of a cell, with its plus.

    Raises:
        RowRejectedError: there is none.
    """
    return _unguarded(text(record, key), key)


def time(record: Record, key: str) -> Instant | None:
    """Return the time of a cell; None: it has none.

    Raises:
        RowRejectedError: it has something else.
    """
    try:
        return instant(record.get(key))
    except ValueError as error:
        raise RowRejectedError(key, str(error)) from None


def reason(written: str, address: str) -> str:
    """Return why a vendor suppresses, without addresses, on one line, cut to what is kept."""
    if not written:
        return ""
    if len(written) > _REASON_READ_CHARACTERS:
        # The last word may be half an address.
        written = written[:_REASON_READ_CHARACTERS].rpartition(" ")[0]
    if not written.isprintable():
        written = _UNPRINTABLE.sub(" ", written)
    if "@" in written or "40" in written:
        written = _ADDRESS_IN_TEXT.sub(_REDACTED, written)
    kept = " ".join(written.split())
    local = address.rpartition("@")[0] or address
    if len(local) >= _LOCAL_PART_CHARACTERS_MIN and local.lower() in kept.lower():
        kept = re.sub(re.escape(local), _REDACTED, kept, flags=re.IGNORECASE)
    if len(kept) > REASON_CHARACTERS_MAX:
        kept = kept[: REASON_CHARACTERS_MAX - 1] + "…"
    return kept


def looks_like_address(cell: str) -> bool:
    """Whether a cell can only be an address, so that its row is no header."""
    cell = cell.strip().removeprefix("'")
    if cell.endswith(">"):
        cell = cell[cell.rfind("<") :]
    return (
        _LOOKS_LIKE_EMAIL.fullmatch(cell) is not None
        or _LOOKS_LIKE_PHONE.fullmatch(cell) is not None
    )


def _unguarded(address: str, key: str) -> str:
    if address[:1] == "'" and _FORMULA_GUARD.match(address):
        address = address[1:].lstrip()
    if not address:
        raise RowRejectedError(key, "is empty")
    if len(address) > SUBJECT_CHARACTERS_MAX:
        raise RowRejectedError(
            key,
            f"has {len(address)} characters, an address has at most {SUBJECT_CHARACTERS_MAX}",
        )
    if not address.isascii() and _UNPRINTABLE.search(address) is not None:
        raise RowRejectedError(key, "has bytes that are not UTF-8; save the file as UTF-8")
    return address
