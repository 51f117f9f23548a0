"""Who may check at an agent, which has no keys to judge by: it asks the upstream, and remembers.

Laws:
- A credential is good here exactly while the upstream says so: it is asked with that credential,
  by a Check of the agent's tenant. What it said is taken for `credential_seconds`, then asked
  again behind an answer; one that the upstream takes no more is forgotten at once.
- While the upstream is silent what it last said stays good for `kept_seconds`, as keys do at a
  server whose database is away.
- Who sends no credential is judged like any other, but for two: where keys are required, nobody
  is let in without; where the agent listens on unix sockets alone, whoever may open one may check.
- A JWT is good here until its own end and no longer, whatever the upstream says, or does not say.
- Only Checks are ever let in by what is remembered. Everything else is judged upstream, each time.
- Written on the event loop alone.
Source: ADR 0020.
"""

import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Final, Protocol

import grpc
from grpc import aio

from heed.errors import UnauthenticatedError
from heed.model import Instant
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as types
from heed_server.auth.credentials import HANDED_ON
from heed_server.auth.jwt import expire_time_of
from heed_server.service.checks import SecondsLeft, patience_seconds

JUDGED_AT_ONCE_MAX: Final = 64
"""Credentials that are asked about again at one time, behind answers; the others wait."""

Credential = str | bytes
"""The value of `authorization`; empty: none."""

Metadata = Iterable[tuple[str, str | bytes]]

_SAID_NO: Final = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.NOT_FOUND,
    }
)


class Ask(Protocol):
    """Asks the upstream one Check."""

    def __call__(
        self, request: bytes, *, timeout: float, metadata: tuple[tuple[str, Credential], ...]
    ) -> Awaitable[bytes]:
        """Return its answer. Raises aio.AioRpcError."""
        ...


class Callers:
    """Knows which credentials may check."""

    def __init__(
        self,
        ask: Ask,
        *,
        is_required: bool,
        trusts_sockets: bool,
        credential_seconds: float,
        kept_seconds: float,
        credentials_max: int,
        ask_seconds_max: float,
        boot_seconds: Callable[[], float],
        now: Callable[[], Instant],
        start: Callable[[str, Coroutine[None, None, None]], object],
    ) -> None:
        """`start` runs what is done behind an answer."""
        self.refused = 0
        """Calls refused for want of a credential."""
        self._ask = ask
        self._is_required = is_required
        self._trusts_sockets = trusts_sockets
        self._credential_seconds = credential_seconds
        self._kept_seconds = kept_seconds
        self._credentials_max = credentials_max
        self._ask_seconds_max = ask_seconds_max
        self._boot_seconds = boot_seconds
        self._now = now
        self._start = start
        # When the upstream last took each credential, and when it ends by itself; "" is none.
        self._taken: dict[Credential, tuple[float, float]] = {}
        self._asking: set[Credential] = set()

    @property
    def known(self) -> int:
        """How many credentials may check."""
        return len(self._taken)

    def credential(self, metadata: Metadata) -> Credential:
        """Return what a call carries; empty: nothing.

        Raises:
            UnauthenticatedError: keys are required, and it carries none.
        """
        for name, value in metadata:
            if name == "authorization" and value:
                return value
        if self._is_required:
            self.refused += 1
            raise UnauthenticatedError(
                "this agent takes no call without a credential; send an API key or a JWT as "
                "`authorization: Bearer …`"
            )
        return ""

    async def may_check(self, given: Credential, tenant: str, seconds_left: SecondsLeft) -> bool:
        """Whether who has this credential may be answered by the replica of a tenant.

        False: the call is the upstream's to answer, or to refuse.
        """
        if not given and self._trusts_sockets:
            return True
        if given in self._taken:
            age_seconds = self._age_seconds(given)
            if age_seconds <= self._credential_seconds:
                return True
            if age_seconds <= self._kept_seconds:
                self._judge_behind(given, tenant)
                return True
            del self._taken[given]
        patience = patience_seconds(seconds_left, self._ask_seconds_max)
        return await self._judge(given, tenant, patience)

    def require_still(self, given: Credential, tenant: str) -> None:
        """Return if who was let in before may go on to check; whoever is asked about meanwhile may.

        Raises:
            UnauthenticatedError: the upstream takes the credential no more, or is silent too long.
        """
        if not given and self._trusts_sockets:
            return
        age_seconds = self._age_seconds(given)
        if age_seconds > self._kept_seconds:
            self.refused += 1
            raise UnauthenticatedError(
                "the upstream takes this credential no more, or was not heard of it for too long; "
                "open another stream"
            )
        if age_seconds > self._credential_seconds:
            self._judge_behind(given, tenant)

    def _judge_behind(self, given: Credential, tenant: str) -> None:
        if given in self._asking or len(self._asking) >= JUDGED_AT_ONCE_MAX:
            return
        self._asking.add(given)
        self._start("credential", self._judge_again(given, tenant))

    async def _judge_again(self, given: Credential, tenant: str) -> None:
        try:
            await self._judge(given, tenant, self._ask_seconds_max)
        finally:
            self._asking.discard(given)

    async def _judge(self, given: Credential, tenant: str, patience_seconds: float) -> bool:
        """Ask the upstream whether it takes a credential; where it is silent: False."""
        asked_at = self._boot_seconds()
        metadata: tuple[tuple[str, Credential], ...] = ((HANDED_ON, "1"),)
        if given:
            metadata += (("authorization", given),)
        try:
            await self._ask(_question(tenant), timeout=patience_seconds, metadata=metadata)
        except aio.AioRpcError as error:
            if error.code() in _SAID_NO:
                self._taken.pop(given, None)
            return False
        if len(self._taken) >= self._credentials_max:
            self._taken.clear()
        self._taken[given] = asked_at, asked_at + self._seconds_to_end(given)
        return True

    def _seconds_to_end(self, given: Credential) -> float:
        """How long a credential that the upstream took can be good; infinite but for a JWT."""
        text = given if isinstance(given, str) else ""
        end = expire_time_of(text.rpartition(" ")[2])
        return math.inf if end is None else (end - self._now()) / 1_000_000

    def _age_seconds(self, given: Credential) -> float:
        """How long ago the upstream took a credential; infinite: never, or it has ended."""
        taken_at, ends_at = self._taken.get(given, (-math.inf, -math.inf))
        now = self._boot_seconds()
        return math.inf if now >= ends_at else now - taken_at


def _question(tenant: str) -> bytes:
    """A Check about nobody, which needs the right and the tenant of every other."""
    query = types.Query(subjects=[types.Subject(user="heed-agent")], channel=types.CHANNEL_IN_APP)
    return preference.CheckSuppressionRequest(tenant=tenant, query=query).SerializeToString()
