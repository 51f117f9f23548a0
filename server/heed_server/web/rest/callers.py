"""Who calls over HTTP: told by the same credentials as over gRPC, and judged by the same code."""

from collections.abc import Iterable, Mapping
from typing import Final

from starlette.types import Scope

from heed_server.auth.credentials import CALLER_CERTIFICATE, HANDED_ON, Authenticator
from heed_server.auth.policy import OPEN, Principal
from heed_server.web.connections import CERTIFICATE


def caller_of(authenticator: Authenticator | None, scope: Scope) -> Principal:
    """Return who calls; without an authenticator everybody is open.

    Raises:
        UnauthenticatedError: none that is good, or none given where one is required.
        UnavailableError: no credential can be judged now.
    """
    if authenticator is None:
        return OPEN
    metadata: list[tuple[str, str | bytes]] = [
        (name.decode(), value.decode("latin-1"))
        for name, value in scope["headers"]
        if name in _OF_CALLERS
    ]
    pem: bytes | None = scope["state"].get(CERTIFICATE)
    if pem is not None:
        # As a worker tells it, where this is the process that workers ask.
        metadata.append((CALLER_CERTIFICATE, pem))
    return authenticator.principal(metadata, _Shown(pem))


_OF_CALLERS: Final = frozenset({b"authorization", HANDED_ON.encode()})
"""The headers that say who calls. No other one becomes metadata: some of that is believed."""


class _Shown:
    """What the handshake of a connection showed."""

    def __init__(self, pem: bytes | None) -> None:
        self._pem = pem

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {} if self._pem is None else {"x509_pem_cert": [self._pem]}
