"""From a call's metadata to its principal, by API keys that are held in memory.

Laws:
- A key that is unknown, revoked, expired or malformed gets one and the same answer.
- The path of a known token is one dictionary look-up: tokens that were verified are remembered
  until the keys in memory change. Expiry is judged at each call.
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
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import structlog

from heed.errors import UnauthenticatedError, UnavailableError
from heed.model import Instant
from heed_server.auth.keys import parse_key
from heed_server.auth.policy import OPEN, Principal, Right
from heed_server.store import ApiKey

REFRESH_SECONDS = 2.0
"""How often the keys are read again: higher notices a revocation later, lower asks the store more
(one small query)."""

VERIFIED_TOKENS_MAX = 10_000
"""So many verified tokens are remembered; one more and all are verified again, once each."""

_NO_KEY_HASH = bytes(32)
_SCHEME = "bearer "

_log = structlog.stdlib.get_logger("heed_server.auth")


class KeyReader(Protocol):
    """Where the keys are read."""

    async def api_keys(self) -> Sequence[ApiKey]:
        """Return every key, revoked and expired ones too.

        Raises:
            UnavailableError: they cannot be read now.
        """
        ...


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
    ) -> None:
        """`is_required` False: a call without a credential is `OPEN`; one with a bad one fails.

        None: it is False until a first key was made.
        """
        self._store = keys
        self._is_required = bool(is_required)
        self._closes_with_first_key = is_required is None
        self._keys_kept_seconds = keys_kept_seconds
        self._now = now
        self._boot_seconds = boot_seconds
        self._keys: dict[str, ApiKey] = {}
        self._verified: dict[str, tuple[Principal, Instant | None]] = {}
        self._read_at: float | None = None
        self._told: Callable[[], None] | None = None
        self.refused = 0
        """How many credentials were refused since the start."""

    @property
    def is_required(self) -> bool:
        """Whether a call without a credential is refused."""
        return self._is_required

    def principal(self, metadata: Iterable[tuple[str, str | bytes]]) -> Principal:
        """Return who calls, from the metadata `authorization: Bearer heed_…`.

        Raises:
            UnauthenticatedError: no such key, or none given where one is required.
            UnavailableError: the keys were last read too long ago to judge by.
        """
        given: str | bytes | None = None
        for name, value in metadata:
            if name == "authorization":
                if given is not None:
                    raise self._refusal()
                given = value
        if given is None:
            if self._is_required:
                raise self._refusal()
            return OPEN
        if not isinstance(given, str):
            raise self._refusal()
        self._require_recent_keys()
        known = self._verified.get(given) or self._verify(given)
        principal, expire_time = known
        if expire_time is not None and self._now() >= expire_time:
            raise self._refusal()
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

    def _verify(self, given: str) -> tuple[Principal, Instant | None]:
        """Judge a token that is not remembered, and remember it."""
        parsed = (
            parse_key(given[len(_SCHEME) :]) if given[: len(_SCHEME)].lower() == _SCHEME else None
        )
        if parsed is None:
            raise self._refusal()
        key = self._keys.get(parsed.key_id)
        stored_hash = _NO_KEY_HASH if key is None else key.secret_hash
        is_same = hmac.compare_digest(stored_hash, parsed.secret_hash)
        if key is None or not is_same or key.revoke_time is not None:
            raise self._refusal()
        principal = principal_of(key)
        if len(self._verified) >= VERIFIED_TOKENS_MAX:
            self._verified.clear()
        known = (principal, key.expire_time)
        self._verified[given] = known
        return known

    def _refusal(self) -> UnauthenticatedError:
        self.refused += 1
        return UnauthenticatedError(
            "no valid API key was given; send one as `authorization: Bearer heed_…`"
        )


def principal_of(key: ApiKey) -> Principal:
    """Return the principal of a key; rights this version does not know give nothing."""
    known = {right.value: right for right in Right}
    rights = frozenset(known[name] for name in key.rights if name in known)
    return Principal(name=key.name, rights=rights, tenant=key.tenant)


def _age_in_words(age: float | None) -> str:
    return "never" if age is None else f"{age:.0f} s ago"
