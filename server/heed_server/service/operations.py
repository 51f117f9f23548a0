"""What operators do: tenants, topics, holds."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from heed.acts import DeclareTopic, LiftHold, Outcome, PlaceHold, RetireTopic
from heed.errors import InvalidArgumentError, RightRequiredError, invalid_field
from heed.model import Revision, Topic
from heed.wire import outcomes
from heed.wire.asked import EndAsked, HoldAsked, PageAsked, TopicAsked
from heed_server.auth.policy import EVERY_TENANT, Principal
from heed_server.service.node import Node
from heed_server.service.rights import RIGHT_OF_METHOD
from heed_server.store import Page, StandingHold, Tenant
from heed_server.writes import Appended

T = TypeVar("T")


class Operations(Node):
    """Administers tenants, topics and holds."""

    async def create_tenant(self, principal: Principal, name: str) -> Tenant:
        """Create a tenant and serve it.

        Raises:
            RightRequiredError: the right is missing, or is for one tenant alone.
            ConflictError: TENANT_EXISTS.
        """
        self.require_right("CreateTenant", principal)
        if principal.tenant != EVERY_TENANT:
            right = RIGHT_OF_METHOD["CreateTenant"]
            raise RightRequiredError(
                f"{principal.name!r} has the right {right.value!r} for one tenant alone; "
                "creating one needs it for all",
                metadata={"right": right.value},
            )
        tenant = await self.store.create_tenant(name, self.new_lookup_key())
        await self.tenants.serve(tenant)
        return tenant

    async def list_tenants(self, principal: Principal, asked: PageAsked) -> Page[Tenant]:
        """Return a page of the tenants that the principal may see, by name."""
        self.require_right("ListTenants", principal)
        seen = [
            tenant
            for tenant in await self.store.tenants()
            if principal.tenant in {EVERY_TENANT, tenant.name} and tenant.name > asked.cursor
        ]
        return _page(seen, asked.page_size, lambda tenant: tenant.name)

    async def declare_topic(self, principal: Principal, asked: TopicAsked) -> Appended:
        """Declare a topic, or tighten a declared one.

        Raises:
            ConflictError: TOPIC_WOULD_LOOSEN or TOPIC_RETIRED.
        """
        return await self._set_topic("DeclareTopic", principal, asked)

    async def loosen_topic(self, principal: Principal, asked: TopicAsked) -> Appended:
        """Change a declared topic in a way that may let more through.

        Raises:
            NotFoundError: TOPIC_UNKNOWN.
            ConflictError: TOPIC_RETIRED.
        """
        return await self._set_topic("LoosenTopic", principal, asked)

    async def retire_topic(self, principal: Principal, asked: EndAsked) -> Appended:
        """Retire a topic: it stays what it is.

        Raises:
            NotFoundError: TOPIC_UNKNOWN.
        """
        context = self.enter("RetireTopic", principal, asked.call.tenant)

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.topic_retired(context.tenant.tenant_id, outcome)

        act = RetireTopic(name=asked.name, reason=asked.reason, origin=asked.origin)
        return await self.append(context, "RetireTopic", asked.call, act, encode_answer)

    async def list_topics(self, principal: Principal, asked: PageAsked) -> Page[Topic]:
        """Return a page of the declared topics, by name, retired ones too."""
        context = self.enter("ListTopics", principal, asked.tenant)
        standing = await self.store.standing(context.tenant.tenant_id, ())
        topics = sorted(standing.topics, key=_cursor_of_topic)
        left = [topic for topic in topics if _cursor_of_topic(topic) > asked.cursor]
        return _page(left, asked.page_size, _cursor_of_topic)

    async def place_hold(self, principal: Principal, asked: HoldAsked) -> Appended:
        """Place a hold: from its commit on no message it covers passes.

        Raises:
            ExhaustedError: LIMIT_REACHED.
        """
        context = self.enter("PlaceHold", principal, asked.call.tenant)

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.hold_placed(context.tenant.tenant_id, outcome, asked.origin)

        act = PlaceHold(hold=replace(asked.hold, hold_id=self.new_hold_id()), origin=asked.origin)
        return await self.append(context, "PlaceHold", asked.call, act, encode_answer)

    async def lift_hold(self, principal: Principal, asked: EndAsked) -> Appended:
        """Lift a hold: exactly what stood before stands again.

        Raises:
            NotFoundError: HOLD_UNKNOWN.
        """
        context = self.enter("LiftHold", principal, asked.call.tenant)

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.hold_lifted(context.tenant.tenant_id, outcome)

        act = LiftHold(hold_id=asked.name, reason=asked.reason, origin=asked.origin)
        return await self.append(context, "LiftHold", asked.call, act, encode_answer)

    async def list_holds(self, principal: Principal, asked: PageAsked) -> Page[StandingHold]:
        """Return a page of the holds that are not lifted, by revision."""
        context = self.enter("ListHolds", principal, asked.tenant)
        if asked.cursor and not (asked.cursor.isascii() and asked.cursor.isdigit()):
            raise _bad_cursor()
        after = Revision(int(asked.cursor or 0))
        standing = await self.store.standing(context.tenant.tenant_id, ())
        holds = sorted(standing.holds, key=lambda one: one.hold.revision)
        left = [one for one in holds if one.hold.revision > after]
        return _page(left, asked.page_size, lambda one: str(one.hold.revision))

    async def _set_topic(self, method: str, principal: Principal, asked: TopicAsked) -> Appended:
        context = self.enter(method, principal, asked.call.tenant)

        def encode_answer(outcome: Outcome) -> bytes:
            return outcomes.topic_set(context.tenant.tenant_id, outcome, loosens=asked.loosens)

        act = DeclareTopic(
            topic=asked.topic, origin=asked.origin, loosens=asked.loosens, reason=asked.reason
        )
        return await self.append(context, method, asked.call, act, encode_answer)


def _cursor_of_topic(topic: Topic) -> str:
    """A name after which a page goes on; the root's is not empty, which would mean the start."""
    return f"={topic.name}"


def _page(left: Sequence[T], page_size: int, cursor_of: Callable[[T], str]) -> Page[T]:
    """The first of what is left of a list, and where to go on."""
    items = tuple(left[:page_size])
    return Page(items=items, next_cursor=cursor_of(items[-1]) if len(left) > page_size else "")


def _bad_cursor() -> InvalidArgumentError:
    return invalid_field("page_token", "is not the next_page_token of a page of this list")
