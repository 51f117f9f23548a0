"""`heed doctor`: whether this host can ask that server, and what is wrong if it cannot.

It only reads. What it finds is a list of findings, each good or not; any that is not makes the
command fail. `heed-server doctor` looks at a server from within.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import grpc
import typer

from heed.answers import CheckAnswer
from heed.cli.channels import opened
from heed.cli.exits import DONE, UNAVAILABLE
from heed.cli.options import Session, connected
from heed.cli.output import print_json
from heed.errors import HeedError, RightRequiredError, UnauthenticatedError
from heed.model import RULE_VERSION

SAMPLES: Final = 20
"""How many checks the latency is measured by."""
SKEW_SECONDS_MAX: Final = 5.0
"""How far this host's clock may be off the server's: times that callers decide by would be wrong.
"""
_WHY_SECONDS_MAX: Final = 1.0
"""How long may take what is asked of a connection that there is not: it fails at once, or hangs."""
_NOBODY: Final = "heed-doctor"
"""A user that nobody is; asked about, never written."""

_SERVICES: Final = (
    "heed.v1.PreferenceService",
    "heed.v1.AdminService",
    "heed.v1.AuditService",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    found: str


@connected
def doctor(session: Session) -> None:
    """Look into the connection: reachable, healthy, how fast, in step, and who we are."""
    findings: list[Finding] = []
    for finding in _examine(session):
        findings.append(finding)
        if session.json:
            print_json(finding)
        else:
            print(f"{'ok ' if finding.good else 'BAD'} {finding.what}: {finding.found}")
    raise typer.Exit(DONE if all(one.good for one in findings) else UNAVAILABLE)


def _examine(session: Session) -> Iterator[Finding]:
    target = session.target()
    how = "plaintext" if target.tls is None else "TLS"
    started = time.monotonic()
    with opened(session) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=session.timeout_seconds)
        except grpc.FutureTimeoutError:
            yield Finding(
                what="connection",
                good=False,
                found=f"none to {target.name} by {how} within {session.timeout_seconds:g} s: "
                f"{_why_not(channel)}; --address says where the server is, --ca-file that it "
                "speaks TLS",
            )
            return
        milliseconds = (time.monotonic() - started) * 1000
        yield Finding(
            what="connection",
            good=True,
            found=f"to {target.name} by {how} in {milliseconds:.1f} ms",
        )
        yield from _health(channel, session)
    with session.connect() as client:
        client.wait_ready(session.timeout_seconds)
        yield from _checks(lambda: client.check(user=_NOBODY, channel="in_app"), session)


def _why_not(channel: grpc.Channel) -> str:
    """Return what a call says of a channel that is not connected."""
    ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/grpc.health.v1.Health/Check"
    )
    try:
        ask(b"", timeout=_WHY_SECONDS_MAX)
    except grpc.RpcError as error:
        return str(error.details())
    return "it is there only now"


def _health(channel: grpc.Channel, session: Session) -> Iterator[Finding]:
    from grpc_health.v1 import health_pb2

    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    for service in ("", *_SERVICES):
        what = f"health of {service or 'the process'}"
        try:
            answer = check(
                health_pb2.HealthCheckRequest(service=service), timeout=session.timeout_seconds
            )
        except grpc.RpcError as error:
            yield Finding(what=what, good=False, found=str(error.code()))
            continue
        name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
        serving = answer.status == health_pb2.HealthCheckResponse.SERVING
        yield Finding(what=what, good=serving, found=name.lower())


def _checks(check: Callable[[], CheckAnswer], session: Session) -> Iterator[Finding]:
    found = "none given, and a check needs none" if session.api_key is None else "the key may check"
    try:
        answer = check()
    except (UnauthenticatedError, RightRequiredError) as error:
        yield Finding(what="credential", good=False, found=f"{error.reason}: {error.message}")
        return
    except HeedError as error:
        yield Finding(what="check", good=False, found=f"{error.reason}: {error.message}")
        return
    yield Finding(what="credential", good=True, found=found)
    yield _rules(answer)
    yield _clock(answer)
    yield _latency(check)


def _rules(answer: CheckAnswer) -> Finding:
    return Finding(
        what="rules",
        good=answer.rule_version == RULE_VERSION,
        found=f"the server decides by version {answer.rule_version}, we know {RULE_VERSION}",
    )


def _clock(answer: CheckAnswer) -> Finding:
    off = abs((datetime.now(UTC) - answer.now).total_seconds())
    return Finding(
        what="clock", good=off <= SKEW_SECONDS_MAX, found=f"{off:.3f} s off the server's"
    )


def _latency(check: Callable[[], CheckAnswer]) -> Finding:
    seconds: list[float] = []
    for _ in range(SAMPLES):
        started = time.monotonic()
        try:
            check()
        except HeedError as error:
            return Finding(what="latency", good=False, found=f"{error.reason}: {error.message}")
        seconds.append(time.monotonic() - started)
    median, worst = statistics.median(seconds) * 1000, max(seconds) * 1000
    return Finding(
        what="latency",
        good=True,
        found=f"a check takes {median:.2f} ms, at worst {worst:.2f} ms of {SAMPLES}",
    )
