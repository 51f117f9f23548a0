"""A target of webhooks that is sent a real store's log, by a receiver in this process.

    async with delivering(shop, receiver, clock) as deliverer: …

The receiver takes what a test has it take; nothing goes over a network.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from heed.model import Change, Channel, Instant, Revision, Scope
from heed_server.storage import SqlStore
from heed_server.store import Tenant
from heed_server.webhook_store import DeadLetter, Place
from heed_server.webhooks.deliverer import Deliverer
from heed_server.webhooks.events import EVENT_TYPES
from heed_server.webhooks.limits import WebhookLimits
from heed_server.webhooks.sendings import Means
from heed_server.webhooks.signing import parse_secret
from heed_server.webhooks.tail import Tail
from heed_server.webhooks.targets import Target
from heed_server.webhooks.transport import Failure
from heed_server.webhooks.wanted import Wanted
from tests.support.receiver import SECRET
from tests.support.stores import NOW, Shop, chooses, opt_out

QUICK = WebhookLimits(retry_seconds_min=0.01, retry_seconds_max=0.02)


SERVER_ERROR = Failure(why="HTTP 500")
GONE = Failure(why="HTTP 410", is_final=True)


@dataclass(frozen=True)
class Sent:
    """One attempt."""

    event_id: str
    type: str
    data: dict[str, Any]

    @property
    def revision(self) -> int:
        return int(self.data["revision"])

    @property
    def subject(self) -> str:
        return str(self.data.get("subject", ""))


@dataclass
class InProcess:
    """Takes events, or not; as a `Sender` does it."""

    judge: Callable[[Sent], "Failure | None"] = lambda _: None
    tried: list[Sent] = field(default_factory=list)
    taken: list[Sent] = field(default_factory=list)
    under_way: int = 0
    under_way_most: int = 0
    held: asyncio.Event | None = None
    """While it is there and not set, nothing is answered."""

    def __post_init__(self) -> None:
        self._came = asyncio.Condition()

    async def post(self, event_id: str, body: bytes, _now: Instant) -> Failure | None:
        event = json.loads(body)
        sent = Sent(event_id, event["type"], event["data"])
        self.under_way += 1
        self.under_way_most = max(self.under_way_most, self.under_way)
        try:
            await asyncio.sleep(0)
            if self.held is not None:
                await self.held.wait()
            failure = self.judge(sent)
        finally:
            self.under_way -= 1
        async with self._came:
            self.tried.append(sent)
            if failure is None:
                self.taken.append(sent)
            self._came.notify_all()
        return failure

    async def until(self, is_so: Callable[[], bool]) -> None:
        async with asyncio.timeout(30), self._came:
            await self._came.wait_for(is_so)

    async def until_taken(self, *revisions: int) -> None:
        """Wait until these, whatever else, were taken."""
        await self.until(lambda: set(revisions) <= {one.revision for one in self.taken})

    def order(self) -> dict[str, list[int]]:
        """By subject, without repeats, what was taken in which order."""
        told: dict[str, list[int]] = {}
        for one in self.taken:
            of_subject = told.setdefault(one.subject, [])
            if one.revision not in of_subject:
                of_subject.append(one.revision)
        return told


class Followed:
    """A tenant's log as a node follows it; a test says when it moves."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.head_revision = Revision(0)
        self._listeners: list[Any] = []

    def listen(self, listener: Any) -> None:
        self._listeners.append(listener)

    def move(self, revision: int, changes: Sequence[Change] = ()) -> None:
        self.head_revision = Revision(revision)
        for listener in self._listeners:
            listener.took(changes) if changes else listener.made_anew()

    def wake(self, revision: int) -> None:
        """Say that there is more, and not what."""
        self.head_revision = Revision(revision)


def target(name: str = "crm", *, begins_first: bool = True, **wanted: Any) -> Target:
    return Target(
        name=name,
        tenant="shop",
        url="https://crm.example.com/",
        secrets=(parse_secret(SECRET),),
        wanted=Wanted(events=wanted.pop("events", frozenset(EVENT_TYPES)), **wanted),
        begins_first=begins_first,
    )


def means(
    store: SqlStore,
    sender: InProcess,
    *,
    now: Callable[[], Instant],
    limits: WebhookLimits = QUICK,
    chance: Callable[[], float] = lambda: 1.0,
) -> Means:
    @asynccontextmanager
    async def open_sender(_: Target) -> AsyncGenerator[InProcess]:
        yield sender

    return Means(
        log=store,
        store=store.webhooks,
        open_sender=open_sender,
        now=now,
        chance=chance,
        limits=limits,
    )


async def tail_of(shop: Shop) -> Tail:
    """The tail of a shop's log, at its head."""
    tenant = next(one for one in await shop.store.tenants() if one.tenant_id == shop.tenant_id)
    followed = Followed(tenant)
    followed.head_revision = (await shop.store.head(shop.tenant_id)).revision
    return Tail(followed)  # type: ignore[arg-type]  # of a follower what a tail asks


async def moved(tail: Tail, shop: Shop) -> int:
    """Have the tail follow to the log's head."""
    head = await shop.store.head(shop.tenant_id)
    before = tail.follower.head_revision
    changes = await shop.store.read_changes(shop.tenant_id, before, 10_000)
    tail.follower.head_revision = head.revision
    tail.took(changes)
    return head.revision


@asynccontextmanager
async def running(deliverer: Deliverer) -> AsyncGenerator[Deliverer]:
    """It runs within the block; in the end it keeps what it delivered, as in an orderly stop."""
    task = asyncio.create_task(deliverer.run())
    try:
        yield deliverer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def changed(shop: Shop, *names: str) -> None:
    for number, name in enumerate(names):
        scope = Scope(channel=Channel.EMAIL, topic=f"news.t{number % 5}")
        await shop.ask(chooses(name, choices=(opt_out(scope),)))


async def made(
    shop: Shop, sender: InProcess, *, limits: WebhookLimits = QUICK, **wanted: Any
) -> Deliverer:
    tail = await tail_of(shop)

    def clock() -> Instant:
        return Instant(NOW + round(asyncio.get_running_loop().time() * 1_000_000))

    return Deliverer(target(**wanted), tail, means(shop.store, sender, now=clock, limits=limits))


async def log_of(shop: Shop) -> dict[str, list[int]]:
    """What each subject's events are, as the log has them."""
    found: dict[str, list[int]] = {}
    for change in await shop.store.read_changes(shop.tenant_id, Revision(0), 10_000):
        subject = "" if change.subject is None else change.subject.hex()
        found.setdefault(subject, []).append(change.revision)
    return found


async def letters_of(store: SqlStore, place: Place) -> tuple[DeadLetter, ...]:
    page = await store.webhooks.dead_letters(place, "", 100)
    return () if page is None else page.letters


async def until_dead(shop: Shop, place: Place, count: int = 1) -> None:
    """Wait until so many dead letters are kept; nothing tells of it."""
    async with asyncio.timeout(30):
        while len(await letters_of(shop.store, place)) < count:
            pass


async def until_noted(shop: Shop, place: Place, revision: int) -> None:
    """Wait until it is kept that a target stands there; nothing tells of it."""
    async with asyncio.timeout(30):
        while True:
            (told,) = await shop.store.webhooks.targets(place.tenant_id)
            if told.position.revision == revision:
                return
