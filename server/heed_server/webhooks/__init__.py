"""Webhooks: every change that a target wants, sent to it over HTTPS, signed, and tried until taken.

`events`, `wanted`, `signing`, `addresses`, `order` and `pace` are pure; `transport` is the one
module that speaks HTTP to targets, `resolving` finds where it may go. A `Deliverer` brings one
target in step with its tenant's log, and `Webhooks` runs them on the node that has the lease.
docs/webhooks.md is for who receives them.
"""

from heed_server.webhooks.limits import WebhookLimits
from heed_server.webhooks.notices import DeadlineNotices
from heed_server.webhooks.sendings import Means
from heed_server.webhooks.targets_file import TargetsFile
from heed_server.webhooks.webhooks import Webhooks

__all__ = ["DeadlineNotices", "Means", "TargetsFile", "WebhookLimits", "Webhooks"]
