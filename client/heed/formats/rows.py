"""What a record of a vendor's file becomes, and what the reader is told.

Laws:
- A row only ever adds protection: an opt-out or a suppression. What the vendor allows, has
  subscribed or enabled becomes `Nothing`.
- What cannot be read is `Rejected` and given back as it stood; it is never guessed and never lost.
- Whatever stands here depends on the file and the options alone, so that reading the same file
  again gives the same rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from heed.errors import InvalidArgumentError
from heed.model import TOPIC_ROOT, Cause, Channel, Instant, Reach, SubjectType


class UnusableInputError(InvalidArgumentError):
    """The input as a whole cannot be imported: damaged, of no known format, or of several."""


class RowRejectedError(Exception):
    """One record that cannot become a row: which field is wrong, and what to do."""

    def __init__(self, field_name: str, description: str) -> None:
        super().__init__(description)
        self.field_name = field_name
        self.description = description


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """One protection to add: an opt-out (cause NONE) or a suppression."""

    subject_type: SubjectType
    address: str = field(repr=False)
    cause: Cause
    reach: Reach | None
    """Of an opt-out, or of a legal suppression. None: the contract's default."""
    channel: Channel | None
    """None: the channels of the subject's type."""
    topic: str
    decided_time: Instant | None
    """None: the time of the import."""
    end_time: Instant | None = None
    reason: str = ""

    @property
    def word(self) -> str:
        """What it is, in one word: `opt_out`, or the suppression's cause."""
        return "opt_out" if self.cause is Cause.NONE else self.cause.name.lower()


@dataclass(frozen=True, slots=True)
class Nothing:
    """A record that protects from nothing, and what it is there: `subscribed`."""

    word: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot become a row."""

    field_name: str
    description: str


Became = ImportedRow | tuple[ImportedRow, ...] | Nothing
"""What one record becomes; a tuple of several rows is never empty."""

Record = Mapping[str, object]
"""One record of a file: its cells by column, or an object's members."""

Convert = Callable[[Record], Became]
"""Makes rows of one record. Raises RowRejectedError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the operator says about a file. All of it changes what rows become."""

    day_end: Instant
    """The end of the UTC day of the import: what the end of a temporary failure without a date
    counts from. A whole day, so that an import resumed on the same day reads the same rows."""
    format_name: str = ""
    """The format. Empty: told by the content."""
    topic: str = TOPIC_ROOT
    """Of opt-outs that are of no mapped label. Suppressions are of an address, whatever the
    topic, and always stand at the root."""
    channel: Channel | None = None
    """Of opt-outs. None: the channels of the subject's type."""
    topics: Mapping[str, str] = field(default_factory=dict)
    """The topic of each label that the file uses: a tag, a group's id or name, a topic."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of the generic format: the file's own name of a column, by ours."""
    cause: str = ""
    """Of the generic format: what rows without a cause of their own become."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of an input, and what it becomes."""

    number: int
    """Its place in the whole input, from 1, over all members of an archive."""
    member: str
    """The file in an archive; empty outside one."""
    place: int
    """Its first line in a table or in JSON lines; its ordinal in other JSON."""
    raw: object = field(repr=False)
    """As it stood: the cells of a table, a value of JSON, or the text of what is neither."""
    became: Became | Rejected
