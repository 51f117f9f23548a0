"""A snapshot of what stands, encoded once into a file for all who ask while it is fresh.

Laws:
- All of it is of one revision: that of the view of the database that it is read from.
- Whoever is sent it reads the file while it grows; the reader's pace is its own and holds up
  neither the making nor the view of the database.
- The file has no name: a crash leaves nothing.
- Nobody left to read it, an unfinished one is given up.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

from heed.audit.snapshots import Vouched, filter_hash, keys_hash, snapshot_line, stops_hash
from heed.errors import HeedError, UnavailableError
from heed.model import RULE_VERSION, Head, Hold, Record, SubjectKey, TenantId, Topic
from heed.records import in_order, rules_needed
from heed.wire import format as told
from heed.wire.limits import SNAPSHOT_CHUNK_BYTES_MAX
from heed.wire.watched import chunk_message, serialised, subjects_to
from heed_server.follow import within
from heed_server.store import LogReader, Snapshot, Tenant
from heed_server.watch.filter import EVERYTHING, WatchFilter
from heed_server.watch.verifiable import Proofs

SUBJECTS_A_TURN: Final = 250
"""Subjects encoded before the loop has its turn; each takes some 4 µs."""

READ_SECONDS_MAX: Final = 30.0
"""How long one batch of the database may take."""

Subjects = list[tuple[SubjectKey, Sequence[Record]]]


class Wakeable(Protocol):
    """Somebody who waits for more of a snapshot."""

    def wake(self) -> None:
        """Look again. It MUST NOT raise, nor wait."""
        ...


class SharedSnapshot:
    """One snapshot. Its state is written on the loop, by `make` alone but for the readers."""

    def __init__(self, directory: Path) -> None:
        """`directory` is where the file is, without a name.

        Raises:
            UnavailableError: it cannot be made there.
        """
        try:
            self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise UnavailableError(f"a snapshot cannot be kept: {error.strerror}") from error
        self.head: Head | None = None
        """Where the log stood; None: it is not begun."""
        self.topics: tuple[Topic, ...] = ()
        self.holds: tuple[Hold, ...] = ()
        self.record_count = 0
        self.rule_version = 1
        """The version of the rules that what was left out for earlier ones needs."""
        self.checksum = b""
        self.is_whole = False
        self.failure: HeedError | None = None
        self.vouched: Vouched | None = None
        """What vouches for it, once it is whole and somebody asked for that."""
        self.vouch_failure: HeedError | None = None
        """Why nothing does; the next who asks has it tried again."""
        self.readers: set[Wakeable] = set()
        self._hash = hashlib.sha256()
        self._ends: list[int] = []
        """Where each message in the file ends."""

    @property
    def chunk_count(self) -> int:
        """How many messages there are so far."""
        return len(self._ends)

    def chunk(self, number: int) -> bytes:
        """Return a message; the file's pages were written a moment ago, so it does not wait."""
        begin = self._ends[number - 1] if number else 0
        return os.pread(self._file.fileno(), self._ends[number] - begin, begin)

    async def make(self, reader: LogReader, tenant_id: TenantId, filter_: WatchFilter) -> None:
        """Read what stands and write it; a failure is told to the readers."""
        try:
            async with reader.snapshot(tenant_id) as snapshot:
                self.head, self.topics, self.holds = snapshot.head, snapshot.topics, snapshot.holds
                self._wake()
                await self._write_all(snapshot, filter_)
        except HeedError as error:
            self.failure = error
        except OSError as error:
            self.failure = UnavailableError(f"a snapshot cannot be kept: {error.strerror}")
        else:
            self.checksum = self._hash.digest()
            self.is_whole = True
        finally:
            if not self.is_whole and self.failure is None:
                self.failure = UnavailableError("the snapshot was given up")
            self._wake()

    async def vouch(self, proofs: Proofs, tenant: Tenant, filter_: WatchFilter) -> None:
        """Have a whole one vouched for; a failure is told to the readers."""
        head = self.head
        if head is None or not self.is_whole:
            raise ValueError("only what is whole is vouched for")
        self.vouch_failure = None
        stops = [told.topic(one) for one in self.topics], [told.hold(one) for one in self.holds]
        line = snapshot_line(
            records=self.checksum,
            stops=stops_hash(serialised(one) for group in stops for one in group),
            filter_=filter_hash(filter_.channels, filter_.topics),
            keys=keys_hash(one for one in tenant.lookup_keys if one.key_id <= head.lookup_key_id),
        )
        try:
            self.vouched = await proofs.vouched(tenant.tenant_id, head, line)
        except HeedError as error:
            self.vouch_failure = error
        finally:
            if self.vouched is None and self.vouch_failure is None:
                self.vouch_failure = UnavailableError("the snapshot was given up")
            self._wake()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    async def _write_all(self, snapshot: Snapshot, filter_: WatchFilter) -> None:
        chunk: list[bytes] = []
        chunk_bytes = 0
        async for subjects in self._by_subject(snapshot, filter_):
            for start in range(0, len(subjects), SUBJECTS_A_TURN):
                piece = subjects[start : start + SUBJECTS_A_TURN]
                self.record_count += sum(len(records) for _, records in piece)
                encoded = subjects_to(piece)
                if chunk and chunk_bytes + len(encoded) > SNAPSHOT_CHUNK_BYTES_MAX:
                    await self._write(b"".join(chunk))
                    chunk, chunk_bytes = [], 0
                chunk.append(encoded)
                chunk_bytes += len(encoded)
                await asyncio.sleep(0)
        if chunk:
            await self._write(b"".join(chunk))

    async def _by_subject(
        self, snapshot: Snapshot, filter_: WatchFilter
    ) -> AsyncIterator[Subjects]:
        """Yield the subjects that have records which are wanted, ascending by key, each once."""
        batches = aiter(snapshot.records())
        begun: Subjects = []  # the last subject of a batch may go on in the next
        while (batch := await within(READ_SECONDS_MAX, anext(batches, None))) is not None:
            found = begun
            for key, record in batch if filter_ is EVERYTHING else self._wanted(batch, filter_):
                if found and found[-1][0] == key:
                    found[-1] = (key, (*found[-1][1], record))
                else:
                    found.append((key, (record,)))
            begun = found[-1:]
            yield [_sorted(one) for one in found[:-1]]
        yield [_sorted(one) for one in begun]

    def _wanted(
        self, batch: Sequence[tuple[SubjectKey, Record]], filter_: WatchFilter
    ) -> Iterable[tuple[SubjectKey, Record]]:
        if not filter_.knows(RULE_VERSION):
            needed = rules_needed(record for _, record in batch)
            self.rule_version = max(self.rule_version, needed)
        return ((key, record) for key, record in batch if filter_.wants(record))

    async def _write(self, records: bytes) -> None:
        message = chunk_message(records)
        self._hash.update(records)
        begin = self._ends[-1] if self._ends else 0
        # In a thread: a disk that is behind with its writing makes whoever writes wait.
        await asyncio.to_thread(_write_at, self._file.fileno(), message, begin)
        self._ends.append(begin + len(message))
        self._wake()

    def _wake(self) -> None:
        for reader in self.readers:
            reader.wake()


def _sorted(one: tuple[SubjectKey, Sequence[Record]]) -> tuple[SubjectKey, Sequence[Record]]:
    key, records = one
    return one if len(records) == 1 else (key, in_order(records))


def _write_at(file: int, message: bytes, begin: int) -> None:
    written = 0
    while written < len(message):
        written += os.pwrite(file, message[written:], begin + written)
