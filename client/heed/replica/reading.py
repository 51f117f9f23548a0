"""What a process reads of one revision of a cache, and what it has worked out of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from heed import answers
from heed.decide import Facts, decide
from heed.errors import InvalidArgumentError
from heed.index.shared import SharedIndex, View
from heed.keys import Keyer
from heed.model import (
    NORMALISER_VERSION,
    RULE_VERSION,
    Channel,
    Decision,
    Instant,
    Query,
    Record,
    Subject,
    SubjectKey,
    SubjectType,
    TopicClass,
    Verdict,
)
from heed.names import named
from heed.records import decode_records
from heed.replica.freshness import Bounds
from heed.replica.told import reasons_of
from heed.requests import Query as AskedQuery
from heed.topics import covers_topic
from heed.wire import limits, values
from heed.wire.violations import Violations

PREPARED_MAX: Final = 8_192
"""So many different (channel, topic, campaign) are remembered; one more and all are forgotten."""

FOREVER: Final = 2**63
"""An age that none exceeds."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The answer to a query about somebody who has no records, while no hold stands."""

    verdict: Verdict
    reasons: tuple[answers.Reason, ...]
    undeclared_topic: bool
    topic_class: TopicClass
    age_max: int
    """Up to which age, in nanoseconds, it may be given."""


class Reading:
    """One revision of one index."""

    __slots__ = (
        "bounds",
        "covered",
        "generation",
        "index",
        "is_capable",
        "key_of",
        "keyers",
        "prepared",
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
        self.is_capable = (
            place.rule_version <= RULE_VERSION and place.normaliser_version <= NORMALISER_VERSION
        )
        """Whether this version knows enough to allow anything."""
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
        same_stops = (
            before is not None
            and before.view.topics is view.topics
            and before.view.holds is view.holds
            and before.is_capable == self.is_capable
        )
        # Only ever what `prepare` made, so that threads may race for it.
        self.prepared: dict[Asked, Prepared] = (
            before.prepared if same_stops and before is not None else {}
        )

    def prepare(self, asked: Asked, query: Query) -> None:
        """Remember the answer about those who have no records, if it depends on nothing else."""
        if self.view.holds or not self.covered.covers(query):
            return
        decision = decide(Facts(((),), (), self.view.topics), query, Instant(0))
        if len(self.prepared) >= PREPARED_MAX:
            self.prepared.clear()
        self.prepared[asked] = Prepared(
            verdict=decision.verdict,
            reasons=reasons_of(decision.reasons, Instant(0)),
            undeclared_topic=decision.undeclared_topic,
            topic_class=decision.topic_class,
            age_max=self.age_max(decision),
        )

    def age_max(self, decision: Decision) -> int:
        """Up to which age, in nanoseconds, a decision may be served; -1: at none."""
        if decision.verdict is not Verdict.ALLOWED:
            return FOREVER
        return self.bounds.by_class.get(decision.topic_class, -1) if self.is_capable else -1

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
        found = [() if one is None else decode_records(one) for one in encoded]
        keys = len(self.keyers)
        records: tuple[tuple[Record, ...], ...] = tuple(found)
        if keys != 1:
            records = tuple(
                tuple(record for one in found[at : at + keys] for record in one)
                for at in range(0, len(found), keys)
            )
        return Facts(records, self.view.holds, self.view.topics)


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
