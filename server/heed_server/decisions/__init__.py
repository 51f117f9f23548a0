"""The decision log: what each Check was answered, in a file of its own (ADR 0037)."""

from heed_server.decisions.lines import Noted
from heed_server.decisions.log import DecisionLog, DecisionLogLimits, open_decision_log

__all__ = ["DecisionLog", "DecisionLogLimits", "Noted", "open_decision_log"]
