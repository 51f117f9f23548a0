"""What the streams of a node are doing, as metrics; the law is that of `measures`."""

from heed_server.telemetry.metrics import ByTenant, Declaration, Reading, single
from heed_server.watch import Watches


def of_watches(watches: Watches) -> list[Declaration]:
    """Return the metrics of streams and snapshots."""
    of_hubs = ByTenant(lambda: watches.hubs)
    return [
        of_hubs(
            "heed_watch_streams",
            "Streams that are open.",
            lambda hub: len(hub.members),
        ),
        of_hubs(
            "heed_watch_lag_revisions",
            "How many revisions the stream furthest behind has still to be told.",
            lambda hub: hub.lag(),
        ),
        of_hubs(
            "heed_watch_window_bytes",
            "What the last changes take that are kept for streams.",
            lambda hub: hub.window_bytes,
        ),
        of_hubs(
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
        single(
            "heed_watch_snapshots_total",
            "Snapshots made; each may serve many streams.",
            lambda: watches.snapshots.made,
            is_counter=True,
        ),
        single(
            "heed_watch_snapshot_seconds",
            "How long the last one took to make.",
            lambda: watches.snapshots.last_seconds,
        ),
        single(
            "heed_watch_snapshots_waiting",
            "Streams that wait for their turn to be sent one.",
            lambda: watches.snapshots.turns.waiting,
        ),
    ]
