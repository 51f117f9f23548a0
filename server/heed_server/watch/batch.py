"""Consecutive changes of a log, encoded once for all who are told of them.

Laws:
- A batch is told whole or from within: whoever stands in the middle of it is told the rest.
- What was asked for once by a filter is remembered; a batch never changes otherwise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from heed.model import RULE_VERSION, Change, Record, Revision, TenantId
from heed.records import rules_needed_after, without_quiet_hours
from heed.tokens import TOKEN_HASH_BYTES, encode_token
from heed.wire.watched import change_part, changes_message
from heed_server.watch.filter import EVERYTHING, WatchFilter

FILTERS_REMEMBERED_MAX: Final = 64
"""So many filters' messages are remembered of one batch; those of more are put together again."""

_CHANGE_BYTES: Final = 200
"""What a change takes beside its encoding."""


class Batch:
    """The changes after a revision, through another. It holds one change at least."""

    __slots__ = (
        "_hash_before",
        "_hashes",
        "_messages",
        "_parts",
        "_records",
        "_spared",
        "after",
        "cost_bytes",
        "token",
    )

    def __init__(
        self,
        changes: Sequence[Change],
        *,
        hash_before: bytes | None,
        tenant_id: TenantId,
        epoch: bytes,
    ) -> None:
        """`changes` are dense. `hash_before` is the running hash before them, where known."""
        self.after = Revision(changes[0].revision - 1)
        self.token = encode_token(
            epoch=epoch,
            tenant_id=tenant_id,
            revision=changes[-1].revision,
            running_hash=changes[-1].running_hash,
        )
        self._parts = [change_part(change) for change in changes]
        self._spared = {
            at: change_part(_by_rules_of_1(change))
            for at, change in enumerate(changes)
            if change.erasure is not None and rules_needed_after(change) > 1
        }
        """Erasures that leave what readers of earlier rules cannot read, as those are told."""
        self._records: list[Record | None] = [
            change.slot_record if change.subject is not None else None for change in changes
        ]
        self._hashes = [change.running_hash for change in changes]
        self._hash_before = hash_before
        self.cost_bytes = sum(map(len, self._parts)) + _CHANGE_BYTES * len(changes)
        # By filter, of the batch told whole; None: it leaves everything out.
        self._messages: dict[WatchFilter, bytes | None] = {}

    @property
    def through(self) -> Revision:
        """The last revision."""
        return Revision(self.after + len(self._parts))

    @property
    def running_hash(self) -> bytes:
        """The running hash at the last revision."""
        return self._hashes[-1]

    def hash_at(self, revision: Revision) -> bytes | None:
        """Return the first bytes of the running hash at a revision of it, or before it if known."""
        if revision == self.after:
            return None if self._hash_before is None else self._hash_before[:TOKEN_HASH_BYTES]
        return self._hashes[revision - self.after - 1][:TOKEN_HASH_BYTES]

    def message(self, filter_: WatchFilter, position: Revision, told: Revision) -> bytes | None:
        """Return the message that brings whoever stands at a position here; None: none is needed.

        `told` is where they believe to stand: at the position, or before what their filter left
        out.
        """
        if position != self.after or told != position:
            return self._put_together(filter_, position, told)
        known = self._messages.get(filter_, _UNKNOWN)
        if known is not _UNKNOWN:
            return known
        message = self._put_together(filter_, position, told)
        if len(self._messages) < FILTERS_REMEMBERED_MAX:
            self._messages[filter_] = message
        return message

    def told(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield of each change its part of a message, empty where it did nothing, and its hash."""
        return zip(self._parts, self._hashes, strict=True)

    def wanted(self, filter_: WatchFilter) -> list[bool]:
        """Return of each change whether a filter wants it as it is."""
        if filter_ is EVERYTHING:
            return [True] * len(self._records)
        is_told_all = filter_.knows(RULE_VERSION)
        return [
            (record is None and (is_told_all or at not in self._spared))
            or (record is not None and filter_.wants(record))
            for at, record in enumerate(self._records)
        ]

    def forget_messages(self) -> None:
        """Give the memory of the messages back."""
        self._messages.clear()

    def _put_together(
        self, filter_: WatchFilter, position: Revision, told: Revision
    ) -> bytes | None:
        first = position - self.after
        parts = self._parts[first:]
        if filter_ is not EVERYTHING:
            spared = {} if filter_.knows(RULE_VERSION) else self._spared
            parts = [
                spared.get(at, part)
                for at, (part, record) in enumerate(
                    zip(parts, self._records[first:], strict=True), first
                )
                if record is None or filter_.wants(record)
            ]
        joined = b"".join(parts)
        if not joined:
            return None
        return changes_message(
            told, self.through, joined, token=self.token, running_hash=self.running_hash
        )


def _by_rules_of_1(change: Change) -> Change:
    """An erasure that leaves only what every reader can read."""
    erasure = change.erasure
    if erasure is None:
        return change
    return replace(change, erasure=replace(erasure, standing=without_quiet_hours(erasure.standing)))


_UNKNOWN: Final = b"unknown"
