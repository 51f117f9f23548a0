"""Who has applied a change: what `heed.Client.get_propagation` gives back."""

import enum
from dataclasses import dataclass
from datetime import datetime


class SubscriberStatus(enum.IntEnum):
    """Where a subscriber is, as asked about one revision."""

    APPLIED = 1
    """It counts, and every stream of it that counts has applied the revision."""
    PENDING = 2
    """It counts, and has not."""
    MISSING = 3
    """It was declared, and no stream of it counts."""
    GONE = 4
    """No stream of it counts any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberProgress:
    """How far one subscriber is towards a revision."""

    name: str
    status: SubscriberStatus
    applied_revision: int
    """The least that its streams have applied; of one that is gone, the last it said."""
    applied_time: datetime | None
    """When it first said so, by the clock of its node; None: it never had a stream."""
    probe_time: datetime | None
    """When it last reported, likewise."""
    node: str
    """The node that has its stream, or had; empty: none ever had."""
    declared: bool
    """Whether it is missed while it is away."""

    @property
    def has_applied_or_is_gone(self) -> bool:
        """Whether it holds nothing up."""
        return self.status in {SubscriberStatus.APPLIED, SubscriberStatus.GONE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Propagation:
    """Who has applied a revision."""

    revision: int
    head_revision: int
    """Where the log stands, as the node that answered knows it."""
    propagated: bool
    """Whether every subscriber that counts, and every declared one, has applied it."""
    subscribers: tuple[SubscriberProgress, ...]
    """By name. One that counts no more is told of as GONE for an hour."""
