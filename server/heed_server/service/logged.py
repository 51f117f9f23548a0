"""Checks that are noted in a decision log: what is put in the place of `Checks` where one is kept.

A process without one runs none of this: which class answers is chosen when it starts.
"""

import time
from collections.abc import Mapping, Sequence

from heed.errors import HeedError
from heed.model import Decision, Instant, Query, SubjectKey
from heed.wire.asked import BatchAsked, CheckAsked
from heed.wire.encoded import Answered, Position
from heed_server.decisions import DecisionLog, Noted
from heed_server.service import Service
from heed_server.service.answering import AnsweringTenant
from heed_server.service.checks import Checked, Checks, StreamChecked


class LoggedChecks(Checks):
    """Answers Checks, and notes what is told. To be derived from before what it is put before."""

    decisions: DecisionLog
    """Set once, before the first Check."""

    def _answer_one(
        self, context: AnsweringTenant, keys: Sequence[SubjectKey], asked: CheckAsked
    ) -> tuple[Answered, Position, Instant]:
        done = super()._answer_one(context, keys, asked)
        (decision, _), position, now = done
        references = {0: asked.reference} if asked.reference else {}
        keys = keys[:: context.lookup.count]
        self._note(
            context, keys, (len(keys),), (asked.query,), references, (decision,), position, now
        )
        return done

    def _answer_all(
        self, context: AnsweringTenant, keys: Sequence[SubjectKey], asked: BatchAsked
    ) -> Checked:
        done = super()._answer_all(context, keys, asked)
        decisions = [decision for decision, _ in done.answered]
        self._note_batch(context, keys, asked, decisions, done.position, done.now)
        return done

    def _answer_each(
        self, context: AnsweringTenant, keys: Sequence[SubjectKey], asked: BatchAsked
    ) -> StreamChecked:
        done = super()._answer_each(context, keys, asked)
        decisions = [None if isinstance(one, HeedError) else one[0] for one in done.answers]
        self._note_batch(context, keys, asked, decisions, done.position, done.now)
        return done

    def _note_batch(
        self,
        context: AnsweringTenant,
        keys: Sequence[SubjectKey],
        asked: BatchAsked,
        decisions: Sequence[Decision | None],
        position: Position,
        now: Instant,
    ) -> None:
        self._note(
            context,
            keys[:: context.lookup.count],
            asked.counts,
            asked.queries,
            asked.references,
            decisions,
            position,
            now,
        )

    def _note(
        self,
        context: AnsweringTenant,
        keys: Sequence[SubjectKey],
        counts: Sequence[int],
        queries: Sequence[Query],
        references: Mapping[int, str],
        decisions: Sequence[Decision | None],
        position: Position,
        now: Instant,
    ) -> None:
        self.decisions.note(
            Noted(
                Instant(time.time_ns() // 1_000),
                context.name,
                keys,
                counts,
                queries,
                references,
                decisions,
                position,
                now,
                self.doubted(now),
            )
        )


class LoggedService(LoggedChecks, Service):
    """Everything that heed does, with each Check noted."""
