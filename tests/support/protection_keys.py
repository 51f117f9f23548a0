"""Under which lookup keys the people of the machine of all write paths stand, for the tests alone.

As a node does it: a write brings every key that may be a person's, and whoever stands under an older
one is moved (ADR 0042).
"""

from collections.abc import Sequence
from dataclasses import replace

from heed.acts import Act, KeyedSubject, Move, RekeySubjects, with_keys
from heed.keys import LookupKeys
from heed.model import Change, ChangeKind, Method, Record, SubjectKey
from heed_server.primary.lookup_keys import replace_lookup_key
from tests.support.protection_words import NAMES
from tests.support.stores import Asked, Shop, keyed, origin

LOOKUP_KEYS_MAX = 3


class PeopleKeys:
    """The keys of everybody, in the store that a shop is of."""

    lookup: LookupKeys

    def __init__(self, shop: Shop) -> None:
        """`learn` comes first."""
        self._shop = shop
        self._owners: dict[SubjectKey, str] = {}
        """Also of keys under lookup keys that a restore lost."""

    async def learn(self) -> None:
        """Read the lookup keys, as a node does that meets one, or another life of the store."""
        self.lookup = LookupKeys(await self._shop.store.lookup_keys(self._shop.tenant_id))
        self._owners |= {key: name for name in NAMES for key in self.of(name)}

    def of(self, name: str) -> tuple[SubjectKey, ...]:
        """Every key of a person, that of the newest lookup key first."""
        return self.lookup.all_of(keyed(name).subject)

    def of_all(self) -> list[SubjectKey]:
        """Every key of everybody, person by person."""
        return [key for name in NAMES for key in self.of(name)]

    def owner(self, key: SubjectKey | None) -> str:
        """Whose key it is, or was."""
        assert key is not None
        return self._owners[key]

    async def append(self, act: Act, key: str) -> Asked:
        """Write as the service does."""
        write, outcomes = self._shop.write(act, key=key)
        newest = {keyed(name).key: self.of(name)[0] for name in NAMES}
        said = replace(
            write,
            act=with_keys(act, newest),
            lookup_key_id=self.lookup.newest_id,
            older_keys={self.of(name)[0]: self.of(name)[1:] for name in NAMES},
        )
        return Asked(await self._shop.store.append(said), outcomes)

    async def replace(self) -> None:
        """Begin another lookup key."""
        await replace_lookup_key(self._shop.store, self._shop.tenant_id, "a leak")
        await self.learn()

    async def move(self, limit: int) -> None:
        """Move so many of those who are readable under the newest lookup key."""
        store, tenant_id = self._shop.store, self._shop.tenant_id
        newest = self.lookup.newest_id
        moves = tuple(
            Move(KeyedSubject(self.lookup.key(one.subject), one.subject), one.previous)
            for one in await store.moves.movable(tenant_id, newest, b"", limit)
        )
        by = origin(Method.OPERATOR)
        write, _ = self._shop.write(RekeySubjects(key_id=newest, moves=moves, origin=by))
        await store.append(write)
        assert limit < len(NAMES) or not await store.are_movable(tenant_id, newest)

    async def erase_time(self, name: str) -> int:
        """When a person's last erasure was committed."""
        times = [int(one.commit_time) for one in await self._changes(name) if one.erasure]
        assert times, f"{name} was not erased again"
        return max(times)

    async def release_time(self, record: Record, name: str) -> int:
        """When the release of a record was committed: the last of its slot in the log."""
        return max(
            int(one.commit_time)
            for one in await self._changes(name)
            if one.kind is ChangeKind.RELEASE and one.record == record
        )

    async def _changes(self, name: str) -> Sequence[Change]:
        store, tenant_id = self._shop.store, self._shop.tenant_id
        return await store.changes_of(tenant_id, self.of(name), limit=10_000)
