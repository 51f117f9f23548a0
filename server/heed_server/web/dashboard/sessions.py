"""Who is signed in: sessions in memory, each known by what only its browser has.

Laws:
- A session's id is 256 random bits, made at each sign-in and never taken from a browser; here only
  its hash is kept.
- A session ends by itself after so many minutes, used or not. How many there are is bounded, of one
  principal too; the oldest goes.
- Who it is of is not kept but judged again at each request, by the credential: what is revoked ends
  the session at once.
- Written on one event loop alone. A restart ends all sessions.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from heed.errors import UnauthenticatedError
from heed_server.auth.credentials import Authenticator
from heed_server.auth.policy import OPEN, Principal
from heed_server.web.dashboard.limits import SESSIONS_MAX, SESSIONS_OF_PRINCIPAL_MAX

_ID_BYTES: Final = 32
_ID_CHARACTERS_MAX: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody who signed in."""

    credential: str = field(repr=False)
    """What they signed in with; empty: nothing, where the server asks this host for nothing."""
    form_token: str = field(repr=False)
    """What every form of theirs carries, and no other site knows."""
    identity: tuple[str, str]
    """Of the principal, when they signed in."""
    end_boot_seconds: float


class Sessions:
    """The sessions of one server."""

    def __init__(
        self,
        authenticator: Authenticator,
        *,
        minutes: float,
        boot_seconds: Callable[[], float],
        takes_nothing: bool,
    ) -> None:
        """`takes_nothing`: somebody without a credential may come in where the server asks for
        none.
        """
        self._authenticator = authenticator
        self._seconds = minutes * 60
        self._boot_seconds = boot_seconds
        self._takes_nothing = takes_nothing
        # By the hash of the id, in the order in which they began.
        self._by_hash: dict[bytes, Session] = {}

    @property
    def is_open(self) -> bool:
        """Whether somebody without a credential may come in."""
        return self._takes_nothing and not self._authenticator.is_required

    def judge(self, credential: str) -> Principal:
        """Return who a credential is of; an empty one is somebody of this host's.

        Raises:
            UnauthenticatedError: it is not taken, or not taken any more.
            UnavailableError: it cannot be judged now.
        """
        if not credential:
            if self.is_open:
                return OPEN
            raise UnauthenticatedError("sign in with an API key or a JWT")
        return self._authenticator.principal((("authorization", f"Bearer {credential}"),))

    def begin(self, credential: str, principal: Principal) -> str:
        """Begin a session of who was just judged, and return its id."""
        self._drop_old()
        same = [key for key, one in self._by_hash.items() if one.identity == principal.identity]
        if len(same) >= SESSIONS_OF_PRINCIPAL_MAX:
            del self._by_hash[same[0]]
        elif len(self._by_hash) >= SESSIONS_MAX:
            del self._by_hash[next(iter(self._by_hash))]
        session_id = secrets.token_urlsafe(_ID_BYTES)
        self._by_hash[_hash_of(session_id)] = Session(
            credential=credential,
            form_token=secrets.token_urlsafe(_ID_BYTES),
            identity=principal.identity,
            end_boot_seconds=self._boot_seconds() + self._seconds,
        )
        return session_id

    def find(self, session_id: str) -> tuple[Session, Principal] | None:
        """Return a session and who it is of now; None: there is none.

        Raises:
            UnavailableError: the credential cannot be judged now; the session stays.
        """
        key = _hash_of(session_id)
        session = self._by_hash.get(key)
        if session is None:
            return None
        if self._boot_seconds() >= session.end_boot_seconds:
            del self._by_hash[key]
            return None
        try:
            principal = self.judge(session.credential)
        except UnauthenticatedError:
            del self._by_hash[key]
            return None
        return session, principal

    def end(self, session_id: str) -> None:
        """End a session; ending what is none changes nothing."""
        self._by_hash.pop(_hash_of(session_id), None)

    def _drop_old(self) -> None:
        now = self._boot_seconds()
        for key, one in list(self._by_hash.items()):
            if one.end_boot_seconds <= now:
                del self._by_hash[key]


def is_form_of(session: Session, token: str) -> bool:
    """Whether a form carries what the session's forms do."""
    return hmac.compare_digest(session.form_token.encode(), token.encode())


def _hash_of(session_id: str) -> bytes:
    return hashlib.sha256(session_id[:_ID_CHARACTERS_MAX].encode()).digest()
