"""What a second person is asked, and the laws of asking (ADR 0032).

Laws:
- A call that needs a second person changes nothing until another principal granted it by id; then
  the one who asked sends the very same call again, and it is judged and committed under its own
  key.
- An approval holds the call's key and hash and what it would do in counts: no request, no address.
- It is of at most what was shown: where the call would do more by now, it asks anew.
- It is of one call of one principal: what others ask, or another payload under the same key,
  neither makes use of it nor hides it. All nodes ask for one call once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from heed.model import ApprovalState, Instant, TenantId

GRANTED_HOURS_MAX: Final = 24
"""Hours from asking, in which an approval is granted and made use of."""
KEPT_DAYS: Final = 30
"""Days that an approval is listed."""
PENDING_MAX: Final = 1_000
"""Calls of a tenant that wait for a second person at a time."""
PENDING_OF_PRINCIPAL_MAX: Final = 100
"""The same of one principal, so that none keeps all others from asking."""

HOUR_MICROSECONDS: Final = 3_600_000_000
EXPIRES_MICROSECONDS: Final = GRANTED_HOURS_MAX * HOUR_MICROSECONDS
KEPT_MICROSECONDS: Final = KEPT_DAYS * 24 * HOUR_MICROSECONDS


class AskedCall(NamedTuple):
    """A call as an approval knows it: of one principal, and of one payload."""

    tenant_id: TenantId
    method: str
    idempotency_key: str
    payload_hash: bytes
    asked_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A call that needs a second person, or needed one."""

    tenant_id: TenantId
    approval_id: str
    method: str
    idempotency_key: str
    payload_hash: bytes
    about: str
    """What the call is about, for people: `batch import-6f1c…`. No address."""
    reason: str
    shown: Mapping[str, int]
    """What the call would do, by names of counts."""
    asked_by: str
    ask_time: Instant
    expire_time: Instant
    state: ApprovalState = ApprovalState.PENDING
    decided_by: str = ""
    decide_time: Instant | None = None

    @property
    def call(self) -> AskedCall:
        """The call that it is of."""
        return AskedCall(
            self.tenant_id, self.method, self.idempotency_key, self.payload_hash, self.asked_by
        )

    def state_at(self, now: Instant) -> ApprovalState:
        """Return where it is now."""
        if self.state is not ApprovalState.REJECTED and now >= self.expire_time:
            return ApprovalState.EXPIRED
        return self.state

    def covers(self, shown: Mapping[str, int]) -> bool:
        """Whether it showed at least so much of everything."""
        return all(count <= self.shown.get(name, 0) for name, count in shown.items())
