"""HTTP edges: a press of a link, committed before its 200, and a Check over REST beside gRPC."""

import itertools
import random
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import grpc
import msgspec

from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as types
from tests.bench import http1, messages
from tests.bench.calls import ASKED, IN_FLIGHT, OTHER_ROUNDS, SEEDED, seeded_node
from tests.bench.figures import Figure, median_of
from tests.bench.load import LoadSpec
from tests.bench.measure import Arm, alternate, cpu_ratio, load, rate, ratio, requests_file
from tests.bench.nodes import SERVER_CORE, BenchError, HeedNode
from tests.support.ports import free_port
from tests.support.served import Authority

MAKE_LINKS: Final = "/heed.v1.PreferenceService/MakeLinks"
PRESS: Final = b"List-Unsubscribe=One-Click"
URLENCODED: Final = "application/x-www-form-urlencoded"
PRESSES_MAX: Final = 8_000
"""Links of one round, each of which is pressed once: more than any server here takes in it."""
LINKS_OF_CALL: Final = 1_000
PRESSES_IN_FLIGHT: Final = 32
CHECK_SECONDS: Final = 0.005
"""How often somebody asks beside the presses."""
PRESS_FIGURES: Final = ("one_click_p99_ms", "one_click_presses_per_second")
REST_FIGURES: Final = ("rest_check_over_grpc_check", "rest_check_over_grpc_check_by_cpu")


def measure_presses(folder: Path) -> list[Figure]:
    """`one_click_p99_ms`: how long until a link that is pressed is committed, and answered."""
    port = free_port()
    served = {
        "HEED_WEB_ADDRESS": f"127.0.0.1:{port}",
        "HEED_WEB_PUBLIC_URL": "https://news.example.com",
    }
    with seeded_node(HeedNode(folder, variables=served)) as node:
        people = itertools.count(10 * SEEDED)
        spec = LoadSpec(
            port=port,
            method="POST /u/…",
            requests="",
            connections=PRESSES_IN_FLIGHT,
            in_flight=PRESSES_IN_FLIGHT,
            is_http1=True,
        )
        arm = Arm(name="press", spec=spec, fresh=lambda: _presses(node, people), pid=node.pid)
        with _checking(node):
            results = alternate([arm], OTHER_ROUNDS)
        _require_pressed(node, 10 * SEEDED)
    value, spread = median_of([one.load.p99_ms for one in results[arm.name]])
    against = (
        f"one-click POSTs of distinct links, each committed and fsynced to SQLite before its 200, "
        f"{PRESSES_IN_FLIGHT} in flight, a Check every {CHECK_SECONDS * 1_000:g} ms beside them; "
        f"server on core {SERVER_CORE}"
    )
    return [
        Figure(name=PRESS_FIGURES[0], value=value, unit="ms", against=against, spread=spread),
        rate(PRESS_FIGURES[1], arm, results, "presses/s", "the same rounds"),
    ]


def measure_rest(folder: Path) -> list[Figure]:
    """`rest_check_over_grpc_check`: the same questions, by the same API key, both with TLS."""
    people = list(range(ASKED))
    random.Random(1).shuffle(people)
    folder.mkdir(parents=True)
    port, authority = free_port(), Authority(folder)
    served = {"HEED_REST_ADDRESS": f"127.0.0.1:{port}"}
    with seeded_node(HeedNode(folder, variables=served, authority=authority)) as node:
        headers = {"Content-Type": "application/json", **node.metadata}
        with (
            requests_file(messages.checks(iter(people))) as by_grpc,
            requests_file([_rest_check(number, headers) for number in people]) as by_rest,
        ):
            spec = LoadSpec(
                port=node.port,
                method=messages.CHECK,
                requests=by_grpc,
                in_flight=IN_FLIGHT,
                certificate=str(authority.file),
                metadata=node.metadata,
            )
            over_rest = LoadSpec(
                port=port,
                method="POST /v1/checks",
                requests=by_rest,
                connections=IN_FLIGHT,
                in_flight=IN_FLIGHT,
                certificate=str(authority.file),
                is_http1=True,
            )
            _require_both_verdicts(over_rest)
            rest = Arm(name="rest", spec=over_rest, pid=node.pid)
            unary = Arm(name="grpc", spec=spec, pid=node.pid)
            results = alternate([rest, unary], OTHER_ROUNDS)
    against = (
        f"POST /v1/checks over unary Check of one server, TLS and one API key, {IN_FLIGHT} in "
        f"flight: over {IN_FLIGHT} connections, and over {spec.connections}"
    )
    return [
        ratio(REST_FIGURES[0], rest, unary, results, against),
        cpu_ratio(
            REST_FIGURES[1], rest, unary, results,
            "the same rounds, by the server's processor time",
        ),
        rate("rest_checks_per_second", rest, results, "calls/s", "the same rounds"),
    ]  # fmt: skip


def _presses(node: HeedNode, people: Iterator[int]) -> list[bytes]:
    scope = types.Scope(channel=types.CHANNEL_EMAIL, topic=messages.TOPIC)
    urls: list[str] = []
    for _ in range(PRESSES_MAX // LINKS_OF_CALL):
        asked = preference.MakeLinksRequest(
            targets=[
                preference.LinkTarget(
                    subject=types.Subject(email=messages.email(next(people))), scope=scope
                )
                for _ in range(LINKS_OF_CALL)
            ]
        )
        answer = node.call(MAKE_LINKS, asked.SerializeToString())
        urls += [one.url for one in preference.MakeLinksResponse.FromString(answer).links]
    return [http1.request(urlsplit(url).path, PRESS, {"Content-Type": URLENCODED}) for url in urls]


def _require_pressed(node: HeedNode, number: int) -> None:
    """Whoever's link was pressed first is suppressed: what is timed is an opt-out."""
    if node.check(messages.email(number)).decision.verdict != types.VERDICT_SUPPRESSED:
        raise BenchError("a link was pressed, and its person is not suppressed")


@contextmanager
def _checking(node: HeedNode) -> Generator[None]:
    """Ask about somebody again and again, until the block ends."""
    is_over = threading.Event()
    failed: list[grpc.RpcError] = []
    (request,) = messages.checks(iter([1]))

    def ask() -> None:
        with grpc.insecure_channel(f"localhost:{node.port}") as channel:
            check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(messages.CHECK)
            while not is_over.wait(CHECK_SECONDS):
                try:
                    check(request, timeout=10)
                except grpc.RpcError as error:
                    failed.append(error)
                    return

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        is_over.set()
        asking.join()
    if failed:
        raise BenchError(f"a Check beside the presses failed: {failed[0]}")


def _rest_check(number: int, headers: dict[str, str]) -> bytes:
    body = {
        "subjects": [{"email": messages.email(number)}],
        "channel": "email",
        "topic": messages.TOPIC,
    }
    return http1.request("/v1/checks", msgspec.json.encode(body), headers)


def _require_both_verdicts(spec: LoadSpec) -> None:
    replies = [msgspec.json.decode(bytes.fromhex(one)) for one in load(spec).replies]
    verdicts = {reply["verdict"] for reply in replies}
    if verdicts != {"allowed", "suppressed"}:
        raise BenchError(f"the checks over REST are answered {verdicts}, not both ways")
