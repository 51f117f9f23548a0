"""Tiles and signed checkpoints: what the verifiable log keeps beside the log's own rows.

Laws:
- A signed checkpoint is replaced only where it still is the one that the new one was grown from;
  its row is locked before that is looked at.
- Only full tiles have rows; a partial one is made of what is beneath it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from heed.audit.tiles import TILE_WIDTH, FullTile, Tile
from heed.model import Instant, Revision, TenantId
from heed.proof import HASH_BYTES
from heed_server.storage.schema import changes, checkpoints, kept_checkpoints, tiles
from heed_server.store import LogDamagedError
from heed_server.tree_store import Hashes, KeptCheckpoint, Leaf, LoggedChange, Signed

KEEP_MICROSECONDS: Final = 3_600_000_000
"""From one checkpoint that is kept to the next. Lower: more rows, of 300 bytes, for ever."""

_LEAF_COLUMNS = (
    changes.c.revision,
    changes.c.entry,
    changes.c.leaf_hash,
    changes.c.running_hash,
)
_LOGGED_COLUMNS = (*_LEAF_COLUMNS, changes.c.salt, changes.c.subject, changes.c.content)


def read_leaves(
    connection: Connection, tenant_id: TenantId, after: Revision, limit: int
) -> list[Leaf]:
    """Return up to so many leaves after a revision, ascending."""
    rows = connection.execute(
        select(*_LEAF_COLUMNS)
        .where(changes.c.tenant_id == tenant_id, changes.c.revision > after)
        .order_by(changes.c.revision)
        .limit(limit)
    )
    return [Leaf(*row) for row in rows]


def read_changes(
    connection: Connection, tenant_id: TenantId, after: Revision, limit: int
) -> list[LoggedChange]:
    """Return up to so many changes after a revision, ascending."""
    rows = connection.execute(
        select(*_LOGGED_COLUMNS)
        .where(changes.c.tenant_id == tenant_id, changes.c.revision > after)
        .order_by(changes.c.revision)
        .limit(limit)
    )
    return [_logged(row) for row in rows]


def read_change(
    connection: Connection, tenant_id: TenantId, revision: Revision
) -> LoggedChange | None:
    """Return one change; None: there is none."""
    row = connection.execute(
        select(*_LOGGED_COLUMNS).where(
            changes.c.tenant_id == tenant_id, changes.c.revision == revision
        )
    ).first()
    return None if row is None else _logged(row)


def read_signed(connection: Connection, tenant_id: TenantId) -> Signed | None:
    """Return the last signed checkpoint of a tenant's log; None: there is none yet."""
    return _signed(connection, tenant_id, is_locked=False)


def read_tiles(
    connection: Connection, tenant_id: TenantId, wanted: Sequence[Tile]
) -> Mapping[Tile, Hashes]:
    """Return the hashes of tiles. Raises LogDamagedError where one is not there whole."""
    found: dict[Tile, Hashes] = {}
    for tile in wanted:
        is_full = tile.width == TILE_WIDTH
        hashes = (
            _full(connection, tenant_id, tile) if is_full else _partial(connection, tenant_id, tile)
        )
        if len(hashes) != tile.width:
            raise LogDamagedError(
                f"{tile.path} of tenant {tenant_id} has {len(hashes)} hashes and not {tile.width}"
            )
        found[tile] = hashes
    return found


def put_signed(
    connection: Connection,
    signed: Signed,
    full: Sequence[FullTile],
    instead_of: Signed | None,
    now: Instant,
) -> bool:
    """Put a checkpoint in the place of another, with the tiles now full; False: it is not there."""
    if _signed(connection, signed.tenant_id, is_locked=True) != instead_of:
        return False
    said = {
        "size": signed.size,
        "running_hash": signed.running_hash,
        "note": signed.note,
        "sign_time": now,
    }
    if instead_of is None:
        try:
            with connection.begin_nested():
                connection.execute(insert(checkpoints).values(tenant_id=signed.tenant_id, **said))
        except IntegrityError:
            return False  # another node was quicker
    else:
        connection.execute(
            update(checkpoints).where(checkpoints.c.tenant_id == signed.tenant_id).values(**said)
        )
    if full:
        connection.execute(
            insert(tiles),
            [
                {
                    "tenant_id": signed.tenant_id,
                    "level": one.tile.level,
                    "number": one.tile.number,
                    "root": one.root,
                    "hashes": b"".join(one.hashes),
                }
                for one in full
            ],
        )
    _keep_one_an_hour(connection, signed, now)
    return True


def read_kept(connection: Connection, tenant_id: TenantId, limit: int) -> list[KeptCheckpoint]:
    """Return the last checkpoints that were kept, the newest first."""
    rows = connection.execute(
        select(kept_checkpoints.c.sign_time, kept_checkpoints.c.note)
        .where(kept_checkpoints.c.tenant_id == tenant_id)
        .order_by(kept_checkpoints.c.sign_time.desc())
        .limit(limit)
    )
    return [KeptCheckpoint(*row) for row in rows]


def _keep_one_an_hour(connection: Connection, signed: Signed, now: Instant) -> None:
    last = read_kept(connection, signed.tenant_id, 1)
    if last and now < last[0].sign_time + KEEP_MICROSECONDS:
        return
    connection.execute(
        insert(kept_checkpoints).values(tenant_id=signed.tenant_id, sign_time=now, note=signed.note)
    )


def _logged(row: Sequence[Any]) -> LoggedChange:
    return LoggedChange(Leaf(*row[:4]), *row[4:])


def _signed(connection: Connection, tenant_id: TenantId, *, is_locked: bool) -> Signed | None:
    statement = select(
        checkpoints.c.tenant_id,
        checkpoints.c.size,
        checkpoints.c.running_hash,
        checkpoints.c.note,
    ).where(checkpoints.c.tenant_id == tenant_id)
    row = connection.execute(statement.with_for_update() if is_locked else statement).first()
    return None if row is None else Signed(*row)


def _full(connection: Connection, tenant_id: TenantId, tile: Tile) -> Hashes:
    content = connection.execute(
        select(tiles.c.hashes).where(
            tiles.c.tenant_id == tenant_id,
            tiles.c.level == tile.level,
            tiles.c.number == tile.number,
        )
    ).scalar()
    if content is None:
        return ()
    return [bytes(content[at : at + HASH_BYTES]) for at in range(0, len(content), HASH_BYTES)]


def _partial(connection: Connection, tenant_id: TenantId, tile: Tile) -> Hashes:
    """The beginning of a tile: leaf hashes of the log, or the roots of the tiles beneath."""
    first = tile.number * TILE_WIDTH
    if tile.level == 0:
        column, number = changes.c.leaf_hash, changes.c.revision
        first += 1
        where = [changes.c.tenant_id == tenant_id]
    else:
        column, number = tiles.c.root, tiles.c.number
        where = [tiles.c.tenant_id == tenant_id, tiles.c.level == tile.level - 1]
    rows = connection.execute(
        select(column).where(*where, number >= first, number < first + tile.width).order_by(number)
    )
    return [bytes(row[0]) for row in rows]
