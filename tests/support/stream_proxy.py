"""A TCP proxy before a server, for clients that block: it cuts, holds, delays and goes deaf.

Unlike `cutting_proxy` it knows nothing of what passes. It runs in threads of its own.
"""

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 1 << 16


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_deaf = False
        self.is_cut = False

    def cut(self) -> None:
        self.is_cut = True
        for one in (self.client, self.server):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the other side was quicker


class StreamProxy:
    """Stands before `target`, which may be replaced; `address` is where clients go."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.delay_seconds = 0.0
        """How long each piece waits that comes from the server."""
        self._changed = threading.Condition()
        self._is_held = False
        self._refuses = False
        self._ended = threading.Event()
        self._connections: list[_Connection] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def hold(self) -> None:
        """Let nothing pass until `release`; connections stay, and nothing is lost."""
        with self._changed:
            self._is_held = True

    def release(self) -> None:
        """Let everything pass that was held, in order."""
        with self._changed:
            self._is_held = False
            self._changed.notify_all()

    def cut(self) -> None:
        """Break every connection; the next ones pass."""
        with self._changed:
            connections, self._connections = self._connections, []
            for connection in connections:
                connection.cut()
            self._changed.notify_all()

    def deafen(self) -> None:
        """Lose what the server says on the connections of now, for ever; half open they stay."""
        with self._changed:
            for connection in self._connections:
                connection.is_deaf = True

    def refuse(self) -> None:
        """Break every connection, and each new one at once."""
        with self._changed:
            self._refuses = True
        self.cut()

    def accept(self) -> None:
        """Take connections again."""
        with self._changed:
            self._refuses = False

    def __enter__(self) -> Self:
        self._start(self._serve)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self.release()
        self.cut()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._changed:
                if self._refuses or self._ended.is_set():
                    client.close()
                    continue
                host, _, port = self.target.rpartition(":")
                try:
                    server = socket.create_connection((host, int(port)))
                except OSError:
                    client.close()
                    continue
                connection = _Connection(client, server)
                self._connections.append(connection)
            self._start(self._pump, connection, client, server)
            self._start(self._pump, connection, server, client)

    def _pump(self, connection: _Connection, source: socket.socket, sink: socket.socket) -> None:
        is_answer = source is connection.server
        try:
            while chunk := source.recv(_CHUNK_BYTES):
                with self._changed:
                    self._changed.wait_for(lambda: not self._is_held or connection.is_cut)
                if is_answer and self.delay_seconds:
                    self._ended.wait(self.delay_seconds)
                if not (is_answer and connection.is_deaf):
                    sink.sendall(chunk)
        except OSError:
            pass
        finally:
            connection.cut()
            source.close()

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
