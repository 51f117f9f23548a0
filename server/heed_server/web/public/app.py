"""What the public edge answers: a link shows a page, and pressing it stops messages.

Laws:
- Only a POST of exactly the one-click body writes, and only what the link says. Reading, however
  often and by whatever scanner, changes nothing.
- 200 is said only of a stop that is committed. What is not known to be is 503 with Retry-After: a
  mailbox provider comes again, and its second press finds the first one done.
- No cookie, no credential, no redirect: a mailbox provider has none and follows none.
- A valid link is never refused for how often it is used. An invalid one has a rate, by address.
- The answer does not say whether the person is known, or was stopped before.

Source: RFC 8058; threats "One-click link"; ADR 0043.
"""

import asyncio
import ipaddress
import time
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from heed.errors import ExhaustedError, HeedError
from heed_server.auth.policy import Principal
from heed_server.links import PATH
from heed_server.rates import Rate
from heed_server.service import Service
from heed_server.service.links import PressedLink
from heed_server.web.limits import (
    BODY_BYTES_MAX,
    INVALID_BURST_SECONDS,
    RETRY_AFTER_SECONDS,
    WRITE_SECONDS_MAX,
    LinkLimits,
)
from heed_server.web.measures import EdgeMetrics
from heed_server.web.public import pages
from heed_server.web.public.measures import LinkMetrics
from heed_server.web.public.one_click import is_press

_HTML: Final = "text/html; charset=utf-8"
_NOT_DONE: Final = {"Retry-After": str(RETRY_AFTER_SECONDS)}
_IPV6_BITS_OF_ONE: Final = 64
"""Whoever has one IPv6 address has all of its network."""

_log = structlog.stdlib.get_logger("heed_server.web")


def build_app(
    service: Service,
    metrics: EdgeMetrics,
    presses: LinkMetrics,
    limits: LinkLimits,
    *,
    behind_proxy: bool,
) -> Starlette:
    """Return what answers requests. `behind_proxy`: the last X-Forwarded-For is who asks."""
    links = _Links(service, metrics, presses, limits, behind_proxy=behind_proxy)

    async def unknown(request: Request, _error: Exception) -> Response:
        return links.counted(request, _answer(404, pages.refused("There is no such page.")))

    return Starlette(
        routes=[Route(PATH + "{token}", links)], exception_handlers={HTTPException: unknown}
    )


class _Links:
    """One link's requests, an ASGI application."""

    def __init__(
        self,
        service: Service,
        metrics: EdgeMetrics,
        presses: LinkMetrics,
        limits: LinkLimits,
        *,
        behind_proxy: bool,
    ) -> None:
        self._service = service
        self._metrics = metrics
        self._presses = presses
        self._behind_proxy = behind_proxy
        self._invalid = Rate(
            "invalid_links_per_second_max",
            limits.invalid_links_per_second_max,
            INVALID_BURST_SECONDS,
            time.monotonic,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception:  # noqa: BLE001 - the root of a request
            # What was not foreseen may have come after a commit: the retry tells.
            _log.exception("request_failed")
            response = _answer(503, pages.not_done(), _NOT_DONE)
        await self.counted(request, response)(scope, receive, send)

    def counted(self, request: Request, response: Response) -> Response:
        """Count an answer and return it."""
        self._metrics.answered(request.method, response.status_code)
        return response

    async def _respond(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return _answer(204, b"", {"Allow": pages.METHODS})
        if request.method not in {"GET", "HEAD", "POST"}:
            page = pages.refused("A link is opened, or pressed.")
            return _answer(405, page, {"Allow": pages.METHODS})
        link = self._service.open_link(request.path_params["token"])
        if link is None:
            return self._refuse_invalid(request)
        if request.method != "POST":
            return _answer(200, pages.asking(link.link.target.scope))
        body = await _body_of(request)
        if body is None:
            page = pages.refused("The request is too large. Nothing was changed.")
            return _answer(413, page, {"Connection": "close"})
        if not is_press(request.headers.get("content-type", ""), body):
            return _answer(400, pages.refused("This is not how a link is pressed."))
        return await self._press(link)

    async def _press(self, link: PressedLink) -> Response:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                is_written = await self._service.press_link(link)
        except (HeedError, TimeoutError) as error:
            reason = error.reason if isinstance(error, HeedError) else "TIMEOUT"
            _log.warning("press_failed", tenant=link.context.name, reason=reason)
            self._presses.pressed("failed")
            return _answer(503, pages.not_done(), _NOT_DONE)
        outcome = "written" if is_written else "stood"
        self._presses.pressed(outcome, time.perf_counter() - began)
        return _answer(200, pages.done(link.link.target.scope))

    def _refuse_invalid(self, request: Request) -> Response:
        whose = Principal(name=_network_of(request, self._behind_proxy), rights=frozenset())
        try:
            self._invalid.take(whose)
        except ExhaustedError as error:
            seconds = 1 + int(error.metadata["retry_ms"]) // 1_000
            return _answer(429, pages.too_many(), {"Retry-After": str(seconds)})
        return _answer(404, pages.invalid())


def _answer(code: int, page: bytes, headers: dict[str, str] | None = None) -> Response:
    return Response(page, code, {**pages.HEADERS, **(headers or {})}, _HTML if page else None)


async def _body_of(request: Request) -> bytes | None:
    """Return the body; None: it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return None
    return body


def _network_of(request: Request, behind_proxy: bool) -> str:  # noqa: FBT001 - said by name above
    """Return whose rate an invalid link takes from."""
    text = request.client.host if request.client is not None else ""
    forwarded = request.headers.getlist("x-forwarded-for")
    if behind_proxy and forwarded:
        text = forwarded[-1].rpartition(",")[2].strip()
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if address.version == 4:  # noqa: PLR2004 - IPv4
        return str(address)
    return str(ipaddress.ip_network((address, _IPV6_BITS_OF_ONE), strict=False))
