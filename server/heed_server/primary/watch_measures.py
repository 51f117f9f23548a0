"""What the streams of a node are doing, as metrics; the law is that of `measures`."""

from collections.abc import Callable

from heed_server.telemetry.metrics import Declaration, Reading
from heed_server.watch import Watches
from heed_server.watch.hub import Hub


def of_watches(watches: Watches) -> list[Declaration]:
    """Return the metrics of streams and snapshots."""
    return [
        _of_hubs(
            watches,
            "heed_watch_streams",
            "Streams that are open.",
            lambda hub: len(hub.members),
        ),
        _of_hubs(
            watches,
            "heed_watch_lag_revisions",
            "How many revisions the stream furthest behind has still to be told.",
            lambda hub: hub.lag(),
        ),
        _of_hubs(
            watches,
            "heed_watch_window_bytes",
            "What the last changes take that are kept for streams.",
            lambda hub: hub.window_bytes,
        ),
        _of_hubs(
            watches,
            "heed_watch_pages_total",
            "Pages of the log read for streams that were behind.",
            lambda hub: hub.pages.reads,
            is_counter=True,
        ),
        Declaration(
            name="heed_watch_resyncs_total",
            meaning="Streams that began with a snapshot, by its reason.",
            labels=("tenant", "reason"),
            read=lambda: [
                Reading(value=count, labels=labels)
                for labels, count in tuple(watches.resyncs.items())
            ],
            is_counter=True,
        ),
        Declaration(
            name="heed_watch_snapshots_total",
            meaning="Snapshots made; each may serve many streams.",
            read=lambda: [Reading(value=watches.snapshots.made)],
            is_counter=True,
        ),
        Declaration(
            name="heed_watch_snapshot_seconds",
            meaning="How long the last one took to make.",
            read=lambda: [Reading(value=watches.snapshots.last_seconds)],
        ),
        Declaration(
            name="heed_watch_snapshots_waiting",
            meaning="Streams that wait for their turn to be sent one.",
            read=lambda: [Reading(value=watches.snapshots.turns.waiting)],
        ),
    ]


def _of_hubs(
    watches: Watches,
    name: str,
    meaning: str,
    read: Callable[[Hub], float],
    *,
    is_counter: bool = False,
) -> Declaration:
    return Declaration(
        name=name,
        meaning=meaning,
        labels=("tenant",),
        read=lambda: [
            Reading(value=float(read(hub)), labels=(hub.tenant.name,)) for hub in watches.hubs
        ],
        is_counter=is_counter,
    )
