"""Signing the logs of a store, and proving what is in them."""

from collections.abc import Mapping

from heed.audit.checkpoints import Checkpoint, origin_of
from heed.audit.exports import CHECKPOINT_PATH
from heed.audit.notes import VerifierKey
from heed.audit.tiles import ENTRIES, Tile
from heed.model import Revision, TenantId
from heed_server.audit import AuditLimits, KeyOf, Prover, Signer
from heed_server.storage import SqlStore
from tests.support.logged import tiles_of
from tests.support.stores import Shop, imports, protection

SEED = bytes(range(32))
KEY = KeyOf(SEED)


def signer_of(
    store: SqlStore,
    standing: Mapping[TenantId, int] | None = None,
    *,
    holder: str = "node-1",
    key: KeyOf = KEY,
) -> Signer:
    return Signer(
        store,
        store,
        key,
        epoch=lambda: store.epoch,
        holder=holder,
        standing=lambda: [(one, Revision(at)) for one, at in (standing or {}).items()],
        boot_seconds=lambda: 0.0,
        limits=AuditLimits(),
    )


class Hurried:
    """A boot clock on which every wait is over at once."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def __call__(self) -> float:
        self._seconds += 60
        return self._seconds


def prover_of(store: SqlStore) -> Prover:
    return Prover(store, KEY, boot_seconds=Hurried())


def key_of(store: SqlStore, shop: Shop) -> VerifierKey:
    return KEY(origin_of(store.epoch, shop.tenant_id)).verifier


async def fill(shop: Shop, count: int) -> None:
    """So many changes, in few transactions."""
    at = int((await shop.store.head(shop.tenant_id)).revision)
    while count:
        some = min(count, 500)
        await shop.ask(imports(*(protection(f"p{at + n}", row=n) for n in range(some))))
        at, count = at + some, count - some


async def export(prover: Prover, shop: Shop, checkpoint: Checkpoint, note: str) -> dict[str, bytes]:
    """Every file of a log, as an auditor fetches them."""
    files = {CHECKPOINT_PATH: note.encode()}
    for tile in tiles_of(checkpoint.size):
        files[tile.path] = await prover.tile(shop.tenant_id, tile.path)
        if tile.level == 0:
            entries = Tile(ENTRIES, tile.number, tile.width).path
            files[entries] = await prover.tile(shop.tenant_id, entries)
    return files
