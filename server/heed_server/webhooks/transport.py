"""The way of a webhook over the network; the one module that speaks HTTP to targets.

Laws:
- It goes to the host of the operator's URL, to an address that was judged (`resolving`), over TLS
  that is verified, and nowhere else: no redirect, no proxy of the environment, no cookie.
- It is over in time, whatever the receiver does, and of the answer so much is read at most.
- 2xx is taken; everything else is a failure, told in words of ours and never of the receiver's.
"""

import email.utils
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp.client_exceptions import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
)

from heed.model import Instant
from heed_server.webhooks.resolving import AddressRefusedError, Guard, GuardedResolver, Lookup
from heed_server.webhooks.resolving import lookup as system_lookup
from heed_server.webhooks.signing import signed_headers
from heed_server.webhooks.targets import Target

ANSWER_BYTES_MAX: Final = 65_536
"""Bytes of an answer that are read, so that its connection can be used again; after more than that
it is closed."""
KEEPALIVE_SECONDS: Final = 2.0
"""How long a connection waits to be used again. Higher: more that the receiver has closed
meanwhile, which looks like a failure. Lower: more connections are made."""

_MICROSECONDS: Final = 1_000_000
_GONE: Final = 410
_CODES_TAKEN: Final = range(200, 300)
_CODES_REDIRECTING: Final = range(300, 400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an event was not taken."""

    why: str
    is_final: bool = False
    """Whether it is never taken, as the receiver says."""
    retry_after_seconds: float = 0.0
    """For how long the receiver asks to be left alone."""


class Transport:
    """Sends to one target. Use in `async with`, in the event loop where it is made."""

    def __init__(
        self,
        target: Target,
        *,
        guard: Guard,
        request_seconds_max: float,
        connections_max: int,
        look_up: Lookup = system_lookup,
    ) -> None:
        """Raises OSError: the target's file of authorities cannot be read."""
        self._target = target
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=GuardedResolver(guard, look_up),
                use_dns_cache=False,
                socket_factory=guard.new_socket,
                ssl=ssl.create_default_context(cafile=target.ca_file),
                limit=connections_max,
                keepalive_timeout=KEEPALIVE_SECONDS,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=request_seconds_max),
            auto_decompress=False,
            trust_env=False,
            headers={
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": f"heed-webhooks/{version('heed-server')}",
            },
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def post(self, event_id: str, body: bytes, now: Instant) -> Failure | None:
        """Send an event once; None: it was taken."""
        headers = signed_headers(
            event_id, body, at_second=now // _MICROSECONDS, secrets=self._target.secrets
        )
        try:
            async with self._session.post(
                self._target.url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                failure = _failure_of(answer.status, answer.headers, now)
                if not await _is_read(answer.content):
                    answer.close()
        except (ClientError, OSError, RuntimeError, TimeoutError, ValueError) as error:
            # RuntimeError: what uvloop says of some sockets that cannot be connected.
            return Failure(why=_said(error))
        return failure


async def _is_read(content: aiohttp.StreamReader) -> bool:
    """Read an answer to its end; False: it is longer than anybody reads."""
    read = 0
    while read <= ANSWER_BYTES_MAX:
        part = await content.readany()
        if not part:
            return True
        read += len(part)
    return False


def _failure_of(code: int, headers: Mapping[str, str], now: Instant) -> Failure | None:
    if code in _CODES_TAKEN:
        return None
    if code in _CODES_REDIRECTING:
        return Failure(why=f"HTTP {code}, and redirects are not followed")
    return Failure(
        why=f"HTTP {code}",
        is_final=code == _GONE,
        retry_after_seconds=_seconds_of(headers.get("Retry-After", ""), now),
    )


def _seconds_of(retry_after: str, now: Instant) -> float:
    """Read seconds or a date; 0: it says neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now / _MICROSECONDS)
    except (ValueError, OverflowError):
        return 0.0


def _said(error: Exception) -> str:
    """Say in words of ours what went wrong on the way."""
    refused = _refusal_in(error)
    if refused is not None:
        return str(refused)
    match error:
        case TimeoutError():
            return "no answer in time"
        case ClientConnectorCertificateError() | ClientConnectorSSLError():
            return f"its TLS is not trusted: {error.os_error or error}"[:200]
        case ClientConnectorDNSError():
            return f"its name is not found: {error.os_error.strerror or error.os_error}"
        case ClientConnectorError():
            return f"no connection: {error.os_error.strerror or 'refused'}"
        case _:
            return f"the connection failed: {type(error).__name__}"


def _refusal_in(error: BaseException | None) -> AddressRefusedError | None:
    while error is not None:
        if isinstance(error, AddressRefusedError):
            return error
        error = getattr(error, "os_error", None) or error.__cause__
    return None
