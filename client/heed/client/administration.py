"""The client's methods of AdminService for tenants, topics and holds."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime

from heed.answers import Hold, HoldAnswer, Tenant, TopicAnswer
from heed.client.calling import Calling
from heed.connection import methods
from heed.model import TOPIC_ROOT, Channel, Topic, TopicClass
from heed.requests import Origin
from heed.wire import ask, read


class AdministrationMethods(Calling):
    """Tenants, topics, holds. Every write raises as `set_preference`."""

    async def create_tenant(self, name: str, *, timeout: float | None = None) -> Tenant:
        """Create a tenant: 1 to 63 of a-z, 0-9 and `-`, beginning with a letter.

        It has no idempotency key: after an OutcomeUnknownError, list the tenants.

        Raises:
            ConflictError: TENANT_EXISTS.
        """
        answer = await self._calls.unary(
            methods.CREATE_TENANT, ask.create_tenant(name), timeout=timeout
        )
        return read.tenant(answer.tenant)

    async def list_tenants(self, *, timeout: float | None = None) -> AsyncIterator[Tenant]:
        """Yield the tenants that the caller may see, by name. `timeout` is of each page."""
        page_token = ""
        while True:
            request = ask.list_tenants(page_token)
            page = await self._calls.unary(methods.LIST_TENANTS, request, timeout=timeout)
            for tenant in page.tenants:
                yield read.tenant(tenant)
            page_token = page.next_page_token
            if not page_token:
                return

    async def declare_topic(
        self,
        name: str,
        *,
        topic_class: TopicClass | str,
        origin: Origin,
        mandatory_channels: Iterable[Channel | str] = (),
        requires_opt_in: bool = False,
        suppress_undeclared: bool = False,
        title: str = "",
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> TopicAnswer:
        """Declare a topic, or tighten a declared one.

        `mandatory_channels` is where a mandatory topic is mandatory; required for one, and
        refused for any other.

        Raises:
            ConflictError: TOPIC_WOULD_LOOSEN (use `loosen_topic`), TOPIC_RETIRED.
        """
        key = self._key_or(idempotency_key)
        topic = ask.topic(
            name=name,
            topic_class=topic_class,
            mandatory_channels=mandatory_channels,
            requires_opt_in=requires_opt_in,
            suppress_undeclared=suppress_undeclared,
            title=title,
        )
        request = ask.declare_topic(self._tenant_or(tenant), key, topic, origin)
        answer = await self._calls.unary(
            methods.DECLARE_TOPIC, request, timeout=timeout, idempotency_key=key
        )
        return read.topic_written(answer, key)

    async def loosen_topic(
        self,
        name: str,
        *,
        topic_class: TopicClass | str,
        reason: str,
        origin: Origin,
        mandatory_channels: Iterable[Channel | str] = (),
        requires_opt_in: bool = False,
        suppress_undeclared: bool = False,
        title: str = "",
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> TopicAnswer:
        """Change a declared topic in a way that may let more messages through, with a reason.

        Raises:
            NotFoundError: TOPIC_UNKNOWN.
            ConflictError: TOPIC_RETIRED.
        """
        key = self._key_or(idempotency_key)
        topic = ask.topic(
            name=name,
            topic_class=topic_class,
            mandatory_channels=mandatory_channels,
            requires_opt_in=requires_opt_in,
            suppress_undeclared=suppress_undeclared,
            title=title,
        )
        request = ask.loosen_topic(self._tenant_or(tenant), key, topic, reason, origin)
        answer = await self._calls.unary(
            methods.LOOSEN_TOPIC, request, timeout=timeout, idempotency_key=key
        )
        return read.topic_written(answer, key)

    async def retire_topic(
        self,
        name: str,
        *,
        reason: str,
        origin: Origin,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> TopicAnswer:
        """Retire a topic: it stays what it is, its opt-outs stand, it is not declared again.

        Raises:
            NotFoundError: TOPIC_UNKNOWN.
        """
        key = self._key_or(idempotency_key)
        request = ask.retire_topic(self._tenant_or(tenant), key, name, reason, origin)
        answer = await self._calls.unary(
            methods.RETIRE_TOPIC, request, timeout=timeout, idempotency_key=key
        )
        return read.topic_written(answer, key)

    async def list_topics(
        self, *, tenant: str | None = None, timeout: float | None = None
    ) -> AsyncIterator[Topic]:
        """Yield the declared topics by name, retired ones too. `timeout` is of each page."""
        page_token = ""
        while True:
            request = ask.list_topics(self._tenant_or(tenant), page_token)
            page = await self._calls.unary(methods.LIST_TOPICS, request, timeout=timeout)
            for topic in page.topics:
                yield read.topic(topic)
            page_token = page.next_page_token
            if not page_token:
                return

    async def place_hold(
        self,
        *,
        reason: str,
        origin: Origin,
        channel: Channel | str | None = None,
        topic: str = TOPIC_ROOT,
        campaign: str = "",
        end_time: datetime | None = None,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> HoldAnswer:
        """Place a hold: from its commit on, no message that it covers passes.

        All that it names must match a message, and what it leaves out matches all; so without
        channel, topic and campaign it stops everything.

        Raises:
            ExhaustedError: LIMIT_REACHED, as many holds are not lifted as may be, ended ones too.
        """
        key = self._key_or(idempotency_key)
        request = ask.place_hold(
            self._tenant_or(tenant),
            key,
            channel=channel,
            topic=topic,
            campaign=campaign,
            end_time=end_time,
            reason=reason,
            origin=origin,
        )
        answer = await self._calls.unary(
            methods.PLACE_HOLD, request, timeout=timeout, idempotency_key=key
        )
        return read.hold_written(answer, key)

    async def lift_hold(
        self,
        hold_id: str,
        *,
        reason: str,
        origin: Origin,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: float | None = None,
    ) -> HoldAnswer:
        """Lift a hold: exactly what stood before stands again.

        Raises:
            NotFoundError: HOLD_UNKNOWN.
        """
        key = self._key_or(idempotency_key)
        request = ask.lift_hold(self._tenant_or(tenant), key, hold_id, reason, origin)
        answer = await self._calls.unary(
            methods.LIFT_HOLD, request, timeout=timeout, idempotency_key=key
        )
        return read.hold_written(answer, key)

    async def list_holds(
        self, *, tenant: str | None = None, timeout: float | None = None
    ) -> AsyncIterator[Hold]:
        """Yield the holds that are not lifted, by revision, ended ones too."""
        page_token = ""
        while True:
            request = ask.list_holds(self._tenant_or(tenant), page_token)
            page = await self._calls.unary(methods.LIST_HOLDS, request, timeout=timeout)
            for hold in page.holds:
                yield read.hold(hold)
            page_token = page.next_page_token
            if not page_token:
                return
