"""A receiver of webhooks as somebody would write one: it verifies what comes by the standard's library.

async with Receiver() as receiver:
    receiver.answer = lambda event: 500
    ... receiver.taken ...
"""

import asyncio
import base64
import json
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import web
from standardwebhooks.webhooks import Webhook

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def new_secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


@dataclass(frozen=True)
class Came:
    """One request that came, whatever it was answered."""

    event_id: str
    event: Mapping[str, Any]
    headers: Mapping[str, str]
    body: bytes

    @property
    def type(self) -> str:
        return str(self.event["type"])

    @property
    def revision(self) -> int:
        return int(self.event["data"]["revision"])

    @property
    def subject(self) -> str:
        return str(self.event["data"].get("subject", ""))


Answer = Callable[[Came], "int | web.StreamResponse | Awaitable[int | web.StreamResponse]"]


@dataclass
class Receiver:
    """Listens on a port of its own."""

    secret: str = SECRET
    tls: ssl.SSLContext | None = None
    answer: Answer = lambda _: 204
    came: list[Came] = field(default_factory=list)
    """Every request."""
    taken: list[Came] = field(default_factory=list)
    """Those that were answered 2xx."""

    def __post_init__(self) -> None:
        self._arrived = asyncio.Condition()

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/hooks"

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until what came is so."""
        async with asyncio.timeout(30), self._arrived:
            await self._arrived.wait_for(is_so)

    async def until_taken(self, count: int) -> None:
        await self.until(lambda: len(self.taken) >= count)

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        event = Webhook(self.secret).verify(body, dict(request.headers))
        came = Came(request.headers["webhook-id"], event, dict(request.headers), body)
        self.came.append(came)
        answered = self.answer(came)
        if isinstance(answered, Awaitable):
            answered = await answered
        if isinstance(answered, int):
            answered = web.Response(status=answered)
        async with self._arrived:
            if 200 <= answered.status < 300:
                self.taken.append(came)
            self._arrived.notify_all()
        return answered

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


def target_file(folder: Path, url: str, *, name: str = "crm", **more: object) -> Path:
    """Write a file of one target, and its secret; return its path."""
    said = {"tenant": "default", "events": ["*"], "begin": "first", **more}
    secret = str(said.pop("secret", SECRET))
    (folder / f"{name}.secret").write_text(f"{secret}\n")
    lines = [f'name = "{name}"', f'url = "{url}"', f'secret_file = "{name}.secret"']
    lines += [f"{field} = {json.dumps(value)}" for field, value in said.items()]
    file = folder / "targets.toml"
    file.write_text("[[target]]\n" + "\n".join(lines) + "\n")
    return file
