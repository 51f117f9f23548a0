"""Restoring a backup: verified before, while, and after it is written; of a new epoch, held."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from heed.errors import invalid_field
from heed.model import Instant, Revision, TenantId
from heed_server.backup.file import BackupReader, Manifest, Rows
from heed_server.backup.taking import name_of_time
from heed_server.erasures import Erased, read_ledger
from heed_server.ledgers import LedgerUnreadableError
from heed_server.revocations import Revoked, read_revocations
from heed_server.storage import StorageLimits
from heed_server.storage.copying import LogEnd
from heed_server.storage.restoring import Restored
from heed_server.storage.ways_back import restore_store

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Back:
    """What a restore brought back."""

    manifest: Manifest
    restored: Restored
    set_aside: Path | None
    """Where what stood there before is now."""


class FileCopy:
    """A backup's file as the copy that storage restores."""

    def __init__(self, reader: BackupReader) -> None:
        manifest = reader.manifest
        self.schema_version = manifest.schema_version
        self.logs = tuple(
            LogEnd(
                tenant_id=TenantId(log.tenant_id),
                name=log.name,
                revision=Revision(log.revision),
                running_hash=bytes.fromhex(log.running_hash),
            )
            for log in manifest.logs
        )
        self._reader = reader

    def parts(self) -> Iterable[Rows]:
        """Yield all rows, in the order in which they were written."""
        return self._reader.rows()


def erased_in(ledger: Path) -> list[Erased]:
    """Return who is in a ledger of erasures.

    Raises:
        InvalidArgumentError: it is none, or cannot be read.
    """
    return _read(ledger, read_ledger, "erasures")


def revoked_in(ledger: Path) -> list[Revoked]:
    """Return which keys are in a ledger of revocations. Raises: as `erased_in`."""
    return _read(ledger, read_revocations, "revocations")


async def restore_backup(
    url: str,
    reader: BackupReader,
    *,
    erased: Sequence[Erased],
    revoked: Sequence[Revoked] = (),
    sets_aside: bool,
    now: Instant,
    limits: StorageLimits,
) -> Back:
    """Restore a verified backup into a database.

    Raises:
        HeedError: as `restore_store`; what stood there stands.
    """
    manifest = reader.manifest
    taken = datetime.fromtimestamp(manifest.taken_us / 1_000_000, UTC)
    restored, set_aside = await restore_store(
        url,
        FileCopy(reader),
        reason=f"restored from the backup of {taken:%Y-%m-%d %H:%M:%S} UTC: see what was lost "
        "since, record it again, then lift this hold",
        erased=erased,
        revoked=revoked,
        time_name=name_of_time(now),
        sets_aside=sets_aside,
        limits=limits,
    )
    return Back(manifest=manifest, restored=restored, set_aside=set_aside)


def _read(ledger: Path, read: Callable[[Iterable[bytes]], Iterable[T]], what: str) -> list[T]:
    try:
        return [*read(ledger.read_bytes().splitlines(keepends=True))]
    except (OSError, LedgerUnreadableError) as error:
        said = f"{ledger} cannot be read as a ledger of {what}: {error}"
        raise invalid_field(f"--{what}", said) from error
