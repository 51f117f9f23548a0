"""What JSON says of enums and times: the words that people write, and RFC 3339.

Laws:
- A word is exactly one of its list: nothing is forgiven, and nothing guessed.
- A time names its zone. It loses what is finer than a microsecond.
"""

import difflib
import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from heed.hours import DAY_MINUTES, DayOfWeek
from heed.model import (
    ACTS_OF_THE_PERSON,
    Cause,
    Channel,
    Effect,
    Method,
    Reach,
    RecordKind,
    Rule,
    TopicClass,
    Verdict,
)
from heed.names import word_of
from heed.wire.violations import Violations

_CLOCK: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


UNKNOWN: Final = "unknown"
"""The word of a number that a later version wrote: to be taken on the protective side."""


class ResetReason(enum.IntEnum):
    """Why a stream of changes begins anew; the contract's ResyncReason."""

    NEW = 1
    EPOCH_CHANGED = 2
    HISTORY_CHANGED = 3
    BEHIND = 4


class Words:
    """The words of one enum, as far as a field takes them."""

    def __init__(self, members: Iterable[enum.IntEnum]) -> None:
        self._number_of: Mapping[str, int] = {word_of(one): int(one) for one in members}
        self._word_of = {number: word for word, number in self._number_of.items()}

    @property
    def all(self) -> Sequence[str]:
        """Every word, in the enum's order."""
        return tuple(self._number_of)

    def number(self, word: str, pointer: str, violations: Violations) -> int:
        """Return the number of a word; of one that is not on the list 0, and a violation."""
        number = self._number_of.get(word)
        if number is not None:
            return number
        nearest = difflib.get_close_matches(word[:40].lower(), self._number_of, n=1)
        hint = f"did you mean {nearest[0]!r}? " if nearest else ""
        said = f"is not one of the words it takes; {hint}it is one of {', '.join(self.all)}"
        violations.add(pointer, said)
        return 0

    def word(self, number: int) -> str:
        """Return the word of a number that an answer of ours has."""
        return self._word_of.get(number, UNKNOWN)


CHANNELS: Final = Words(Channel)
MESSAGE_CHANNELS: Final = Words(one for one in Channel if one is not Channel.ANY)
REACHES: Final = Words(Reach)
PAUSE_REACHES: Final = Words((Reach.PROMOTIONAL, Reach.TRANSACTIONAL))
METHODS: Final = Words(one for one in Method if one not in {Method.UNSPECIFIED, Method.OFFERED})
METHODS_TOLD: Final = Words(one for one in Method if one)
PERSONAL_METHODS: Final = Words(sorted(ACTS_OF_THE_PERSON))
CAUSES: Final = Words(one for one in Cause if one)
CLASSES: Final = Words(TopicClass)
KINDS: Final = Words(RecordKind)
RULES: Final = Words(Rule)
VERDICTS: Final = Words(Verdict)
DAYS: Final = Words(DayOfWeek)
EFFECTS: Final = Words(Effect)
RESETS: Final = Words(ResetReason)


def read_time(written: str, pointer: str, violations: Violations) -> Timestamp:
    """Return a time; of what is none a stand-in, and a violation."""
    read = Timestamp()
    try:
        read.FromJsonString(written if _TIME.fullmatch(written) else "")
    except ValueError:
        violations.add(pointer, "is no time of RFC 3339 with its zone: `2026-03-01T12:00:00Z`")
    return read


def time(said: Timestamp) -> str:
    """Return a time as an answer has it."""
    return said.ToJsonString()


def read_clock(written: str, pointer: str, violations: Violations) -> int:
    """Return the minute of a day that a clock shows; of what is none 0, and a violation."""
    found = _CLOCK.fullmatch(written)
    if found is None:
        violations.add(pointer, "is no time of a day: write 00:00 to 23:59, as 22:00")
        return 0
    hours, minutes = found.groups()
    return int(hours) * 60 + int(minutes)


def clock(minute: int) -> str:
    """Return what a clock shows at a minute of a day."""
    hours, minutes = divmod(minute % DAY_MINUTES, 60)
    return f"{hours:02}:{minutes:02}"
