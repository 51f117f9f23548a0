"""Who calls over HTTP: told by the same credentials as over gRPC, and judged by the same code."""

from collections.abc import Iterable, Mapping
from typing import Final

from starlette.types import Scope

from heed_server.auth.credentials import CALLER_CERTIFICATE, Authenticator
from heed_server.auth.policy import OPEN, Principal

CERTIFICATE: Final = "heed_certificate"
"""Where a listener that asks for certificates says, in a request's state, which was shown."""


def caller_of(authenticator: Authenticator | None, scope: Scope) -> Principal:
    """Return who calls; without an authenticator everybody is open.

    Raises:
        UnauthenticatedError: none that is good, or none given where one is required.
        UnavailableError: no credential can be judged now.
    """
    if authenticator is None:
        return OPEN
    metadata: list[tuple[str, str | bytes]] = [
        ("authorization", value.decode("latin-1"))
        for name, value in scope["headers"]
        if name == b"authorization"
    ]
    pem: bytes | None = scope["state"].get(CERTIFICATE)
    if pem is not None:
        # As a worker tells it, where this is the process that workers ask.
        metadata.append((CALLER_CERTIFICATE, pem))
    return authenticator.principal(metadata, _Shown(pem))


class _Shown:
    """What the handshake of a connection showed."""

    def __init__(self, pem: bytes | None) -> None:
        self._pem = pem

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return {} if self._pem is None else {"x509_pem_cert": [self._pem]}
