"""One transaction of the log: the writes of a group, judged and written together.

Laws:
- Heads are locked first, in the order of tenant ids; nothing is read before that.
- All that the group touches is loaded, then each write is judged in order, then all is inserted: a
  refused write leaves the group and costs its neighbours nothing.
- Key row, changes, records, addresses, uses of caps and head are of one transaction: a crash in it
  leaves none of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from heed.acts import SetPreferences, says_more
from heed.audit.checkpoints import origin_of
from heed.audit.claims import ReceiptClaim, leaves_hash
from heed.errors import ConflictError, ErrorReason, HeedError, NotFoundError
from heed.judge import judge, key_replaced, require_open
from heed.model import Head, Instant, Revision, SubjectKey, TenantId
from heed_server.storage.caps import spend
from heed_server.storage.clock import (
    Clock,
    ClockStart,
    is_trusted,
    now_by_boot,
    off_ms_by_boot,
    off_ms_by_database,
)
from heed_server.storage.content import ContentEncoder
from heed_server.storage.entries import RandomBytes, Written, write_down
from heed_server.storage.heights import Heights
from heed_server.storage.keyring import Keyring
from heed_server.storage.settling import settle
from heed_server.storage.touched import (
    GroupStatements,
    KeyRow,
    Log,
    Rows,
    insert_all,
    keep,
    load,
    lock_heads,
    note_uses,
)
from heed_server.writes import Appended, Committed, Write

_MICROSECONDS_A_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRules:
    """What is the same for every group of one open store."""

    clock: Clock
    clock_start: ClockStart
    random_bytes: RandomBytes
    keys_kept_days: int
    keyring: Keyring
    heights: Heights


class Times(NamedTuple):
    """What time it is for the writes of a group."""

    now: Instant
    """By this node's clock."""
    clock_off_ms: int | None
    """By how much that is off; None: it is trusted."""
    of_caps: Instant
    """By a clock that goes on whatever the node's is set to: of the hour that a cap is of. A commit
    time stands still while the clock is not trusted, and stops are written all the same."""


class Answered(NamedTuple):
    """What one transaction made of its writes, in their order."""

    answers: list["Appended | Exception"]
    committed: list[Committed]
    must_commit: bool
    """False: nothing was written and nothing acknowledged that needs to be durable."""


def append_group(
    connection: Connection,
    statements: GroupStatements,
    writes: Sequence[Write],
    rules: GroupRules,
) -> Answered:
    """Judge the writes and insert what comes of them; the caller commits, or rolls back."""
    asked = rules.clock.now()
    logs, database_time = lock_heads(connection, statements, writes)
    times = _times(rules, asked, database_time)
    key_ids: Mapping[tuple[TenantId, SubjectKey], int] = {}
    if any(log.head.lookup_key_id > 1 for log in logs.values()):
        writes, key_ids = settle(connection, statements.settling, writes)
    load(connection, statements, writes, logs, times.of_caps)
    rows = Rows(key_ids)
    encoder = ContentEncoder()
    answers: list[Appended | Exception] = []
    for write in writes:
        try:
            log = _log_of(write.tenant_id, logs)
            if not log.changes:  # as it was locked
                rules.heights.require(write.tenant_id, log.head)
            answers.append(_append(write, log, rows, encoder, times, rules))
        except HeedError as refusal:
            answers.append(refusal)
        except Exception as error:  # noqa: BLE001 - a write's own encoder must not fail the others
            answers.append(error)
    insert_all(connection, statements, rows, logs, rules.keyring, times.now)
    return Answered(
        answers,
        [
            Committed(tenant_id=tenant_id, changes=tuple(log.changes), head=log.head)
            for tenant_id, log in logs.items()
            if log.changes
        ],
        any(log.must_commit for log in logs.values()),
    )


def _times(rules: GroupRules, asked: Instant, database_time: int | None) -> Times:
    start, now, boot = rules.clock_start, rules.clock.now(), rules.clock.boot()
    off_ms = off_ms_by_boot(start, now, boot)
    of_caps = now_by_boot(start, boot)
    if database_time is not None:
        # Both, because a host and its database can jump together.
        off_ms = max(off_ms, off_ms_by_database(asked, database_time, now))
        of_caps = Instant(database_time)  # the same for all nodes
    return Times(now, None if is_trusted(off_ms) else off_ms, of_caps)


def _log_of(tenant_id: TenantId, logs: dict[TenantId, Log]) -> Log:
    try:
        return logs[tenant_id]
    except KeyError:
        raise NotFoundError(f"no tenant has the id {tenant_id}") from None


def _append(
    write: Write,
    log: Log,
    rows: Rows,
    encoder: ContentEncoder,
    times: Times,
    rules: GroupRules,
) -> Appended:
    act = write.act
    require_open(act, log.ledger.batches)
    head = log.head
    # Before a replay too: the hash of what was asked first may be of the key that is not known.
    if write.lookup_key_id not in {0, head.lookup_key_id}:
        raise key_replaced(head.lookup_key_id, head.revision)
    first = None if write.dry_run else log.keys.get(write.idempotency_key)
    if first is not None:
        return _replay(write, first, log)
    commit_time = Instant(head.commit_time + 1)
    if times.clock_off_ms is None:
        commit_time = max(times.now, commit_time)
    ruling = judge(
        act,
        log.ledger,
        after=head.revision,
        commit_time=commit_time,
        clock_off_ms=times.clock_off_ms,
    )
    if write.dry_run:
        return Appended(
            answer=write.encode_answer(ruling.outcome(head, commit_time)),
            replayed=False,
            revision=head.revision,
        )
    taken = spend(write, ruling, log.used, times.of_caps)
    written = write_down(ruling, write.tenant_id, head, encoder, rules.random_bytes)
    claim = _claim(write, head, written)
    answer = write.encode_answer(ruling.outcome(written.head, commit_time, claim))
    # From here on nothing raises: the write is accepted.
    log.head = written.head
    log.must_commit = True
    log.changes += written.changes
    log.ledger.accept(ruling)
    log.keys[write.idempotency_key] = KeyRow(write.payload_hash, answer, log.head.revision)
    expire_time = commit_time + rules.keys_kept_days * _MICROSECONDS_A_DAY
    rows.changes += written.rows
    rows.keys.append(
        (
            write.tenant_id,
            write.idempotency_key,
            write.payload_hash,
            answer,
            log.head.revision,
            expire_time,
        )
    )
    keep(ruling, write.tenant_id, rows)
    rows.says_more = rows.says_more or says_more(act)
    note_uses(taken, log, write.tenant_id, times.of_caps, rows)
    return Appended(answer=answer, replayed=False, revision=log.head.revision)


def _claim(write: Write, head: Head, written: Written) -> ReceiptClaim | None:
    """What a choice left in the log, by which its receipts are asked for."""
    if not isinstance(write.act, SetPreferences) or not written.leaves:
        return None
    return ReceiptClaim(
        origin=origin_of(head.epoch, write.tenant_id),
        first_revision=Revision(head.revision + 1),
        count=len(written.leaves),
        leaves_hash=leaves_hash(written.leaves),
    )


def _replay(write: Write, first: KeyRow, log: Log) -> Appended:
    if first.payload_hash not in {write.payload_hash, *write.earlier_payload_hashes}:
        key = write.idempotency_key.partition(":")[2] or write.idempotency_key
        raise ConflictError(
            f"the idempotency key {key!r} named another payload before; use a new key",
            reason=ErrorReason.IDEMPOTENCY_KEY_REUSED,
            metadata={"idempotency_key": key},
        )
    log.must_commit = True
    return Appended(answer=first.answer, replayed=True, revision=first.revision)
