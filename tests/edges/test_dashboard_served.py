"""The dashboard of a real server, over sockets: what it tells of a cache, and how it stops."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

import heed
from tests.support.caches import wait_until
from tests.support.dashboard import Operator
from tests.support.served import Authority, run_command
from tests.support.web import WebServed

VARIABLES = {"HEED_DASHBOARD_ADDRESS": "127.0.0.1:0"}
GRACE_SECONDS = 3.0
LEFT_OPEN = {
    "nothing": b"",
    "half a head": b"GET /propagation HTTP/1.1\r\nHost: x",
    "half a form": b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
    b"Content-Length: 9\r\n\r\nope",
}
"""What a browser has sent when the server is told to stop."""

pytestmark = pytest.mark.slow  # each starts a process


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServed]:
    variables = {**VARIABLES, "HEED_DRAIN_GRACE_SECONDS": str(GRACE_SECONDS)}
    with WebServed(tmp_path, variables=variables) as running:
        yield running


def test_an_opt_out_is_told_as_applied_by_the_node_and_by_a_cache(
    server: WebServed, tmp_path: Path
) -> None:
    operator = Operator(server.edges["dashboard"])
    with heed.SyncClient(server.address, cache=tmp_path / "cache", timeout=10) as client:
        client.wait_live()
        wait_until(lambda: states(operator) == ["applied all"] * 2)

        written = client.set_preference(
            user="ada",
            choices=[heed.OptOut()],
            origin=heed.Origin(source="tests", jurisdiction="DE"),
            wait_propagated=20,
        )
        has_applied = client.cache.has(written.revision)
        (row,) = operator.tables("propagation")["opt-outs"]["rows"]

    assert written.propagated
    assert has_applied
    assert (row["revision"], row["state"]) == (written.revision, "applied by all")
    assert (row["applied"], row["counting"], row["waiting_for"]) == (2, 2, None)
    assert 0 <= row["after_seconds"] < 20


def states(operator: Operator) -> list[str]:
    """What each subscriber is said to be."""
    return [row["status"] for row in operator.tables("propagation")["subscribers"]["rows"]]


def test_behind_tls_the_session_is_for_this_server_alone_until_its_key_is_revoked(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    trusted = ssl.create_default_context(cafile=str(authority.file))
    made = run_command("keys", "create", "jane", "--right", "operate", "--json", cwd=tmp_path)
    key = json.loads(made.stdout)
    with WebServed(tmp_path, *authority.flags(), variables=VARIABLES) as server:
        operator = Operator(server.edges["dashboard"], key["key"], tls=trusted)
        page = operator.ask("GET", "/propagation")
        run_command("keys", "revoke", key["key_id"], cwd=tmp_path)
        wait_until(lambda: operator.ask("GET", "/propagation.part").code == 401)
        led = operator.ask("GET", "/propagation")

    assert page.code == 200
    assert operator.cookie.startswith("__Host-heed=")
    assert operator.cookie_attributes == {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"}
    assert (led.code, led.headers["location"]) == (303, "/sign-in")
    assert key["key"] not in server.log
    assert operator.cookie.partition("=")[2] not in server.log


def test_a_server_that_stops_waits_for_no_open_page(server: WebServed) -> None:
    """A live page asks each second over a connection that its browser keeps."""
    operator = Operator(server.edges["dashboard"])
    page = http.client.HTTPConnection(server.edges["dashboard"], timeout=20)
    page.request("GET", "/propagation.part", headers={"Cookie": operator.cookie})
    answer = page.getresponse()
    answer.read()
    assert (answer.status, answer.will_close) == (200, False)

    began = monotonic()
    code = server.stop()
    took_seconds = monotonic() - began

    assert code == 0
    assert took_seconds < GRACE_SECONDS
    assert page.sock.recv(1) == b""
    page.close()


@pytest.mark.parametrize("sent", LEFT_OPEN.values(), ids=LEFT_OPEN)
def test_a_server_that_stops_ends_in_order_whatever_a_browser_left_open(
    server: WebServed, sent: bytes
) -> None:
    host, _, port = server.edges["dashboard"].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as opened:
        opened.sendall(sent)
        connected = 'heed_web_connections{edge="dashboard"}'
        wait_until(lambda: server.metrics()[connected] == 1)

        began = monotonic()
        code = server.stop()
        took_seconds = monotonic() - began
        told = opened.recv(4_096)

    assert code == 0
    assert took_seconds < GRACE_SECONDS + 2
    assert told.startswith(b"HTTP/1.1 503 ") == (sent == LEFT_OPEN["half a form"])
    assert "Traceback" not in server.log
