"""When each reader first said to have applied what: the last steps of each, kept in memory.

Laws:
- A time is an upper bound: the reader had applied it by then. Of the subscribers of this node it is
  when their word came; of those of others when their node had it, which is read every few seconds.
- Of what a reader had applied before its first step that is kept, only that is known.
- How many readers and steps are kept is bounded; the oldest go. Nothing here is on the disk: what
  all had applied by when stands in the database too, by the minute (`heed_server.deadlines.watch`).

Source: ADR 0048.
"""

from array import array
from bisect import bisect_left
from typing import Final, NamedTuple, TypeAlias

from heed.model import Instant, Revision, TenantId

STEPS_KEPT_MAX: Final = 256
"""Steps of one reader that are kept, some 4 KiB. Lower: of a tenant with many writes a second it is
known for a shorter while when each was applied."""
TRAILS_KEPT_MAX: Final = 10_000
"""Readers whose steps are kept; one more and the one that came first is forgotten."""

ReaderKey: TypeAlias = tuple[TenantId, str, str]
"""A tenant, a subscriber's name, and which run of it."""


class Step(NamedTuple):
    """By when a reader had applied a revision."""

    time: Instant
    is_exact: bool
    """Whether it was seen to come here; else it had applied it before it was seen at all."""


class Trail:
    """The steps of one reader."""

    __slots__ = ("_revisions", "_times")

    def __init__(self) -> None:
        self._revisions = array("q")
        self._times = array("q")

    def add(self, revision: Revision, time: Instant) -> None:
        """Note a step; what is none changes nothing."""
        if self._revisions and revision <= self._revisions[-1]:
            return
        self._revisions.append(revision)
        self._times.append(time)
        if len(self._revisions) >= 2 * STEPS_KEPT_MAX:
            del self._revisions[:STEPS_KEPT_MAX], self._times[:STEPS_KEPT_MAX]

    def at(self, revision: Revision) -> Step | None:
        """Return by when it had applied a revision; None: it has not said so."""
        place = bisect_left(self._revisions, revision)
        if place == len(self._revisions):
            return None
        return Step(Instant(self._times[place]), is_exact=place > 0)


class Trails:
    """The steps of all readers."""

    def __init__(self) -> None:
        self._of: dict[ReaderKey, Trail] = {}

    def add(self, reader: ReaderKey, revision: Revision, time: Instant) -> None:
        """Note that a reader had applied a revision at a time."""
        trail = self._of.get(reader)
        if trail is None:
            if len(self._of) >= TRAILS_KEPT_MAX:
                del self._of[next(iter(self._of))]
            trail = self._of[reader] = Trail()
        trail.add(revision, time)

    def at(self, reader: ReaderKey, revision: Revision) -> Step | None:
        """Return by when a reader had applied a revision; None: that is not known."""
        trail = self._of.get(reader)
        return None if trail is None else trail.at(revision)
