"""API keys in memory, as a store keeps them."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from heed.errors import UnavailableError
from heed.model import Instant
from heed_server.auth.keys import make_key
from heed_server.auth.policy import Right
from heed_server.key_store import ApiKey

NOW = Instant(1_790_000_000_000_000)


class KeptKeys:
    """Keys in memory; `is_away` is the broken network."""

    def __init__(self) -> None:
        self.kept: dict[str, ApiKey] = {}
        self.is_away = False
        self.reads: asyncio.Queue[None] = asyncio.Queue()

    async def put_api_key(self, key: ApiKey) -> None:
        self.kept[key.key_id] = key

    async def api_keys(self) -> Sequence[ApiKey]:
        self.reads.put_nowait(None)
        if self.is_away:
            raise UnavailableError("away")
        return list(self.kept.values())

    async def api_key(self, key_id: str) -> ApiKey | None:
        return self.kept.get(key_id)

    async def revoke_api_key(self, key_id: str, at: Instant) -> bool:
        if key_id not in self.kept:
            return False
        self.kept[key_id] = replace(self.kept[key_id], revoke_time=at)
        return True


_seeds = count(1)


def new_key(
    *,
    rights: Sequence[Right] = (Right.CHECK,),
    tenant: str = "",
    expire_time: Instant | None = None,
) -> tuple[str, ApiKey]:
    """Return the text of a key, another one each time, and what is kept of it."""
    seed = next(_seeds)
    text, parsed = make_key(lambda size: seed.to_bytes(size, "big"))
    key = ApiKey(
        key_id=parsed.key_id,
        secret_hash=parsed.secret_hash,
        name="mailer",
        rights=frozenset(rights),
        tenant=tenant,
        create_time=NOW,
        expire_time=expire_time,
    )
    return text, key
