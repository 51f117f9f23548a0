"""An upstream that tells a cache otherwise than its server does, as well as it can."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from heed.audit.effects import read_content
from heed.connection.target import Target
from heed.connection.watching import WatchCalls
from heed.model import Instant, Revision, SubjectKey, TenantId
from heed.proof import (
    NO_SUBJECT,
    canonical_entry,
    commit_content,
    commit_subject,
    leaf_hash,
    running_hash,
)
from heed.replica.upstream import Stream
from heed_proto.v1 import watch_service_pb2 as pb

Lie = Callable[[pb.WatchChangesResponse], None]
"""Alters a message in its place."""


class LyingCalls(WatchCalls):
    """`WatchCalls`, whose messages pass through `lie`."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self.lie: Lie | None = None
        self.told: list[pb.WatchChangesResponse] = []
        self.requests: list[pb.WatchChangesRequest] = []
        self.running = b""
        self.ahead = 0
        """How far the cache was told to be."""

    def watch(self, request: pb.WatchChangesRequest) -> Stream:
        self.requests.append(request)
        return _LyingStream(super().watch(request), self)


class _LyingStream:
    def __init__(self, stream: Stream, by: LyingCalls) -> None:
        self._stream = stream
        self._by = by

    def __iter__(self) -> Iterator[pb.WatchChangesResponse]:
        by = self._by
        for message in self._stream:
            if by.lie is not None:
                by.lie(message)
            by.told.append(message)
            if message.HasField("snapshot_end"):
                by.running = message.snapshot_end.running_hash
            elif message.HasField("changes"):
                by.running = message.changes.running_hash
            yield message

    def cancel(self) -> None:
        self._stream.cancel()


def rehash(message: pb.Changes, running: bytes) -> None:
    """Make the running hash of altered changes fit, as whoever lies well does."""
    told = {change.revision: change for change in message.changes}
    for at, leaf in enumerate(message.leaves, message.after + 1):
        hashed = leaf.hash
        if leaf.HasField("content"):
            hashed = _leaf(leaf.content, told[at])
        running = running_hash(running, hashed)
    message.running_hash = running


def _leaf(leaf: pb.LeafContent, change: pb.Change) -> bytes:
    subject = SubjectKey(change.subject_key)
    return leaf_hash(
        canonical_entry(
            kind=read_content(leaf.content, Revision(change.revision)).kind,
            tenant_id=TenantId(1),
            revision=Revision(change.revision),
            commit_time=Instant(change.commit_time_us),
            subject_commitment=commit_subject(leaf.salt, subject) if subject else NO_SUBJECT,
            content_commitment=commit_content(leaf.salt, leaf.content),
        )
    )


def rewritten(leaf: pb.LeafContent, **record: Any) -> None:
    """Alter the record that a content says."""
    said = json.loads(leaf.content)
    said["record"] |= record
    leaf.content = json.dumps(said).encode()


def without_first_subject(chunk: bytes) -> bytes:
    """A chunk of a snapshot with one person less."""
    records = pb.SnapshotRecords.FromString(chunk)
    del records.subjects[0]
    return records.SerializeToString()


def checksum_of(chunks: list[bytes]) -> bytes:
    """The checksum of a snapshot."""
    return hashlib.sha256(b"".join(chunks)).digest()
