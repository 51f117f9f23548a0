"""A tenant's log in memory, as a follower reads it, with the ways in which a real one can fail.

It judges nothing: each method logs one change that stands. Everything is made from the revision
alone, so two logs that were written alike are equal.
"""

import asyncio
import hashlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Self

from heed.errors import UnavailableError
from heed.hours import hours_of
from heed.keys import LookupKey
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Effect,
    Erasure,
    Head,
    Hold,
    Instant,
    Reach,
    Record,
    RecordKind,
    Rekey,
    Revision,
    SubjectKey,
    TenantId,
    Topic,
)
from heed.records import remove
from heed.records import replace as with_record
from heed_server.store import EarlierEpoch, LogDamagedError, LogReader, Snapshot, Tenant
from heed_server.writes import Committed

TENANT = Tenant(
    tenant_id=TenantId(7),
    name="shop",
    create_time=Instant(0),
    lookup_keys=(LookupKey(1, b"k" * 32),),
)
EPOCH = b"epoch--1"
START = Instant(1_700_000_000_000_000)
WRITTEN_PEOPLE = 300
"""How many people `written_log` writes of."""


def key_of(name: object) -> SubjectKey:
    """Return the subject key of a made-up person."""
    return SubjectKey(hashlib.blake2b(str(name).encode(), digest_size=16).digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySnapshot(Snapshot):
    head: Head
    topics: tuple[Topic, ...]
    holds: tuple[Hold, ...]
    pairs: Sequence[tuple[SubjectKey, Record]]
    batch: int

    async def records(self) -> AsyncIterator[Sequence[tuple[SubjectKey, Record]]]:
        for start in range(0, len(self.pairs), self.batch):
            yield self.pairs[start : start + self.batch]


class MemoryLog(LogReader):
    """One tenant's log; `changes[n - 1]` is revision n."""

    def __init__(self, *, epoch: bytes = EPOCH, salt: bytes = b"") -> None:
        self.epoch = epoch
        self.salt = salt
        self.changes: list[Change] = []
        self.reads = 0
        self.failure: Exception | None = None
        self.hangs = False
        self._awaited: list[tuple[int, asyncio.Event]] = []
        self.snapshot_batch = 3
        self.earlier: list[EarlierEpoch] = []
        self.channel = Channel.EMAIL
        self.lookup_key_id = 1

    # -- writing

    def on_channel(self, channel: Channel) -> Self:
        """Write records of this channel from now on."""
        self.channel = channel
        return self

    def opt_out(self, name: object, topic: str = "", *, effect: Effect = Effect.APPLIED) -> Change:
        return self.choice(name, RecordKind.OPT_OUT, topic, effect=effect)

    def choice(
        self,
        name: object,
        kind: RecordKind = RecordKind.OPT_OUT,
        topic: str = "",
        *,
        effect: Effect = Effect.APPLIED,
        end_time: Instant | None = None,
    ) -> Change:
        record = self._record(kind, Cause.NONE, Reach.PROMOTIONAL, topic, end_time)
        return self._log(ChangeKind.CHOICE, subject=key_of(name), record=record, effect=effect)

    def quiet_hours(self, name: object, hours: str = "UTC: 22:00-08:00") -> Change:
        record = self._record(RecordKind.QUIET_HOURS, Cause.NONE, Reach.PROMOTIONAL, "", None)
        record = replace(record, quiet_hours=hours_of(hours))
        return self._log(ChangeKind.CHOICE, subject=key_of(name), record=record)

    def suppress(self, name: object, cause: Cause = Cause.BOUNCE) -> Change:
        record = self._record(RecordKind.SUPPRESSION, cause, Reach.ALL, "", None)
        return self._log(ChangeKind.SUPPRESSION, subject=key_of(name), record=record)

    def release(self, name: object, cause: Cause = Cause.BOUNCE) -> Change:
        record = self._record(RecordKind.SUPPRESSION, cause, Reach.ALL, "", None)
        return self._log(ChangeKind.RELEASE, subject=key_of(name), record=record)

    def topic(self, topic: Topic) -> Change:
        return self._log(ChangeKind.TOPIC, topic=replace(topic, revision=self.next_revision))

    def hold(self, hold: Hold) -> Change:
        return self._log(ChangeKind.HOLD, hold=replace(hold, revision=self.next_revision))

    def lift(self, hold: Hold) -> Change:
        return self._log(ChangeKind.LIFT, hold=hold)

    def erase(self, name: object) -> Change:
        """Leave the stops of a subject, and nothing else."""
        stops = [
            record
            for record in self.standing().get(key_of(name), ())
            if record.kind is not RecordKind.OPT_IN
        ]
        erasure = Erasure(standing=tuple(stops), changes_count=0, residues_hash=b"")
        return self._log(ChangeKind.ERASURE, subject=key_of(name), erasure=erasure)

    def replace_key(self) -> Change:
        """Begin another lookup key."""
        self.lookup_key_id += 1
        return self._log(ChangeKind.REKEY, rekey=Rekey(key_id=self.lookup_key_id))

    def move(self, name: object, to: object) -> Change:
        """Have all that stands for a subject stand under another key."""
        rekey = Rekey(key_id=self.lookup_key_id, previous=key_of(name))
        return self._log(ChangeKind.REKEY, subject=key_of(to), rekey=rekey)

    def added_key_ids(self) -> range:
        return range(2, self.lookup_key_id + 1)

    def opt_outs(self, count: int, *, people: int = 50) -> list[Change]:
        return [
            self.opt_out(f"person {number % people}", f"t{number % 7}") for number in range(count)
        ]

    def put_back(self, revision: int) -> None:
        """Lose every change after a revision, as a database does that is put back."""
        del self.changes[revision:]

    # -- what stands

    @property
    def next_revision(self) -> Revision:
        return Revision(len(self.changes) + 1)

    @property
    def current_head(self) -> Head:
        return self.head_at(len(self.changes))

    def head_at(self, revision: int) -> Head:
        last = self.changes[revision - 1] if revision else None
        return Head(
            revision=Revision(revision),
            running_hash=last.running_hash if last else bytes(32),
            commit_time=last.commit_time if last else START,
            epoch=self.epoch,
            lookup_key_id=self.lookup_key_id,
        )

    def committed(self, count: int) -> Committed:
        """The last changes as the writer publishes them."""
        return Committed(
            tenant_id=TENANT.tenant_id,
            changes=tuple(self.changes[-count:]),
            head=self.current_head,
        )

    def standing(self) -> dict[SubjectKey, tuple[Record, ...]]:
        """What stands for each subject that has records."""
        standing: dict[SubjectKey, tuple[Record, ...]] = {}
        for change in self.changes:
            if change.rekey is not None and change.rekey.previous is not None:
                assert change.subject is not None
                standing[change.subject] = standing.pop(change.rekey.previous, ())
            if change.subject is not None and change.erasure is not None:
                standing[change.subject] = change.erasure.standing
            if (
                change.subject is None
                or change.record is None
                or change.effect is not Effect.APPLIED
            ):
                continue
            records = standing.get(change.subject, ())
            if change.kind is ChangeKind.RELEASE:
                standing[change.subject] = remove(records, change.record.slot)
            else:
                standing[change.subject] = with_record(records, change.record)
        return {key: records for key, records in standing.items() if records}

    def topics(self) -> dict[str, Topic]:
        return {one.topic.name: one.topic for one in self.changes if one.topic is not None}

    def holds(self) -> tuple[Hold, ...]:
        holds: dict[str, Hold] = {}
        for change in self.changes:
            if change.hold is not None and change.kind is ChangeKind.HOLD:
                holds[change.hold.hold_id] = change.hold
            elif change.hold is not None:
                del holds[change.hold.hold_id]
        return tuple(holds.values())

    # -- LogReader

    async def head(self, tenant_id: TenantId) -> Head:
        await self._read(tenant_id)
        return self.current_head

    async def read_changes(
        self, tenant_id: TenantId, after: Revision, limit: int
    ) -> Sequence[Change]:
        await self._read(tenant_id)
        changes = self.changes[after : after + limit]
        if any(change.revision != after + n for n, change in enumerate(changes, 1)):
            raise LogDamagedError(f"the changes after {after} are not dense")
        return changes

    async def earlier_epochs(self, tenant_id: TenantId, limit: int) -> Sequence[EarlierEpoch]:
        await self._read(tenant_id)
        return self.earlier[:limit]

    async def lookup_keys(self, tenant_id: TenantId) -> tuple[LookupKey, ...]:
        await self._read(tenant_id)
        added = [LookupKey(key_id, bytes([key_id]) * 32) for key_id in self.added_key_ids()]
        return (*TENANT.lookup_keys, *added)

    def snapshot(self, tenant_id: TenantId) -> AbstractAsyncContextManager[Snapshot]:
        return self._snapshot(tenant_id)

    @asynccontextmanager
    async def _snapshot(self, tenant_id: TenantId) -> AsyncGenerator[Snapshot, None]:
        await self._read(tenant_id)
        standing = self.standing()
        yield MemorySnapshot(
            head=self.current_head,
            topics=tuple(self.topics().values()),
            holds=self.holds(),
            pairs=[(key, record) for key in sorted(standing) for record in standing[key]],
            batch=self.snapshot_batch,
        )

    async def asked(self, times: int) -> None:
        """Wait until the log was asked something so many times more."""
        event = asyncio.Event()
        self._awaited.append((self.reads + times, event))
        await event.wait()

    async def _read(self, tenant_id: TenantId) -> None:
        assert tenant_id == TENANT.tenant_id
        self.reads += 1
        for reads, event in self._awaited:
            if self.reads >= reads:
                event.set()
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure

    def go_away(self) -> None:
        self.failure = UnavailableError("the database does not answer")

    def come_back(self) -> None:
        self.failure = None

    def _record(
        self, kind: RecordKind, cause: Cause, reach: Reach, topic: str, end_time: Instant | None
    ) -> Record:
        revision = self.next_revision
        decided = Instant(START + revision)
        return Record(kind, cause, reach, self.channel, topic, decided, end_time, revision)

    def _log(self, kind: ChangeKind, *, effect: Effect = Effect.APPLIED, **parts: object) -> Change:
        revision = self.next_revision
        before = self.changes[-1].running_hash if self.changes else bytes(32)
        change = Change(
            revision=revision,
            commit_time=Instant(START + revision),
            kind=kind,
            effect=effect,
            running_hash=hashlib.sha256(before + self.salt + repr((kind, parts)).encode()).digest(),
            **parts,  # type: ignore[arg-type]  # a dict of the parts of a change
        )
        self.changes.append(change)
        return change


def written_log(count: int) -> MemoryLog:
    """The same log each time, of `WRITTEN_PEOPLE`, with every kind of record change."""
    chance = random.Random(20261121)
    log = MemoryLog()
    suppressed = set[int]()
    for _ in range(count):
        person = chance.randrange(WRITTEN_PEOPLE)
        act = chance.randrange(4)
        if act == 0:
            log.suppress(person)
            suppressed.add(person)
        elif act == 1 and person in suppressed:
            log.release(person)
            suppressed.discard(person)
        elif act == 2:
            log.choice(person, RecordKind.OPT_IN, f"t{chance.randrange(5)}")
        else:
            log.opt_out(person, f"t{chance.randrange(5)}")
    return log
