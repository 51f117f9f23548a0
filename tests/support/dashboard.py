"""Somebody at the dashboard, who asks as a browser asks: its application in this process, or a
server's over sockets.

person = Person(app_of(server, keys))
await person.sign_in(await keys.of("operate"))
page = await person.get("/propagation")

operator = Operator(server.edges["dashboard"], key)
tables = operator.tables("propagation")
"""

import json
import re
import ssl
from collections.abc import Mapping
from html import unescape
from typing import Any
from urllib.parse import urlencode

from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from heed_server.auth.credentials import Authenticator
from heed_server.storage import Clock, SystemClock
from heed_server.web.dashboard.app import DashboardApp, Reached
from heed_server.web.dashboard.limits import DashboardLimits
from heed_server.web.dashboard.sessions import Sessions
from heed_server.web.measures import WebMetrics
from tests.support.api_keys import Keys
from tests.support.servers import Running
from tests.support.web import URLENCODED, Answered, ask, ask_at

HOST = "dashboard.example.com"
ORIGIN = f"https://{HOST}"


def app_of(
    server: Running,
    keys: Keys | Authenticator,
    limits: DashboardLimits | None = None,
    *,
    boot_seconds: Clock | None = None,
    is_secure: bool = True,
    takes_nothing: bool = False,
) -> DashboardApp:
    """The application of a server's dashboard, with metrics of its own."""
    bounds = limits or DashboardLimits()
    authenticator = keys.authenticator if isinstance(keys, Keys) else keys
    assert authenticator is not None
    return DashboardApp(
        server.service,
        Sessions(
            authenticator,
            minutes=bounds.session_minutes,
            boot_seconds=(boot_seconds or SystemClock()).boot,
            takes_nothing=takes_nothing,
        ),
        WebMetrics(CollectorRegistry()).of("dashboard"),
        bounds,
        Reached(is_secure=is_secure, behind_proxy=False),
    )


class Person:
    """Who looks, with a browser: it keeps cookies, and says where a form comes from."""

    def __init__(
        self, app: ASGIApp, *, host: str = HOST, origin: str = ORIGIN, client: str = "192.0.2.1"
    ) -> None:
        self.cookies: dict[str, str] = {}
        self._app = app
        self._host = host
        self._origin = origin
        self._client = client

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answered:
        """Open an address."""
        return await self._ask("GET", path, b"", headers)

    async def post(
        self,
        path: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """Send a form, from a page of the dashboard's own unless the headers say otherwise."""
        body = urlencode(form or {}).encode()
        said = {"origin": self._origin, "content-type": URLENCODED, **(headers or {})}
        return await self._ask("POST", path, body, said)

    async def sign_in(self, key: str) -> Answered:
        """Sign in with a key."""
        return await self.post("/sign-in", {"credential": key})

    async def send(
        self, path: str, form: Mapping[str, str] | None = None, *, page: str = ""
    ) -> Answered:
        """Send a form of a page, of the view's own unless another is named.

        It carries what only the session's pages know.
        """
        token = form_token(await self.get(page or path.partition("?")[0].partition(".")[0]))
        return await self.post(path, {"form_token": token, **(form or {})})

    async def _ask(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None
    ) -> Answered:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {"host": self._host, **({"cookie": cookies} if cookies else {}), **(headers or {})}
        answered = await ask(self._app, method, path, body, headers=sent, client=self._client)
        set_cookie = answered.headers.get("set-cookie", "")
        if set_cookie:
            name, _, value = set_cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
            if not value:
                del self.cookies[name]
        return answered


class Operator:
    """Who is signed in at a server's dashboard; each request has a connection of its own."""

    def __init__(self, address: str, key: str = "", *, tls: ssl.SSLContext | None = None) -> None:
        """Without a key: at a server that asks its own host for none."""
        self._address = address
        self._tls = tls
        self.origin = f"http://{address}" if tls is None else f"https://{address}"
        self.cookie = ""
        entered = self.post("/sign-in", {"credential": key} if key else {"open": "yes"})
        assert entered.code == 303, entered.body.decode()
        self.cookie, *attributes = entered.headers["set-cookie"].split("; ")
        self.cookie_attributes = set(attributes)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """Ask for a path, with the session's cookie."""
        sent = {"Cookie": self.cookie, "Connection": "close", **(headers or {})}
        return ask_at(self._address, method, path, body, headers=sent, tls=self._tls)

    def post(self, path: str, form: Mapping[str, str]) -> Answered:
        """Send a form, as from a page of the dashboard's own."""
        return self.ask("POST", path, urlencode(form).encode(), {"Origin": self.origin})

    def at(self, path: str) -> bytes:
        """What a path answers."""
        answer = self.ask("GET", path)
        assert answer.code == 200, answer.body.decode()
        return answer.body

    def tables(self, view: str) -> dict[str, Any]:
        """The tables of a view, as its JSON has them."""
        tables: dict[str, Any] = json.loads(self.at(f"/{view}.json"))["tables"]
        return tables


def form_token(page: Answered) -> str:
    """What the forms of a page carry."""
    found = re.search(rb'name="form_token" value="([^"]+)"', page.body)
    assert found is not None, page.body.decode()
    return unescape(found[1].decode())
