"""A person of whom everything is said, to be erased, and what a store then has of them."""

from heed.model import Cause, Channel, Reach, Record, Scope, SubjectKey
from heed.records import in_order
from tests.support.stores import (
    ANYTHING,
    FakeClock,
    Shop,
    adds,
    chooses,
    imports,
    opt_in,
    opt_out,
    origin,
    pause,
    places,
    protection,
    releases,
)

SMS = Scope(channel=Channel.SMS)
LIST = "list-4482"
"""A batch that ada was in. The batch itself stays known, and nothing says that she was in it."""
CANARY = "canary-7319"
"""Stands in all that is said about ada beside her choices."""


async def told_everything(shop: Shop, clock: FakeClock) -> None:
    """Ada opts out, in and out, pauses, bounces, is released and imported; bob is her neighbour."""
    said = origin(decided=clock.ago(50), source=CANARY)
    await shop.ask(chooses("bob"))
    await shop.ask(chooses("ada", choices=[opt_out(ANYTHING, Reach.ALL)], by=said))
    await shop.ask(chooses("ada", choices=[opt_in()], by=origin(decided=clock.ago(40))))
    await shop.ask(chooses("ada", choices=[opt_in(SMS)], by=origin(decided=clock.ago(40))))
    await shop.ask(chooses("ada", choices=[opt_out()], by=origin(decided=clock.ago(60))))
    await shop.ask(chooses("ada", choices=[pause(clock.ahead(100))], by=said))
    await shop.ask(adds(protection("ada", reason=CANARY)))
    await shop.ask(releases("ada"))
    await shop.ask(adds(protection("ada", Cause.LEGAL, reason=CANARY)))
    listed = protection("ada", Cause.COMPLAINT, decided=clock.ago(10))
    for _ in range(2):  # the second time is no change, and kept beside the log
        await shop.ask(imports(listed, batch=LIST))
    await shop.ask(places("hold-1"))


async def snapshot_of(shop: Shop) -> dict[SubjectKey, tuple[Record, ...]]:
    found: dict[SubjectKey, tuple[Record, ...]] = {}
    async with shop.store.snapshot(shop.tenant_id) as snapshot:
        async for batch in snapshot.records():
            for key, record in batch:
                found[key] = in_order((*found.get(key, ()), record))
    return found
