"""Webhooks, as an operator sees them: where targets stand, and what they never took. Pure."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookTarget:
    """How far a target was sent what. Its URL is not told."""

    name: str
    revision: int
    """Up to here each change was delivered, is retried, or was given up."""
    lag: int
    """How many revisions that is behind the log, as the node that was asked knows it."""
    late_lanes: int
    """Subjects, and notices, that are retried."""
    dead_letters: int
    """Events that were given up."""
    delivered_time: datetime | None
    """When it took something last; None: never."""
    failing_since: datetime | None
    """Since when it has taken nothing; None: it takes what it is sent."""
    failure: str
    """Why it takes nothing, or why nothing is sent; empty: neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An event that a target never took."""

    letter_id: str
    """Its `webhook-id`, without what stands for a replay."""
    event: str
    """Its type: `preference.changed`."""
    revision: int
    """The change that it is; of a warning of a deadline the opt-out that it is about."""
    first_time: datetime
    dead_time: datetime
    """When it was given up."""
    attempts: int
    failure: str
    """Why it was not taken, the last time: `HTTP 410`."""
    replays: int
    """How often it was sent anew."""
