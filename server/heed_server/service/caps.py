"""What a principal may do in an hour without a second person: stops by bulk, consents, releases.

Laws:
- A cap is of a principal in a tenant, and counted in the database (`heed_server.storage.caps`): the
  same whichever node is asked, and however often one starts.
- A write above its cap is not made and not acknowledged; whoever sent it keeps it, and sends it
  again with its key once it is approved.
- A server without credentials knows no two persons, so there is no cap; that is logged. But it
  releases no more people from suppressions than one person may, for nobody could grant more.
- A single opt-out is under no cap.
Source: ADR 0034 and ADR 0038.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from heed.errors import ConflictError, ErrorReason
from heed_server.auth.policy import OPEN, Principal
from heed_server.writes import Cap, Spender

_log = structlog.stdlib.get_logger("heed_server.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class CapLimits:
    """People an hour, of one principal in one tenant; 0: no cap."""

    bulk_people_per_hour_max: int = 1_000
    """Stopped by calls for several people: opt-outs, pauses, suppressions, imports; or
    `bulk_percent_per_hour_max`, if that is more. Higher: a stolen key silences more people. Lower:
    ordinary feeds of bounces wait for a second person."""
    bulk_percent_per_hour_max: float = 1.0
    """The same as a share of the tenant's people, in percent."""
    consents_per_hour_max: int = 100
    """Opted in. Higher: a stolen key reactivates more people. Lower: a busy sign-up page waits for
    a second person."""
    releases_per_hour_max: int = 100
    """Released from suppressions, one by one or in bulk. Higher: a stolen key has more people
    written to who bounced or were suppressed by hand. Lower: a support desk waits for a second
    person."""


class Caps:
    """The caps of one process, and how often they were met. Written on the event loop alone."""

    def __init__(self, limits: CapLimits | None = None) -> None:
        self._limits = limits or CapLimits()
        self._met: Counter[Cap] = Counter()
        self._has_said = False

    def recording(self, principal: Principal, subjects: int) -> Spender | None:
        """Return whose caps a write of choices or stops is under, in a tenant of so many subjects.

        None: it is under none.
        """
        if principal is OPEN:
            if not self._has_said:
                self._has_said = True
                _log.info("caps_not_in_force", why="callers need no credential")
            return None
        bounds = self._limits
        most: dict[Cap, int] = {}
        if bounds.bulk_people_per_hour_max:
            share = int(subjects * bounds.bulk_percent_per_hour_max / 100)
            most[Cap.BULK] = max(bounds.bulk_people_per_hour_max, share)
        if bounds.consents_per_hour_max:
            most[Cap.CONSENTS] = bounds.consents_per_hour_max
        return Spender(principal=principal.name, most=most) if most else None

    def releasing(self, principal: Principal) -> Spender | None:
        """Return whose cap a release of suppressions is under; None: it is under none."""
        most = self._limits.releases_per_hour_max
        return Spender(principal=principal.name, most={Cap.RELEASES: most}) if most else None

    def met_by(self, error: ConflictError, principal: Principal, tenant: str) -> Cap | None:
        """Raise the alarm and return the cap that was met, if that is what an error says."""
        name = error.metadata.get("cap")
        if error.reason is not ErrorReason.APPROVAL_REQUIRED or name is None:
            return None
        cap = Cap[name.upper()]
        self._met[cap] += 1
        _log.warning("cap_met", principal=principal.name, tenant=tenant, **error.metadata)
        return cap

    @property
    def met(self) -> Mapping[str, int]:
        """How often each cap was met since the start, by its name."""
        return {cap.name.lower(): self._met[cap] for cap in Cap}
