"""What the requests of links and of pages have in common: bodies, who asks, what is invalid.

Laws:
- 200 is said only of what is committed. What is not known to be is 503 with Retry-After: a mailbox
  provider comes again, and its second press finds the first one done.
- No cookie, no credential, no redirect: a mailbox provider has none and follows none.
- A valid link is never refused for how often it is used. An invalid one has a rate, by address.
"""

import ipaddress
import time
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from heed.errors import ExhaustedError
from heed.wire.limits import IPV4_PREFIX_MAX, IPV6_PREFIX_MAX
from heed_server.auth.policy import Principal
from heed_server.rates import Rate
from heed_server.service import Service
from heed_server.web.limits import (
    BODY_BYTES_MAX,
    INVALID_BURST_SECONDS,
    RETRY_AFTER_SECONDS,
    LinkLimits,
)
from heed_server.web.measures import EdgeMetrics
from heed_server.web.public.looks import Looks
from heed_server.web.public.rendering import Face
from heed_server.web.strangers import address_of, body_of, network_of

METHODS: Final = "GET, HEAD, POST, OPTIONS"
"""What a link answers to."""
NOT_DONE: Final = {"Retry-After": str(RETRY_AFTER_SECONDS)}
"""Says when to come again."""

_IPV4: Final = 4

_log = structlog.stdlib.get_logger("heed_server.web")


class Edge:
    """The public edge of a node."""

    def __init__(
        self,
        service: Service,
        metrics: EdgeMetrics,
        limits: LinkLimits,
        looks: Looks,
        *,
        behind_proxy: bool,
    ) -> None:
        """`behind_proxy`: the last X-Forwarded-For is who asks."""
        self.service = service
        self._metrics = metrics
        self._looks = looks
        self._behind_proxy = behind_proxy
        self._invalid = Rate(
            "invalid_links_per_second_max",
            limits.invalid_links_per_second_max,
            INVALID_BURST_SECONDS,
            time.monotonic,
        )

    def face(self, request: Request, tenant: str = "") -> Face:
        """Return how a request is answered that is about a tenant; empty: about none."""
        look = self._looks.of(tenant) if tenant else self._looks.otherwise
        return Face(look, request)

    def counted(self, request: Request, response: Response) -> Response:
        """Count an answer and return it."""
        self._metrics.answered(request.method, response.status_code)
        return response

    def refuse_invalid(self, request: Request) -> Response:
        """Answer what is no link, less often than it is tried."""
        face = self.face(request)
        whose = Principal(
            name=network_of(request, behind_proxy=self._behind_proxy), rights=frozenset()
        )
        try:
            self._invalid.take(whose)
        except ExhaustedError as error:
            return face.problem("many", 429, title="many", headers=seconds_of(error))
        return face.problem("invalid", 404, title="invalid")

    async def body_of(self, request: Request) -> bytes | None:
        """Return the body; None: it is too large."""
        return await body_of(request, BODY_BYTES_MAX)

    def truncated_ip(self, request: Request) -> str:
        """Return the network that a request came from, as an evidence may have it; or nothing."""
        address = address_of(request, behind_proxy=self._behind_proxy)
        if address is None:
            return ""
        bits = IPV4_PREFIX_MAX if address.version == _IPV4 else IPV6_PREFIX_MAX
        return str(ipaddress.ip_network((address, bits), strict=False))


class Answering:
    """Requests of one kind, an ASGI application: each is answered, whatever happens."""

    def __init__(self, edge: Edge, respond: Callable[[Request], Awaitable[Response]]) -> None:
        self._edge = edge
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            if request.method in {"GET", "HEAD", "POST"}:
                response = await self._respond(request)
            elif request.method == "OPTIONS":
                response = self._edge.face(request).empty(204, {"Allow": METHODS})
            else:
                face = self._edge.face(request)
                response = face.problem("method", 405, headers={"Allow": METHODS})
        except ClientDisconnect:
            return  # nobody is there to be answered
        except Exception:  # noqa: BLE001 - the root of a request
            # What was not foreseen may have come after a commit: the retry tells.
            _log.exception("request_failed")
            face = self._edge.face(request)
            response = face.problem("not_done", 503, title="not_done", headers=NOT_DONE)
        await self._edge.counted(request, response)(scope, receive, send)


def is_of_other_site(request: Request, public_url: str) -> bool:
    """Whether a browser says that a page of another site sent a request.

    A page of ours has no referrer, so that its forms come from the origin `null`.
    """
    site = request.headers.get("sec-fetch-site", "none")
    origin = request.headers.get("origin", "null")
    return site not in {"same-origin", "none"} or origin not in {
        "null",
        *_origins_of(request, public_url),
    }


def seconds_of(error: ExhaustedError) -> dict[str, str]:
    """Return the header that says when to come again."""
    return {"Retry-After": str(1 + int(error.metadata["retry_ms"]) // 1_000)}


def has_signal(request: Request) -> bool:
    """Whether a browser sends the signal of Global Privacy Control."""
    return request.headers.get("sec-gpc", "").strip() == "1"


def _origins_of(request: Request, public_url: str) -> list[str]:
    parts = urlsplit(public_url)
    return [f"{parts.scheme}://{parts.netloc}", f"{request.url.scheme}://{request.url.netloc}"]
