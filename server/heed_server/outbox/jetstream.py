"""NATS JetStream, as the outbox uses it; the one module that speaks NATS.

Laws:
- A message is stored only right after the one that its publisher knew as the last: each names the
  last sequence, and NATS refuses it otherwise. So nothing that is sent twice, late, or by two nodes
  at once adds anything.
- What the library and the server raise becomes one of `outbox.errors` here.
- A connection that is lost is not opened again by the library, which would send then what nobody
  waits for any more: it ends, and the outbox makes another.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from heed.errors import FieldViolation, InvalidArgumentError
from heed.task_group import TaskGroup
from heed_server.outbox.errors import NatsAwayError, OvertakenError, StreamRefusedError
from heed_server.outbox.limits import OutboxLimits
from heed_server.outbox.messages import Message, Naming, Place, message_id, place_of

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js.api import StreamConfig, StreamInfo

DUPLICATES_SECONDS: Final = 120
"""How long NATS knows a message again by its id alone; the condition on the sequence is enough."""
PING_SECONDS: Final = 5
"""How often NATS is asked whether it is there. Higher: a connection that died without a word is
noticed later. Lower: more small messages."""
PINGS_MISSED_MAX: Final = 2
"""After so many pings without an answer the connection is dead."""
CLOSE_SECONDS_MAX: Final = 2.0
"""How long closing a connection may take. Higher: one that hangs holds up the stop, or the next
connection, for longer. Lower: a slow one is cut off."""

_WRONG_LAST_SEQUENCE: Final = 10071
_MESSAGE_NOT_FOUND: Final = 10037
_STREAM_NOT_FOUND: Final = 10059

_log = structlog.stdlib.get_logger("heed_server.outbox")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where NATS is, and how one proves to it who one is."""

    urls: tuple[str, ...] = field(repr=False)
    """They may hold a password or a token."""
    tls_ca_file: Path | None = None
    tls_certificate_file: Path | None = None
    tls_private_key_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a stream stands."""

    last_sequence: int
    place: Place | None
    """By its last message; None: it has none, since it is new or was purged."""


def require_library() -> None:
    """Return if the library for NATS is installed.

    Raises:
        InvalidArgumentError: it is not; says how to install it.
    """
    if find_spec("nats") is None:
        said = "needs the library for NATS: pip install 'heed-server[nats]'"
        raise InvalidArgumentError(
            f"outbox.nats_url {said}", violations=[FieldViolation("outbox.nats_url", said)]
        )


@asynccontextmanager
async def connect(target: Target, limits: OutboxLimits) -> AsyncGenerator["JetStream"]:
    """Connect to NATS; leaving the block ends the connection, whatever state it is in.

    Raises:
        NatsAwayError: it cannot be reached, or refuses us.
    """
    from nats.aio.client import Client
    from nats.errors import Error as NatsError

    client = Client()
    lost = asyncio.Event()
    failures: list[str] = []

    async def failed(error: Exception) -> None:
        failures[:] = [f"{type(error).__name__}: {error}"]

    async def ended() -> None:
        lost.set()

    try:
        try:
            async with asyncio.timeout(limits.connect_seconds_max):
                await client.connect(
                    list(target.urls),
                    name="heed outbox",
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=max(1, round(limits.connect_seconds_max)),
                    ping_interval=PING_SECONDS,
                    max_outstanding_pings=PINGS_MISSED_MAX,
                    error_cb=failed,
                    closed_cb=ended,
                    disconnected_cb=ended,
                    tls=_tls_of(target),
                )
        except (NatsError, OSError, TimeoutError) as error:
            why = failures[0] if failures else _said(error)
            raise NatsAwayError(f"NATS cannot be had: {why}") from error
        yield JetStream(client, lost, limits)
    finally:
        # A connection that hangs is left to the system.
        with suppress(NatsError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await client.close()


class JetStream:
    """One connection."""

    def __init__(self, client: "Client", lost: asyncio.Event, limits: OutboxLimits) -> None:
        """`lost` is set once the connection is no more."""
        self.client = client
        self._lost = lost
        self._limits = limits
        self._context = client.jetstream(timeout=limits.ack_seconds_max)

    async def until_lost(self) -> None:
        """Wait until the connection is no more.

        Raises:
            NatsAwayError: it is.
        """
        await self._lost.wait()
        raise NatsAwayError("the connection to NATS was lost")

    async def pause(self, seconds: float) -> None:
        """Wait for so long.

        Raises:
            NatsAwayError: the connection was lost meanwhile.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.until_lost()

    async def open_stream(self, naming: Naming) -> Standing:
        """Return where a tenant's stream stands; made if it is not there.

        Raises:
            NatsAwayError: NATS does not answer.
            StreamRefusedError: it has other settings than the outbox needs, or foreign messages.
        """
        info = await self._stream(naming)
        _require_settings(info.config, naming)
        if not info.state.messages:
            return Standing(last_sequence=info.state.last_seq, place=None)
        return Standing(
            last_sequence=info.state.last_seq, place=await self._place(naming, info.state.last_seq)
        )

    async def publish(self, stream: str, messages: Sequence[tuple[Message, Place]]) -> None:
        """Store messages in a stream, each with the place it makes; all of them, or an error.

        They follow each other and the last message of the stream.

        Raises:
            NatsAwayError: NATS does not answer; some may be stored.
            OvertakenError: the stream stands elsewhere; the first that did not fit, and all after
                it, were not stored.
        """
        try:
            async with TaskGroup() as group:
                for message, place in messages:
                    group.create_task(self._publish(stream, message, place))
        except ExceptionGroup as failed:
            # The first is the reason; those behind it only did not fit any more.
            raise failed.exceptions[0] from None

    async def _publish(self, stream: str, message: Message, place: Place) -> None:
        from nats.errors import Error as NatsError
        from nats.js.errors import APIError

        headers = {
            **message.headers,
            "Nats-Msg-Id": message_id(place),
            "Nats-Expected-Last-Sequence": str(place.sequence - 1),
        }
        try:
            stored = await self._context.publish(
                message.subject, message.body, stream=stream, headers=headers
            )
        except APIError as error:
            if error.err_code == _WRONG_LAST_SEQUENCE:
                raise OvertakenError(f"{stream}: {error.description}") from error
            raise NatsAwayError(f"NATS does not store in {stream}: {error.description}") from error
        except (NatsError, OSError, TimeoutError) as error:
            raise _away(stream, error) from error
        if stored.seq != place.sequence:
            raise OvertakenError(
                f"{stream}: revision {place.revision} is stored as {stored.seq}, not as "
                f"{place.sequence}"
            )

    async def _stream(self, naming: Naming) -> "StreamInfo":
        from nats.errors import Error as NatsError
        from nats.js.errors import APIError, NotFoundError

        try:
            try:
                return await self._context.stream_info(naming.stream)
            except NotFoundError as error:
                if error.err_code != _STREAM_NOT_FOUND:
                    raise
            made = await self._context.add_stream(_settings(naming, self._limits))
        except APIError as error:
            raise StreamRefusedError(
                f"the stream {naming.stream} cannot be had: {error.description}"
            ) from error
        except (NatsError, OSError, TimeoutError) as error:
            raise _away(naming.stream, error) from error
        _log.info("outbox_stream_made", stream=naming.stream, subjects=naming.subjects)
        return made

    async def _place(self, naming: Naming, sequence: int) -> Place:
        from nats.errors import Error as NatsError
        from nats.js.errors import APIError

        try:
            last = await self._context.get_msg(naming.stream, sequence)
            return place_of(last.headers or {}, sequence)
        except APIError as error:
            if error.err_code != _MESSAGE_NOT_FOUND:
                raise NatsAwayError(f"{naming.stream}: {error.description}") from error
            said = "its last message was taken away"
        except ValueError as error:
            said = str(error)
        except (NatsError, OSError, TimeoutError) as error:
            raise _away(naming.stream, error) from error
        raise StreamRefusedError(
            f"the stream {naming.stream} is not what heed left: {said}; purge it to have all "
            "published anew, or give the outbox another outbox.stream_prefix"
        )


def _settings(naming: Naming, limits: OutboxLimits) -> "StreamConfig":
    """The settings of a stream that heed makes."""
    from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

    return StreamConfig(
        name=naming.stream,
        description="heed: every change of a tenant's log, in order",
        subjects=[naming.subjects],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_bytes=limits.stream_bytes_max or -1,
        num_replicas=limits.stream_replicas,
        duplicate_window=DUPLICATES_SECONDS,
        deny_delete=True,
    )


def _require_settings(config: "StreamConfig", naming: Naming) -> None:
    """Refuse a stream whose last message could go, or that takes others' messages, or ours not."""
    wrong = [
        said
        for is_wrong, said in (
            (config.subjects != [naming.subjects], f"its subjects are not {naming.subjects} alone"),
            (config.retention != "limits", "its retention is not `limits`"),
            (bool(config.max_age), "it drops messages by age, in the end the last one too"),
            (config.no_ack, "it acknowledges nothing"),
            (config.sealed, "it is sealed"),
            (config.mirror is not None or bool(config.sources), "it takes from other streams"),
            (config.subject_transform is not None, "it renames subjects"),
        )
        if is_wrong
    ]
    if wrong:
        raise StreamRefusedError(
            f"the stream {naming.stream} is not set as the outbox needs it: {'; '.join(wrong)}; "
            "change it, remove it, or give the outbox another outbox.stream_prefix"
        )


def _away(stream: str, error: Exception) -> NatsAwayError:
    return NatsAwayError(f"NATS does not answer for {stream}: {_said(error)}")


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _tls_of(target: Target) -> ssl.SSLContext | None:
    """The TLS that the files ask for; None: that of the URLs."""
    if target.tls_ca_file is None and target.tls_certificate_file is None:
        return None
    context = ssl.create_default_context(
        cafile=None if target.tls_ca_file is None else str(target.tls_ca_file)
    )
    if target.tls_certificate_file is not None:
        context.load_cert_chain(target.tls_certificate_file, target.tls_private_key_file)
    return context
