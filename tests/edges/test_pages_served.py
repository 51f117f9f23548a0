"""The preference page of a real server, over sockets, on both databases; and one that is killed."""

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

import heed
from heed.audit.notes import read_verifier_key
from heed.audit.receipts import open_receipt, read_receipt
from heed.audit.signing import verify
from tests.support.postgres import Postgres
from tests.support.served import WAIT_SECONDS_MAX, environment
from tests.support.web import Answered, WebServed, ask_at, path_of

ADA = "ada@example.com"
VARIABLES = {
    "HEED_WEB_ADDRESS": "127.0.0.1:0",
    "HEED_WEB_PUBLIC_URL": "https://news.example.com",
}

pytestmark = pytest.mark.slow  # each starts processes


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def variables(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    if request.param == "sqlite":
        yield VARIABLES
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    with postgres.database("pages") as url:
        yield {**VARIABLES, "HEED_STORAGE_URL": url, "HEED_STORAGE_MIGRATE": "true"}


def make_page(server: WebServed) -> str:
    with server.client() as client:
        client.declare_topic("news", topic_class="promotional", origin=heed.Origin(source="tests"))
        return path_of(client.make_page_link(email=ADA, phone="+436601234567").url)


def send(address: str, path: str, **fields: str) -> Answered:
    """Send a form."""
    return ask_at(address, "POST", path, urlencode(fields).encode())


def is_allowed(server: WebServed) -> bool:
    with server.client() as client:
        return client.check(email=ADA, channel="email", topic="news").allowed


def test_a_person_stops_starts_again_and_takes_the_receipt_away(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with WebServed(tmp_path, variables=variables) as server:
        path, edge = make_page(server), server.edges["public"]
        stopped = send(edge, path, act="stop", scope="email/news")
        after_stop = is_allowed(server)
        shown = ask_at(edge, "GET", f"{path}?start=email/news").body.decode()
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', shown))
        started = send(edge, path, **fields)
        after_start = is_allowed(server)
        revision = re.search(rb"\?receipt=(\d+)", started.body)
        assert revision is not None
        receipt = ask_at(edge, "GET", f"{path}?receipt={int(revision[1])}")
        with server.client() as client:
            key = client.get_checkpoint().verifier_key
            records = client.get_preferences(email=ADA).records
        measures = server.metrics()

    proved = open_receipt(read_receipt(receipt.body.decode()), [read_verifier_key(key)], verify)
    assert (stopped.code, started.code, receipt.code) == (200, 200, 200)
    assert (after_stop, after_start) == (False, True)
    assert proved.entry.revision == int(revision[1])
    assert {one.origin.source for one in records if one.origin is not None} == {"page"}
    assert measures['heed_web_choices_total{outcome="written"}'] == 2
    assert ADA not in server.log
    assert path not in server.log


def test_killed_between_commit_and_answer_the_form_that_is_sent_again_finds_it_done(
    tmp_path: Path,
) -> None:
    with WebServed(tmp_path, variables=VARIABLES) as server:
        path = make_page(server)
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
        send(web, path, act="stop", scope="email/news")

    assert dying.wait(WAIT_SECONDS_MAX) == -signal.SIGKILL
    dying.stderr.close()
    with WebServed(tmp_path, variables=VARIABLES) as server:
        answer = send(server.edges["public"], path, act="stop", scope="email/news")
        with server.client() as client:
            revision = client.get_preferences(email=ADA).revision

        assert answer.code == 200
        assert b"Unsubscribed" in answer.body
        assert not is_allowed(server)
        assert revision == 3  # the topic, and a choice of two subjects
