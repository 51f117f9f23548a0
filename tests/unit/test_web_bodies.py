"""What the bodies of an edge's requests hold together is bounded, and what is small always fits."""

import asyncio
from collections.abc import Iterable

import pytest
from starlette.types import Message, Receive, Scope, Send

from heed.errors import ErrorReason, ExhaustedError
from heed_server.web import bodies
from heed_server.web.bodies import BoundedBodies

FREE, ALL = 10, 100
WAIT_SECONDS_MAX = 30


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_BYTES_FREE", FREE)
    monkeypatch.setattr(bodies, "BODIES_BYTES_MAX", ALL)


class Edge:
    """An application that reads a body and answers once it is let."""

    def __init__(self) -> None:
        self.app = BoundedBodies(self._answer)
        self._read: asyncio.Queue[int] = asyncio.Queue()
        self._go_on = asyncio.Event()

    async def _answer(self, _: Scope, receive: Receive, send: Send) -> None:
        size = 0
        while True:
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        self._read.put_nowait(size)
        await self._go_on.wait()
        await send({"type": "http.response.start", "status": 200})

    async def send(self, *parts: int) -> asyncio.Task[None]:
        """Begin a request, and return once its body was read, or refused."""
        task = asyncio.create_task(self.app({"type": "http"}, messages_of(parts), nowhere))
        read = asyncio.create_task(self._read.get())
        await asyncio.wait(
            [task, read], return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_SECONDS_MAX
        )
        read.cancel()
        return task

    def let(self) -> None:
        """Let all that is read be answered."""
        self._go_on.set()


def messages_of(parts: Iterable[int]) -> Receive:
    left = list(parts)

    async def receive() -> Message:
        size = left.pop(0)
        return {"type": "http.request", "body": bytes(size), "more_body": bool(left)}

    return receive


async def nowhere(_: Message) -> None:
    """Nobody reads the answers."""


async def test_one_that_goes_beyond_is_refused_and_those_that_are_read_go_on() -> None:
    edge = Edge()
    first, second = await edge.send(30, 30), await edge.send(50)

    refused = await edge.send(20, 10)

    with pytest.raises(ExhaustedError) as error:
        await refused
    assert error.value.reason is ErrorReason.OVERLOADED
    assert error.value.metadata["limit"] == "BODIES_BYTES_MAX"
    edge.let()
    await asyncio.gather(first, second)


async def test_what_is_small_is_taken_whatever_is_held() -> None:
    edge = Edge()
    held = await edge.send(ALL + FREE)

    small = [await edge.send(FREE - 1, 1) for _ in range(50)]

    assert not any(task.done() for task in small)
    edge.let()
    await asyncio.gather(held, *small)


async def test_what_an_answered_a_refused_or_a_cancelled_request_held_is_free_again() -> None:
    edge = Edge()
    cancelled, answered = await edge.send(60), await edge.send(60)
    refused = await edge.send(30)
    cancelled.cancel()
    edge.let()
    await asyncio.wait([cancelled, answered, refused])

    again = await edge.send(ALL + FREE)

    assert isinstance(refused.exception(), ExhaustedError)
    await again
