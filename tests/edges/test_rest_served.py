"""REST of a real server, over sockets: asked, killed, restarted, behind TLS, of workers."""

import http.client
import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.identities import grant_said, write_grants
from tests.support.postgres import Postgres
from tests.support.rest import ADA, Told, a_check, told
from tests.support.served import WAIT_SECONDS_MAX, Authority, environment, run_command
from tests.support.web import WebServed, ask_at

VARIABLES = {"HEED_REST_ADDRESS": "127.0.0.1:0"}
ORIGIN = {"source": "crm", "method": "web_form"}
OPT_OUT: Mapping[str, object] = {"subjects": [{"email": ADA}], "origin": ORIGIN}

pytestmark = pytest.mark.slow  # each starts processes


def post(
    address: str,
    path: str,
    body: Mapping[str, object],
    *,
    tls: ssl.SSLContext | None = None,
    **headers: str,
) -> Told:
    """Post JSON over a connection of its own."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return told(
        ask_at(
            address,
            "POST",
            path,
            json.dumps(body).encode(),
            content_type="application/json",
            tls=tls,
            headers=named,
        )
    )


def test_a_choice_over_http_stops_messages_asked_about_over_grpc(tmp_path: Path) -> None:
    with WebServed(tmp_path, variables=VARIABLES) as server:
        made = run_command("keys", "create", "crm", "--right", "write", "--json", cwd=tmp_path)
        key = f"Bearer {json.loads(made.stdout)['key']}"
        checker = run_command("keys", "create", "mta", "--right", "check", "--json", cwd=tmp_path)
        address = server.edges["rest"]

        nobody = post(address, "/v1/opt-outs", OPT_OUT, idempotency_key="k-1")
        answer = post(address, "/v1/opt-outs", OPT_OUT, idempotency_key="k-1", authorization=key)
        with server.client(api_key=json.loads(checker.stdout)["key"]) as client:
            check = client.check(email=ADA, channel="email", topic="news")
        measures = server.metrics()

    assert (nobody.code, answer.code) == (401, 201)
    assert not check.allowed
    assert measures['heed_web_requests_total{code="201",edge="rest",method="POST"}'] == 1
    assert measures['heed_calls_total{code="OK",method="SetPreference"}'] == 1
    assert ADA not in server.log
    assert key.removeprefix("Bearer ") not in server.log


def test_killed_between_commit_and_answer_the_same_key_finds_it_done(tmp_path: Path) -> None:
    with WebServed(tmp_path, variables=VARIABLES):
        pass  # there is a database, and its tenant
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
    address = next(line["address"] for line in lines if line["event"] == "edge_served")

    with pytest.raises((http.client.HTTPException, ConnectionError)):
        post(address, "/v1/opt-outs", OPT_OUT, idempotency_key="k-1")

    assert dying.wait(WAIT_SECONDS_MAX) == -signal.SIGKILL
    dying.stderr.close()
    with WebServed(tmp_path, variables=VARIABLES) as server:
        again = post(server.edges["rest"], "/v1/opt-outs", OPT_OUT, idempotency_key="k-1")
        check = post(server.edges["rest"], "/v1/checks", a_check())

    assert again.code == 200
    assert again.body["replayed"]
    assert again.body["position"]["revision"] == 1
    assert check.body["verdict"] == "suppressed"


def test_of_a_server_with_workers_the_owner_serves_it_and_notes_what_it_decided(
    tmp_path: Path,
) -> None:
    file = tmp_path / "decisions.jsonl"
    flags = ("--workers", "2", f"--decision-log-file={file}")
    with WebServed(tmp_path, *flags, variables=VARIABLES) as server:
        address = server.edges["rest"]
        written = post(address, "/v1/opt-outs", OPT_OUT, idempotency_key="k-1")
        with server.client() as client:
            by_worker = client.check(
                email=ADA, channel="email", topic="news", token=written.body["position"]["token"]
            )
        by_owner = post(address, "/v1/checks", a_check(reference="message-1"))
    noted = [json.loads(line) for line in file.read_text().splitlines()]

    assert not by_worker.allowed
    assert by_owner.body["verdict"] == "suppressed"
    assert [line.get("reference") for line in noted] == ["message-1"]


def test_a_certificate_speaks_for_its_connection_and_without_one_there_is_none(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    name = x509.UniformResourceIdentifier("spiffe://example.org/mta")
    certificate, private_key = authority.issue_to_client("mta", name)
    grant = grant_said(name="mta", rights=["check"], spiffe_id="spiffe://example.org/mta")
    grants = write_grants(tmp_path, grant)
    flags = (
        *authority.flags(),
        f"--tls-client-ca-file={authority.file}",
        f"--auth-grants-file={grants}",
    )
    for workers in ("1", "2"):
        with WebServed(tmp_path, *flags, "--workers", workers, variables=VARIABLES) as server:
            address = server.edges["rest"]
            anonymous = ssl.create_default_context(cafile=authority.file)
            known = ssl.create_default_context(cafile=authority.file)
            known.load_cert_chain(certificate, private_key)

            check = post(address, "/v1/checks", a_check(), tls=known)
            choice = post(address, "/v1/opt-outs", OPT_OUT, tls=known, idempotency_key="k-1")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                post(address, "/v1/checks", a_check(), tls=anonymous)

        assert (check.code, choice.code, choice.reason) == (200, 403, "RIGHT_REQUIRED")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--rest-address=0.0.0.0:0",), "tls.certificate_file"),
        (
            ("--rest-address=0.0.0.0:0", "--rest-behind-proxy", "--auth-required=false"),
            "auth.required",
        ),
        (("--rest-address=unix:/tmp/x",), "rest.address"),
    ],
)
def test_beyond_loopback_it_does_not_start_without_tls_and_credentials(
    tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    refused = run_command("serve", "--listen=127.0.0.1:0", *flags, cwd=tmp_path)

    assert refused.returncode == 2
    assert said in refused.stderr


def test_behind_a_proxy_beyond_loopback_it_asks_everybody_who_they_are(tmp_path: Path) -> None:
    open_to_all = {"HEED_REST_ADDRESS": "0.0.0.0:0"}
    with WebServed(tmp_path, "--rest-behind-proxy", variables=open_to_all) as server:
        port = server.edges["rest"].rpartition(":")[2]

        assert post(f"127.0.0.1:{port}", "/v1/checks", a_check()).code == 401


@pytest.mark.postgres
def test_while_the_database_is_away_a_write_is_503_and_its_retry_is_recorded_once(
    tmp_path: Path,
) -> None:
    with Postgres() as postgres:
        away = {
            **VARIABLES,
            "HEED_STORAGE_URL": postgres.create_database("heed_rest_away"),
            "HEED_STORAGE_MIGRATE": "true",
        }
        with WebServed(tmp_path, variables=away) as server:
            address = server.edges["rest"]
            postgres.kill()
            lost = post(address, "/v1/opt-outs", OPT_OUT, idempotency_key="k-1")
            postgres.start()
            answer = _until_committed(address)
            stands = post(address, "/v1/preferences/lookup", {"subjects": [{"email": ADA}]})

    assert lost.code == 503
    assert int(lost.headers["retry-after"]) >= 1
    assert answer.code in {200, 201}
    assert len(stands.body["records"]) == 1


def _until_committed(address: str) -> Told:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        answer = post(address, "/v1/opt-outs", OPT_OUT, idempotency_key="k-1")
        if answer.code != 503:
            return answer
        assert time.monotonic() < deadline


def test_a_stream_of_changes_ends_when_the_server_is_told_to(tmp_path: Path) -> None:
    hasty = {**VARIABLES, "HEED_DRAIN_GRACE_SECONDS": "2"}
    with WebServed(tmp_path, variables=hasty) as server:
        connection = http.client.HTTPConnection(server.edges["rest"], timeout=20)
        connection.request("GET", "/v1/changes?subscriber=mailer-1")
        answer = connection.getresponse()
        first = answer.readline()
        began = time.monotonic()
        code = server.stop()
        told_last = answer.read()
        connection.close()

    assert first == b"event: opened\n"
    assert b"event: draining" in told_last
    assert code == 0
    assert time.monotonic() - began < 15
