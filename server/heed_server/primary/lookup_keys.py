"""Replacing a tenant's lookup key: another one begins, and all who are readable are moved under it.

Laws:
- It may be cancelled or killed at any moment: what is left to be moved is looked for anew, at the
  next start and from time to time (ADR 0042).
- Checks and writes go on meanwhile; opt-outs go before every group that is moved.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable

import structlog

from heed.acts import AddLookupKey, KeyedSubject, Move, RekeySubjects
from heed.errors import HeedError
from heed.keys import LOOKUP_KEY_BYTES, LookupKey, LookupKeys
from heed.model import Method, Origin, TenantId
from heed_server.service import Tenants
from heed_server.storage import SqlStore
from heed_server.writes import Write

MOVED_AT_ONCE = 200
"""Subjects moved in one transaction. Higher: a choice that comes meanwhile waits longer, some
0.1 ms for each. Lower: more transactions."""

LOOK_SECONDS = 1.0
"""How soon after a lookup key was replaced subjects begin to be moved."""

PASS_SECONDS = 600.0
"""How often it is looked for readable subjects under an older key, once all were moved: whoever was
erased and consents again is readable again. Higher: they stand under it for longer. Lower: all
addresses are gone through more often."""

LEASE_SECONDS = 10.0
"""For how long one node of a database is to be the one that looks."""

_ORIGIN = Origin(source="heed-server", method=Method.OPERATOR)

_log = structlog.stdlib.get_logger("heed_server.primary")


async def replace_lookup_key(store: SqlStore, tenant_id: TenantId, reason: str) -> int:
    """Begin another lookup key, and return its id; of two calls at once both tell the same one.

    Raises:
        SecretsError: the root keys are not those of this database, or not of today.
        HeedError: as `Store.append`.
    """
    newest = (await store.head(tenant_id)).lookup_key_id
    key = LookupKey(newest + 1, secrets.token_bytes(LOOKUP_KEY_BYTES))
    name = f"ReplaceLookupKey:{key.key_id}"
    await store.append(
        Write(
            tenant_id=tenant_id,
            idempotency_key=name,
            payload_hash=hashlib.sha256(name.encode()).digest(),
            act=AddLookupKey(key=key, reason=reason, origin=_ORIGIN),
            encode_answer=lambda _: b"",
        )
    )
    return key.key_id


async def move_subjects(store: SqlStore, tenant_id: TenantId) -> int:
    """Move all who are readable under the newest lookup key, and return how many were found.

    Raises:
        SecretsError: an address cannot be decrypted.
        HeedError: as `Store.append`.
    """
    lookup = LookupKeys(await store.lookup_keys(tenant_id))
    count, after = 0, b""
    while found := await store.moves.movable(tenant_id, lookup.newest_id, after, MOVED_AT_ONCE):
        moves = tuple(
            Move(KeyedSubject(lookup.key(one.subject), one.subject), one.previous) for one in found
        )
        # By a name of its own: what was found is looked at again, and moved again is nobody.
        name = f"RekeySubjects:{secrets.token_hex(16)}"
        await store.append(
            Write(
                tenant_id=tenant_id,
                idempotency_key=name,
                payload_hash=hashlib.sha256(name.encode()).digest(),
                act=RekeySubjects(key_id=lookup.newest_id, moves=moves, origin=_ORIGIN),
                encode_answer=lambda _: b"",
            )
        )
        count, after = count + len(found), found[-1].previous
    return count


async def keep_moved(
    store: SqlStore,
    tenants: Tenants,
    holder: str,
    *,
    seconds: Callable[[], float] = time.monotonic,
) -> None:
    """Move whoever is readable and stands under an older lookup key, of every tenant.

    Of the nodes of one database one does it; two would do no harm.
    """
    passed: dict[TenantId, tuple[int, float]] = {}
    while True:
        for context in tenants.all():
            key_id, now = context.lookup.newest_id, seconds()
            last_id, last_at = passed.get(context.tenant_id, (1, now))
            if key_id == 1 or (key_id == last_id and now - last_at < PASS_SECONDS):
                continue
            try:
                if await store.take_lease("lookup keys", holder, LEASE_SECONDS):
                    count = await move_subjects(store, context.tenant_id)
                    if count:
                        _log.info("subjects_moved", tenant=context.name, key=key_id, count=count)
                    passed[context.tenant_id] = key_id, now
            except HeedError as error:
                _log.warning("subjects_not_moved", tenant=context.name, why=error.message)
        await asyncio.sleep(LOOK_SECONDS)
