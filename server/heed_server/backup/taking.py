"""Taking a backup: every table, in one view of a database that servers go on using."""

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from heed.model import Instant
from heed_server.backup.file import BackupWriter, Manifest, ManifestLog
from heed_server.storage import StorageLimits
from heed_server.storage.copying import copied_columns
from heed_server.storage.ways_back import StoreView, open_view


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A backup that was taken."""

    path: Path
    bytes: int
    manifest: Manifest


def name_of_time(at: Instant) -> str:
    """Return an instant as it stands in the names of files: `20261126T220000Z`."""
    return f"{datetime.fromtimestamp(at / 1_000_000, UTC):%Y%m%dT%H%M%SZ}"


def file_for(to: Path, now: Instant) -> Path:
    """Return the file that is meant: the one named, or one named by the time in a folder."""
    return to / f"heed-{name_of_time(now)}.backup" if to.is_dir() else to


async def take_backup(url: str, path: Path, *, now: Instant, limits: StorageLimits) -> Taken:
    """Write a backup to a file.

    Raises:
        InvalidArgumentError: the file is there already, or the URL is of no database.
        UnavailableError: the database cannot be read, or the file not be written; nothing is left.
    """
    async with open_view(url, limits=limits) as view:
        writer = BackupWriter(path)
        try:
            for table in view.tables:
                columns = tuple(str(column.name) for column in copied_columns(table))
                name = str(table.name)
                writer.begin(name, columns)
                async for rows in view.rows(table):
                    writer.add(name, rows)
            manifest = writer.finish(_manifest(view, now))
        except BaseException:
            writer.abandon()
            raise
    return Taken(path=path, bytes=writer.bytes, manifest=manifest)


def _manifest(view: StoreView, now: Instant) -> Manifest:
    facts = view.facts
    return Manifest(
        heed_version=version("heed-server"),
        schema_version=facts.schema_version,
        database=view.kind,
        epoch=facts.epoch.hex(),
        taken_us=now,
        logs=tuple(
            ManifestLog(
                tenant_id=log.tenant_id,
                name=log.name,
                revision=log.revision,
                running_hash=log.running_hash.hex(),
            )
            for log in facts.logs
        ),
        tables=(),
    )
