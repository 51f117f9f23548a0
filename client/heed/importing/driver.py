"""Sending a list: several chunks at a time, each once, and what they did added up.

Laws:
- No chunk waits for another: adding protections gives the same state in any order.
- A chunk whose outcome is unknown is sent again with its key, a named number of times; then the
  import ends with an error, and the same import resumes it.
- The order of chunks decides nothing, so that what is rejected comes as answers come.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from heed.connection.calls import AsyncUnaryCalls
from heed.connection.methods import IMPORT_RECORDS
from heed.errors import ErrorReason, ExhaustedError, HeedError, UnavailableError
from heed.formats import Entry, List, Options, Rejected, entries, lists
from heed.importing.chunks import CHUNK_ROWS_MAX, Chunk, chunks_of
from heed.importing.naming import batch_name
from heed.task_group import TaskGroup
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb

CHUNKS_IN_FLIGHT: Final = 4
"""Chunks under way at once; more only wait in the server, and hold their rows here."""
RETRY_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""The waits before sending a chunk again whose outcome is not known, or that found no room."""
READY_SECONDS: Final = 5.0
"""How long a server may take to be reached at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportPlan:
    """What to import, as what, and for whom."""

    options: Options
    tenant: str = ""
    source: str = ""
    """Who says so. Empty: the vendor of the format."""
    actor: str = ""
    batch_id: str = ""
    """Empty: made of the content and the options (`heed.importing.naming`)."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An input that is told, and the batch it will be."""

    stream: BinaryIO = field(repr=False)
    lists: tuple[List, ...]
    batch_id: str
    plan: ImportPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedEntry:
    """One record that was not imported, and why."""

    list: List = field(repr=False)
    """The file that it stands in."""
    entry: Entry
    field_name: str
    description: str

    @property
    def message(self) -> str:
        """Why, in words, without the record."""
        return f"{self.field_name}: {self.description}" if self.field_name else self.description

    @property
    def where(self) -> str:
        """Its place, for people: `unsubscribed.csv, line 17`."""
        place = f"{self.list.place_word} {self.entry.place}"
        return f"{self.entry.member}, {place}" if self.entry.member else place


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgress:
    """How far an import has come."""

    read: int
    """Records read."""
    read_bytes: int
    """Bytes of the input read, packed if it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """What an import did, or would do if it was a dry run."""

    batch_id: str
    formats: Mapping[str, str]
    """The format of each file of the input."""
    dry_run: bool
    read: int = 0
    """Records read."""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Protections that were asked for, by what they are: `opt_out`, or a suppression's cause."""
    nothing: Mapping[str, int] = field(default_factory=dict)
    """Records that protect from nothing, by what they are there: `subscribed`."""
    added: int = 0
    strengthened: int = 0
    unchanged: int = 0
    superseded: int = 0
    rejected: int = 0
    """Records that could not be imported."""
    chunks: int = 0
    """Chunks sent."""
    replayed: int = 0
    """Chunks that an earlier run of the same import had committed."""


def prepare(stream: BinaryIO, plan: ImportPlan) -> Prepared:
    """Tell what an input is, and name the batch.

    Raises:
        UnusableInputError: it cannot be imported as it is.
    """
    told = lists(stream, plan.options)
    batch_id = plan.batch_id or batch_name(
        stream, told, plan.options, source=plan.source, chunk_rows=CHUNK_ROWS_MAX
    )
    return Prepared(stream=stream, lists=told, batch_id=batch_id, plan=plan)


async def send(
    prepared: Prepared,
    calls: AsyncUnaryCalls,
    *,
    on_rejected: Callable[[RejectedEntry], None],
    on_progress: Callable[[ImportProgress], None],
    timeout: float | None = None,
) -> ImportSummary:
    """Send every row, and return what became of them.

    `timeout` is of one chunk, in seconds; None: the call's own. Cancelling leaves chunks that are
    committed, and none that is half so.

    Raises:
        UnusableInputError: the input is damaged; what stands before the damage is imported.
        HeedError: the server refused a chunk, or could not be reached.
    """
    sending = _Sending(prepared, calls, timeout)
    if any(one.format is not None for one in prepared.lists):
        await calls.wait_ready(READY_SECONDS)
    places = asyncio.Semaphore(CHUNKS_IN_FLIGHT)
    read = 0

    async def settle(chunk: Chunk) -> None:
        try:
            for rejected in await sending.settle(chunk):
                on_rejected(rejected)
        finally:
            places.release()

    damage: HeedError | None = None
    failed: HeedError | None = None
    try:
        async with TaskGroup() as group:
            try:
                for chunk in chunks_of(entries(prepared.lists)):
                    await places.acquire()
                    group.create_task(settle(chunk))
                    read += chunk.read
                    on_progress(ImportProgress(read=read, read_bytes=prepared.stream.tell()))
                    await asyncio.sleep(0)  # the task sends before the next chunk is read
            except HeedError as error:
                damage = error  # what was read before is still to be settled
    except* HeedError as failures:
        failed = _first(failures)  # raised below: Python before 3.11.4 would put it in a group
    if failed is not None:
        raise failed
    if damage is not None:
        raise damage
    return sending.summary()


class _Sending:
    """One import under way. Its counts are written only on the loop that sends."""

    def __init__(self, prepared: Prepared, calls: AsyncUnaryCalls, timeout: float | None) -> None:
        self._prepared = prepared
        self._calls = calls
        self._timeout = timeout
        self._list_of = {one.member.name: one for one in prepared.lists}
        self._became: Counter[str] = Counter()
        self._nothing: Counter[str] = Counter()
        self._done: Counter[str] = Counter()

    async def settle(self, chunk: Chunk) -> list[RejectedEntry]:
        """Send a chunk, count what it did, and return what was not imported."""
        rejected = [self._rejected(entry, why) for entry, why in chunk.rejected]
        self._done["read"] += chunk.read
        self._nothing.update(chunk.nothing)
        if chunk.rows.rows:
            answer = await self._answer(chunk)
            self._count(chunk, answer)
            rejected += self._refused(chunk, answer)
        self._done["rejected"] += len(rejected)
        return rejected

    def summary(self) -> ImportSummary:
        """Return everything that was counted."""
        prepared, done = self._prepared, self._done
        return ImportSummary(
            batch_id=prepared.batch_id,
            formats={
                one.member.name: one.format.name if one.format is not None else "empty"
                for one in prepared.lists
            },
            dry_run=prepared.plan.dry_run,
            read=done["read"],
            rows=dict(sorted(self._became.items())),
            nothing=dict(sorted(self._nothing.items())),
            added=done["added"],
            strengthened=done["strengthened"],
            unchanged=done["unchanged"],
            superseded=done["superseded"],
            rejected=done["rejected"],
            chunks=done["chunks"],
            replayed=done["replayed"],
        )

    async def _answer(self, chunk: Chunk) -> admin.ImportRecordsResponse:
        request = self._request(chunk)
        for wait in (*RETRY_SECONDS, None):
            try:
                return await self._calls.unary(
                    IMPORT_RECORDS,
                    request,
                    timeout=self._timeout,
                    idempotency_key=request.idempotency_key,
                )
            except (UnavailableError, ExhaustedError) as error:
                if wait is None or error.reason is ErrorReason.LIMIT_REACHED:
                    raise
            await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _request(self, chunk: Chunk) -> admin.ImportRecordsRequest:
        """Complete the request that the chunk's rows stand in."""
        plan, request = self._prepared.plan, chunk.rows
        told = self._list_of[chunk.member].format
        vendor = told.vendor if told is not None else ""
        request.tenant = plan.tenant
        request.batch_id = self._prepared.batch_id
        request.idempotency_key = f"{self._prepared.batch_id}/{chunk.number}"
        request.dry_run = plan.dry_run
        request.origin.source = plan.source or vendor
        request.origin.actor = plan.actor
        request.origin.method = pb.METHOD_IMPORT
        return request

    def _count(self, chunk: Chunk, answer: admin.ImportRecordsResponse) -> None:
        self._became.update(chunk.became)
        self._done["chunks"] += 1
        self._done["replayed"] += answer.replayed
        self._done["added"] += answer.added
        self._done["strengthened"] += answer.strengthened
        self._done["unchanged"] += answer.unchanged
        self._done["superseded"] += answer.superseded

    def _refused(self, chunk: Chunk, answer: admin.ImportRecordsResponse) -> list[RejectedEntry]:
        """Return what the server rejected; of a record that is several rows, the first."""
        if not answer.rejected:
            return []
        entry_of = {entry.number: entry for entry in chunk.entries}
        refused: dict[int, RejectedEntry] = {}
        for one in answer.rejected:
            entry = entry_of[one.row]
            why = Rejected(one.field, one.description)
            refused.setdefault(one.row, self._rejected(entry, why))
        return list(refused.values())

    def _rejected(self, entry: Entry, why: Rejected) -> RejectedEntry:
        return RejectedEntry(
            list=self._list_of[entry.member],
            entry=entry,
            field_name=why.field_name,
            description=why.description,
        )


def _first(failures: BaseExceptionGroup[HeedError]) -> HeedError:
    """Return one failure of a group: that of the chunk that failed first."""
    found: Sequence[BaseException] = failures.exceptions
    first = found[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else _as_heed(first)


def _as_heed(error: BaseException) -> HeedError:
    if not isinstance(error, HeedError):
        raise error
    return error
