"""Whether a call is taken on: its caller's rate, and a place among the calls under way.

Laws:
- A single opt-out (SetPreference of one person, with nothing but stops) is taken on whatever else
  its caller or others ask: it has no rate, needs no place, and an eighth of the calls that a
  process takes on is kept for it.
- Every other call has a place from when its caller is known until its end has left, so that who
  does not read what comes holds a place of its own, and no more than its share.
- Written on the event loop alone.
Source: ADR 0034.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from heed.errors import ErrorReason
from heed_server.auth.policy import Principal
from heed_server.rates import RateLimits, Rates
from heed_server.room import Room

OPT_OUT_CALLS_SHARE: Final = 8
"""One in so many of the calls that a process takes on is kept for single opt-outs. Higher: they
wait for each other when all else is full. Lower: all else is refused sooner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """How many calls may be under way."""

    calls_max: int = 8_192
    """Of the process, single opt-outs too."""
    calls_of_principal_max: int = 4_096
    """Of one principal, but for single opt-outs."""


class Admission:
    """What one process has taken on, and may."""

    def __init__(self, calls: CallLimits | None = None, rates: RateLimits | None = None) -> None:
        bounds = calls or CallLimits()
        self.rates = Rates(rates)
        self.calls = Room(
            "calls under way",
            most=("calls_max", bounds.calls_max - bounds.calls_max // OPT_OUT_CALLS_SHARE),
            most_of_principal=("calls_of_principal_max", bounds.calls_of_principal_max),
            reason=ErrorReason.OVERLOADED,
        )

    @contextmanager
    def place(self, principal: Principal) -> Generator[None]:
        """Hold a place within the block.

        Raises:
            ExhaustedError: OVERLOADED, there is none.
        """
        with self.calls.place(principal.identity):
            yield
