"""The one task of a node that appends to logs, in groups.

Laws:
- While one group commits, the next collects; a group is one transaction and one fsync.
- What is asked for one person goes first: it waits for the group under way, never behind calls for
  several people, and these never take more than their share of the places.
- The last places are for stops of one person alone, so that nothing else ever keeps one out.
- Cancelling a caller never reaches a transaction: a write not yet taken is dropped, one that was
  taken happens or not, and its key tells.
- Each commit is published before its callers get their answers, in the order of commits.
- What rewrites rows has a transaction of its own, since they are in the tables before it: an
  erasure, and what changes the keys that subjects stand under.
- A commit whose answer was lost is judged again: under the head's lock the key rows tell whether it
  happened. If that cannot be learnt in time, the callers get OUTCOME_UNKNOWN.
- After an error that leaves in doubt what is on the disk, nothing more is written by this process.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import Connection

from heed.acts import (
    AddLookupKey,
    AddProtections,
    EraseSubjects,
    RekeySubjects,
    ReleaseSuppression,
    ReleaseSuppressions,
    RevertBatch,
    SetPreferences,
    only_stops,
)
from heed.errors import (
    ErrorReason,
    ExhaustedError,
    HeedError,
    OutcomeUnknownError,
    UnavailableError,
)
from heed_server.backoff import doubled_seconds
from heed_server.storage.backend import Backend, StorageLimits
from heed_server.storage.errors import CommitLostError, NotWrittenError, store_unavailable
from heed_server.storage.group import Answered, GroupRules, append_group
from heed_server.storage.touched import GroupStatements
from heed_server.writes import Appended, Committed, Write, is_bulk

_COLLECT_QUIET_TURNS = 8
"""A call that has arrived passes through some six turns of the loop before it is a write here."""

STOPS_QUEUED_SHARE = 4
"""One in so many of the writes that may wait is kept for stops of one person. Higher: they wait for
each other when all else is full. Lower: all else is refused sooner."""

_ALONE = (EraseSubjects, AddLookupKey, RekeySubjects)

_RETRY_SECONDS_MIN = 0.01
_RETRY_SECONDS_MAX = 0.5

_log = structlog.stdlib.get_logger("heed_server.storage")


@dataclass(slots=True)
class _Waiting:
    write: Write
    answer: "asyncio.Future[Appended]"
    records: int


class Writer:
    """Takes writes, and answers each once its group is committed."""

    def __init__(
        self,
        backend: Backend,
        statements: GroupStatements,
        rules: GroupRules,
        limits: StorageLimits,
    ) -> None:
        """Starts the writing task, which `close` ends; to be made on the event loop."""
        self.failure = ""
        self._backend = backend
        self._statements = statements
        self._rules = rules
        self._limits = limits
        self._publish: list[Callable[[Committed], None]] = []
        # Filled by `append`, emptied by the task; both on the event loop. Bulk is what is asked for
        # several people in one call.
        self._small: deque[_Waiting] = deque()
        self._bulk: deque[_Waiting] = deque()
        self._bulk_records = 0
        self._is_passed_over = False
        self._wake = asyncio.Event()
        self._is_draining = False
        # Lives as long as the store, which closes it; no task group lasts from open to close.
        self._task = asyncio.create_task(self._run(), name="heed-writer")

    def on_commit(self, publish: Callable[[Committed], None]) -> None:
        """Name who is told of each commit; it must not raise."""
        self._publish.append(publish)

    async def append(self, write: Write) -> Appended:
        """Wait for the write's group to be committed (see `Store.append`)."""
        self._require_running()
        records = _records_of(write)
        is_for_several = is_bulk(write.act)
        self._require_room(records, is_bulk=is_for_several, is_stop=_is_stop(write))
        waiting = _Waiting(write, asyncio.get_running_loop().create_future(), records)
        if is_for_several:
            self._bulk.append(waiting)
            self._bulk_records += records
        else:
            self._small.append(waiting)
        self._wake.set()
        return await waiting.answer

    async def close(self) -> None:
        """Finish the group under way and refuse the rest with DRAINING."""
        self._is_draining = True
        self._refuse_waiting(draining)
        self._wake.set()
        done, _ = await asyncio.wait({self._task}, timeout=self._limits.close_seconds_max)
        if not done:
            # The database holds the commit up (a standby that is away); its keys will tell.
            _log.error("writer_abandoned", seconds=self._limits.close_seconds_max)
            self._task.cancel()
            await asyncio.wait({self._task})

    def _require_running(self) -> None:
        if self._is_draining:
            raise draining()
        if self.failure:
            raise store_unavailable(self.failure)

    def _require_room(self, records: int, *, is_bulk: bool, is_stop: bool) -> None:
        limits = self._limits
        writes_max = limits.writes_queued_max
        if not is_stop:
            writes_max -= writes_max // STOPS_QUEUED_SHARE
        bulk_writes_max = limits.writes_queued_max // 2
        if is_bulk and len(self._bulk) >= bulk_writes_max:
            raise _overloaded("writes_queued_max", f"{bulk_writes_max} calls for several people")
        if is_bulk and self._bulk_records + records > limits.records_queued_max:
            raise _overloaded("records_queued_max", f"{self._bulk_records} records")
        if len(self._small) + len(self._bulk) >= writes_max:
            raise _overloaded("writes_queued_max", f"{writes_max} calls")

    async def _run(self) -> None:
        try:
            await self._commit_groups()
        finally:
            if not self._is_draining:  # nobody would notice, and every write wait for ever
                self._stop("the task that writes has ended")
                self._refuse_waiting(partial(store_unavailable, self.failure))

    async def _commit_groups(self) -> None:
        while not self._is_draining:
            await self._wake.wait()
            self._wake.clear()
            await self._collect()
            while group := self._take():
                try:
                    await self._commit(group)
                except asyncio.CancelledError:
                    # Closing gave it up; the database may still commit it.
                    _refuse(group, _unknown)
                    raise
                except Exception as error:  # noqa: BLE001 - the task's root
                    # A fault of ours must leave no caller waiting for ever.
                    _log.exception("group_failed", writes=len(group))
                    _refuse(group, partial(_same, error))
                if self.failure:
                    self._refuse_waiting(partial(store_unavailable, self.failure))
                await self._collect()

    async def _collect(self) -> None:
        """Let the writes that are on their way join the group.

        A group costs much more than a write, and where the disk is quick, one would begin for each
        few that come. So it begins once some turns of the event loop have brought none.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.group_wait_seconds_max
        count = turns = 0
        while turns < _COLLECT_QUIET_TURNS and count < self._limits.group_writes_max:
            await asyncio.sleep(0)
            turns += 1
            waiting = len(self._small) + len(self._bulk)
            if waiting != count:
                count, turns = waiting, 0
            if loop.time() > deadline or self._is_draining:
                return

    def _take(self) -> list[_Waiting]:
        """Take the next group: the small writes that wait, then bulk ones, at least one.

        A bulk one that needs a transaction of its own lets one group go before it, not more: while
        people write there is always another, and all that is for several people waits behind it.
        """
        limits = self._limits
        group: list[_Waiting] = []
        records = 0
        if self._is_passed_over:
            self._is_passed_over = False
            waiting = self._take_bulk()
            if not waiting.answer.cancelled():
                return [waiting]
        # One place is kept for a bulk write, so that many small ones never keep it out.
        for queue, places in (
            (self._small, limits.group_writes_max - bool(self._bulk)),
            (self._bulk, limits.group_writes_max),
        ):
            is_first = True
            while queue and len(group) < places:
                waiting = queue[0]
                is_alone = isinstance(waiting.write.act, _ALONE)
                if is_alone and group:
                    self._is_passed_over = queue is self._bulk
                    return group
                if records + waiting.records > limits.group_records_max and not is_first:
                    break
                if queue is self._bulk:
                    self._take_bulk()
                else:
                    queue.popleft()
                if waiting.answer.cancelled():
                    continue
                is_first = False
                records += waiting.records
                group.append(waiting)
                if is_alone:
                    return group
        return group

    def _take_bulk(self) -> _Waiting:
        waiting = self._bulk.popleft()
        self._bulk_records -= waiting.records
        return waiting

    async def _commit(self, group: list[_Waiting]) -> None:
        """Commit a group, as often as it takes to know what became of it."""
        writes = [waiting.write for waiting in group]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.retry_seconds_max
        lost: list[Answered] = []
        attempts = 0
        while True:
            attempted: list[Answered] = []

            def body(connection: Connection, attempted: list[Answered] = attempted) -> Answered:
                answered = append_group(connection, self._statements, writes, self._rules)
                attempted.append(answered)
                return answered

            try:
                answered = await self._backend.write(body, must_commit=_must_commit)
            except NotWrittenError as error:
                if error.fatal:
                    self._stop(str(error))
                if not (error.fatal or error.again or lost) and len(group) > 1:
                    await self._commit_apart(group)
                    return
                if error.fatal or not error.again or loop.time() >= deadline:
                    _refuse(group, _unknown if lost else partial(store_unavailable, str(error)))
                    return
            except CommitLostError as error:
                _log.warning("commit_lost", error=str(error), writes=len(writes))
                lost += attempted
                if error.fatal:
                    self._stop(str(error))
                if error.fatal or loop.time() >= deadline:
                    _refuse(group, _unknown)
                    return
            else:
                self._finish(group, answered, lost)
                return
            attempts += 1
            await asyncio.sleep(self._pause_seconds(attempts))

    async def _commit_apart(self, group: list[_Waiting]) -> None:
        """Commit each write of a group by itself: one of them holds what no database takes."""
        for waiting in group:
            await self._commit([waiting])

    def _finish(self, group: list[_Waiting], answered: Answered, lost: list[Answered]) -> None:
        """Publish what was committed, then answer."""
        answers = answered.answers
        for earlier in lost:
            mine = [
                _is_repeated(first, now)
                for first, now in zip(earlier.answers, answers, strict=True)
            ]
            if any(mine):
                # That commit did happen: these are first answers, and nobody has published it.
                answers = [
                    first if is_mine else now
                    for first, now, is_mine in zip(earlier.answers, answers, mine, strict=True)
                ]
                self._tell(earlier.committed)
        self._tell(answered.committed)
        for waiting, answer in zip(group, answers, strict=True):
            if waiting.answer.done():
                continue
            if isinstance(answer, Appended):
                waiting.answer.set_result(answer)
            else:
                waiting.answer.set_exception(answer)

    def _tell(self, committed: list[Committed]) -> None:
        for one in committed:
            for publish in self._publish:
                try:
                    publish(one)
                except Exception:  # noqa: BLE001 - whatever a subscriber does
                    # It is committed whatever a subscriber does; followers fill gaps from the log.
                    _log.exception("publish_failed", revision=one.head.revision)

    def _stop(self, why: str) -> None:
        _log.critical("writer_stopped", why=why)
        self.failure = f"writing stopped, restart this server: {why}"

    def _refuse_waiting(self, error: "Callable[[], HeedError]") -> None:
        waiting = [*self._small, *self._bulk]
        self._small.clear()
        self._bulk.clear()
        self._bulk_records = 0
        _refuse(waiting, error)

    def _pause_seconds(self, attempts: int) -> float:
        """Return the wait before another attempt: doubled each time, half of it by chance."""
        longest = doubled_seconds(_RETRY_SECONDS_MIN, attempts, _RETRY_SECONDS_MAX)
        return longest * (0.5 + self._rules.random_bytes(1)[0] / 512)


def _must_commit(answered: Answered) -> bool:
    return answered.must_commit


def _records_of(write: Write) -> int:
    match write.act:
        case SetPreferences(people=people):
            return sum(len(person.subjects) * len(person.choices) for person in people)
        case AddProtections(protections=protections):
            return len(protections)
        case ReleaseSuppression(scopes=scopes):
            return len(scopes)
        case ReleaseSuppressions(found=found):
            return len(found)
        case RevertBatch(keys=keys):
            return len(keys)
        case RekeySubjects(moves=moves):
            return len(moves)
        case _:
            return 1


def _is_stop(write: Write) -> bool:
    """Whether a call is of one person and holds nothing but stops."""
    match write.act:
        case SetPreferences(people=(person,)):
            return only_stops(person.choices)
        case _:
            return False


def _is_repeated(first: Appended | Exception, now: Appended | Exception) -> bool:
    """Whether a replay repeats what an attempt of our own answered, which nobody was given."""
    return (
        isinstance(first, Appended)
        and isinstance(now, Appended)
        and now.replayed
        and not first.replayed
        and first.answer == now.answer
    )


def _refuse(group: list[_Waiting], error: Callable[[], Exception]) -> None:
    for waiting in group:
        if not waiting.answer.done():
            waiting.answer.set_exception(error())


def _same(error: Exception) -> Exception:
    return error


def _unknown() -> OutcomeUnknownError:
    return OutcomeUnknownError(
        "the commit's answer was lost: the write may or may not have happened; "
        "send the same call with the same key again"
    )


def draining() -> UnavailableError:
    """Return the error of a store that is closing, or closed."""
    return UnavailableError("this node is stopping; another is not", reason=ErrorReason.DRAINING)


def _overloaded(limit: str, waiting: str) -> ExhaustedError:
    return ExhaustedError(
        f"{waiting} are waiting already ({limit}); wait and try again",
        reason=ErrorReason.OVERLOADED,
        metadata={"limit": limit},
    )
