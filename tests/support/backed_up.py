"""A database with something of everything in it, its backup, and how that is restored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from heed.model import Cause, Channel, Head, Instant, Topic, TopicClass
from heed_server.backup.file import BackupReader
from heed_server.backup.restoring import Back, restore_backup
from heed_server.backup.taking import Taken, take_backup
from heed_server.erasures import Erased
from heed_server.key_store import ApiKey
from heed_server.revocations import Revoked
from heed_server.storage import SqlStore, StorageLimits, SystemClock
from tests.support.roots import root_file_for
from tests.support.stores import (
    Database,
    Shop,
    adds,
    chooses,
    declares,
    imports,
    new_shop,
    opt_in,
    origin,
    places,
    protection,
    releases,
)

LIMITS = StorageLimits()
NOW = SystemClock().now
SECURITY = Topic(
    name="security",
    topic_class=TopicClass.MANDATORY,
    mandatory_channels=frozenset({Channel.EMAIL}),
)


async def fill(store: SqlStore) -> Shop:
    """Write something of everything."""
    shop = await new_shop(store)
    await new_shop(store, "other")
    await shop.ask(chooses("ada", "ada.home"))
    await shop.ask(chooses("bob", choices=(opt_in(),), by=origin(decided=NOW() - 1_000_000)))
    await shop.ask(adds(protection("cy"), protection("dan", Cause.COMPLAINT)))
    await shop.ask(releases("cy"))
    await shop.ask(imports(*(protection(f"p{number}", Cause.NONE) for number in range(50))))
    await shop.ask(declares(SECURITY))
    await shop.ask(places("hold-1"))
    await store.put_api_key(
        ApiKey(
            key_id="k" * 12,
            secret_hash=b"h" * 32,
            name="mailer",
            rights=frozenset({"check"}),
            tenant="shop",
            create_time=Instant(1),
        )
    )
    return shop


@dataclass
class Kept:
    """A database, a backup of it, and what stood in it."""

    database: Database
    shop: Shop
    head: Head
    taken: Taken


async def keep(database: Database, shop: Shop, file: Path) -> Kept:
    """Back a database up as it stands."""
    head = await shop.store.head(shop.tenant_id)
    taken = await take_backup(database.url, file, now=NOW(), limits=LIMITS)
    return Kept(database, shop, head, taken)


def root_of(kept: Kept) -> Path:
    """The root keys of the database that was kept: without them a backup cannot be read."""
    return root_file_for(kept.database.url) or kept.database.folder / "heed.db.root"


async def restore(
    kept: Kept,
    to: Database,
    *,
    erased: Sequence[Erased] = (),
    revoked: Sequence[Revoked] = (),
    sets_aside: bool = False,
) -> Back:
    return await restore_backup(
        to.url,
        BackupReader(kept.taken.path),
        erased=erased,
        revoked=revoked,
        sets_aside=sets_aside,
        now=NOW(),
        limits=LIMITS,
    )
