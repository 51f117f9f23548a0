"""From a call to its principal: by an API key, a JWT, or the certificate of its connection.

Laws:
- A credential that is unknown, revoked, expired or malformed gets one and the same answer.
- What a call carries speaks for it; its connection's certificate only where it carries nothing, and
  only where the connection is the caller's own: a call that an agent hands on is never the agent's.
- The path of a known credential is one dictionary look-up: what was verified is remembered until
  the keys or the grants in memory change. Expiry is judged at each call.
- Where keys are required once there is one, the first key that is noticed closes the server to
  calls without: whoever made it believes so. From then on it stays closed.
- A revocation is noticed within `REFRESH_SECONDS` and the time one query takes.
- While the store is away the last keys read stay good for `AuthConfig.keys_kept_seconds`; past
  that a credential cannot be judged, and the call fails UNAVAILABLE. The bound is that of
  mandatory messages' staleness, so that losing the database takes no Check down sooner than the
  age of what is known does; a revoked key can meanwhile read on this node, never write.
"""

import asyncio
import hmac
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog

from heed.errors import UnavailableError
from heed.model import Instant
from heed_server.auth.jwt import is_like_jwt
from heed_server.auth.keys import parse_key
from heed_server.auth.policy import OPEN, Principal, Right
from heed_server.auth.refusals import NotTakenError, Refusals, Why
from heed_server.key_store import ApiKey

if TYPE_CHECKING:
    from heed_server.auth.identities import Identities

REFRESH_SECONDS = 2.0
"""How often the keys are read again: higher notices a revocation later, lower asks the store more
(one small query)."""

VERIFIED_TOKENS_MAX = 10_000
"""So many verified credentials are remembered; one more and all are verified again, once each."""

CERTIFICATE_BYTES_MAX = 16_384
"""Bytes of a client's certificate, as PEM; a larger one names nobody."""

HANDED_ON: Final = "heed-handed-on"
"""The metadata of a call that somebody hands on for another. It only takes away: whoever says it of
their own call is nobody."""
CALLER_CERTIFICATE: Final = "heed-caller-certificate-bin"
"""The metadata by which a worker tells its owner the certificate of a caller's connection. No edge
takes it from a caller."""

_NO_KEY_HASH = bytes(32)
_SCHEME = "bearer "
_PEM = b"-----BEGIN CERTIFICATE-----"

_log = structlog.stdlib.get_logger("heed_server.auth")


class Verified(NamedTuple):
    """Whom a credential is of, for as long as it may be remembered."""

    principal: Principal
    expire_time: Instant | None
    require_recent: Callable[[], None]
    """Raises UnavailableError when what it was judged by is too old."""


class KeyReader(Protocol):
    """Where the keys are read."""

    async def api_keys(self) -> Sequence[ApiKey]:
        """Return every key, revoked and expired ones too.

        Raises:
            UnavailableError: they cannot be read now.
        """
        ...


class Connection(Protocol):
    """What a call came over."""

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what the handshake showed; `x509_pem_cert` is the caller's certificate."""
        ...


Metadata = Iterable[tuple[str, str | bytes]]


class Authenticator:
    """Tells who calls. Its state is written only by `refresh` and `principal`, on one loop."""

    def __init__(
        self,
        keys: KeyReader,
        *,
        is_required: bool | None,
        keys_kept_seconds: float,
        now: Callable[[], Instant],
        boot_seconds: Callable[[], float],
        identities: "Identities | None" = None,
        is_asked_by_workers: bool = False,
    ) -> None:
        """`is_required` False: a call without a credential is `OPEN`; one with a bad one fails.

        None: it is False until a first key was made. Without `identities` neither a JWT nor a
        certificate is anybody's. `is_asked_by_workers`: what they say of a caller's connection is
        believed.
        """
        self._store = keys
        self._is_required = bool(is_required)
        self._closes_with_first_key = is_required is None
        self._keys_kept_seconds = keys_kept_seconds
        self._now = now
        self._boot_seconds = boot_seconds
        self._keys: dict[str, ApiKey] = {}
        self._identities = identities
        self._is_asked_by_workers = is_asked_by_workers
        # By the value of `authorization`, and by the PEM of a certificate.
        self._verified: dict[str | bytes, Verified] = {}
        self._refusals = Refusals(boot_seconds)
        self._read_at: float | None = None
        self._told: Callable[[], None] | None = None
        if identities is not None:
            identities.tell(self._verified.clear)

    @property
    def is_required(self) -> bool:
        """Whether a call without a credential is refused."""
        return self._is_required

    @property
    def refused(self) -> int:
        """How many credentials were refused since the start."""
        return self._refusals.count

    def principal(self, metadata: Metadata, connection: Connection | None = None) -> Principal:
        """Return who calls: by `authorization: Bearer …`, or else by the connection's certificate.

        Raises:
            UnauthenticatedError: none that is good, or none given where one is required.
            UnavailableError: what credentials are judged by was last read too long ago.
        """
        given: str | bytes | None = None
        for name, value in metadata:
            if name == "authorization":
                if given is not None or not isinstance(value, str):
                    raise self._refusals.refusal(Why.MALFORMED)
                given = value
        if given is None:
            given = self._certificate(metadata, connection)
        if given is None:
            if self._is_required:
                raise self._refusals.refusal(Why.ABSENT)
            return OPEN
        known = self._verified.get(given) or self._verify(given)
        principal, expire_time, require_recent = known
        if expire_time is not None and self._now() >= expire_time:
            raise self._refusals.refusal(Why.EXPIRED)
        require_recent()
        return principal

    async def refresh(self) -> None:
        """Read the keys again.

        Raises:
            UnavailableError: the store does not answer; the keys known stay in force.
        """
        asked_at = self._boot_seconds()
        self.take(await self._store.api_keys(), read_at=asked_at)
        if self._told is not None:
            self._told()

    def take(self, keys: Sequence[ApiKey], *, read_at: float) -> None:
        """Judge by these keys from now on, which the store had at a time of the boot clock."""
        by_id = {key.key_id: key for key in keys}
        if by_id != self._keys:
            self._keys = by_id
            self._verified.clear()
        if by_id and self._closes_with_first_key and not self._is_required:
            self._is_required = True
            if self._read_at is not None:
                _log.warning("keys_required", why="a first key was made")
        self._read_at = read_at

    def tell(self, told: Callable[[], None]) -> None:
        """Call this after each refresh, before whoever asked for it is answered."""
        self._told = told

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        is_away = False
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
            except UnavailableError as error:
                if not is_away:
                    _log.warning(
                        "keys_not_refreshed",
                        reason=error.reason,
                        kept_seconds=self._keys_kept_seconds,
                    )
                is_away = True
            else:
                is_away = False

    @property
    def keys(self) -> Sequence[ApiKey]:
        """Every key that is known, revoked and expired ones too."""
        return list(self._keys.values())

    @property
    def read_at(self) -> float:
        """When the store had these keys, by the boot clock; before the first, minus infinity."""
        return -math.inf if self._read_at is None else self._read_at

    @property
    def key_count(self) -> int:
        """How many keys are known, revoked and expired ones too."""
        return len(self._keys)

    def _require_recent_keys(self) -> None:
        age = None if self._read_at is None else self._boot_seconds() - self._read_at
        if age is None or age > self._keys_kept_seconds:
            raise UnavailableError(
                f"API keys were last read {_age_in_words(age)}; no credential can be judged until "
                "the database answers"
            )

    def _certificate(self, metadata: Metadata, connection: Connection | None) -> bytes | None:
        """The certificate that speaks for a call which carries nothing; None: there is none."""
        if self._identities is None:
            return None
        told: str | bytes | None = None
        for name, value in metadata:
            if name == HANDED_ON:
                return None
            if name == CALLER_CERTIFICATE:
                told = value
        if self._is_asked_by_workers:
            return told if isinstance(told, bytes) else None
        return None if connection is None else certificate_of(connection)

    def _verify(self, given: str | bytes) -> Verified:
        """Judge a credential that is not remembered, and remember it.

        Raises:
            UnauthenticatedError: it is not taken.
            UnavailableError: it cannot be judged now.
        """
        try:
            known = (
                self._of_certificate(given) if isinstance(given, bytes) else self._of_bearer(given)
            )
        except NotTakenError as error:
            raise self._refusals.refusal(error.why) from None
        if len(self._verified) >= VERIFIED_TOKENS_MAX:
            self._verified.clear()
        self._verified[given] = known
        return known

    def _of_certificate(self, pem: bytes) -> Verified:
        if self._identities is None or not pem.startswith(_PEM):
            raise NotTakenError(Why.MALFORMED)
        return self._identities.of_certificate(pem)

    def _of_bearer(self, given: str) -> Verified:
        if given[: len(_SCHEME)].lower() != _SCHEME:
            raise NotTakenError(Why.MALFORMED)
        text = given[len(_SCHEME) :]
        if self._identities is not None and is_like_jwt(text):
            return self._identities.of_jwt(text)
        parsed = parse_key(text)
        if parsed is None:
            raise NotTakenError(Why.MALFORMED)
        self._require_recent_keys()
        key = self._keys.get(parsed.key_id)
        stored_hash = _NO_KEY_HASH if key is None else key.secret_hash
        is_same = hmac.compare_digest(stored_hash, parsed.secret_hash)
        if key is None or not is_same:
            raise NotTakenError(Why.UNKNOWN_KEY)
        if key.revoke_time is not None:
            raise NotTakenError(Why.REVOKED)
        return Verified(principal_of(key), key.expire_time, self._require_recent_keys)


def certificate_of(connection: Connection) -> bytes | None:
    """Return the certificate, as PEM, that a caller showed; None: none was asked for."""
    for pem in connection.auth_context().get("x509_pem_cert", ()):
        return pem
    return None


def principal_of(key: ApiKey) -> Principal:
    """Return the principal of a key; rights this version does not know give nothing."""
    known = {right.value: right for right in Right}
    rights = frozenset(known[name] for name in key.rights if name in known)
    return Principal(name=key.name, rights=rights, tenant=key.tenant)


def _age_in_words(age: float | None) -> str:
    return "never" if age is None else f"{age:.0f} s ago"
