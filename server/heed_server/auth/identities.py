"""Who holds a certificate or a JWT: the grants and the issuers' keys, kept fresh beside the calls.

Laws:
- Files are looked at every `LOOK_SECONDS`; a URL is asked every `jwks_refresh_seconds`, and once
  more, at most that often too, when a JWT names a key that is not known.
- What cannot be read, or is wrong, never replaces what was good: that stays in force, the grants
  for `grants_kept_seconds`, an issuer's keys for `jwks_kept_seconds`. Past it nobody is judged by
  them, and the call fails UNAVAILABLE: a revocation that nobody could write down is not ignored for
  ever, and what is unknown is never let in.
- Whatever changes is told at once, so that all that was remembered by it is forgotten.
Source: ADR 0025.
"""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from heed.errors import InvalidArgumentError, UnavailableError
from heed.model import Instant
from heed.task_group import TaskGroup
from heed_server.auth.client_certificates import names_of
from heed_server.auth.credentials import Verified
from heed_server.auth.fetching import FetchError, fetch
from heed_server.auth.grants import Grants, Issuer, parse_grants, path_within
from heed_server.auth.jwks import JWKS_BYTES_MAX, KeySet, parse_key_set
from heed_server.auth.jwt import parse_jwt
from heed_server.auth.jwt_verifying import KeyNotKnownError, verify_jwt
from heed_server.auth.refusals import NotTakenError, Why

LOOK_SECONDS: Final = 2.0
"""How often files are looked at. Higher: a grant that was taken away is noticed later. Lower: more
look-ups."""

RETRY_SECONDS: Final = 15.0
"""How soon a URL that did not answer is asked again. Higher: a new issuer's keys come later. Lower:
more questions to one that is in trouble."""

GRANTS_BYTES_MAX: Final = 1 << 20
"""Bytes of the file of grants."""

_log = structlog.stdlib.get_logger("heed_server.auth")


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityLimits:
    """How long things are good; each is a setting of `auth`."""

    jwt_leeway_seconds: float = 30.0
    jwks_refresh_seconds: float = 300.0
    jwks_kept_seconds: float = 3_600.0
    jwks_seconds_max: float = 5.0
    grants_kept_seconds: float = 900.0


class Fetch(Protocol):
    """Gets what is at a URL, blocking."""

    def __call__(
        self, url: str, *, ca_file: Path | None, seconds_max: float, bytes_max: int
    ) -> bytes:
        """Return it. Raises FetchError."""
        ...


_Stamp = tuple[int, int, int]


class _IssuerKeys:
    """The keys of one issuer, and when they were last read."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.key_set: KeySet | None = None
        self.read_at = -math.inf
        self.due_at = -math.inf
        self.early_at = -math.inf
        """When they were last asked for because of an unknown key."""
        self.is_asked_early = False
        self.content: bytes | None = None
        self.is_away = False


class Identities:
    """Judges certificates and JWTs. Its state is written on the event loop alone."""

    def __init__(
        self,
        grants_file: Path,
        *,
        takes_certificates: bool,
        now: Callable[[], Instant],
        boot_seconds: Callable[[], float],
        limits: IdentityLimits | None = None,
        fetch: Fetch = fetch,
    ) -> None:
        """Read the grants; `open` reads the keys.

        Raises:
            InvalidArgumentError: the file cannot be read, is wrong, or grants something to
                certificates, which nobody is asked for.
        """
        self._file = grants_file
        self._takes_certificates = takes_certificates
        self._now = now
        self._boot_seconds = boot_seconds
        self._limits = limits or IdentityLimits()
        self._fetch = fetch
        self._told: Callable[[], None] = _nobody
        self._wanted = asyncio.Event()
        self._stamp: _Stamp | None = None
        self._is_away = False
        self._issuers: dict[str, _IssuerKeys] = {}
        self._stamp = _stamp(grants_file)
        self._take(self._read_grants())

    @property
    def grant_count(self) -> int:
        """How many grants are in force."""
        return len(self._grants.grants)

    @property
    def grants_age_seconds(self) -> float:
        """How long ago the grants were last seen to be what is in their file."""
        return self._boot_seconds() - self._grants_at

    @property
    def jwks_ages_seconds(self) -> dict[str, float]:
        """The same of the keys of each issuer."""
        now = self._boot_seconds()
        return {name: now - keys.read_at for name, keys in self._issuers.items()}

    def tell(self, told: Callable[[], None]) -> None:
        """Call this after each change, before the next credential is judged."""
        self._told = told

    async def open(self) -> None:
        """Read every issuer's keys once; those that cannot be had are tried again by `run`.

        Raises:
            InvalidArgumentError: a file of keys cannot be read.
        """
        for keys in self._issuers.values():
            await self._look_at_keys(keys)
            if keys.issuer.jwks_file and keys.key_set is None:
                raise InvalidArgumentError(
                    f"{self._file}: the keys of the issuer {keys.issuer.name!r} cannot be read "
                    f"from {keys.issuer.jwks_file}"
                )

    async def run(self) -> None:
        """Keep all of it fresh until cancelled."""
        while True:
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wanted.wait()
            except TimeoutError:
                pass
            self._wanted.clear()
            await self.refresh()

    async def refresh(self) -> None:
        """Look at every file, and ask for what is due."""
        self._look_at_grants()
        async with TaskGroup() as group:  # a source that is slow holds up no other
            for keys in self._issuers.values():
                group.create_task(self._look_at_keys(keys))

    def of_jwt(self, text: str) -> Verified:
        """Return whom a JWT is of.

        Raises:
            NotTakenError: it is not taken.
            UnavailableError: it cannot be judged now; in a moment it may be.
        """
        parsed = parse_jwt(text)
        keys = self._issuers.get(parsed.issuer)
        if keys is None:
            raise NotTakenError(Why.ISSUER)
        require_recent = self._requirer(keys)
        require_recent()
        key_set = keys.key_set or KeySet(())
        leeway = self._limits.jwt_leeway_seconds
        try:
            expire_time = verify_jwt(
                parsed, keys.issuer, key_set, now=self._now(), leeway_seconds=leeway
            )
        except KeyNotKnownError:
            if self._ask_early(keys):
                raise UnavailableError(
                    "the keys of this JWT's issuer are just being read; ask again, or do not send"
                ) from None
            raise
        principal = self._grants.of_claims(parsed.claims)
        if principal is None:
            raise NotTakenError(Why.NOT_GRANTED)
        return Verified(principal, expire_time, require_recent)

    def of_certificate(self, pem: bytes) -> Verified:
        """Return whom a client's certificate is of. Raises: as `of_jwt`."""
        self._require_recent_grants()
        names = names_of(pem)
        now = self._now()
        if now >= names.expire_time:
            raise NotTakenError(Why.EXPIRED)
        if now < names.begin_time:
            raise NotTakenError(Why.NOT_YET_VALID)
        principal = self._grants.of_certificate(names.spiffe_id, names.dns_names)
        if principal is None:
            raise NotTakenError(Why.NOT_GRANTED)
        return Verified(principal, names.expire_time, self._require_recent_grants)

    def _require_recent_grants(self) -> None:
        age = self._boot_seconds() - self._grants_at
        if age > self._limits.grants_kept_seconds:
            raise UnavailableError(
                f"the grants could not be read for {age:.0f} s; nobody can be judged by them until "
                "they can"
            )

    def _requirer(self, keys: _IssuerKeys) -> Callable[[], None]:
        def require_recent() -> None:
            self._require_recent_grants()
            if self._boot_seconds() - keys.read_at > self._limits.jwks_kept_seconds:
                raise UnavailableError(
                    "the keys of this JWT's issuer could not be read for too long; ask again, or "
                    "do not send"
                )

        return require_recent

    def _ask_early(self, keys: _IssuerKeys) -> bool:
        """Have a URL asked before its time; whether that is under way. Files need it not."""
        if not keys.issuer.jwks_url:
            return False
        if keys.is_asked_early:
            return True
        now = self._boot_seconds()
        if now - keys.early_at < self._limits.jwks_refresh_seconds:
            return False
        keys.early_at = now
        keys.is_asked_early = True
        self._wanted.set()
        return True

    def _look_at_grants(self) -> None:
        try:
            stamp = _stamp(self._file)
            if stamp != self._stamp or self._is_away:
                self._take(self._read_grants())
                self._stamp = stamp
                self._is_away = False
                _log.info("grants_read", grants=self.grant_count)
            self._grants_at = self._boot_seconds()
        except (InvalidArgumentError, OSError) as error:
            if not self._is_away:
                why = error.message if isinstance(error, InvalidArgumentError) else str(error)
                kept_seconds = self._limits.grants_kept_seconds
                _log.error("grants_not_read", why=why, kept_seconds=kept_seconds)
            self._is_away = True

    def _read_grants(self) -> Grants:
        try:
            content = _read(self._file, GRANTS_BYTES_MAX)
            grants = parse_grants(content.decode("utf-8"), source=str(self._file))
        except (OSError, ValueError) as error:
            raise InvalidArgumentError(f"{self._file} cannot be read: {error}") from error
        if grants.names_certificates and not self._takes_certificates:
            raise InvalidArgumentError(
                f"{self._file} grants something to certificates, which nobody is asked for; set "
                "tls.client_ca_file"
            )
        return grants

    def _take(self, grants: Grants) -> None:
        """Judge by these grants from now on; keys of an issuer that stayed as it was are kept."""
        before = self._issuers
        self._grants = grants
        self._grants_at = self._boot_seconds()
        self._issuers = {
            name: kept
            if (kept := before.get(name)) is not None and kept.issuer == issuer
            else _IssuerKeys(issuer)
            for name, issuer in grants.issuers.items()
        }
        self._told()

    async def _look_at_keys(self, keys: _IssuerKeys) -> None:
        now = self._boot_seconds()
        if keys.issuer.jwks_url and now < keys.due_at and not keys.is_asked_early:
            return
        try:
            content = await self._content(keys.issuer)
            if content != keys.content:
                keys.key_set = parse_key_set(content)
                keys.content = content
                self._told()
                _log.info("jwks_read", issuer=keys.issuer.name, keys=len(keys.key_set.keys))
        except (FetchError, OSError, ValueError) as error:
            keys.due_at = now + RETRY_SECONDS
            if not keys.is_away:
                kept_seconds = self._limits.jwks_kept_seconds
                _log.error(
                    "jwks_not_read",
                    issuer=keys.issuer.name,
                    why=str(error),
                    kept_seconds=kept_seconds,
                )
            keys.is_away = True
        else:
            keys.read_at = now
            keys.due_at = now + self._limits.jwks_refresh_seconds
            keys.is_away = False
        finally:
            keys.is_asked_early = False

    async def _content(self, issuer: Issuer) -> bytes:
        folder = self._file.parent
        if issuer.jwks_file:
            return _read(path_within(folder, issuer.jwks_file), JWKS_BYTES_MAX)
        ca_file = path_within(folder, issuer.jwks_ca_file) if issuer.jwks_ca_file else None
        return await asyncio.to_thread(
            self._fetch,
            issuer.jwks_url,
            ca_file=ca_file,
            seconds_max=self._limits.jwks_seconds_max,
            bytes_max=JWKS_BYTES_MAX,
        )


def _nobody() -> None:
    """Be told nothing."""


def _stamp(file: Path) -> _Stamp:
    """What changes when a file does, also where a link to it is turned."""
    try:
        found = file.stat()
    except OSError as error:
        raise InvalidArgumentError(f"{file} cannot be read: {error.strerror}") from error
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read(file: Path, bytes_max: int) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise ValueError(f"{file} is larger than {bytes_max} bytes")
    return content
