"""What a process reads of one revision of a cache, and what it has worked out of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from heed.decide import Facts
from heed.errors import InvalidArgumentError
from heed.index.shared import SharedIndex, View
from heed.keys import Keyer
from heed.model import (
    Channel,
    Decision,
    Query,
    Subject,
    SubjectKey,
    SubjectType,
    Verdict,
)
from heed.names import named
from heed.records import decode_each, of_people
from heed.replica.freshness import Bounds, may_allow
from heed.requests import Query as AskedQuery
from heed.topics import covers_topic
from heed.wire import limits, values
from heed.wire.violations import Violations

PREPARED_MAX: Final = 8_192
"""So many different (channel, topic, campaign) are remembered; one more and all are forgotten."""

Asked = tuple[Channel | str, str, str]
"""Channel, topic and campaign, as the caller wrote them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a cache holds: the records of these channels and topics; empty: of all."""

    channels: tuple[Channel, ...]
    topics: tuple[str, ...]

    def covers(self, query: Query) -> bool:
        """Whether all that decides this query is held."""
        return (not self.channels or query.channel in self.channels) and (
            not self.topics or any(covers_topic(topic, query.topic) for topic in self.topics)
        )


class Reading:
    """One revision of one index."""

    __slots__ = (
        "bounds",
        "covered",
        "find",
        "generation",
        "index",
        "is_capable",
        "key_of",
        "keyers",
        "prepared",
        "revision",
        "token",
        "view",
    )

    def __init__(
        self,
        generation: int,
        index: SharedIndex,
        view: View,
        *,
        bounds: Bounds,
        covered: Filter,
        before: "Reading | None",
    ) -> None:
        """Take over from an earlier reading what is the same."""
        self.generation = generation
        self.index = index
        self.view = view
        self.bounds = bounds
        self.covered = covered
        place = view.place
        # What every check needs, a step nearer.
        self.find = index.find
        self.revision = place.revision
        self.token = place.token
        self.is_capable = place.is_understood
        same_source = before is not None and before.view.source is view.source
        self.keyers: tuple[Keyer, ...] = (
            before.keyers
            if same_source and before is not None
            else tuple(Keyer(key) for _, key in view.source.lookup_keys)
        )
        self.key_of: Callable[[SubjectType, str], SubjectKey] | None = (
            self.keyers[0].key_of if len(self.keyers) == 1 else None
        )
        """Of the one key there is; None: there are several."""
        # Only ever what `prepare` took, so that threads may race for it.
        self.prepared: dict[Asked, Query] = {} if before is None else before.prepared
        """Queries that the filter covers, read."""

    def prepare(self, asked: Asked, query: Query) -> None:
        """Remember how a query reads, which the filter covers."""
        if len(self.prepared) >= PREPARED_MAX:
            self.prepared.clear()
        self.prepared[asked] = query

    def may_tell(self, decision: Decision, age: int | None) -> bool:
        """Whether a decision may be told at an age, in nanoseconds; None: it is not known."""
        return decision.verdict is not _ALLOWED or (
            self.is_capable and may_allow(age, decision.topic_class, self.bounds)
        )

    def keys(self, subjects: Sequence[Subject]) -> list[SubjectKey]:
        """Return the keys to look up: for each subject, one under each lookup key.

        Raises:
            InvalidArgumentError: a subject is malformed.
        """
        return [
            keyer.key_of(subject.type, subject.value)
            for subject in subjects
            for keyer in self.keyers
        ]

    def facts(self, encoded: Sequence[bytes | None]) -> Facts:
        """Return what decides, of what stands under the keys of some subjects.

        Raises:
            DamagedRecordError: it is not what was written.
        """
        found = decode_each(encoded)
        if len(self.keyers) != 1:
            found = of_people(found, len(self.keyers))
        return Facts(tuple(found), self.view.holds, self.view.topics)


def query_of(asked: AskedQuery) -> Query | None:
    """Return what a caller asks, apart from whom about; None: a server would refuse it."""
    violations = Violations()
    try:
        channel = named(Channel, asked.channel, "channel")
    except InvalidArgumentError:
        return None
    query = Query(
        channel=values.QUERY_CHANNELS.read(
            channel, "channel", violations, values.QUERY_CHANNEL_STAND_IN
        ),
        topic=values.topic_name(asked.topic, "topic", violations),
        campaign=values.text(
            asked.campaign, "campaign", violations, limits.CAMPAIGN_CHARACTERS_MAX
        ),
    )
    return None if violations.count else query


def are_askable(subjects: Sequence[Subject]) -> bool:
    """Whether a server would take so many subjects."""
    return 1 <= len(subjects) <= limits.SUBJECTS_MAX


_ALLOWED: Final = Verdict.ALLOWED
"""Python 3.11 looks a member up on its enum some ten times slower than a name."""
