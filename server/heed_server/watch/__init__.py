"""Telling followers elsewhere of a tenant's log: caches, agents, other systems."""

from heed_server.watch.filter import EVERYTHING, WatchFilter
from heed_server.watch.limits import WatchLimits
from heed_server.watch.stream import AGE_MS_MAX, Reader, Stream
from heed_server.watch.watches import Watches

__all__ = [
    "AGE_MS_MAX",
    "EVERYTHING",
    "Reader",
    "Stream",
    "WatchFilter",
    "WatchLimits",
    "Watches",
]
