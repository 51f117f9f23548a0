"""The dashboard of a real server, over a socket: with workers, behind TLS, and in its logs."""

import json
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import heed
from tests.support.served import Authority, Served, run_command
from tests.support.web import WebServed
from tests.support.worked import Worked

LOOKS_MAX = 2_000
"""Looks until something is seen; a server answers some hundred a second."""

pytestmark = pytest.mark.slow  # each starts processes


@contextmanager
def looking(
    address: str, *, key: str = "", tls: ssl.SSLContext | None = None
) -> Generator[httpx.Client]:
    """A browser that is signed in; without a key, at a server that asks its host for none."""
    origin = f"http://{address}" if tls is None else f"https://{address}"
    with httpx.Client(
        base_url=origin, headers={"origin": origin}, verify=tls or True, trust_env=False
    ) as browser:
        form = {"credential": key} if key else {"open": "yes"}
        entered = browser.post("/sign-in", data=form)
        assert entered.status_code == 303, entered.text
        yield browser


def address_of(server: Served) -> str:
    """Where the dashboard was said to be."""
    lines = (json.loads(line) for line in server.lines if '"edge_served"' in line)
    return next(str(line["address"]) for line in lines if line["edge"] == "dashboard")


def test_what_every_worker_answered_is_counted(tmp_path: Path) -> None:
    variables = {"HEED_DASHBOARD_ADDRESS": "127.0.0.1:0"}
    with Worked(tmp_path, variables=variables) as server, server.clients() as clients:
        for client in clients:
            for number in range(5):
                client.check(user=f"u-{number}", channel="in_app")
        asked = 5 * len(clients)

        with looking(address_of(server)) as browser:
            counts = (checks_of(browser) for _ in range(LOOKS_MAX))

            assert any(count == asked for count in counts)


def checks_of(browser: httpx.Client) -> int:
    """How many the page says were answered since the start."""
    (figures,) = browser.get("/now.json").json()["tables"]["now"]["rows"]
    return int(figures["checks"])


def test_behind_tls_the_session_is_for_this_host_alone(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    made = run_command("keys", "create", "jane", "--right", "operate", "--json", cwd=tmp_path)
    key = json.loads(made.stdout)["key"]
    variables = {"HEED_DASHBOARD_ADDRESS": "127.0.0.1:0"}
    trusted = ssl.create_default_context(cafile=str(authority.file))
    with WebServed(tmp_path, *authority.flags(), variables=variables) as server:
        with looking(server.edges["dashboard"], key=key, tls=trusted) as browser:
            (cookie,) = browser.cookies.jar
            page = browser.get("/propagation")
        revoked = run_command("keys", "list", "--json", cwd=tmp_path)

    assert revoked.returncode == 0, revoked.stderr
    assert (cookie.name, cookie.secure, cookie.path) == ("__Host-heed", True, "/")
    assert page.status_code == 200
    assert key not in server.log
    assert str(cookie.value) not in server.log


def test_a_server_that_stops_waits_for_no_open_page(tmp_path: Path) -> None:
    variables = {"HEED_DASHBOARD_ADDRESS": "127.0.0.1:0"}
    with (
        WebServed(tmp_path, variables=variables) as server,
        looking(server.edges["dashboard"]) as browser,
    ):
        assert browser.get("/propagation.part").status_code == 200

        assert server.stop() == 0


def test_an_opt_out_is_told_as_applied_by_the_node_and_by_a_cache(tmp_path: Path) -> None:
    variables = {"HEED_DASHBOARD_ADDRESS": "127.0.0.1:0"}
    folder = tmp_path / "cache"
    with (
        WebServed(tmp_path, variables=variables) as server,
        server.client(cache=folder) as client,
        looking(server.edges["dashboard"]) as browser,
    ):
        written = client.set_preference(
            user="ada",
            choices=[heed.OptOut()],
            origin=heed.Origin(source="tests", jurisdiction="DE"),
            wait_propagated=20,
        )
        told = browser.get("/propagation.json").json()["tables"]

    assert written.propagated
    (row,) = told["opt-outs"]["rows"]
    assert (row["revision"], row["state"]) == (written.revision, "applied by all")
    assert row["applied"] == row["counting"] == len(told["subscribers"]["rows"]) == 2
    assert 0 <= row["after_seconds"] < 20
