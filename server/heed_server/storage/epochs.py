"""Beginning a new life of a store, where its log may lack what was acknowledged.

Laws:
- A new epoch and the holds it opens under are of one transaction: there is none without the other.
- Every tenant's hold stops all but mandatory messages until an operator, who has seen what was
  lost, lifts it (design, sections 3.1 and 4; ADR 0035).
- Each tenant remembers the epochs before, and up to where it has their logs: by that followers know
  what they hold that it may lack (ADR 0040). Where a database was put back and only then told of,
  others may have written to it in between, so nothing is said to be there.
- Nothing is re-issued in an epoch: tokens and cursors of the one before are refused, and what was
  made from its log is made anew.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert, select, update

from heed.acts import PlaceHold
from heed.model import Hold, Instant, Method, Origin, Revision, TenantId
from heed.tokens import EPOCH_BYTES
from heed_server.secrets.root_file import RootFile
from heed_server.storage.backend import StorageLimits
from heed_server.storage.clock import ClockStart, SystemClock
from heed_server.storage.entries import RandomBytes
from heed_server.storage.group import Answered, GroupRules, append_group
from heed_server.storage.heights import Heights
from heed_server.storage.keyring import Keyring
from heed_server.storage.schema import earlier_epochs, heads, store, tenants
from heed_server.storage.statements import Dialect
from heed_server.storage.touched import group_statements
from heed_server.store import EarlierEpoch
from heed_server.writes import Write


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEpoch:
    """An epoch that was begun."""

    epoch: bytes
    hold_id: str
    """The hold of every tenant, by the same name."""
    tenants: tuple[str, ...]


def begin_epoch(
    connection: Connection,
    dialect: Dialect,
    *,
    reason: str,
    is_whole: bool,
    random_bytes: RandomBytes,
) -> NewEpoch:
    """Begin a new epoch, in the caller's transaction.

    `is_whole` says that the logs are those of the epoch before up to where they end; else nothing
    is known of what they have of it.

    Raises:
        HeedError: a hold cannot be placed; nothing must be committed.
    """
    epoch = random_bytes(EPOCH_BYTES)
    rules = rules_of_command(epoch, random_bytes)
    before = connection.execute(select(store.c.epoch)).scalar()
    if before is None:
        connection.execute(insert(store).values(id=1, epoch=epoch, create_time=rules.clock.now()))
    else:
        connection.execute(update(store).values(epoch=epoch))
        _note_earlier(connection, bytes(before), rules.clock.now(), is_whole=is_whole)
    named = connection.execute(
        select(tenants.c.tenant_id, tenants.c.name).order_by(tenants.c.tenant_id)
    ).all()
    hold_id = hold_of_epoch(epoch)
    writes = [_write(TenantId(tenant_id), hold_id, reason) for tenant_id, _ in named]
    if writes:
        require_appended(append_group(connection, group_statements(dialect), writes, rules))
    return NewEpoch(epoch=epoch, hold_id=hold_id, tenants=tuple(name for _, name in named))


def hold_of_epoch(epoch: bytes) -> str:
    """Return the id of the hold that an epoch opens under, in every tenant."""
    return f"hold-epoch-{epoch.hex()}"


def read_earlier(connection: Connection, tenant_id: TenantId, limit: int) -> list[EarlierEpoch]:
    """Return the epochs that a tenant's log goes on from, the last one first."""
    rows = connection.execute(
        select(earlier_epochs.c.epoch, earlier_epochs.c.revision)
        .where(earlier_epochs.c.tenant_id == tenant_id)
        .order_by(earlier_epochs.c.end_time.desc(), earlier_epochs.c.epoch)
        .limit(limit)
    )
    return [
        EarlierEpoch(epoch=bytes(epoch), revision=Revision(revision)) for epoch, revision in rows
    ]


def _note_earlier(connection: Connection, epoch: bytes, now: Instant, *, is_whole: bool) -> None:
    ends = connection.execute(select(heads.c.tenant_id, heads.c.revision)).all()
    if ends:
        connection.execute(
            insert(earlier_epochs),
            [
                {
                    "tenant_id": tenant_id,
                    "epoch": epoch,
                    "revision": revision if is_whole else 0,
                    "end_time": now,
                }
                for tenant_id, revision in ends
            ],
        )


def _write(tenant_id: TenantId, hold_id: str, reason: str) -> Write:
    hold = Hold(hold_id=hold_id, reason=reason, spares_mandatory=True)
    return Write(
        tenant_id=tenant_id,
        idempotency_key=f"PlaceHold:{hold_id}",
        payload_hash=hashlib.sha256(f"{hold_id} {reason}".encode()).digest(),
        act=PlaceHold(hold=hold, origin=Origin(source="heed-server", method=Method.OPERATOR)),
        encode_answer=lambda _: b"",
    )


def rules_of_command(epoch: bytes, random_bytes: RandomBytes) -> GroupRules:
    """Return the rules of what a command writes, which names no readable subject."""
    clock = SystemClock()
    return GroupRules(
        clock=clock,
        clock_start=ClockStart(clock.now(), clock.boot()),
        random_bytes=random_bytes,
        keys_kept_days=StorageLimits().keys_kept_days,
        heights=Heights(epoch),
        # Never opened: there is no address to encrypt.
        keyring=Keyring(RootFile(Path())),
    )


def require_appended(answered: Answered) -> None:
    """Raise what refused a write of a group, if anything did."""
    for answer in answered.answers:
        if isinstance(answer, Exception):
            raise answer
