"""The public edge of a real server, over sockets: pressed, flooded, killed, drained, cut off."""

import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import heed
from heed import OptOut, Origin
from heed.cli.main import app
from heed_server.web.limits import HEAD_BYTES_MAX
from tests.support.postgres import Postgres
from tests.support.served import WAIT_SECONDS_MAX, Authority, Served, environment, run_command
from tests.support.web import (
    PRESS,
    URLENCODED,
    Answered,
    WebServed,
    ask_at,
    path_of,
    press_at,
)

ADA = "ada@example.com"
PUBLIC_URL = "https://news.example.com"
VARIABLES = {"HEED_WEB_ADDRESS": "127.0.0.1:0", "HEED_WEB_PUBLIC_URL": PUBLIC_URL}
READS = 300

pytestmark = pytest.mark.slow  # each starts processes


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def variables(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    if request.param == "sqlite":
        yield VARIABLES
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    with postgres.database("web") as url:
        yield {**VARIABLES, "HEED_STORAGE_URL": url, "HEED_STORAGE_MIGRATE": "true"}


def make_link(server: Served) -> str:
    with server.client() as client:
        link = client.make_link(heed.email(ADA), channel="email", topic="news")
    assert link.headers == {
        "List-Unsubscribe": f"<{link.url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert link.url.startswith(f"{PUBLIC_URL}/u/v1.")
    return path_of(link.url)


def is_allowed(server: Served) -> bool:
    with server.client() as client:
        return client.check(email=ADA, channel="email", topic="news").allowed


def head_of(server: Served) -> int:
    with server.client() as client:
        return client.get_preferences(email=ADA).revision


def test_pressed_over_http_it_is_committed_and_a_check_over_grpc_says_suppressed(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with WebServed(tmp_path, variables=variables) as server:
        path = make_link(server)
        before = is_allowed(server)

        answers = [press_at(server.edges["public"], path) for _ in range(3)]

        assert before
        assert [answer.code for answer in answers] == [200, 200, 200]
        assert not is_allowed(server)
        assert head_of(server) == 1
        measures = server.metrics()
        assert measures['heed_web_presses_total{outcome="written"}'] == 1
        assert measures['heed_web_presses_total{outcome="stood"}'] == 2
        assert measures['heed_web_requests_total{code="200",edge="public",method="POST"}'] == 3
    assert ADA not in server.log
    assert path not in server.log


def test_the_link_of_a_mail_works_after_a_restart_and_after_new_root_keys(tmp_path: Path) -> None:
    with WebServed(tmp_path, variables=VARIABLES) as server:
        path = make_link(server)
    rotated = run_command("keys", "root", "rotate", cwd=tmp_path)
    assert rotated.returncode == 0, rotated.stderr

    with WebServed(tmp_path, variables=VARIABLES) as server:
        assert press_at(server.edges["public"], path).code == 200
        assert not is_allowed(server)


def test_a_link_of_before_a_restore_stops_in_the_new_epoch(tmp_path: Path) -> None:
    with WebServed(tmp_path, variables=VARIABLES) as server:
        path = make_link(server)
        saved = run_command("backup", "--to", ".", "--json", cwd=tmp_path)
        assert saved.returncode == 0, saved.stderr
    (tmp_path / "heed-data").rename(tmp_path / "lost")
    (tmp_path / "heed-data").mkdir(mode=0o700)
    for file in (tmp_path / "lost").glob("*.root"):
        file.rename(tmp_path / "heed-data" / file.name)
    restored = run_command("restore", "--from", json.loads(saved.stdout)["file"], cwd=tmp_path)
    assert restored.returncode == 0, restored.stderr

    with WebServed(tmp_path, variables=VARIABLES) as server:
        assert press_at(server.edges["public"], path).code == 200
        with server.client() as client:
            (record,) = client.get_preferences(email=ADA).records
    assert record.origin is not None
    assert record.origin.source == "link"


def test_killed_between_commit_and_answer_the_retry_finds_it_done(tmp_path: Path) -> None:
    with WebServed(tmp_path, variables=VARIABLES) as server:
        path = make_link(server)
    dying = subprocess.Popen(
        [sys.executable, "-m", "tests.adversity.killed_press"],
        cwd=tmp_path,
        env={
            **environment(VARIABLES),
            "HEED_LISTEN_ADDRESS": "127.0.0.1:0",
            "HEED_TELEMETRY_METRICS_ADDRESS": "",
            "HEED_TELEMETRY_LOG_FORMAT": "json",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    assert dying.stderr is not None
    lines = (json.loads(line) for line in dying.stderr if line.startswith("{"))
    web = next(line["address"] for line in lines if line["event"] == "edge_served")

    with pytest.raises((http.client.HTTPException, ConnectionError)):
        press_at(web, path)

    assert dying.wait(WAIT_SECONDS_MAX) == -signal.SIGKILL
    dying.stderr.close()
    with WebServed(tmp_path, variables=VARIABLES) as server:
        answer = press_at(server.edges["public"], path)

        assert answer.code == 200
        assert not is_allowed(server)
        assert head_of(server) == 1


def test_reads_over_sockets_change_nothing(tmp_path: Path) -> None:
    with WebServed(tmp_path, variables=VARIABLES) as server:
        path = make_link(server)
        codes = {
            ask_at(server.edges["public"], method, path).code
            for method in ("GET", "HEAD", "OPTIONS") * (READS // 3)
        }

        assert codes == {200, 204}
        assert head_of(server) == 0


def test_it_speaks_tls_by_the_certificate_of_the_files_as_they_are(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with WebServed(
        tmp_path, *authority.flags(), "--auth-required=false", variables=VARIABLES
    ) as server:
        trust = ssl.create_default_context(cafile=authority.file)
        first = ask_at(server.edges["public"], "GET", "/u/v1.0", tls=trust)
        other = tmp_path / "other"
        other.mkdir()
        renewed = Authority(other)
        for new, old in zip(renewed.issue(), authority.issue(), strict=True):
            new.replace(old)
        trust_renewed = ssl.create_default_context(cafile=renewed.file)
        second = ask_at(server.edges["public"], "GET", "/u/v1.0", tls=trust_renewed)
        with pytest.raises(ssl.SSLError):
            ask_at(server.edges["public"], "GET", "/u/v1.0", tls=trust)

    assert (first.code, second.code) == (404, 404)


def test_beyond_loopback_it_does_not_start_without_tls_here_or_at_a_proxy(tmp_path: Path) -> None:
    refused = run_command("serve", "--web-address", "0.0.0.0:0", cwd=tmp_path)
    unsafe = run_command("serve", "--web-public-url", "http://news.example.com", cwd=tmp_path)
    at_all = {**VARIABLES, "HEED_WEB_ADDRESS": "0.0.0.0:0"}

    assert refused.returncode == 2
    assert "web.address" in refused.stderr
    assert unsafe.returncode == 2
    assert "https" in unsafe.stderr
    with WebServed(tmp_path, "--web-behind-proxy", variables=at_all) as server:
        port = server.edges["public"].rpartition(":")[2]
        assert ask_at(f"127.0.0.1:{port}", "GET", "/").code == 404


@pytest.mark.postgres
def test_while_the_database_is_away_a_press_is_503_and_its_retry_is_recorded(
    tmp_path: Path,
) -> None:
    with Postgres() as postgres:
        away = {
            **VARIABLES,
            "HEED_STORAGE_URL": postgres.create_database("heed_web_away"),
            "HEED_STORAGE_MIGRATE": "true",
        }
        with WebServed(tmp_path, variables=away) as server:
            path = make_link(server)
            postgres.kill()
            lost = press_at(server.edges["public"], path)
            page = ask_at(server.edges["public"], "GET", path)
            postgres.start()
            answer = _press_until_recorded(server, path)
            left = head_of(server)

    assert lost.code == 503
    assert int(lost.headers["retry-after"]) >= 1
    assert page.code == 200
    assert answer.code == 200
    assert left == 1


def _press_until_recorded(server: WebServed, path: str) -> Answered:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while (answer := press_at(server.edges["public"], path)).code == 503:
        assert time.monotonic() < deadline
    return answer


def test_connections_beyond_the_bound_are_closed_and_those_within_are_answered(
    tmp_path: Path,
) -> None:
    few = {**VARIABLES, "HEED_WEB_CONNECTIONS_MAX": "8"}
    with WebServed(tmp_path, variables=few) as server:
        path = make_link(server)
        host, _, port = server.edges["public"].rpartition(":")
        held = [socket.create_connection((host, int(port)), timeout=10) for _ in range(8)]
        held[0].sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert held[0].recv(12) == b"HTTP/1.1 404"  # all eight were taken

        closed = [_is_closed(host, int(port)) for _ in range(20)]
        _press_through(held[1], path)
        for one in held:
            one.close()

        assert all(closed)
        assert not is_allowed(server)
        assert server.metrics()['heed_web_connections_refused_total{edge="public"}'] == 20


def _is_closed(host: str, port: int) -> bool:
    with socket.create_connection((host, port), timeout=10) as one:
        try:
            return one.recv(1) == b""
        except ConnectionResetError:
            return True


def _press_through(connection: socket.socket, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {URLENCODED}\r\n"
    connection.sendall(f"{head}Content-Length: {len(PRESS)}\r\n\r\n".encode() + PRESS)
    assert connection.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /u/v1.0 HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nList",
    ],
)
def test_a_request_that_does_not_arrive_is_cut_off(tmp_path: Path, sent: bytes) -> None:
    hasty = {**VARIABLES, "HEED_WEB_REQUEST_SECONDS_MAX": "0.5"}
    with WebServed(tmp_path, variables=hasty) as server:
        path = make_link(server)
        head = f"POST {path} HTTP/1.1".encode()
        host, _, port = server.edges["public"].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as slow:
            slow.sendall(sent.replace(b"POST /u/v1.0 HTTP/1.1", head))
            try:
                left = slow.recv(1)
            except ConnectionResetError:
                left = b""

        assert left == b""
        assert head_of(server) == 0


def test_a_head_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with WebServed(tmp_path, variables=VARIABLES) as server:
        host, _, port = server.edges["public"].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as large:
            large.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Large: " + b"x" * HEAD_BYTES_MAX)
            assert large.recv(12) == b"HTTP/1.1 400"


def test_drained_it_answers_what_was_asked_and_loses_no_press(tmp_path: Path) -> None:
    with WebServed(tmp_path, variables=VARIABLES) as server:
        with server.client() as client:
            links = client.make_links(
                [heed.LinkTarget(subject=heed.user(f"u-{at}"), topic="news") for at in range(1_000)]
            )
        pressed: list[str] = []
        enough = threading.Event()

        def press_all() -> None:
            for at, link in enumerate(links):
                try:
                    if press_at(server.edges["public"], path_of(link.url)).code != 200:
                        return
                except (OSError, http.client.HTTPException):
                    return
                pressed.append(f"u-{at}")
                if len(pressed) >= 20:
                    enough.set()

        presser = threading.Thread(target=press_all)
        presser.start()
        assert enough.wait(WAIT_SECONDS_MAX)
        code = server.stop()
        presser.join(WAIT_SECONDS_MAX)

    assert code == 0
    with Served(tmp_path) as after, after.client() as client:
        answers = [client.check(user=one, channel="push", topic="news") for one in pressed]
    assert not any(answer.allowed for answer in answers)


def test_of_a_server_with_workers_the_owner_serves_links(tmp_path: Path) -> None:
    with WebServed(tmp_path, "--workers", "2", variables=VARIABLES) as server:
        path = make_link(server)

        assert press_at(server.edges["public"], path).code == 200
        assert not is_allowed(server)


def test_heed_links_prints_a_link_with_its_headers(tmp_path: Path) -> None:
    with WebServed(tmp_path, variables=VARIABLES) as server:
        flags = ("--address", server.address, "--email", ADA, "--topic", "news")
        told = CliRunner().invoke(app, ["links", *flags])
        as_json = CliRunner().invoke(app, ["links", *flags, "--json"])

        (link,) = json.loads(as_json.stdout)
        assert press_at(server.edges["public"], path_of(link["url"])).code == 200
        assert not is_allowed(server)
    assert told.stdout.splitlines() == [
        link["url"],
        f"  List-Unsubscribe: <{link['url']}>",
        "  List-Unsubscribe-Post: List-Unsubscribe=One-Click",
    ]


def test_a_choice_that_the_person_made_elsewhere_since_is_stopped_by_the_old_link(
    tmp_path: Path,
) -> None:
    """Over gRPC the person opts out of everything; the link's own stop is recorded beside it."""
    with WebServed(tmp_path, variables=VARIABLES) as server:
        path = make_link(server)
        with server.client() as client:
            client.set_preference(email=ADA, choices=[OptOut()], origin=Origin(source="tests"))

        assert press_at(server.edges["public"], path).code == 200
        assert head_of(server) == 2
