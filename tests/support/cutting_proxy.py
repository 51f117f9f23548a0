"""A TCP proxy before PostgreSQL that cuts connections at the worst moment: around a COMMIT."""

import asyncio
import enum
from collections import deque
from types import TracebackType
from typing import Self

from sqlalchemy import make_url

_CHUNK_BYTES = 1 << 16
_COMMIT = b"COMMIT;"


class Cut(enum.Enum):
    """What becomes of one COMMIT."""

    NOT_SENT = 1
    """The connection breaks before the server hears of it."""
    ANSWER_LOST = 2
    """The server commits, and its answer never arrives."""


class CuttingProxy:
    """Stands before the server that a URL names; `url` names the proxy."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self.cuts: deque[Cut] = deque()
        """What becomes of the next COMMITs; those after them pass."""
        self.goes_down_after_cut = False
        self.keeps_open = False
        """What the server closes stays open to the client."""
        self.has_server_closed = asyncio.Event()
        """The server has closed a connection, and its last words were passed on."""
        self._connections: set[asyncio.StreamWriter] = set()
        self._hushed: set[asyncio.StreamWriter] = set()
        self._port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        url = self._target.set(host="127.0.0.1", port=self._port)
        return url.render_as_string(hide_password=False)

    async def up(self) -> None:
        """Listen, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def down(self) -> None:
        """Stop listening, and break every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._break()

    def hush(self) -> None:
        """Let nothing pass any more on the connections of now, and break none."""
        self._hushed |= self._connections

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.down()

    def _break(self) -> None:
        for writer in self._connections:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._target.host is not None
        server = await asyncio.open_connection(self._target.host, self._target.port or 5432)
        mine = {writer, server[1]}
        self._connections |= mine
        is_answer_lost = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._to_server(reader, server[1], is_answer_lost))
                both.create_task(self._to_client(server[0], writer, is_answer_lost))
        except* (ConnectionError, EOFError):
            pass
        finally:
            self._connections -= mine
            self._hushed -= mine
            for one in mine:
                one.transport.abort()

    async def _to_server(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_answer_lost: asyncio.Event,
    ) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if _COMMIT in chunk and self.cuts:
                cut = self.cuts.popleft()
                if cut is Cut.NOT_SENT:
                    self._after_cut()
                    raise EOFError
                is_answer_lost.set()
            if writer not in self._hushed:
                writer.write(chunk)
                await writer.drain()
        raise EOFError

    async def _to_client(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_answer_lost: asyncio.Event,
    ) -> None:
        while chunk := await reader.read(_CHUNK_BYTES):
            if is_answer_lost.is_set():
                self._after_cut()
                raise EOFError
            if writer not in self._hushed:
                writer.write(chunk)
                await writer.drain()
        self.has_server_closed.set()
        if self.keeps_open:
            await writer.wait_closed()
        raise EOFError

    def _after_cut(self) -> None:
        if self.goes_down_after_cut:
            self.down()
