"""Following a log: the one reader of it, and the index that it keeps in step."""

from heed_server.follow.follower import Follower, Listener
from heed_server.follow.limits import FollowLimits
from heed_server.follow.log import (
    HistoryLostError,
    LogForkedError,
    continuation,
    read_after,
    require_same_log,
    within,
)

__all__ = [
    "FollowLimits",
    "Follower",
    "HistoryLostError",
    "Listener",
    "LogForkedError",
    "continuation",
    "read_after",
    "require_same_log",
    "within",
]
