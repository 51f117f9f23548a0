"""GET /v1/changes: the log as server-sent events, for as long as the caller reads.

Laws:
- It is the stream that gRPC callers have (`heed_server.watch`), told in other words: its order, its
  bounds and its end are those, and nothing is left out silently.
- `Last-Event-ID` is where the caller stands. Without it, and where the log cannot go on from there,
  all that stands is told first, by the events `reset` to `reset_end`.
- What refuses the stream before it began is a problem with a status of its own; what ends it later
  is an event, `problem`, the last one.
- Its caller's leaving ends it at once, and a credential that is no longer good within 15 s.
"""

import asyncio
import functools
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qsl

from google.protobuf.duration_pb2 import Duration

from heed.errors import HeedError
from heed.task_group import TaskGroup
from heed.wire import parse_watch
from heed.wire.limits import STALENESS_SECONDS_MAX, WATCH_CHANNELS_MAX, WATCH_TOPICS_MAX
from heed.wire.violations import Violations
from heed_proto.v1 import types_pb2 as types
from heed_proto.v1 import watch_service_pb2 as pb
from heed_server.rates import RateKind
from heed_server.rpc.status import unforeseen
from heed_server.watch.stream import Stream
from heed_server.web.rest import problems, words
from heed_server.web.rest.calls import Call, Serving, run_call
from heed_server.web.rest.events import events, problem_event
from heed_server.web.rest.exchange import EVENTS, Exchange, GoneError
from heed_server.web.rest.problems import Violation

PATH: Final = "/v1/changes"
METHOD: Final = "WatchChanges"
POSITION_HEADER: Final = "Last-Event-ID"

PARAMETERS_MAX: Final = 6 + WATCH_CHANNELS_MAX + WATCH_TOPICS_MAX
"""Parameters of a query; of more none is read."""
VERSION_MAX: Final = 1_000
"""The highest version of rules, and of the normaliser, that a reader may say to know."""
EVENTS_KEPT_MAX: Final = 64
"""Messages whose events are kept for other streams that are told the same."""
KEPT_BYTES_MAX: Final = 64 * 1024
"""Bytes of a message whose events are kept; a longer one is told by each stream anew."""

_SINGLE: Final = (
    "subscriber",
    "instance",
    "tenant",
    "max_staleness_seconds",
    "rule_version",
    "normaliser_version",
)
_SEVERAL: Final = ("channels", "topics")
_VERSION: Final = re.compile(r"[0-9]{1,4}")


async def run_changes(serving: Serving, exchange: Exchange) -> None:
    """Answer with the stream, to its end."""

    async def act(call: Call) -> None:
        service = serving.service
        principal = call.enter()
        call.take_place(principal)
        exchange.require_accepted(EVENTS)
        service.admission.rates.take(RateKind.STREAMS, principal)
        asked = parse_watch.watch_changes(_message(exchange).SerializeToString())
        async with service.watch_changes(principal, asked, call.who_now) as stream:
            error = await _told(exchange, stream)
        if error is not None and not exchange.has_begun:
            raise error
        call.note(error)
        # A reader that takes nothing hears nothing of it: its connection is cut.
        if error is not None:
            problem, _ = problems.problem_of(error, _place)
            await exchange.write(problem_event(problem))
        await exchange.end()

    await run_call(serving, exchange, METHOD, act, _place, is_write=False)


async def _told(exchange: Exchange, stream: Stream) -> HeedError | None:
    """Tell a stream until it ends; return the error it ended by.

    Raises:
        GoneError: its caller has left.
    """

    async def send(message: bytes) -> None:
        if not exchange.has_begun:
            await exchange.begin(EVENTS)
        for one in _events_of(message):
            await exchange.write(one)
            await asyncio.sleep(0)  # a snapshot has many, and others wait

    async def tell() -> HeedError | None:
        try:
            await stream.run(send)
        except HeedError as error:
            return error
        except Exception as mistake:  # noqa: BLE001 - the root of a stream
            return unforeseen(METHOD, mistake, is_write=False)
        return None

    async with TaskGroup() as group:
        telling = group.create_task(tell())
        leaving = group.create_task(exchange.gone())
        await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        telling.cancel()
        leaving.cancel()
    if telling.cancelled():
        raise GoneError
    return telling.result()


def _events_of(message: bytes) -> Sequence[bytes]:
    """The events of a message, which is the same object for all streams that are told the same."""
    return _kept_events(message) if len(message) <= KEPT_BYTES_MAX else tuple(events(message))


@functools.lru_cache(maxsize=EVENTS_KEPT_MAX)
def _kept_events(message: bytes) -> Sequence[bytes]:
    return tuple(events(message))


def _message(exchange: Exchange) -> pb.WatchChangesRequest:
    """The contract's message of a request.

    Raises:
        InvalidArgumentError: a parameter is not known, is there twice, or says nothing.
    """
    violations = Violations()
    said = _parameters(exchange.scope["query_string"], violations)
    positions = exchange.headers(POSITION_HEADER.lower().encode())
    if len(positions) > 1:
        violations.add("token", f"is sent {len(positions)} times; send it once")
    message = pb.WatchChangesRequest(
        tenant=_only(said["tenant"]),
        subscriber=_only(said["subscriber"]),
        instance=_only(said["instance"]),
        token=_only(positions),
        channels=[
            types.Channel.ValueType(
                words.MESSAGE_CHANNELS.number(word, f"channels[{at}]", violations)
            )
            for at, word in enumerate(said["channels"])
        ],
        topics=said["topics"],
    )
    for name in ("rule_version", "normaliser_version"):
        if said[name]:
            setattr(message, name, _version(said[name][0], name, violations))
    if said["max_staleness_seconds"]:
        _read_seconds(said["max_staleness_seconds"][0], message.max_staleness, violations)
    violations.raise_if_any()
    return message


def _parameters(query: bytes, violations: Violations) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {name: [] for name in (*_SINGLE, *_SEVERAL)}
    pairs: list[tuple[str, str]] = []
    try:
        if query:
            pairs = parse_qsl(
                query.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=PARAMETERS_MAX,
            )
    except ValueError:
        violations.add("", f"is no query of at most {PARAMETERS_MAX} parameters")
    for name, value in pairs:
        if name not in said:
            violations.add(name[:40], f"is no parameter here; there are {', '.join(said)}")
        elif said[name] and name in _SINGLE:
            violations.add(name, "is there twice; say it once")
        else:
            said[name].append(value)
    return said


def _read_seconds(text: str, duration: Duration, violations: Violations) -> None:
    """Read a number of seconds; one that is out of bounds stays so."""
    seconds = -1.0
    with suppress(ValueError):
        seconds = float(text)
    if not 0 <= seconds < STALENESS_SECONDS_MAX + 1:
        violations.add("max_staleness", f"must be a number, at most {STALENESS_SECONDS_MAX}")
        return
    duration.FromMilliseconds(round(seconds * 1_000))


def _version(text: str, name: str, violations: Violations) -> int:
    # Of too many digits Python reads no number at all, and says so by an error.
    if _VERSION.fullmatch(text) and int(text) <= VERSION_MAX:
        return int(text)
    violations.add(name, f"must be a whole number, at most {VERSION_MAX}")
    return 0


def _only(values: Sequence[str]) -> str:
    return values[0] if values else ""


def _place(field: str, detail: str) -> Violation:
    """Where in the request it is that a path of its message leads to."""
    name = field.partition("[")[0].partition(".")[0]
    if name == "token":
        return Violation(header=POSITION_HEADER, detail=detail)
    return Violation(
        parameter="max_staleness_seconds" if name == "max_staleness" else name, detail=detail
    )
