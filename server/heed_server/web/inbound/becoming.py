"""What an event becomes: the few stops that every provider's words come to.

Laws:
- A cause means here what it means in the providers' files (docs/imports.md).
- A time that cannot be read, or that lies ahead, is taken for now: a stop is not lost for its date.

Pure.
"""

import enum
from dataclasses import dataclass
from typing import Final

from heed.formats import ImportedRow, cells
from heed.formats.protections import email_opt_out, email_suppression
from heed.formats.rows import RowRejectedError
from heed.model import Cause, Instant, Reach
from heed.wire.limits import REFERENCE_CHARACTERS_MAX
from heed_server.web.inbound.notification import Record
from heed_server.web.inbound.sources import Reading

_NUMBER_MAX: Final = 10**19
"""No number of a provider's is this large."""


class Meaning(enum.Enum):
    """What a provider's word says of a person."""

    NOTHING = enum.auto()
    """It stops nothing, and lifts nothing."""
    BOUNCE = enum.auto()
    INVALID = enum.auto()
    COMPLAINT = enum.auto()
    MANUAL = enum.auto()
    """Somebody at the provider stopped it, not the person."""
    TEMPORARY = enum.auto()
    """The provider gave up, for what may pass."""
    DEFERRAL = enum.auto()
    """The provider tries again."""
    OPT_OUT = enum.auto()
    """The person said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is said of one person."""

    meaning: Meaning
    address: str
    seen: Instant | None
    """None: now."""
    why: str = ""
    """As the provider has it; addresses are taken out."""
    label: str = ""
    """Of an opt-out: what the provider calls the kind of mail that it is of."""
    own_reach: Reach = Reach.PROMOTIONAL
    """Of an opt-out without a mapped label: how wide the provider's own stop is."""


def row_of(said: Said, reading: Reading) -> ImportedRow | None:
    """Return what is to be recorded; None: nothing."""
    source = reading.source
    match said.meaning:
        case Meaning.NOTHING:
            return None
        case Meaning.OPT_OUT:
            return _opt_out(said, reading)
        case Meaning.TEMPORARY:
            return _temporary(said, reading, source.temporary_failure_hours)
        case Meaning.DEFERRAL:
            return _temporary(said, reading, source.deferral_hours)
        case _:
            return _suppression(said, _CAUSES[said.meaning])


def email(record: Record, key: str, *, path: str = "") -> str:
    """Return the address of a member, also one that is none: the normaliser will say so.

    Raises:
        RowRejectedError: it is missing, or no text.
    """
    written = word(record, key)
    if not written:
        raise RowRejectedError(path + key, "names nobody")
    try:
        return cells.email(record, key)
    except RowRejectedError:
        return written


def word(record: Record, key: str) -> str:
    """Return a member that is a text, else an empty one."""
    value = record.get(key)
    return value.strip() if isinstance(value, str) else ""


def label(record: Record, key: str) -> str:
    """Return a member that names something by a text or a whole number, else an empty text."""
    value = record.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _NUMBER_MAX:
        return str(value)
    return word(record, key)


def printable(name: str) -> str:
    """Return a provider's own name of something if it may stand in an origin, else an empty text.

    What looks like an address may not.
    """
    if len(name) > REFERENCE_CHARACTERS_MAX or "@" in name:
        return ""
    return name if name.isascii() and name.isprintable() else ""


def seen(record: Record, key: str) -> Instant | None:
    """Return when something happened; None: that is not said."""
    try:
        return cells.time(record, key)
    except RowRejectedError:
        return None


def _opt_out(said: Said, reading: Reading) -> ImportedRow:
    options = reading.options()
    mapped = options.topics.get(said.label) if said.label else None
    own = Reach.PROMOTIONAL if mapped is not None else said.own_reach
    return email_opt_out(said.address, said.seen, options, topic=mapped, reach=reading.reach(own))


def _temporary(said: Said, reading: Reading, hours: int) -> ImportedRow | None:
    if not hours:
        return None
    end_time = reading.end_of(hours, said.seen)
    return _suppression(said, Cause.TEMPORARY_FAILURE, end_time=end_time)


def _suppression(said: Said, cause: Cause, *, end_time: Instant | None = None) -> ImportedRow:
    return email_suppression(
        said.address,
        cause,
        said.seen,
        reason=cells.reason(said.why, said.address),
        end_time=end_time,
    )


_CAUSES: Final = {
    Meaning.BOUNCE: Cause.BOUNCE,
    Meaning.INVALID: Cause.INVALID,
    Meaning.COMPLAINT: Cause.COMPLAINT,
    Meaning.MANUAL: Cause.MANUAL,
}
