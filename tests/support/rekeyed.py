"""People of a tenant that has several lookup keys, as a node asks about them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from heed.acts import (
    Act,
    AddProtections,
    EraseSubjects,
    KeyedSubject,
    PersonChoices,
    Protection,
    ReleaseSuppression,
    SetPreferences,
    subjects_of,
)
from heed.keys import LookupKeys
from heed.model import (
    Cause,
    Change,
    Channel,
    Choice,
    Method,
    Origin,
    Reach,
    Record,
    Scope,
    Subject,
    SubjectKey,
    SubjectType,
)
from heed_server.primary.lookup_keys import replace_lookup_key
from heed_server.writes import Appended
from tests.support.stores import FakeClock, Shop, opt_in, opt_out, origin, pause

BOUNCES = Scope(channel=Channel.EMAIL)


@dataclass
class People:
    """People as a node that knows the tenant's lookup keys of a moment asks about them."""

    shop: Shop
    lookup: LookupKeys

    @classmethod
    async def of(cls, shop: Shop) -> "People":
        return cls(shop, LookupKeys(await shop.store.lookup_keys(shop.tenant_id)))

    def keyed(self, name: str) -> KeyedSubject:
        return KeyedSubject(self.lookup.key(subject(name)), subject(name))

    def keys(self, name: str) -> tuple[SubjectKey, ...]:
        return self.lookup.all_of(subject(name))

    async def append(self, act: Act) -> Appended:
        write, _ = self.shop.write(act)
        named = subjects_of(act)
        return await self.shop.store.append(
            dataclasses.replace(
                write,
                lookup_key_id=self.lookup.newest_id,
                older_keys={one.key: self.lookup.older_of(one.subject) for one in named},
            )
        )

    async def choose(
        self, name: str, *choices: Choice, by: Origin | None = None, batch: str = ""
    ) -> Appended:
        person = PersonChoices(
            subjects=(self.keyed(name),), choices=choices or (opt_out(),), origin=by or origin()
        )
        return await self.append(SetPreferences(people=(person,), batch_id=batch))

    async def suppress(
        self, name: str, cause: Cause = Cause.BOUNCE, *, batch: str = ""
    ) -> Appended:
        one = Protection(self.keyed(name), cause, Reach.ALL, BOUNCES, None)
        return await self.append(
            AddProtections(
                protections=(one,),
                origin=origin(Method.IMPORT),
                batch_id=batch,
                skips_unchanged=bool(batch),
            )
        )

    async def release(self, name: str) -> Appended:
        return await self.append(
            ReleaseSuppression(
                subject=self.keyed(name),
                cause=Cause.BOUNCE,
                scopes=(BOUNCES,),
                reason="reachable again",
                origin=origin(Method.OPERATOR),
            )
        )

    async def erase(self, name: str) -> Appended:
        keys = self.keys(name)
        appended = await self.append(EraseSubjects(keys=keys, origin=origin(Method.OPERATOR)))
        await self.shop.store.finish_erasure(self.shop.tenant_id, keys)
        return appended

    async def records(self, name: str) -> list[Record]:
        standing = await self.shop.store.standing(self.shop.tenant_id, self.keys(name))
        return [one.record for one in standing.records]

    async def standing_key(self, name: str) -> set[SubjectKey]:
        standing = await self.shop.store.standing(self.shop.tenant_id, self.keys(name))
        return {one.key for one in standing.records}

    async def history(self, name: str) -> Sequence[Change]:
        return await self.shop.store.changes_of(self.shop.tenant_id, self.keys(name), limit=1_000)


def subject(name: str) -> Subject:
    return Subject(type=SubjectType.EMAIL, value=f"{name}@example.com")


async def replace_key(shop: Shop) -> People:
    """Begin another lookup key; people as they are looked up from then on."""
    await replace_lookup_key(shop.store, shop.tenant_id, "laptop stolen")
    return await People.of(shop)


async def told(people: People, clock: FakeClock) -> None:
    """Everything that can stand for somebody stands for ada; bob, cleo and dan have an opt-out."""
    await people.choose("ada", opt_in(), by=origin(decided=clock.ago(60)))
    await people.choose("ada", opt_out(), by=origin(decided=clock.ago(50)))
    await people.choose("ada", pause(clock.ahead(100)))
    await people.suppress("ada", Cause.LEGAL)
    await people.suppress("ada")
    await people.release("ada")
    for name in ("bob", "cleo", "dan"):
        await people.choose(name)
