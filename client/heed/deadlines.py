"""By when opt-outs must have reached everyone: what `heed.Client.get_deadlines` gives back."""

import enum
from dataclasses import dataclass
from datetime import datetime

from heed.model import Scope


class DeadlineStanding(enum.IntEnum):
    """Where an opt-out stands against its earliest deadline."""

    APPLIED = 1
    """Everybody who counts, or should, has applied it."""
    WAITING = 2
    """Somebody has not; its deadline is not near, or it has none."""
    NEAR = 3
    """Somebody has not, and it is warned of."""
    OVER = 4
    """Somebody has not, and its deadline has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """By when an opt-out must be honoured by one policy."""

    time: datetime
    policy: str
    title: str
    """What the policy is, for people."""
    calendar: str
    """By which business days, with the version: `US 2026-11`; empty: by none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOutDeadlines:
    """One opt-out's clock. Whose it is, is not told."""

    revision: int
    commit_time: datetime
    decided_time: datetime
    """When the person decided: the clock runs from here."""
    scope: Scope
    jurisdiction: str
    """Empty: unknown."""
    deadlines: tuple[Deadline, ...]
    """The earliest first; empty: no policy speaks of it."""
    standing: DeadlineStanding
    applied_time: datetime | None
    """By when at the latest everybody had applied it, as a node saw; None: it was not seen."""
    waiting_for: tuple[str, ...]
    """Who has not applied it, some of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinesPage:
    """Opt-outs, the newest first."""

    opt_outs: tuple[OptOutDeadlines, ...]
    next_before_revision: int
    """Go on with the opt-outs before this one; 0: there are no earlier ones."""
    now: datetime
    policies_version: str
