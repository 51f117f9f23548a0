"""No address leaves the one place where it is kept, but in the answers that are asked for it.

Canary addresses go through every RPC of the contract, at a server and at an agent, as they are and
malformed, with every right and with none; then they are looked for, in every encoding, in all that
came of it: files, logs, metrics, traces, errors, streams, answers.
"""

import base64
import json
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

import heed
from heed_proto.v1 import types_pb2 as pb
from heed_server.rpc.server import services
from tests.support import requests as ask
from tests.support.agents import ServedAgent
from tests.support.canaries import Canary, about, files_of
from tests.support.postgres import Postgres
from tests.support.served import WAIT_SECONDS_MAX, Served, run_command

pytestmark = pytest.mark.slow  # each starts processes

ADA = Canary("kanarie7319q", "66073195550")
OTHER = Canary("serinus4482w", "66484822117")
"""Of another tenant."""
SAID = "finkenschlag9926"
"""What callers say beside the address: it may name a person, and stays in the log and in answers
about it."""

READABLE = frozenset({"ListSuppressions", "ExportRecords", "ExportSubject"})
"""The methods whose answers hold readable addresses: those of the right `export`."""
ENDLESS = frozenset({"WatchChanges"})
ERASING = "EraseSubject"
TAKING = frozenset({"ReleaseSuppression", ERASING})
"""Called after those that show: less is left to be found after them."""

RIGHTS = ["check", "watch", "write", "consent", "suppress", "admin", "audit", "operate", "export"]
METHODS = {method.name: method for described in services() for method in described.methods}


class Collector:
    """Takes OTLP over gRPC, and keeps every byte."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        for service, answer in (
            ("trace.v1.Trace", trace_service_pb2.ExportTraceServiceResponse()),
            ("metrics.v1.Metrics", metrics_service_pb2.ExportMetricsServiceResponse()),
        ):
            self._server.add_generic_rpc_handlers((self._handlers(service, answer),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait(WAIT_SECONDS_MAX)

    def _handlers(self, service: str, answer: Message) -> grpc.GenericRpcHandler:
        def take(data: bytes, _: grpc.ServicerContext) -> bytes:
            self.received.append(data)
            return answer.SerializeToString()

        name = f"opentelemetry.proto.collector.{service}Service"
        return grpc.method_handlers_generic_handler(
            name, {"Export": grpc.unary_unary_rpc_method_handler(take)}
        )


@dataclass
class Trial:
    """Everything that came out, by where."""

    found: dict[str, list[bytes]] = field(default_factory=dict)

    def note(self, where: str, *outputs: bytes) -> None:
        self.found.setdefault(where, []).extend(outputs)

    def of(self, canary: Canary) -> dict[str, list[str]]:
        """Where a canary is, and in which encodings."""
        places = {where: canary.found_in(b"\x00".join(all_)) for where, all_ in self.found.items()}
        return {where: forms for where, forms in places.items() if forms}


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.stop()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def storage(request: pytest.FixtureRequest) -> Iterator[tuple[dict[str, str], Path | None]]:
    """Where the server keeps its log, and the database's own files if they are ours to read."""
    if request.param == "sqlite":
        yield {}, None
        return
    with Postgres(settings={"log_statement": "all"}) as server, server.database("canary") as url:
        yield {"HEED_STORAGE_URL": url, "HEED_STORAGE_MIGRATE": "true"}, server.folder


def key_of(folder: Path, variables: dict[str, str], name: str, tenant: str, *rights: str) -> str:
    made = run_command(
        *("keys", "create", name, "--tenant", tenant, "--json"),
        *(part for right in rights for part in ("--right", right)),
        cwd=folder,
        variables=variables,
    )
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["key"])


def called(channel: grpc.Channel, name: str, data: bytes, key: str) -> tuple[bytes, bytes]:
    """Call a method; return the bytes of its answers, and all that is told where it fails."""
    method = METHODS[name]
    path = f"/{method.containing_service.full_name}/{name}"
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    seconds = 1.5 if name in ENDLESS else WAIT_SECONDS_MAX
    answers: list[bytes] = []
    # As bytes: what stubs of a method would make of its messages is not asked for.
    unary: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    streaming: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
    conversing: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
    try:
        if method.client_streaming:
            answers.extend(conversing(iter([data]), timeout=seconds, metadata=metadata))
        elif method.server_streaming:
            answers.extend(streaming(data, timeout=seconds, metadata=metadata))
        else:
            answers.append(unary(data, timeout=seconds, metadata=metadata))
    except grpc.RpcError as error:
        return b"\x00".join(answers), told_of(error)
    return b"\x00".join(answers), b""


def told_of(error: grpc.RpcError) -> bytes:
    """Everything that a failed call says: its text, its code, its details in the metadata."""
    call: Any = error
    values = [value for _, value in call.trailing_metadata() or ()]
    shown = (call.details(), call.code(), repr(error), *values)
    return b"\x00".join(one if isinstance(one, bytes) else str(one).encode() for one in shown)


def names_somebody(name: str) -> bool:
    request = ask.VALID[name]()
    return about(request, ADA.subjects[0]) != request


def request_of(name: str, canary: Canary, at: int, tenant: str, where: str) -> Message:
    """A request of a method about one of a canary's identifiers, malformed ones too."""
    request = about(ask.VALID[name](), (*canary.subjects, *canary.malformed)[at])
    fields = request.DESCRIPTOR.fields_by_name
    if tenant and "tenant" in fields:
        request.MergeFrom(type(request)(tenant=tenant))
    if "origin" in fields and request.HasField("origin"):
        request.MergeFrom(type(request)(origin=pb.Origin(reference=SAID)))
    if "idempotency_key" in fields:
        request.MergeFrom(type(request)(idempotency_key=f"{where}-{at}"))
    return request


def call_all(
    trial: Trial, channel: grpc.Channel, key: str, canary: Canary, where: str, *, tenant: str = ""
) -> None:
    """Call every method about a canary, as it is and malformed; those that show it last."""
    for name in (
        *(name for name in ask.VALID if name not in READABLE | TAKING),
        *(name for name in ask.VALID if name in READABLE),
        "ReleaseSuppression",
    ):
        call_one(trial, channel, key, canary, where, name, tenant=tenant)


def call_one(
    trial: Trial,
    channel: grpc.Channel,
    key: str,
    canary: Canary,
    where: str,
    name: str,
    *,
    tenant: str = "",
) -> None:
    """Call one method about a canary, as it is and malformed."""
    identifiers = len(canary.subjects) + len(canary.malformed)
    for at in range(identifiers if names_somebody(name) else 1):
        request = request_of(name, canary, at, tenant, where)
        answer, told = called(channel, name, request.SerializeToString(), key)
        trial.note(f"{where} answer {name}", answer)
        trial.note(f"{where} error {name}", told)
    # What is no message, and what is one but of something else.
    for noise in (canary.subjects[0].email.encode(), canary.subjects[3].SerializeToString()):
        _, told = called(channel, name, noise, key)
        trial.note(f"{where} error {name}", told)


def use_library(trial: Trial, server: Served, folder: Path, key: str) -> None:
    """Ask by the library with a cache, and keep what its errors and values say when shown."""
    email = ADA.subjects[0].email
    with server.client(api_key=key, cache=folder / "cache") as client:
        client.wait_live(20)
        answer = client.check(email=email, channel="email", topic="marketing.weekly")
        trial.note("library values", repr(answer).encode(), repr(heed.email(email)).encode())
        for wrong in (f"{email}@", email.replace("@", " at ")):
            with pytest.raises(heed.HeedError) as refused:
                client.opt_out(email=wrong, source="tests")
            trial.note("library errors", repr(refused.value).encode(), str(refused.value).encode())


def metrics_of(server: Served) -> bytes:
    url = f"http://127.0.0.1:{server.serving['metrics_port']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


def variables_of(collector: Collector) -> dict[str, str]:
    return {
        "HEED_TELEMETRY_LOG_LEVEL": "debug",
        "HEED_TELEMETRY_CHECK_METRICS": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


def test_no_address_is_anywhere_but_in_the_answers_that_are_asked_for_it(
    tmp_path: Path,
    collector: Collector,
    storage: tuple[dict[str, str], Path | None],
) -> None:
    url, database = storage
    variables = {**url, **variables_of(collector)}
    trial = Trial()
    with (
        Served(tmp_path, variables=variables) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        with server.client() as client:
            client.create_tenant("other")
        mine = key_of(tmp_path, url, "mine", "default", *RIGHTS)
        theirs = key_of(tmp_path, url, "theirs", "other", *RIGHTS)
        weak = key_of(tmp_path, url, "weak", "default", "check")
        agents = {**variables_of(collector), "HEED_AGENT_API_KEY": mine}
        with (
            ServedAgent(tmp_path, server.address, variables=agents) as agent,
            grpc.insecure_channel(agent.address) as through_agent,
        ):
            agent.wait_in_step()
            call_all(trial, channel, theirs, OTHER, "other tenant's")
            call_all(trial, channel, weak, ADA, "weak")
            call_all(trial, channel, "", ADA, "nobody's")
            call_all(trial, channel, "", ADA, "nobody's", tenant="other")
            call_all(trial, through_agent, mine, ADA, "agent's")
            use_library(trial, server, tmp_path, mine)
            call_all(trial, channel, mine, ADA, "own")
            call_all(trial, channel, mine, OTHER, "prying", tenant="other")
            for name in (ERASING, *READABLE):
                call_one(trial, channel, mine, ADA, "erased", name)
            trial.note("metrics", metrics_of(server), metrics_of(agent))
            agent.stop()
            trial.note("agent's log", agent.log.encode())
        server.stop()
        trial.note("server's log", server.log.encode())
    trial.note("collector", *collector.received)
    for path, content in files_of(tmp_path).items():
        trial.note(f"file {Path(path).relative_to(tmp_path)}", content)
    if database is not None:
        for path, content in files_of(database).items():
            trial.note(f"database {Path(path).relative_to(database)}", content)

    assert len(collector.received) > 1

    readable = {f"{whose} answer {name}" for name in READABLE for whose in ("own", "agent's")}
    # In the database there is only ciphertext.
    assert trial.of(ADA).keys() == readable
    # Another tenant's is in that tenant's answers alone, whoever asks about it.
    assert trial.of(OTHER).keys() == {f"other tenant's answer {name}" for name in READABLE}
    told = {where for where, outputs in trial.found.items() if SAID.encode() in b"".join(outputs)}
    assert not {where for where in told if not is_kept(where) and " answer " not in where}
    assert not {where for where in told if "WatchChanges" in where}
    assert any(" answer " in where for where in told)


def is_kept(where: str) -> bool:
    """Whether it is where what callers say is kept: the database."""
    return where.startswith(("file heed-data/heed.db", "database "))


@pytest.mark.parametrize("form", ["utf-8", "utf-16-le", "base64", "hex", "percent"])
def test_the_search_finds_what_leaks(form: str) -> None:
    """The control: each of these would be a leak, and is found."""
    address = ADA.subjects[0].email
    leaks = {
        "utf-8": f'{{"event": "refused", "who": "{address.upper()}"}}'.encode(),
        "utf-16-le": address.encode("utf-16-le"),
        "base64": base64.b64encode(f"xy{address}".encode()),
        "hex": f"key={address.encode().hex().upper()}".encode(),
        "percent": "".join(f"%{byte:02X}" for byte in address.encode()).encode(),
    }
    trial = Trial()
    trial.note("log", b"nothing", leaks[form])
    trial.note("other log", b"nothing at all")

    assert trial.of(ADA).keys() == {"log"}
    assert not trial.of(OTHER)


def test_a_server_that_is_told_to_leak_is_caught(tmp_path: Path, collector: Collector) -> None:
    """The control: whoever names a subscriber by an address puts it into logs and metrics."""
    trial = Trial()
    with Served(tmp_path, variables=variables_of(collector)) as server:
        with server.client() as client:
            client.declare_subscriber(f"mailer-{ADA.word}")
            client.get_propagation()
        trial.note("metrics", metrics_of(server))
        server.stop()
    trial.note("file", *files_of(tmp_path).values())

    assert "file" in trial.of(ADA)
