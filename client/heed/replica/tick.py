"""What is the same for all that is asked of a cache within one millisecond.

Laws:
- A tick is of one reading, one state as the owner told it, and one millisecond of its age. A check
  reads the clock after it looked up, and takes another tick where that is past this one's end.
- The age that is told, and judged by, is the greatest within the tick: rounded up to the
  millisecond, never too small.
- Answers are values, so that all who have no records and ask the same may be given the same one.
"""

from datetime import timedelta
from typing import Final

from heed.answers import AnswerSource, CacheState, CheckAnswer, Positioned
from heed.decide import Facts
from heed.model import RULE_VERSION, Decision
from heed.replica.freshness import Bounds, state_of
from heed.replica.reading import Asked, Reading
from heed.replica.shared_state import SharedState
from heed.replica.told import reasons_of, time_of

TICK_NS: Final = 1_000_000
"""How long a tick is at most, in nanoseconds."""


class Tick:
    """One of them. Threads share it; only `of_nobody` changes."""

    __slots__ = (
        "age",
        "age_told",
        "now",
        "now_told",
        "of_nobody",
        "reading",
        "shared",
        "state",
        "until_ns",
    )

    def __init__(self, reading: Reading, shared: SharedState, now_ns: int, bounds: Bounds) -> None:
        """`now_ns` is of the boot clock."""
        self.reading = reading
        self.shared = shared
        self.age: int | None = None
        """In nanoseconds; None: it is not known."""
        self.age_told: timedelta | None = None
        self.until_ns = now_ns + TICK_NS
        """The last time, of the boot clock, at which this is so."""
        age = shared.age_at(now_ns)
        if age is not None:
            milliseconds = max(-(-age // TICK_NS), 0)
            self.age = milliseconds * TICK_NS
            self.age_told = timedelta(0, 0, 0, milliseconds)
            self.until_ns = shared.known_ns + self.age
        self.state: CacheState = state_of(self.age, bounds)
        self.now = shared.now_at(now_ns)
        self.now_told = time_of(self.now)
        # Of those who have no records, by what was asked. Threads that race for it make the same.
        self.of_nobody: dict[Asked, CheckAnswer] = {}

    @property
    def position(self) -> Positioned:
        """Where it stands."""
        place = self.reading.view.place
        return Positioned(
            revision=place.revision,
            now=self.now_told,
            rule_version=RULE_VERSION,
            token=place.token,
        )

    def may_tell(self, decision: Decision) -> bool:
        """Whether the promise lets a cache of this age say so by itself."""
        return self.reading.may_tell(decision, self.age)

    def answered(self, facts: Facts, decision: Decision) -> CheckAnswer:
        """Return a decision as an answer of the cache."""
        reading = self.reading
        records = facts.records
        answer = _NEW(CheckAnswer)
        _SET_VERDICT(answer, decision.verdict)
        _SET_REASONS(answer, reasons_of(decision.reasons, self.now))
        _SET_UNDECLARED(answer, decision.undeclared_topic)
        _SET_CLASS(answer, decision.topic_class)
        if len(records) == 1:
            _SET_SUBJECTS(answer, _THE_FIRST if records[0] else ())
        else:
            _SET_SUBJECTS(answer, tuple(at for at, one in enumerate(records) if one))
        _SET_SOURCE(answer, _CACHE)
        _SET_AGE(answer, self.age_told)
        _SET_STATE(answer, self.state)
        _SET_REVISION(answer, reading.revision)
        _SET_NOW(answer, self.now_told)
        _SET_RULE_VERSION(answer, RULE_VERSION)
        _SET_TOKEN(answer, reading.token)
        return answer


# A frozen answer made by its constructor costs as much as the look-up (`heed.records`).
_NEW: Final = CheckAnswer.__new__
_SET_VERDICT: Final = CheckAnswer.__dict__["verdict"].__set__
_SET_REASONS: Final = CheckAnswer.__dict__["reasons"].__set__
_SET_UNDECLARED: Final = CheckAnswer.__dict__["undeclared_topic"].__set__
_SET_CLASS: Final = CheckAnswer.__dict__["topic_class"].__set__
_SET_SUBJECTS: Final = CheckAnswer.__dict__["subjects_with_records"].__set__
_SET_SOURCE: Final = CheckAnswer.__dict__["source"].__set__
_SET_AGE: Final = CheckAnswer.__dict__["age"].__set__
_SET_STATE: Final = CheckAnswer.__dict__["state"].__set__
_SET_REVISION: Final = Positioned.__dict__["revision"].__set__
_SET_NOW: Final = Positioned.__dict__["now"].__set__
_SET_RULE_VERSION: Final = Positioned.__dict__["rule_version"].__set__
_SET_TOKEN: Final = Positioned.__dict__["token"].__set__
# Python 3.11 looks a member up on its enum some ten times slower than a name.
_CACHE: Final = AnswerSource.CACHE
_THE_FIRST: Final = (0,)
