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

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


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
        return self._word_of[number]


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
EFFECTS: Final = Words(Effect)


def read_time(written: str, pointer: str, violations: Violations) -> Timestamp:
    """Return a time; of what is none a stand-in, and a violation."""
    read = Timestamp()
    try:
        read.FromJsonString(written if _TIME.fullmatch(written) else "")
    except ValueError:
        violations.add(pointer, "is no time of RFC 3339 with its zone: `2026-11-27T13:05:00Z`")
    return read


def time(said: Timestamp) -> str:
    """Return a time as an answer has it."""
    return said.ToJsonString()
