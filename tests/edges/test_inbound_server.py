"""The inbound edge of a real server, over sockets: reported to, killed, refused a start."""

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.inbound import basic, source, write_sources
from tests.support.postgres import Postgres
from tests.support.served import WAIT_SECONDS_MAX, environment, run_command
from tests.support.web import Answered, WebServed
from tests.support.worked import migrated_database

ADA: Final = "ada@example.com"
COMPLAINT: Final = json.dumps(
    {"RecordType": "SpamComplaint", "ID": 42, "Email": ADA, "BouncedAt": "2026-11-27T09:00:00Z"}
).encode()

pytestmark = pytest.mark.slow  # each starts processes


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """The variables of a server on each database."""
    if request.param == "sqlite":
        yield {}
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    with migrated_database(postgres, tmp_path) as variables:
        yield variables


def variables(folder: Path) -> dict[str, str]:
    file = write_sources(folder / "inbound", source("postmark"))
    return {"HEED_INBOUND_ADDRESS": "127.0.0.1:0", "HEED_INBOUND_FILE": str(file)}


def report_at(address: str, headers: Mapping[str, str]) -> Answered:
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("POST", "/inbound/postmark", COMPLAINT, dict(headers))
        answer = connection.getresponse()
        return Answered(
            code=answer.status,
            headers={name.lower(): value for name, value in answer.getheaders()},
            body=answer.read(),
        )
    finally:
        connection.close()


def is_allowed(server: WebServed) -> bool:
    with server.client() as client:
        return client.check(email=ADA, channel="email", topic="news").allowed


def test_reported_over_http_it_is_committed_and_a_check_over_grpc_says_suppressed(
    tmp_path: Path, storage: Mapping[str, str]
) -> None:
    with WebServed(tmp_path, variables=variables(tmp_path) | dict(storage)) as server:
        edge = server.edges["inbound"]
        before = is_allowed(server)

        refused = report_at(edge, basic(password="wrong"))
        answers = [report_at(edge, basic()) for _ in range(3)]

        assert before
        assert refused.code == 401
        assert [answer.code for answer in answers] == [200, 200, 200]
        assert not is_allowed(server)
        with server.client() as client:
            assert client.get_preferences(email=ADA).revision == 1
    assert ADA not in server.log
    assert "notification_not_verified" in server.log


def test_killed_between_commit_and_answer_the_retry_finds_it_done(tmp_path: Path) -> None:
    dying = subprocess.Popen(
        [sys.executable, "-m", "tests.adversity.killed_report"],
        cwd=tmp_path,
        env={
            **environment(variables(tmp_path)),
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
    edge = next(line["address"] for line in lines if line["event"] == "edge_served")

    with pytest.raises((http.client.HTTPException, ConnectionError)):
        report_at(edge, basic())

    assert dying.wait(WAIT_SECONDS_MAX) == -signal.SIGKILL
    dying.stderr.close()
    with WebServed(tmp_path, variables=variables(tmp_path)) as server:
        assert report_at(server.edges["inbound"], basic()).code == 200
        assert not is_allowed(server)
        with server.client() as client:
            assert client.get_preferences(email=ADA).revision == 1
        measures = server.metrics()
    assert measures['heed_inbound_notifications_total{outcome="taken",source="postmark"}'] == 1
    assert measures["heed_inbound_sources_in_force"] == 1


def test_it_does_not_start_open_to_others_without_tls_or_without_sources(tmp_path: Path) -> None:
    any_port = {"HEED_TELEMETRY_METRICS_ADDRESS": "127.0.0.1:0"}
    open_to_others = {**any_port, **variables(tmp_path), "HEED_INBOUND_ADDRESS": "0.0.0.0:0"}
    without_file = {**any_port, "HEED_INBOUND_ADDRESS": "127.0.0.1:0"}
    (tmp_path / "wrong.toml").write_text(source("postmark", user=None))
    wrong_file = {**without_file, "HEED_INBOUND_FILE": str(tmp_path / "wrong.toml")}

    for given, said in (
        (open_to_others, "inbound.address"),
        (without_file, "inbound.file"),
        (wrong_file, "user"),
    ):
        refused = run_command("serve", "--listen", "127.0.0.1:0", cwd=tmp_path, variables=given)

        assert refused.returncode == 2, refused.stderr
        assert said in refused.stderr


def test_doctor_looks_at_who_may_report(tmp_path: Path) -> None:
    told = variables(tmp_path)
    password = tmp_path / "inbound" / "password"
    flags = ("doctor", "--listen=127.0.0.1:0")

    readable = run_command(*flags, cwd=tmp_path, variables=told)
    password.chmod(0o600)
    well = run_command(*flags, cwd=tmp_path, variables=told)
    password.unlink()
    away = run_command(*flags, cwd=tmp_path, variables=told)

    assert "BAD inbound: others may read" in readable.stdout
    assert "ok  inbound: reports are taken of postmark" in well.stdout
    assert "BAD inbound: " in away.stdout
