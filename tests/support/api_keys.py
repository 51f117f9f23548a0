"""API keys of a server in the test's process."""

from heed_server.auth.credentials import Authenticator
from heed_server.auth.keys import make_key
from heed_server.key_store import ApiKey
from heed_server.storage import SqlStore, SystemClock


class Keys:
    """API keys of a server that asks for them, which this is the `authenticator` of."""

    def __init__(self) -> None:
        self.authenticator: Authenticator | None = None
        self._store: SqlStore | None = None
        self._made = 0
        self._of: dict[tuple[frozenset[str], str], str] = {}

    def __call__(self, store: SqlStore) -> Authenticator:
        clock = SystemClock()
        self._store = store
        self.authenticator = Authenticator(
            store,
            is_required=True,
            keys_kept_seconds=900,
            now=clock.now,
            boot_seconds=clock.boot,
        )
        return self.authenticator

    async def make(self, *rights: str, tenant: str = "") -> tuple[str, str]:
        """Return a new key and its id."""
        assert self._store is not None
        self._made += 1
        text, parsed = make_key(self._made.to_bytes)
        await self._store.put_api_key(
            ApiKey(
                key_id=parsed.key_id,
                secret_hash=parsed.secret_hash,
                name=f"key {self._made}",
                rights=frozenset(rights),
                tenant=tenant,
                create_time=SystemClock().now(),
            )
        )
        await self.refresh()
        return text, parsed.key_id

    async def of(self, *rights: str, tenant: str = "") -> str:
        """Return a key with exactly these rights, the same one each time."""
        wanted = (frozenset(rights), tenant)
        if wanted not in self._of:
            self._of[wanted], _ = await self.make(*rights, tenant=tenant)
        return self._of[wanted]

    async def revoke(self, key_id: str) -> None:
        """Revoke one, and let the server notice."""
        assert self._store is not None
        await self._store.revoke_api_key(key_id, SystemClock().now())
        await self.refresh()

    async def refresh(self) -> None:
        """Let the server read which keys there are."""
        assert self.authenticator is not None
        await self.authenticator.refresh()
