"""What is asked of a cache at one moment: what it answers, and what keeps it from answering."""

from dataclasses import dataclass
from datetime import timedelta

from heed.answers import AnswerSource, CacheState, CheckAnswer, Positioned
from heed.decide import Facts
from heed.errors import InvalidArgumentError
from heed.index.place import Place
from heed.model import Decision, Instant, TopicClass
from heed.replica.reading import FOREVER, Reading
from heed.replica.told import reasons_of
from heed.tokens import HASH_BYTES, decode_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """What the cache may not answer by itself."""

    state: CacheState
    age: timedelta | None
    wait_revision: int = 0
    """The revision of the token, where the cache does not have it yet; 0: none is waited for."""
    has_policy: bool = True
    """Whether the policy may answer; not what is malformed, of another tenant, or of a token that
    the cache does not have."""
    position: Positioned | None = None
    """Where the cache stands, if it is whole."""
    topic_class: TopicClass = TopicClass.PROMOTIONAL
    last_known: CheckAnswer | None = None
    """What the cache would have allowed, were it younger, to a mandatory message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One reading at one time."""

    reading: Reading
    state: CacheState
    age: int | None
    now: Instant
    position: Positioned
    is_ours: bool
    """Whether the tenant asked about is the cache's."""
    has_token: bool
    """Whether the token's revision is in what was read."""
    wait_revision: int


def answered(moment: Moment, facts: Facts, decision: Decision) -> CheckAnswer:
    """Return a decision as an answer of the cache."""
    position = moment.position
    return CheckAnswer(
        verdict=decision.verdict,
        reasons=reasons_of(decision.reasons, moment.now),
        undeclared_topic=decision.undeclared_topic,
        topic_class=decision.topic_class,
        subjects_with_records=tuple(at for at, one in enumerate(facts.records) if one),
        source=AnswerSource.CACHE,
        age=duration(moment.age),
        state=moment.state,
        revision=position.revision,
        now=position.now,
        rule_version=position.rule_version,
        token=position.token,
    )


def judged(token: str, place: Place) -> tuple[int, bool]:
    """Return the revision to wait for, 0 for none, and whether the token's is there already."""
    try:
        asked = decode_token(token)
    except InvalidArgumentError:
        return 0, False
    if (asked.epoch, asked.tenant_id) != (place.epoch, place.tenant_id):
        return 0, False
    if asked.revision > place.revision:
        return asked.revision, False
    is_here = asked.revision < place.revision or (
        asked.running_hash == place.running_hash[:HASH_BYTES]
    )
    return 0, is_here


def is_young(age: int | None, age_max: int) -> bool:
    """Whether an age, in nanoseconds, is known and at most so much; any is, up to FOREVER."""
    return age_max == FOREVER or (age is not None and age <= age_max)


def duration(age: int | None) -> timedelta | None:
    """Return an age as the library tells it."""
    return None if age is None else timedelta(microseconds=age // 1_000)
