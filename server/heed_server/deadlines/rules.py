"""The policies in force with how far ahead they warn: what tells where an opt-out stands."""

import hashlib
from dataclasses import dataclass, field

from heed.deadlines import DeadlineStanding
from heed.model import Change, Instant
from heed_server.deadlines.clock import Clocked, deadlines_of, opt_out_of
from heed_server.deadlines.policies import Policies
from heed_server.deadlines.reading import policies_of

_MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineRules:
    """By what deadlines are counted and warned of."""

    policies: Policies = field(default_factory=policies_of)
    margin_seconds: float = 86_400.0
    """So long before its deadline an opt-out is near it."""
    grace_seconds: float = 60.0
    """So long after its commit an opt-out is not warned of, however near its deadline."""

    @property
    def digest(self) -> str:
        """Names these rules: by others, other opt-outs are near."""
        said = f"{self.policies.model_dump_json()} {self.margin_seconds} {self.grace_seconds}"
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def clocked(self, change: Change, tenant: str) -> Clocked | None:
        """Return the opt-out that a change made, with its deadlines; None: it made none."""
        opt_out = opt_out_of(change)
        if opt_out is None:
            return None
        return Clocked(opt_out, deadlines_of(opt_out, self.policies, tenant))

    def near_time(self, clocked: Clocked) -> Instant | None:
        """Return from when on it is warned of; None: it has no deadline."""
        if not clocked.deadlines:
            return None
        near = clocked.deadlines[0].time - round(self.margin_seconds * _MICROSECONDS)
        spared = clocked.opt_out.commit_time + round(self.grace_seconds * _MICROSECONDS)
        return Instant(max(near, spared))

    def standing(self, clocked: Clocked, now: Instant, *, is_applied: bool) -> DeadlineStanding:
        """Return where an opt-out stands now, if everybody has applied it or not."""
        near = self.near_time(clocked)
        if is_applied:
            return DeadlineStanding.APPLIED
        if near is None or now < near:
            return DeadlineStanding.WAITING
        return DeadlineStanding.NEAR if now < clocked.deadlines[0].time else DeadlineStanding.OVER
