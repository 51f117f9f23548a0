"""Who has applied a revision, and who has not: a pure function over what was last seen of each.

Laws:
- A stream counts until its max_staleness after it was last seen to report, by this node's boot
  clock; for so long its reader may allow by what it knew then. So no wall clock, right or wrong,
  lets a subscriber be forgotten too early, and one just heard of counts in full.
- A stream that ended counts as long, unless the same run of its reader has opened another one.
  Which of a run's streams is its last is told by when this node last saw them report: their nodes
  stamp them by clocks of their own.
- Who counts no more is said to be gone, or missing if it was declared; never left out.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from heed.model import Instant, Revision
from heed.propagation import SubscriberStatus
from heed_server.store import Subscriber

_MICROSECONDS = 1_000_000


class Seen(NamedTuple):
    """A row of the registry, and when this node last saw it move."""

    subscriber: Subscriber
    seen_boot_seconds: float
    late_seconds: float = 0.0
    """So much later than it was made a report of it may be seen here."""


class Progress(NamedTuple):
    """How far one subscriber is."""

    name: str
    status: SubscriberStatus
    node: str
    """Where its last stream is, or was; empty: it never had one."""
    applied_revision: Revision
    """The least of its streams that count, or the last that it said; 0: nothing."""
    applied_time: Instant | None
    """When it first said so, by the clock of its node."""
    probe_time: Instant | None
    """When it last reported, likewise."""
    is_declared: bool


def progress_of(
    seen: Iterable[Seen], revision: Revision, boot_seconds: float
) -> tuple[Progress, ...]:
    """Return how far each subscriber is towards a revision, by name."""
    by_name = _by_name(seen)
    return tuple(_progress(name, by_name[name], revision, boot_seconds) for name in sorted(by_name))


def counting_by_name(seen: Iterable[Seen], boot_seconds: float) -> dict[str, list[Subscriber]]:
    """Return the streams that count of each subscriber that does, or should, by name.

    Who is missing has none; who is gone is left out.
    """
    found: dict[str, list[Subscriber]] = {}
    for name, rows in sorted(_by_name(seen).items()):
        streams = [one for one in rows if one.subscriber.stream_id]
        counting = _counting(streams, boot_seconds)
        if counting or len(streams) < len(rows):
            found[name] = counting
    return found


def is_propagated(progress: Iterable[Progress]) -> bool:
    """Whether everybody who counts, or should, has applied the revision."""
    return all(one.status in {SubscriberStatus.APPLIED, SubscriberStatus.GONE} for one in progress)


def is_heard(one: Seen, boot_seconds: float) -> bool:
    """Whether its max_staleness is not over: its reader may still allow by what it knew."""
    age_seconds = boot_seconds - one.seen_boot_seconds - one.late_seconds
    return age_seconds * _MICROSECONDS <= one.subscriber.max_staleness


def latest(one: Seen) -> tuple[float, Instant, str]:
    """Order streams by when they were last heard of, and then by their opening."""
    return one.seen_boot_seconds, one.subscriber.open_time, one.subscriber.stream_id


def _by_name(seen: Iterable[Seen]) -> dict[str, list[Seen]]:
    by_name: dict[str, list[Seen]] = {}
    for one in seen:
        by_name.setdefault(one.subscriber.name, []).append(one)
    return by_name


def _progress(name: str, rows: Sequence[Seen], revision: Revision, boot_seconds: float) -> Progress:
    streams = [one for one in rows if one.subscriber.stream_id]
    is_declared = len(streams) < len(rows)
    counting = _counting(streams, boot_seconds)
    if counting:
        told = min(counting, key=lambda one: one.applied_revision)
        status = (
            SubscriberStatus.APPLIED
            if told.applied_revision >= revision
            else SubscriberStatus.PENDING
        )
        return _told(told, status, is_declared=is_declared)
    status = SubscriberStatus.MISSING if is_declared else SubscriberStatus.GONE
    if not streams:
        return Progress(name, status, "", Revision(0), None, None, is_declared)
    return _told(max(streams, key=latest).subscriber, status, is_declared=is_declared)


def _told(stream: Subscriber, status: SubscriberStatus, *, is_declared: bool) -> Progress:
    return Progress(
        name=stream.name,
        status=status,
        node=stream.node,
        applied_revision=stream.applied_revision,
        applied_time=stream.applied_time,
        probe_time=stream.probe_time,
        is_declared=is_declared,
    )


def _counting(streams: Sequence[Seen], boot_seconds: float) -> list[Subscriber]:
    """Of each run the last stream, if it counts."""
    last: dict[str, Seen] = {}
    for one in streams:
        if is_heard(one, boot_seconds):
            known = last.setdefault(one.subscriber.instance, one)
            last[one.subscriber.instance] = max(known, one, key=latest)
    return [one.subscriber for one in last.values()]
