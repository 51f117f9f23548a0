"""What the supervisor and its processes say to each other, over a pipe.

Law: the end of the pipe is the end of the other side, however that came; a process whose supervisor
is gone stops as if it had been told to.
"""

import asyncio
import contextlib
import enum
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

from google.rpc import status_pb2

from heed.errors import HeedError, UnavailableError
from heed.wire.status import from_status, to_status


class Order(enum.Enum):
    """What the supervisor tells a process."""

    STOP = "stop"
    HURRY = "hurry"
    END_STREAMS = "end streams"
    """To the owner: no worker takes calls any more; let the readers of streams go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A process serves. What the owner tells of itself is for the first words."""

    metrics_port: int | None
    keys_required: bool = False
    key_count: int = 0
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Closing:
    """A worker takes no calls any more, and sees those under way to their end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A process cannot go on, and ends."""

    status: bytes

    @property
    def error(self) -> HeedError:
        """Why."""
        status = status_pb2.Status.FromString(self.status)
        return from_status(status) or UnavailableError(status.message)


Message = Order | Ready | Closing | Failed


def failed(error: HeedError) -> Failed:
    """Return what tells of an error."""
    return Failed(to_status(error).SerializeToString())


class Link:
    """One end of a pipe, on the event loop that is running."""

    def __init__(
        self,
        connection: "Connection[Message, Message]",
        *,
        heard: Callable[[Message], None],
        ended: Callable[[], None],
    ) -> None:
        """Listen until `close`; `ended` is called once, when the other side is gone."""
        self._connection = connection
        self._heard = heard
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection.fileno(), self._read)

    def say(self, message: Message) -> None:
        """Tell the other side, if it is there."""
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def drain(self) -> None:
        """Hear what was said and not yet heard."""
        if not self._connection.closed:
            self._read()

    def close(self) -> None:
        """Let go of the pipe; closing twice is closing once."""
        if not self._connection.closed:
            self._loop.remove_reader(self._connection.fileno())
            self._connection.close()

    def _read(self) -> None:
        try:
            while self._connection.poll():
                self._heard(self._connection.recv())
        except (EOFError, OSError):
            self.close()
            self._ended()
