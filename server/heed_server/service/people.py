"""What is known of one person: told, or erased but for the stops (ADR 0030)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from heed.acts import ErasedSubject, EraseSubjects, Outcome
from heed.model import Change, Channel, Decision, Instant, Query, SubjectKey
from heed.wire import outcomes
from heed.wire.asked import ErasureAsked, HistoryAsked
from heed_server.auth.policy import Principal
from heed_server.service.explaining import explain_by, facts_of
from heed_server.service.node import Node
from heed_server.service.tenants import TenantContext
from heed_server.store import KnownSubject, Standing
from heed_server.writes import Appended

EXPORTED_CHANNELS: Final = tuple(channel for channel in Channel if channel is not Channel.ANY)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPerson:
    """What is known of one person, where the log stood, and some of their changes."""

    context: TenantContext
    keys: Sequence[tuple[SubjectKey, ...]]
    """Of each subject every key that it may stand under."""
    known: Mapping[SubjectKey, KnownSubject]
    standing: Standing
    decisions: Mapping[Channel, Decision]
    changes: Sequence[Change]
    """Up to one more than were asked for, by which it is known that there are more."""
    now: Instant


class People(Node):
    """Tells what is known of people, and erases it."""

    async def export_subject(self, principal: Principal, asked: HistoryAsked) -> KnownPerson:
        """Return what is known of a person, with the next of their changes.

        Raises:
            UnavailableError: the database does not answer.
        """
        context = self.enter("ExportSubject", principal, asked.tenant)
        people = context.keys_of(asked.subjects)
        keys = [key for keys in people for key in keys]
        tenant_id = context.tenant.tenant_id
        standing = await self.store.standing(tenant_id, keys)
        changes = await self.store.changes_of(
            tenant_id,
            keys,
            after=asked.after,
            through=standing.head.revision,
            limit=asked.page_size + 1,
        )
        now, facts = self.now(), facts_of(standing, people)
        other = self.doubted(now)
        return KnownPerson(
            context=context,
            keys=people,
            known={one.key: one for one in await self.store.known(tenant_id, keys)},
            standing=standing,
            decisions={
                channel: explain_by(facts, Query(channel=channel), now, other)
                for channel in EXPORTED_CHANNELS
            },
            changes=changes,
            now=now,
        )

    async def erase_subject(
        self, principal: Principal, asked: ErasureAsked
    ) -> tuple[Appended, bool]:
        """Erase a person, and say whether what is erased is overwritten in the files too.

        A crash before the answer leaves an erasure that may be missing from the ledger; the same
        call again, or another erasure of the person, completes it.

        Raises:
            OutcomeUnknownError: it is in the log, but not in the ledger; send it again.
            HeedError: as `Node.append`.
        """
        context = self.enter("EraseSubject", principal, asked.call.tenant)
        people = context.keys_of(asked.subjects)
        keys = tuple(key for keys in people for key in keys)
        keys_each = len(people[0])

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.subject_erased(context.tenant.tenant_id, _of_people(outcome, keys_each))

        act = EraseSubjects(keys=keys, origin=asked.origin, reason=asked.reason)
        appended = await self.append(context, "EraseSubject", asked.call, act, encode_answer)
        is_overwritten = await self.store.finish_erasure(context.tenant.tenant_id, keys)
        return appended, is_overwritten


def _of_people(outcome: Outcome, keys_each: int) -> Outcome:
    """Tell of subjects what was done under each of so many keys of them."""
    if keys_each == 1:
        return outcome
    erased: dict[int, ErasedSubject] = {}
    for one in outcome.erased:
        index = one.subject_index // keys_each
        before = erased.get(index)
        count = one.changes_count + (0 if before is None else before.changes_count)
        later = max(one, before or one, key=lambda each: each.revision)
        erased[index] = later._replace(subject_index=index, changes_count=count)
    return replace(
        outcome,
        erased=tuple(erased.values()),
        standing=tuple((item, at // keys_each, record) for item, at, record in outcome.standing),
    )
