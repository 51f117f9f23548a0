"""A cache: what a client asks before it asks a server, and what it says when none answers.

Laws:
- A check here waits for nothing and does no I/O but reading mapped memory.
- The state is read before the index, and the clock after it: so an age is never too small.
- An answer is of one revision, its holds and topics too (`heed.index.shared.View`).
- "Suppressed" is served at any age, "allowed" only while the class lets it (`freshness`); whatever
  else is asked goes to a server, and where none answers the policy speaks: suppress, save for a
  topic last known as mandatory, which gets the last known answer of a cache that knew enough.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from heed.answers import (
    AnswerSource,
    CacheState,
    CacheStats,
    CheckAnswer,
)
from heed.decide import Facts, decide
from heed.errors import HeedError, InvalidArgumentError
from heed.index.faults import IndexUnusableError
from heed.index.shared import SharedIndex, View
from heed.model import (
    RULE_VERSION,
    Channel,
    Decision,
    Query,
    Subject,
    SubjectType,
    TopicClass,
    Verdict,
)
from heed.records import DamagedRecordError
from heed.replica.follower import Follower
from heed.replica.freshness import Bounds, state_of
from heed.replica.moment import Moment, Unanswered, judged
from heed.replica.proving import ProofCounts
from heed.replica.reading import Filter, Reading, are_askable, query_of
from heed.replica.replica import Replica
from heed.replica.sampler import Sample, Sampler
from heed.replica.shared_state import SharedState
from heed.replica.tick import Tick
from heed.requests import Identifiers
from heed.requests import Query as AskedQuery
from heed.wire import ask

READS_MAX: Final = 3
"""So often a look-up is begun again when the index changes under it."""
ALARM_NS: Final = 60_000_000_000
"""How often, at most, the log says that the policy let mandatory messages through."""

_LOG: Final = logging.getLogger("heed.cache")


class Cache:
    """One cache of this process, which several clients may share. Any thread may ask."""

    def __init__(
        self,
        replica: Replica,
        follower: Follower,
        *,
        bounds: Bounds,
        covered: Filter,
        sampler: Sampler,
    ) -> None:
        """Ask nothing and follow nothing yet; `start` does."""
        self._replica = replica
        self._follower = follower
        self._bounds = bounds
        self._covered = covered
        self._sampler = sampler
        self._clock = replica.clock
        self._state = replica.state
        # Replaced as a whole; threads that race for it read at worst the same twice.
        self._reading: Reading | None = None
        self._tick: Tick | None = None
        self._local = 0
        self._upstream = 0
        self._policy = 0
        self._mandatory = 0
        self._alarm_ns = 0

    def start(self) -> None:
        """Begin to follow."""
        self._follower.start()

    def close(self) -> None:
        """End; what is asked afterwards is not answered here."""
        self._follower.close()
        self._reading = self._tick = None
        self._replica.close()

    @property
    def state(self) -> CacheState:
        """What it may answer now."""
        return self._now(self._state())[0]

    def stats(self) -> CacheStats:
        """Return how it stands, and what it did since it was opened by this process."""
        shared = self._state()
        state, age = self._now(shared)
        counts = self._follower.counts
        sampled = self._sampler.counts
        proving = self._follower.proving
        proved = ProofCounts() if proving is None else proving.counts
        return CacheStats(
            state=state,
            age=age,
            revision=shared.revision,
            is_owner=self._follower.is_owner,
            answered=self._local,
            asked_upstream=self._upstream,
            answered_by_policy=self._policy,
            mandatory_by_policy=self._mandatory,
            sampled=sampled.compared,
            disagreements=sampled.disagreements,
            inconclusive=sampled.inconclusive,
            streams=counts.streams,
            resyncs={reason.value: count for reason, count in counts.resyncs.by_reason.items()},
            last_error=counts.last_error,
            proved_revision=proved.proved_revision,
            told_by_hash=proved.told_by_hash,
            disproved=proved.disproved,
            offers_left=self._follower.offers_left,
            offered=counts.offers.taken,
        )

    def has(self, revision: int) -> bool:
        """Whether a revision was applied."""
        return self._state().revision >= revision

    def recall(
        self,
        channel: Channel | str,
        topic: str,
        campaign: str,
        email: Identifiers,
        phone: Identifiers,
        user: Identifiers,
        device: Identifiers,
        subjects: Sequence[Subject],
        token: str,
        tenant: str | None,
    ) -> CheckAnswer | None:
        """Answer the commonest check in the fewest steps: of one email, asked before of anybody.

        None: ask `check`, which answers everything.
        """
        reading = self._reading
        if (
            reading is None
            or not isinstance(email, str)
            or phone is not None
            or user is not None
            or device is not None
            or subjects
            or token
            or tenant is not None
        ):
            return None
        asked = (channel, topic, campaign)
        query = reading.prepared.get(asked)
        key_of = reading.key_of
        if query is None or key_of is None or self._local >= self._sampler.next_at:
            return None
        shared = self._state()
        try:
            is_same, encoded = reading.find(key_of(_EMAIL, email), reading.view)
        except HeedError:
            return None
        now_ns = self._clock()
        tick = self._tick
        if (
            tick is None
            or tick.shared is not shared
            or tick.reading is not reading
            or now_ns > tick.until_ns
        ):
            tick = self._ticked(reading, shared, now_ns)
        if not is_same or shared.generation != reading.generation or not shared.source_now_us:
            return None
        answer = tick.of_nobody.get(asked) if encoded is None else None
        if answer is None:
            answer = self._recalled(tick, query, encoded)
            if answer is None:
                return None
            if encoded is None:
                tick.of_nobody[asked] = answer
        self._local += 1
        return answer

    def _recalled(self, tick: Tick, query: Query, encoded: bytes | None) -> CheckAnswer | None:
        try:
            facts = tick.reading.facts((encoded,))
        except DamagedRecordError:
            return None
        decision = decide(facts, query, tick.now)
        return tick.answered(facts, decision) if tick.may_tell(decision) else None

    def _ticked(self, reading: Reading, shared: SharedState, now_ns: int) -> Tick:
        tick = self._tick = Tick(reading, shared, now_ns, self._bounds)
        return tick

    def check(self, asked: AskedQuery, token: str, tenant: str | None) -> CheckAnswer | Unanswered:
        """Answer one query, or say what keeps the cache from it."""
        (found,) = self._answer([asked], token, tenant)
        return found

    def check_many(
        self, asked: Sequence[AskedQuery], token: str, tenant: str | None
    ) -> tuple[CheckAnswer | Unanswered, ...]:
        """Answer several queries of one revision: all of them, or a server has to."""
        return self._answer(asked, token, tenant)

    def asked(self, found: CheckAnswer | Unanswered, told: CheckAnswer) -> CheckAnswer:
        """Return a server's answer to what was not answered here."""
        self._upstream += 1
        return replace(told, state=found.state)

    def by_policy(self, found: CheckAnswer | Unanswered, error: HeedError) -> CheckAnswer:
        """Return what is done where no server answered either.

        Raises:
            HeedError: the error, where the policy has nothing to say.
        """
        if isinstance(found, CheckAnswer):
            return found  # one of several, of which the cache could not answer all
        if not found.has_policy:
            raise error
        self._policy += 1
        if found.last_known is not None:
            self._mandatory += 1
            self._alarm(error)
            return replace(found.last_known, source=AnswerSource.POLICY)
        position = found.position
        return CheckAnswer(
            verdict=Verdict.SUPPRESSED,
            reasons=(),
            undeclared_topic=False,
            topic_class=found.topic_class,
            subjects_with_records=(),
            source=AnswerSource.POLICY,
            age=found.age,
            state=found.state,
            revision=0 if position is None else position.revision,
            now=datetime.now(UTC) if position is None else position.now,
            rule_version=RULE_VERSION,
            token="" if position is None else position.token,
        )

    def _answer(
        self, asked: Sequence[AskedQuery], token: str, tenant: str | None
    ) -> tuple[CheckAnswer | Unanswered, ...]:
        people = [one.named_subjects() for one in asked]
        queries = [query for one in asked if (query := query_of(one)) is not None]
        if len(queries) < len(asked) or not all(map(are_askable, people)):
            return self._unanswerable(asked)
        for _ in range(READS_MAX):
            shared = self._state()
            if not shared.is_whole:
                break
            try:
                found = self._look_up(shared, [one for person in people for one in person])
                if found is not None:
                    return self._decide_all(shared, found, asked, people, queries, token, tenant)
            except InvalidArgumentError:
                return self._unanswerable(asked)
            except DamagedRecordError:
                self._follower.rebuild()
                break
            except IndexUnusableError:
                continue  # there may be another index by now
        unknown = Unanswered(
            state=CacheState.SYNCING, age=None, has_policy=not token and tenant is None
        )
        return (unknown,) * len(asked)

    def _unanswerable(self, asked: Sequence[AskedQuery]) -> tuple[Unanswered, ...]:
        """What a server refuses, with all that is wrong with it."""
        state, age = self._now(self._state())
        return (Unanswered(state=state, age=age, has_policy=False),) * len(asked)

    def _look_up(
        self, shared: SharedState, subjects: Sequence[Subject]
    ) -> tuple[Reading, list[bytes | None]] | None:
        """What stands for each subject, in one revision; None: its keys are others by now."""
        generation = shared.generation
        index = self._replica.index(generation)
        reading = self._reading
        if reading is None or reading.index is not index:
            reading = self._read(generation, index, index.find_all((), None)[0])
        view, encoded = index.find_all(reading.keys(subjects), reading.view)
        if view is reading.view:
            return reading, encoded
        keyers = reading.keyers
        reading = self._read(generation, index, view)
        return (reading, encoded) if reading.keyers is keyers else None

    def _read(self, generation: int, index: SharedIndex, view: View) -> Reading:
        reading = self._reading = Reading(
            generation,
            index,
            view,
            bounds=self._bounds,
            covered=self._covered,
            before=self._reading,
        )
        return reading

    def _moment(
        self, reading: Reading, shared: SharedState, token: str, tenant: str | None
    ) -> Moment:
        wait_revision = 0
        is_ours = tenant is None or tenant == reading.view.source.tenant
        has_token = True
        if token:
            wait_revision, has_token = judged(token, reading.view.place)
        return Moment(
            tick=self._ticked(reading, shared, self._clock()),
            is_ours=is_ours,
            has_token=has_token,
            wait_revision=wait_revision if is_ours else 0,
        )

    def _decide_all(
        self,
        shared: SharedState,
        found: tuple[Reading, list[bytes | None]],
        asked: Sequence[AskedQuery],
        people: Sequence[Sequence[Subject]],
        queries: Sequence[Query],
        token: str,
        tenant: str | None,
    ) -> tuple[CheckAnswer | Unanswered, ...]:
        reading, encoded = found
        moment = self._moment(reading, shared, token, tenant)
        rest = iter(encoded)
        keys = len(reading.keyers)
        return tuple(
            self._decided(moment, one, query, [next(rest) for _ in range(keys * len(person))])
            for one, person, query in zip(asked, people, queries, strict=True)
        )

    def _decided(
        self, moment: Moment, asked: AskedQuery, query: Query, encoded: Sequence[bytes | None]
    ) -> CheckAnswer | Unanswered:
        tick, reading = moment.tick, moment.tick.reading
        facts = reading.facts(encoded)
        decision = decide(facts, query, tick.now)
        covers = self._covered.covers(query)
        may_answer = moment.is_ours and moment.has_token and covers
        if may_answer and tick.may_tell(decision):
            self._local += 1
            if self._local >= self._sampler.next_at:
                self._sample(reading, asked, query, facts, decision)
            reading.prepare((asked.channel, asked.topic, asked.campaign), query)
            return tick.answered(facts, decision)
        last_known: CheckAnswer | None = None
        is_mandatory = decision.topic_class is TopicClass.MANDATORY
        if may_answer and is_mandatory and reading.is_capable:
            last_known = tick.answered(facts, decision)
        return Unanswered(
            state=tick.state,
            age=tick.age_told,
            wait_revision=moment.wait_revision,
            has_policy=moment.is_ours and moment.has_token,
            position=tick.position,
            topic_class=decision.topic_class,
            last_known=last_known,
        )

    def _sample(
        self, reading: Reading, asked: AskedQuery, query: Query, facts: Facts, decision: Decision
    ) -> None:
        place = reading.view.place
        self._sampler.offer(
            Sample(
                request=ask.check(self._follower.tenant, asked, place.token),
                facts=facts,
                query=query,
                verdict=decision.verdict,
                revision=place.revision,
            ),
            self._local,
        )

    def _now(self, shared: SharedState) -> tuple[CacheState, timedelta | None]:
        if not shared.is_whole:
            return CacheState.SYNCING, None
        age = shared.age_at(self._clock())
        told = None if age is None else timedelta(microseconds=age // 1_000)
        return state_of(age, self._bounds), told

    def _alarm(self, error: HeedError) -> None:
        now_ns = self._clock()
        if now_ns >= self._alarm_ns:
            self._alarm_ns = now_ns + ALARM_NS
            _LOG.warning(
                "no server answers, and mandatory messages go by what was last known "
                "(%d so far): %s",
                self._mandatory,
                error,
            )


# Python 3.11 looks a member up on its enum some ten times slower than a name.
_EMAIL: Final = SubjectType.EMAIL
