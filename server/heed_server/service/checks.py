"""May I send this? The path of every message, which never touches the store.

Laws:
- "Allowed" is answered only by knowledge younger than the message's class permits; "suppressed" at
  any age, because a stale stop is safe.
- While the wall clock is doubted, "allowed" needs both times that it may be (`doubted`).
- A token is a demand: the answer is of its revision or later, of its tenant and its history, or
  there is none.
- Where a lookup key was replaced each subject is looked up under every one, and what is found is
  one person's. A call's keys are made once it has waited, since meanwhile another may have begun.
- All the queries of a batch, and of one request of a stream, are answered at one revision and one
  instant.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from heed.decide import Facts, decide, decide_without_facts
from heed.errors import ConflictError, ErrorReason, HeedError, UnavailableError
from heed.model import Decision, Instant, Query, Record, Revision, Rule, SubjectKey, Verdict
from heed.records import of_people
from heed.tokens import Token, decode_token
from heed.wire import checks as wire
from heed.wire.asked import BatchAsked, CheckAsked, StreamAsked
from heed.wire.encoded import Answered, Position
from heed_server.auth.policy import Principal
from heed_server.rates import RateKind
from heed_server.service.answering import (
    INDEX_WAIT_SECONDS_MAX,
    Answering,
    AnsweringIndex,
    AnsweringTenant,
    position_of,
)
from heed_server.watch import AGE_MS_MAX

SecondsLeft = Callable[[], float | None]
"""How long the call may still take; None: for ever."""

STREAM_TOKEN_SECONDS_MAX = 0.1
"""How long a request of a stream waits for its token's revision: all behind it wait too."""


@dataclass(slots=True)
class Checked:
    """The answers to the queries of one batch, and where and when they are true."""

    position: Position
    now: Instant
    answered: Sequence[Answered]


@dataclass(slots=True)
class StreamChecked:
    """The same of one request of a stream, with what was refused in its place."""

    position: Position
    now: Instant
    answers: Sequence[Answered | HeedError]


class Checks(Answering):
    """Answers Checks."""

    def check(self, principal: Principal, asked: CheckAsked) -> tuple[Answered, Position, Instant]:
        """Answer one query without a token; `check_from` answers one with it.

        Raises:
            ValueError: it has a token, which may be ahead of what is known here.
            InvalidArgumentError: a subject is malformed.
            UnavailableError: STATE_STALE.
            ExhaustedError: RATE_LIMITED.
        """
        if asked.token:
            raise ValueError("a query with a token is answered by check_from, which waits for it")
        context = self.enter("CheckSuppression", principal, asked.tenant)
        if self._checks_rate is not None:
            self._checks_rate.take(principal)
        return self._answer_one(context, wire.keys(asked, context.lookup), asked)

    async def check_from(
        self, principal: Principal, asked: CheckAsked, seconds_left: SecondsLeft
    ) -> tuple[Answered, Position, Instant]:
        """Answer one query from its token's revision on. What the call has left bounds the wait.

        Raises:
            InvalidArgumentError: a subject is malformed, or the token is none.
            ConflictError: EPOCH_CHANGED or STORE_MISMATCH, the token is not of this log.
            UnavailableError: NODE_BEHIND or STATE_STALE.
            ExhaustedError: RATE_LIMITED.
        """
        context = self.enter("CheckSuppression", principal, asked.tenant)
        self.admission.rates.take(RateKind.CHECKS, principal)
        await _await_token(context, asked.token, patience_seconds(seconds_left))
        return self._answer_one(context, wire.keys(asked, context.lookup), asked)

    async def batch_check(
        self, principal: Principal, asked: BatchAsked, seconds_left: SecondsLeft
    ) -> Checked:
        """Answer every query of a batch, in order. Raises: as `check_from`, for all of them."""
        context = self.enter("BatchCheckSuppression", principal, asked.tenant)
        self.admission.rates.take(RateKind.CHECKS, principal, len(asked.queries))
        if asked.token:
            await _await_token(context, asked.token, patience_seconds(seconds_left))
        return self._answer_all(context, wire.keys(asked, context.lookup), asked)

    async def stream_check(self, principal: Principal, asked: StreamAsked) -> StreamChecked:
        """Answer one request of a stream: a batch whose queries are refused one by one.

        Raises: as `check_from`, what refuses the request as a whole; malformed subjects do not.
        """
        context = self.enter("StreamCheckSuppression", principal, asked.batch.tenant)
        self.admission.rates.take(RateKind.CHECKS, principal, asked.count)
        if asked.batch.token:
            await _await_token(context, asked.batch.token, STREAM_TOKEN_SECONDS_MAX)
        keys = wire.stream_keys(asked, context.lookup)
        done = self._answer_each(context, keys, asked.batch)
        if asked.refused:
            in_order = iter(done.answers)
            done.answers = [asked.refused.get(at) or next(in_order) for at in range(asked.count)]
        return done

    # What follows is what is told: a node with a decision log notes it (`logged`).

    def _answer_one(
        self, context: AnsweringTenant, keys: Sequence[SubjectKey], asked: CheckAsked
    ) -> tuple[Answered, Position, Instant]:
        """Decide one query: nothing here awaits, so the facts and the position are of one revision.

        Raises: as `check`.
        """
        query = asked.query
        index = context.follower.index
        facts = index.facts(keys)
        if context.lookup.count != 1:
            records = of_people(facts.records, context.lookup.count)
            facts = Facts(records=tuple(records), holds=facts.holds, topics=facts.topics)
        now = self.now()
        if facts.holds or any(facts.records):
            answered = self._decide(facts, query, now), _with_records(facts.records)
        else:
            # Most people have no records. Nothing stands then that a clock begins or ends.
            answered = decide_without_facts(facts.topics, query), _NONE
        decision = answered[0]
        if decision.verdict is _ALLOWED:
            age_seconds = context.follower.source_age_seconds()
            if age_seconds > self.max_staleness_seconds_min:
                self._require_fresh((answered,), age_seconds)
        context.tally.count(query, decision, facts.records, now)
        return answered, position_of(context.tenant_id, index), now

    def _answer_all(
        self, context: AnsweringTenant, keys: Sequence[SubjectKey], asked: BatchAsked
    ) -> Checked:
        """Decide every query of a batch. Raises: as `batch_check`."""
        done = self._decide_all(context, keys, asked)
        self._require_fresh(done.answered, context.follower.source_age_seconds())
        return done

    def _answer_each(
        self, context: AnsweringTenant, keys: Sequence[SubjectKey], asked: BatchAsked
    ) -> StreamChecked:
        """Decide the well-formed queries of a stream's request; what is too old refuses one."""
        done = self._decide_all(context, keys, asked)
        answers: Sequence[Answered | HeedError] = done.answered
        age_seconds = context.follower.source_age_seconds()
        if age_seconds > self.max_staleness_seconds_min:
            answers = [self._too_old(one[0], age_seconds) or one for one in done.answered]
        return StreamChecked(done.position, done.now, answers)

    def _decide_all(
        self, context: AnsweringTenant, keys: Sequence[SubjectKey], asked: BatchAsked
    ) -> Checked:
        """Decide every query at one revision and one instant: nothing here awaits."""
        index = context.follower.index
        now = self.now()
        keys_each = context.lookup.count
        answered = _answered(index, keys, keys_each, asked, now)
        other = self.doubted(now)
        if other is not None:
            answered = [
                by_other if by_now[0].verdict is _ALLOWED else by_now
                for by_now, by_other in zip(
                    answered, _answered(index, keys, keys_each, asked, other), strict=True
                )
            ]
        at = 0
        for query, count, (decision, with_records) in zip(
            asked.queries, asked.counts, answered, strict=True
        ):
            records = _NO_RECORDS
            if with_records and decision.reasons[0].rule is _MANDATORY:
                records = index.records_many(keys[at * keys_each : (at + count) * keys_each])
            context.tally.count(query, decision, records, now)
            at += count
        return Checked(position_of(context.tenant_id, index), now, answered)

    def _decide(self, facts: Facts, query: Query, now: Instant) -> Decision:
        """Decide, while the clock is doubted by both times that it may be."""
        decision = decide(facts, query, now)
        if decision.verdict is _ALLOWED:
            other = self.doubted(now)
            if other is not None:
                return decide(facts, query, other)
        return decision

    def _require_fresh(self, answered: Sequence[Answered], age_seconds: float) -> None:
        """Refuse to allow anything by what is too old for its class."""
        if age_seconds <= self.max_staleness_seconds_min:
            return
        for decision, _ in answered:
            refusal = self._too_old(decision, age_seconds)
            if refusal is not None:
                raise refusal

    def _too_old(self, decision: Decision, age_seconds: float) -> UnavailableError | None:
        """Why a decision must not be told at this age, if so."""
        is_allowed = decision.verdict is _ALLOWED
        if not is_allowed or age_seconds <= self.max_staleness_seconds[decision.topic_class]:
            return None
        return UnavailableError(
            f"what this node knows is {age_seconds:.1f} s old, too old to allow a "
            f"{decision.topic_class.name.lower()} message; "
            "ask another node, or do not send",
            reason=ErrorReason.STATE_STALE,
            metadata={"age_ms": str(int(min(age_seconds * 1000, AGE_MS_MAX)))},
        )


def patience_seconds(
    seconds_left: SecondsLeft, seconds_max: float = INDEX_WAIT_SECONDS_MAX
) -> float:
    """Return how long a call waits for one thing: half of what it has, and no longer than that."""
    left = seconds_left()
    return seconds_max if left is None else min(left / 2, seconds_max)


def _answered(
    index: AnsweringIndex,
    keys: Sequence[SubjectKey],
    keys_each: int,
    asked: BatchAsked,
    now: Instant,
) -> list[Answered]:
    """Decide every query; what is asked of people without records is decided once for all."""
    found = index.records_many(keys)
    if keys_each != 1:
        found = of_people(found, keys_each)
    holds, topics = index.holds, index.topics
    nothing: tuple[Record, ...] = ()
    without_records: dict[int, Answered] = {}
    answered: list[Answered] = []
    at = 0
    for query, count in zip(asked.queries, asked.counts, strict=True):
        if count > 1 or found[at]:
            records = tuple(found[at : at + count])
            facts = Facts(records=records, holds=holds, topics=topics)
            answered.append((decide(facts, query, now), _with_records(records)))
            at += count
            continue
        at += 1
        # Equal queries are one object (`heed.wire.checks`) and live as long as `asked`.
        known = without_records.get(id(query))
        if known is None:
            facts = Facts(records=(nothing,), holds=holds, topics=topics)
            known = without_records[id(query)] = (decide(facts, query, now), ())
        answered.append(known)
    return answered


def _with_records(records: Sequence[Sequence[Record]]) -> tuple[int, ...]:
    """The positions of the subjects that have some."""
    if len(records) == 1:
        return _THE_ONLY_ONE if records[0] else ()
    return tuple(at for at, found in enumerate(records) if found)


_THE_ONLY_ONE: Final = (0,)
_NONE: Final[tuple[int, ...]] = ()
_NO_RECORDS: Final[Sequence[Sequence[Record]]] = ()
# A member by name here: Python 3.11 looks one up on its enum some ten times slower.
_ALLOWED: Final = Verdict.ALLOWED
_MANDATORY: Final = Rule.MANDATORY


async def _await_token(context: AnsweringTenant, text: str, patience_seconds: float) -> None:
    """Return once this node knows the revision of a token of this log."""
    token = decode_token(text)
    follower = context.follower
    _require_epoch(token, follower.index)
    if token.tenant_id != context.tenant_id:
        raise _mismatch(token.revision, "another tenant")
    if token.revision > follower.revision:
        if not await follower.reached(token.revision, patience_seconds):
            raise UnavailableError(
                f"this node is at revision {follower.revision} and the token at "
                f"{token.revision}; ask again, or ask another node",
                reason=ErrorReason.NODE_BEHIND,
                metadata={"applied": str(follower.revision)},
            )
        _require_epoch(token, follower.index)
    known = follower.index.hash_at(token.revision)
    if known is not None and known != token.running_hash:
        raise _mismatch(token.revision, "another history")


def _require_epoch(token: Token, index: AnsweringIndex) -> None:
    if token.epoch != index.epoch:
        raise ConflictError(
            "the token is of another epoch: the store was restored, or is another one; "
            "drop what you cached, and ask without a token",
            reason=ErrorReason.EPOCH_CHANGED,
        )


def _mismatch(revision: Revision, of: str) -> ConflictError:
    return ConflictError(
        f"the token is of {of} than this store's; drop it, and ask without one",
        reason=ErrorReason.STORE_MISMATCH,
        metadata={"revision": str(revision)},
    )
