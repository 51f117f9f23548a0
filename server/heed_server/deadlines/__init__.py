"""The clock: by when an opt-out must have been honoured, and who has not applied it by then."""

from heed_server.deadlines.clock import Clocked, Deadline, OptOut, deadlines_of, opt_out_of
from heed_server.deadlines.policies import Policies
from heed_server.deadlines.reading import policies_of
from heed_server.deadlines.rules import DeadlineRules
from heed_server.deadlines.watch import DeadlineWatch, DeadlineWatchLimits

__all__ = [
    "Clocked",
    "Deadline",
    "DeadlineRules",
    "DeadlineWatch",
    "DeadlineWatchLimits",
    "OptOut",
    "Policies",
    "deadlines_of",
    "opt_out_of",
    "policies_of",
]
