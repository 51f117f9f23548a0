"""Why a credential is not taken: told to the operator, never to the caller.

Laws:
- Whatever is wrong, the caller gets one and the same answer; only the log says which it was.
- Each reason is logged at most once in `LOG_SECONDS`, with how often it came meanwhile, so that
  nobody fills the log by calling. No line holds anything that the caller sent.
"""

import enum
import math
from collections.abc import Callable
from typing import Final

import structlog

from heed.errors import UnauthenticatedError

LOG_SECONDS: Final = 60.0
"""How long a reason is not logged again. Higher: a new mistake is seen later. Lower: more lines."""

_log = structlog.stdlib.get_logger("heed_server.auth")


class Why(enum.StrEnum):
    """What was wrong with a credential."""

    ABSENT = "absent"
    """There was none, where one is required."""
    MALFORMED = "malformed"
    """It is neither a key nor a JWT nor a certificate of a workload."""
    UNKNOWN_KEY = "unknown_key"
    """No API key of this id and secret, or none that its issuer signs with."""
    REVOKED = "revoked"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    ALGORITHM = "algorithm"
    SIGNATURE = "signature"
    NOT_GRANTED = "not_granted"
    """It is good, and no grant names who it is of."""


class NotTakenError(Exception):
    """A credential is not taken."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


class Refusals:
    """Counts and logs. Written on the event loop alone."""

    def __init__(self, boot_seconds: Callable[[], float]) -> None:
        self.count = 0
        """How many credentials were refused since the start."""
        self._boot_seconds = boot_seconds
        self._since_logged: dict[Why, int] = {}
        self._logged_at: dict[Why, float] = {}

    def refusal(self, why: Why) -> UnauthenticatedError:
        """Take note, and return what the caller is told."""
        self.count += 1
        times = self._since_logged.get(why, 0) + 1
        now = self._boot_seconds()
        if now - self._logged_at.get(why, -math.inf) >= LOG_SECONDS:
            self._logged_at[why], times_told, times = now, times, 0
            _log.warning("credential_refused", why=why.value, times=times_told)
        self._since_logged[why] = times
        return UnauthenticatedError(
            "no valid credential was given; send an API key or a JWT as `authorization: Bearer …`, "
            "or connect with a certificate that is granted something"
        )
