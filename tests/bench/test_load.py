"""The load counts what was answered, and nothing else."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.bench import http1
from tests.bench.figures import Figure, median_of
from tests.bench.load import LoadSpec, run, write_requests
from tests.bench.nodes import bare_server

METHOD = "/heed.v1.PreferenceService/CheckSuppression"


@contextmanager
def spec_for(
    tmp_path: Path, requests: list[bytes], reply: bytes = b"reply"
) -> Generator[LoadSpec, None, None]:
    write_requests(tmp_path / "requests", requests)
    with bare_server({METHOD: reply}) as (port, _):
        yield LoadSpec(
            port=port,
            method=METHOD,
            requests=str(tmp_path / "requests"),
            warm_seconds=0,
            seconds=0.3,
        )


def test_every_request_is_sent_once_where_keys_serve_once(tmp_path: Path) -> None:
    with spec_for(tmp_path, [b"%d" % number for number in range(200)]) as spec:
        result = run(replace(spec, repeats=False, seconds=5.0))

    assert result.all_calls == 200
    assert result.failures == {}
    assert {bytes.fromhex(one) for one in result.replies} == {b"reply"}
    assert 0 < result.p50_ms <= result.p99_ms


def test_calls_that_fail_are_not_counted_as_calls(tmp_path: Path) -> None:
    with spec_for(tmp_path, [b"request"] * 20) as spec:
        result = run(replace(spec, method=METHOD + "s", repeats=False))

    assert result.all_calls == 0
    assert result.failures == {"12": 20}


@pytest.mark.parametrize("size", [0, 16_378, 16_379, 70_000, 1_000_000])
def test_requests_and_replies_of_any_size_pass(tmp_path: Path, size: int) -> None:
    """Beyond a frame, and beyond the windows of a stream and of a connection."""
    with spec_for(tmp_path, [bytes(size)] * 24, reply=bytes(size)) as spec:
        result = run(replace(spec, repeats=False, connections=2, in_flight=8, seconds=10.0))

    assert result.all_calls == 24
    assert result.failures == {}


def test_an_open_loop_keeps_its_rate(tmp_path: Path) -> None:
    with spec_for(tmp_path, [b"request"]) as spec:
        result = run(replace(spec, rate=200.0, seconds=1.0))

    assert result.all_calls == pytest.approx(200, abs=20)
    assert result.failures == {}


def test_a_server_that_is_gone_ends_the_load(tmp_path: Path) -> None:
    with spec_for(tmp_path, [b"request"]) as spec:
        pass

    with pytest.raises(ConnectionError):
        run(spec)


def test_a_figure_says_whether_its_target_is_met() -> None:
    value, spread = median_of([0.9, 0.7, 0.8])
    missed = Figure(name="check_over_bare", value=value, unit="ratio", against="x", spread=spread)

    assert (value, spread) == (0.8, (0.7, 0.9))
    assert missed.is_met is False
    assert Figure(name="index_bytes_per_record", value=99, unit="b", against="x").is_met is True
    assert Figure(name="something_else", value=1, unit="b", against="x").is_met is None


class _Answers(BaseHTTPRequestHandler):
    """200 with the body that came, and 503 where that is `fail`."""

    protocol_version = "HTTP/1.1"
    bodies: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(body)
        self.send_response(503 if body == b"fail" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - its base's name
        """Say nothing."""


def test_over_http_an_answer_that_is_no_success_is_a_failure(tmp_path: Path) -> None:
    bodies = [b"%d" % number for number in range(60)] + [b"fail"] * 3
    requests = [http1.request("/", body, {"Content-Type": "text/plain"}) for body in bodies]
    write_requests(tmp_path / "requests", requests)
    _Answers.bodies.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        spec = LoadSpec(
            port=server.server_port,
            method="POST /",
            requests=str(tmp_path / "requests"),
            repeats=False,
            connections=4,
            in_flight=4,
            warm_seconds=0,
            seconds=10.0,
            is_http1=True,
        )
        result = run(spec)
        server.shutdown()
        serving.join()

    assert sorted(_Answers.bodies) == sorted(bodies)
    assert (result.all_calls, result.failures) == (60, {"503": 3})
    assert {bytes.fromhex(one) for one in result.replies} == set(bodies) - {b"fail"}
