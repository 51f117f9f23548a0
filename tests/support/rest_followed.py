"""A reader of REST's stream of changes, in this process: event by event, at its own pace."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.types import Message

from heed_server.web.rest.followed import BY_EVENT
from heed_server.web.rest.problems import Problem
from tests.support.rest import Rest

WAIT_SECONDS_MAX = 20


@dataclass(frozen=True)
class Event:
    """One event; `body` is its data, read."""

    name: str
    body: Any
    id: str = ""
    retry_ms: int | None = None


@dataclass
class Following:
    """A stream that is read."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    last_id: str = ""
    """Of the events that were taken."""
    problem: Any = None
    """What the stream was refused with."""
    _events: "asyncio.Queue[Event | None]" = field(default_factory=asyncio.Queue)
    _may_read: asyncio.Event = field(default_factory=asyncio.Event)
    _left: asyncio.Event = field(default_factory=asyncio.Event)
    _begun: asyncio.Event = field(default_factory=asyncio.Event)
    _refused: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: bool = False

    async def next(self, *names: str) -> Event:
        """Return the next event of these names; of any, but a heartbeat, without names."""
        while True:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                event = await self._events.get()
            assert event is not None, "the stream ended"
            self.last_id = event.id or self.last_id
            if event.name in names or (not names and event.name != "heartbeat"):
                return event

    async def is_over(self) -> bool:
        """Whether nothing but heartbeats comes before the stream's end; waits for that."""
        while True:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                event = await self._events.get()
            if event is None:
                return True
            if event.name != "heartbeat":
                return False

    async def has_begun(self) -> bool:
        """Whether it is told anything; False: it was refused."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await self._begun.wait()
        return self.status == HTTPStatus.OK

    async def refusal(self) -> Any:
        """Return the problem that the stream was refused with."""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await self._refused.wait()
        return self.problem

    def pause(self) -> None:
        """Take nothing more, until `go_on`."""
        self._may_read.clear()

    def go_on(self) -> None:
        """Take what comes."""
        self._may_read.set()

    def leave(self) -> None:
        """Close the connection."""
        self._left.set()

    async def receive(self) -> Message:
        """Tell the application of the request, once, and then of the caller's leaving."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take what the application says."""
        await self._may_read.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._begun.set()
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        part: bytes = message.get("body", b"")
        if self.status != HTTPStatus.OK:
            self.problem = json.loads(part)
            self._refused.set()
        elif part:
            self._events.put_nowait(_read(part))
        if not message.get("more_body"):
            self._events.put_nowait(None)


@asynccontextmanager
async def following(
    rest: Rest, query: str = "subscriber=mailer-1", *, key: str = "", last_id: str | None = None
) -> AsyncGenerator[Following]:
    """Read the stream within the block."""
    headers = [(b"authorization", f"Bearer {key}".encode())] if key else []
    if last_id is not None:
        headers.append((b"last-event-id", last_id.encode()))
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/v1/changes",
        "query_string": query.encode(),
        "headers": headers,
        "state": {},
    }
    stream = Following()
    stream.go_on()
    task = asyncio.create_task(rest.app(scope, stream.receive, stream.send))
    try:
        yield stream
    finally:
        stream.leave()
        stream.go_on()
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            await task


def _read(part: bytes) -> Event:
    """Read one event, whose body has to be the one of its name, and whole."""
    assert part.endswith(b"\n\n")
    said = dict(line.split(": ", 1) for line in part.decode().strip().split("\n"))
    kind: Any = Problem if said["event"] == "problem" else BY_EVENT[said["event"]]
    data = said["data"].encode()
    assert json.loads(msgspec.json.encode(msgspec.json.decode(data, type=kind))) == json.loads(data)
    retry = said.get("retry")
    return Event(
        name=said["event"],
        body=json.loads(data),
        id=said.get("id", ""),
        retry_ms=None if retry is None else int(retry),
    )
