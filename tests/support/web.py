"""Asks the public edge: its application in this process, or a server's over a socket.

Nothing follows a redirect or keeps a cookie, as a mailbox provider does not.
"""

import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from heed_server.service import Service
from heed_server.web.limits import LinkLimits, PageLimits
from heed_server.web.measures import WebMetrics
from heed_server.web.public.app import build_app
from heed_server.web.public.looks import Looks, looks_of
from heed_server.web.public.measures import LinkMetrics
from tests.support import requests as asks
from tests.support.served import Served
from tests.support.servers import Running

PRESS = b"List-Unsubscribe=One-Click"
EDGES = (
    "HEED_WEB_ADDRESS",
    "HEED_REST_ADDRESS",
    "HEED_DASHBOARD_ADDRESS",
    "HEED_INBOUND_ADDRESS",
)
URLENCODED = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answered:
    """What was answered; names of headers are in lower case."""

    code: int
    headers: Mapping[str, str]
    body: bytes


class WebServed(Served):
    """A server with HTTP edges: each variable `HEED_…_ADDRESS` of `EDGES` that it is given."""

    edges: Mapping[str, str]
    """Where each listens, by its name."""

    def start(self) -> Self:
        self.launch()
        try:
            asked = sum(name in self._variables for name in EDGES)
            served = [self.wait_for("edge_served") for _ in range(asked)]
            self.edges = {line["edge"]: line["address"] for line in served}
            self.serving = self.wait_for("serving")
        except BaseException:
            self.end()
            raise
        return self


def app_of(
    service: Service,
    limits: LinkLimits | None = None,
    *,
    behind_proxy: bool = False,
    looks: Looks | None = None,
    page_limits: PageLimits | None = None,
) -> Starlette:
    """The application of a server's public edge, with metrics of its own."""
    registry = CollectorRegistry()
    return build_app(
        service,
        WebMetrics(registry).of("public"),
        LinkMetrics(registry),
        limits or LinkLimits(),
        looks or looks_of(),
        page_limits or PageLimits(),
        behind_proxy=behind_proxy,
    )


def path_of(url: str) -> str:
    """What a link asks of the server."""
    return "/" + url.split("/", 3)[3]


async def link_for(
    server: Running, email: str = "ada@example.com", *, topic: str = "news", tenant: str = ""
) -> str:
    """The path of a link that stops mails about a topic."""
    answer = await server.call("MakeLinks", asks.make_links(email, topic=topic, tenant=tenant))
    (link,) = answer.links
    return path_of(link.url)


async def page_for(
    server: Running, *emails: str, tenant: str = "", user: str = "", phone: str = ""
) -> str:
    """The path of the preference page of one person."""
    asked = asks.make_page_links(tenant=tenant)
    (target,) = asked.targets
    if emails:
        del target.subjects[:]
        target.subjects.extend(asks.subject(one) for one in emails)
    if user:
        target.subjects.add().user = user
    if phone:
        target.subjects.add().phone = phone
    (link,) = (await server.call("MakePageLinks", asked)).links
    return path_of(link.url)


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    content_type: str = "",
    headers: Mapping[str, str] | None = None,
    client: str = "192.0.2.1",
    state: Mapping[str, object] | None = None,
) -> Answered:
    """Ask an application of this process; `state` is what a listener says of the connection."""
    path, _, query = path.partition("?")
    sent = dict(headers or {}) | ({"content-type": content_type} if content_type else {})
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "https",
        "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
        "client": (client, 50_000),
        "server": ("news.example.com", 443),
        "state": dict(state or {}),
    }
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        told.append(message)

    await app(scope, receive, send)
    start, *parts = told
    return Answered(
        code=start["status"],
        headers={name.decode(): value.decode() for name, value in start["headers"]},
        body=b"".join(part.get("body", b"") for part in parts),
    )


async def press(app: ASGIApp, path: str) -> Answered:
    """Press a link, as a mailbox provider does."""
    return await ask(app, "POST", path, PRESS, content_type=URLENCODED)


async def choose(
    app: Starlette,
    path: str,
    form: Mapping[str, str] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    client: str = "192.0.2.1",
    **fields: str,
) -> Answered:
    """Send a form of a preference page: `act="stop", scope="email/news"`."""
    body = urlencode({**(form or {}), **fields}).encode()
    return await ask(
        app, "POST", path, body, content_type=URLENCODED, headers=headers, client=client
    )


def ask_at(
    address: str,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    content_type: str = URLENCODED,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Answered:
    """Ask a server over a connection of its own."""
    connection = (
        http.client.HTTPConnection(address, timeout=20)
        if tls is None
        else http.client.HTTPSConnection(address, timeout=20, context=tls)
    )
    of_body = {} if body is None else {"Content-Type": content_type}
    try:
        connection.request(method, path, body, {**of_body, **(headers or {})})
        answer = connection.getresponse()
        return Answered(
            code=answer.status,
            headers={name.lower(): value for name, value in answer.getheaders()},
            body=answer.read(),
        )
    finally:
        connection.close()


def press_at(address: str, path: str, *, tls: ssl.SSLContext | None = None) -> Answered:
    """Press a link at a server."""
    return ask_at(address, "POST", path, PRESS, tls=tls)
