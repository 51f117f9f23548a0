"""Who has applied what: the proof that a choice reached everyone who may send."""

from heed.model import Instant, Revision
from heed.wire.asked import PropagationAsked, SubscriberAsked
from heed_server.auth.policy import Principal
from heed_server.propagation import Progress
from heed_server.service.node import Node
from heed_server.service.tenants import TenantContext
from heed_server.store import Subscriber

_NEVER = Instant(0)


class Propagations(Node):
    """Tells how far subscribers are, and which of them are to be missed."""

    async def get_propagation(
        self, principal: Principal, asked: PropagationAsked
    ) -> tuple[TenantContext, Revision, tuple[Progress, ...]]:
        """Return how far each subscriber is towards a revision; 0 means the log's head.

        Raises:
            UnavailableError: the database does not answer.
        """
        context = self.enter("GetPropagation", principal, asked.tenant)
        revision = asked.revision or context.follower.head_revision
        progress = await self.registry.progress(context.tenant.tenant_id, revision)
        return context, revision, progress

    async def declare_subscriber(self, principal: Principal, asked: SubscriberAsked) -> None:
        """Miss a subscriber from now on while it is away; declaring it again changes nothing.

        Raises:
            UnavailableError: the database does not answer.
        """
        context = self.enter("DeclareSubscriber", principal, asked.tenant)
        await self.store.put_subscribers([self._declaration(context, asked.name)])
        self.registry.outdate(context.tenant.tenant_id)

    async def withdraw_subscriber(self, principal: Principal, asked: SubscriberAsked) -> None:
        """Miss it no more; withdrawing what is not declared changes nothing.

        Raises:
            UnavailableError: the database does not answer.
        """
        context = self.enter("WithdrawSubscriber", principal, asked.tenant)
        await self.store.forget_subscribers([self._declaration(context, asked.name)])
        self.registry.outdate(context.tenant.tenant_id)

    async def propagated(
        self, principal: Principal, tenant: str, revision: Revision, limit_seconds: float
    ) -> tuple[Progress, ...]:
        """Wait until everybody who counts has applied what the principal wrote, or for so long.

        It was written, so this does not fail: whoever could not be heard of is named as waited for.
        Where too many calls are under way it does not wait.
        """
        tenant_id = self.tenants.of(principal, tenant).tenant.tenant_id
        if not self.admission.calls.has_room(principal.identity):
            return await self.registry.propagated(tenant_id, revision, 0)
        with self.admission.place(principal):
            return await self.registry.propagated(tenant_id, revision, limit_seconds)

    def _declaration(self, context: TenantContext, name: str) -> Subscriber:
        """The row of a declaration, which is the same whoever makes it and whenever."""
        return Subscriber(
            tenant_id=context.tenant.tenant_id,
            name=name,
            stream_id="",
            instance="",
            node="",
            open_time=_NEVER,
            close_time=None,
            probe_time=_NEVER,
            max_staleness=0,
            applied_revision=Revision(0),
            applied_time=_NEVER,
        )
