"""Suppressions and lists of them: add, release, list, import, export. An import only adds."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from heed.acts import AddProtections, KeyedSubject, Outcome, Protection, ReleaseSuppression
from heed.model import Head, RecordKind
from heed.wire import limits, outcomes
from heed.wire.asked import (
    ExportAsked,
    ImportAsked,
    PageAsked,
    ProtectionAsked,
    ReleaseAsked,
    SuppressionsAsked,
)
from heed_server.auth.policy import Principal, Right, require
from heed_server.rates import RateKind
from heed_server.service.capped import Capped
from heed_server.service.node import keyed
from heed_server.service.tenants import TenantContext
from heed_server.store import Page, RecordFilter, StandingRecord
from heed_server.writes import Appended


class Protections(Capped):
    """Takes what protects people without being their choice, and lists what stands."""

    async def add_suppressions(self, principal: Principal, asked: SuppressionsAsked) -> Appended:
        """Add suppressions: all or none. None shortens or narrows one that stands."""
        context = self.enter("AddSuppressions", principal, asked.call.tenant)
        self.admission.rates.take(RateKind.RECORDS, principal, len(asked.protections))

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.suppressions_added(context.tenant.tenant_id, outcome)

        act = AddProtections(
            protections=keyed_protections(context, asked.protections), origin=asked.origin
        )
        return await self.append_capped(
            context, principal, "AddSuppressions", asked.call, act, encode_answer
        )

    async def release_suppression(self, principal: Principal, asked: ReleaseAsked) -> Appended:
        """Release one subject's suppressions of a cause. What the person chose stands.

        Raises:
            NotFoundError: SUPPRESSION_UNKNOWN, none such stands.
            ConflictError: APPROVAL_REQUIRED, there are too many releases.
        """
        context = self.enter("ReleaseSuppression", principal, asked.call.tenant)

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.suppression_released(context.tenant.tenant_id, outcome)

        act = ReleaseSuppression(
            subject=keyed(context, asked.subject),
            cause=asked.cause,
            scopes=asked.scopes,
            reason=asked.reason,
            origin=asked.origin,
        )
        return await self.append_capped(
            context, principal, "ReleaseSuppression", asked.call, act, encode_answer
        )

    async def import_records(self, principal: Principal, asked: ImportAsked) -> Appended:
        """Add the rows that are well formed, and tell of the others.

        Raises:
            RightRequiredError: the right `suppress`, or `write` for opt-outs, is missing.
        """
        context = self.enter("ImportRecords", principal, asked.call.tenant)
        if asked.has_opt_outs:
            require(principal, Right.WRITE)
        self.admission.rates.take(RateKind.RECORDS, principal, len(asked.protections))

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.records_imported(context.tenant.tenant_id, outcome, asked.rejected)

        act = AddProtections(
            protections=keyed_protections(context, asked.protections),
            origin=asked.origin,
            batch_id=asked.batch_id,
            skips_unchanged=True,
        )
        return await self.append_capped(
            context,
            principal,
            "ImportRecords",
            asked.call,
            act,
            encode_answer,
            part_of=f"batch {asked.batch_id}",
        )

    async def list_suppressions(
        self, principal: Principal, asked: PageAsked
    ) -> Page[StandingRecord]:
        """Return a page of standing suppressions."""
        context = self.enter("ListSuppressions", principal, asked.tenant)
        causes = frozenset() if asked.cause is None else frozenset({asked.cause})
        return await self.store.list_suppressions(
            context.tenant.tenant_id,
            RecordFilter(kinds=frozenset({RecordKind.SUPPRESSION}), causes=causes),
            asked.cursor,
            asked.page_size,
        )

    def export_records(
        self, principal: Principal, asked: ExportAsked
    ) -> tuple[
        TenantContext,
        AbstractAsyncContextManager[tuple[Head, AsyncIterator[Sequence[StandingRecord]]]],
    ]:
        """Open every record that matches, all of one revision."""
        context = self.enter("ExportRecords", principal, asked.tenant)
        wanted = RecordFilter(kinds=asked.kinds, causes=asked.causes, scope=asked.scope)
        return context, self.store.export(
            context.tenant.tenant_id, wanted, limits.EXPORT_RECORDS_MAX
        )


def keyed_protections(
    context: TenantContext, protections: Sequence[ProtectionAsked]
) -> tuple[Protection, ...]:
    """Return what is to be added, under the keys of a tenant."""
    key = context.lookup.key
    return tuple(
        [
            Protection(
                KeyedSubject(key(subject), subject),
                cause,
                reach,
                scope,
                decided_time,
                end_time,
                reason,
                row,
            )
            for subject, cause, reach, scope, decided_time, end_time, reason, row in protections
        ]
    )
