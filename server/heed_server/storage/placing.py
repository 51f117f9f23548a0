"""Putting a restored SQLite database in its place, with what stood there set aside.

    heed.db.restoring            being written; a crash leaves it, and the next restore begins anew
    heed.db.restored-TIME        whole; from here on no server starts before it is in its place
    heed.db.set-aside-TIME*      what stood there before: the database, with its WAL

Laws:
- Nothing is deleted but a draft that was never whole.
- A database and its WAL are never parted where a server could open one of them alone: while a
  restored database waits, none starts, and the next `heed-server restore` first finishes the move.
"""

from pathlib import Path

from heed_server.durable import sync_folder
from heed_server.storage.errors import store_unavailable

_WITH_IT = ("-wal", "-shm", "")
"""What belongs to a database, itself last."""


def draft_of(database: Path) -> Path:
    """Return where a database is written before it is whole."""
    return database.with_name(f"{database.name}.restoring")


def require_no_restore(database: Path) -> None:
    """Refuse to open a database whose restore was broken off between two renames.

    Raises:
        UnavailableError: one waits to be put in its place.
    """
    waiting = _waiting(database)
    if waiting is not None:
        raise store_unavailable(
            f"a restore was broken off: {waiting} is not in its place yet; "
            "run `heed-server restore` again, which finishes it"
        )


def is_waiting(database: Path) -> bool:
    """Whether a restored database waits to be put in its place."""
    return _waiting(database) is not None


def finish_waiting(database: Path) -> Path | None:
    """Put a restored database that waits in its place; return what it was, None if none waited.

    Raises:
        OSError: it cannot be; the next call goes on where this one ended.
    """
    waiting = _waiting(database)
    if waiting is not None:
        _move(waiting, database)
    return waiting


def put_in_place(draft: Path, database: Path, time_name: str) -> Path | None:
    """Put a whole, fsynced draft in its place; return where what stood there is now, if anything.

    Raises:
        OSError: it cannot be; `finish_waiting` goes on where this one ended.
    """
    waiting = database.with_name(f"{database.name}.restored-{time_name}")
    draft.rename(waiting)
    sync_folder(database.parent)
    return _move(waiting, database)


def _move(waiting: Path, database: Path) -> Path | None:
    aside = database.with_name(f"{database.name}.set-aside-{waiting.name.rpartition('-')[2]}")
    for ending in _WITH_IT:
        there = database.with_name(database.name + ending)
        if there.exists():
            there.rename(aside.with_name(aside.name + ending))
    sync_folder(database.parent)
    waiting.rename(database)
    sync_folder(database.parent)
    return aside if aside.exists() else None


def _waiting(database: Path) -> Path | None:
    return next(iter(sorted(database.parent.glob(f"{database.name}.restored-*"))), None)
