"""What operators see of a server: metrics, logs, health, its settings, and what doctor says."""

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heed import ConflictError, HeedError, OptOut, Origin, Query, Suppression, email
from heed_server.cli.main import app
from tests.support.forked import COMMAND
from tests.support.served import Authority, Served, run_command

ORIGIN = Origin(source="tests")
CANARY = "canary.person@canary.example"
CANARY_PHONE = "+436601234567"
OF_OTHER_SERVERS = {
    "heed_worker_restarts_total",  # workers have it
    *("heed_grants", "heed_grants_age_seconds", "heed_jwks_age_seconds"),  # with a grants file
    *("heed_web_requests_total", "heed_web_presses_total", "heed_web_press_seconds"),  # web.address
    *("heed_web_connections", "heed_web_connections_refused_total", "heed_web_choices_total"),
    # With inbound.address.
    *("heed_inbound_notifications_total", "heed_inbound_events_total", "heed_inbound_seconds"),
    *("heed_inbound_not_verified_total", "heed_inbound_sources_in_force"),
}
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"

pytestmark = pytest.mark.slow  # each starts processes


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    flags = ("--telemetry-check-metrics", "--telemetry-log-calls", "--telemetry-log-level=debug")
    with Served(tmp_path_factory.mktemp("watched"), *flags) as server:
        yield server


def _metrics(server: Served) -> dict[str, float]:
    url = f"http://127.0.0.1:{server.serving['metrics_port']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    }


def test_metrics_count_what_happened(server: Served) -> None:
    with server.client() as client:
        before = _metrics(server)
        client.set_preference(user="u-1", choices=[OptOut()], origin=ORIGIN, idempotency_key="k")
        with pytest.raises(ConflictError):
            client.set_preference(
                user="u-2", choices=[OptOut()], origin=ORIGIN, idempotency_key="k"
            )
        client.check(user="u-1", channel="in_app", topic="nobody.declared.this")
        after = _metrics(server)

    def rose_by(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    assert rose_by('heed_calls_total{code="OK",method="SetPreference"}') == 1
    assert rose_by('heed_calls_total{code="OK",method="CheckSuppression"}') == 1
    assert rose_by('heed_calls_refused_total{reason="IDEMPOTENCY_KEY_REUSED"}') == 1
    assert rose_by('heed_checks_total{rule="opt_out",tenant="default"}') == 1
    assert rose_by('heed_undeclared_topics_total{tenant="default"}') == 1
    assert rose_by('heed_index_revision{tenant="default"}') == 1
    assert rose_by("heed_commits_total") == rose_by("heed_changes_total") == 1
    assert after['heed_source_age_seconds{tenant="default"}'] < 5
    assert after['heed_index_usable{tenant="default"}'] == 1


def test_every_metric_is_explained(server: Served) -> None:
    with server.client() as client:
        client.check(user="u-1", channel="in_app")
    url = f"http://127.0.0.1:{server.serving['metrics_port']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        names = set(re.findall(r"^# TYPE (heed_\w+) ", answer.read().decode(), re.MULTILINE))

    explained = set(re.findall(r"^\| `(heed_\w+)", OPERATIONS.read_text(), re.MULTILINE))

    # The text format leaves `_created` series out; what is left must be the same both ways.
    shown = {name for name in names if not name.endswith("_created")}
    assert shown | OF_OTHER_SERVERS == explained


def test_checks_are_not_counted_unless_asked_for(tmp_path: Path) -> None:
    with Served(tmp_path) as server, server.client() as client:
        client.check(user="u-1", channel="in_app")
        client.explain(user="u-1", channel="in_app")
        found = _metrics(server)

    assert 'heed_calls_total{code="OK",method="Explain"}' in found
    assert not any("CheckSuppression" in name for name in found)


def test_metrics_hold_no_address(server: Served) -> None:
    with server.client() as client:
        client.set_preference(email=CANARY, choices=[OptOut()], origin=ORIGIN)
        client.check(email=CANARY, channel="email", topic="canary")
    url = f"http://127.0.0.1:{server.serving['metrics_port']}/metrics"

    with urllib.request.urlopen(url, timeout=10) as answer:
        assert "canary" not in answer.read().decode()


def test_no_address_gets_into_the_log_whatever_is_asked(server: Served) -> None:
    """Log level debug, every call logged, and the canary in every place that takes text."""
    spoiled = Origin(source=CANARY, actor=CANARY, reference=CANARY)
    with server.client() as client:
        client.set_preference(email=CANARY, phone=CANARY_PHONE, choices=[OptOut()], origin=ORIGIN)
        client.set_preference(email=CANARY, choices=[OptOut()], origin=spoiled)
        client.add_suppressions(
            [Suppression(subject=email(CANARY), cause="bounce", reason=CANARY)], origin=ORIGIN
        )
        client.check(email=CANARY, channel="email", campaign=CANARY)
        client.check_many([Query(email=CANARY, channel="email")])
        client.get_preferences(email=CANARY)
        client.explain(email=CANARY, channel="email")
        for refused in (
            lambda: client.check(email=CANARY + "@" + CANARY, channel="email"),
            lambda: client.check(email=CANARY, channel="email", topic=CANARY),
            lambda: client.check(email=CANARY, channel="email", token=CANARY),
            lambda: client.check(email=CANARY, channel="email", tenant=CANARY),
            lambda: client.lift_hold(CANARY, reason=CANARY, origin=spoiled),
            lambda: client.create_tenant(CANARY),
        ):
            with pytest.raises(HeedError):
                refused()

    assert server.log.count('"event": "call"') > 10
    assert "canary" not in server.log
    assert CANARY_PHONE not in server.log
    assert "6601234567" not in server.log


def test_settings_are_logged_once_at_the_start(tmp_path: Path) -> None:
    with Served(tmp_path) as server:
        logged = [json.loads(line) for line in server.lines if '"event": "settings"' in line]

    assert len(logged) == 1
    assert logged[0]["settings"]["drain.announce_seconds"] == 0.2


def test_print_config_prints_every_setting_and_its_origin_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "heed.toml").write_text("[drain]\ngrace_seconds = 3\n")
    variables = {"HEED_STORAGE_URL": "postgresql://heed:hunter2@db.example/heed"}
    arguments = ("serve", "--print-config", "--listen", "127.0.0.1:1")

    done = run_command(*arguments, cwd=tmp_path, variables=variables)
    as_json = run_command(*arguments, "--json", cwd=tmp_path, variables=variables)

    assert done.returncode == 0
    assert "grace_seconds = 3.0  # heed.toml" in done.stdout
    assert 'address = ["127.0.0.1:1"]  # --listen-address' in done.stdout
    assert 'url = "postgresql://heed:***@db.example/heed"  # HEED_STORAGE_URL' in done.stdout
    assert json.loads(as_json.stdout)["drain.grace_seconds"] == 3
    assert "hunter2" not in done.stdout + done.stderr + as_json.stdout
    assert not (tmp_path / "heed-data").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--drain-grace-second", "1"), "did you mean --drain-grace-seconds?"),
        (("--lisen", "127.0.0.1:1"), "did you mean --listen?"),
        (("--drain-grace-seconds",), "needs a value"),
        (("--drain-grace-seconds", "soon"), "--drain-grace-seconds"),
        (("--listen", "127.0.0.1:1", "--listen-address=127.0.0.1:2"), "is given twice"),
        (("serve",), "is no flag of this command"),
    ],
)
def test_a_wrong_flag_is_refused_with_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)

    done = CliRunner().invoke(app, ["serve", "--print-config", *arguments])

    assert done.exit_code == 2
    assert said in done.output


def test_each_wrong_setting_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "heed.toml").write_text("[drain]\ngrace = 1\n[drian]\nannounce = 1\n")

    done = run_command("serve", cwd=tmp_path)

    assert done.returncode == 2
    assert [done.stderr.count(name) for name in ("drain.grace:", "drian.announce:")] == [1, 1]


def test_doctor_takes_the_flags_that_serve_takes(tmp_path: Path) -> None:
    metrics = ("--telemetry-metrics-address", "")
    listens = ("--listen", "127.0.0.1:0", "--workers", "2")

    done = run_command("doctor", "--json", *metrics, *listens, cwd=tmp_path)

    assert done.returncode == 0


def test_health_answers_for_each_capability(server: Served) -> None:
    for service in ("", "heed.v1.Check", "heed.v1.Write"):
        done = CliRunner().invoke(
            app, ["health", "--address", server.address, "--service", service]
        )

        assert (done.exit_code, done.output.strip()) == (0, "SERVING")


def test_health_of_an_unknown_service_or_an_absent_server_is_no(server: Served) -> None:
    unknown = CliRunner().invoke(
        app, ["health", "--address", server.address, "--service", "nobody", "--json"]
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        absent = CliRunner().invoke(
            app, ["health", "--address", f"127.0.0.1:{free.getsockname()[1]}", "--timeout", "2"]
        )

    assert (unknown.exit_code, json.loads(unknown.output)["status"]) == (1, "UNKNOWN")
    assert absent.exit_code == 3


def test_health_is_asked_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Served(tmp_path, *authority.flags()) as server:
        arguments = ["health", "--address", server.address, "--tls-ca", str(authority.file)]

        done = CliRunner().invoke(app, arguments)

    assert (done.exit_code, done.output.strip()) == (0, "SERVING")


def _doctor(
    folder: Path, *arguments: str, listen: str = "127.0.0.1:0"
) -> tuple[int, dict[str, dict[str, object]]]:
    """What it found; where nothing is said of the port, of one that is free for certain."""
    ports = ("--telemetry-metrics-address", "", "--listen-address", listen)
    done = run_command("doctor", "--json", *ports, *arguments, cwd=folder)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, {finding["what"]: finding for finding in found}


def _epoch_of(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "heed-data" / "heed.db")) as database:
        (epoch,) = database.execute("SELECT epoch FROM store").fetchone()
    return bytes(epoch).hex()


def test_doctor_finds_nothing_wrong_before_while_and_after_a_server_runs(tmp_path: Path) -> None:
    before, _ = _doctor(tmp_path)
    with Served(tmp_path) as server:
        while_, found_while = _doctor(tmp_path, listen=server.address)
        server.stop()
    after, found_after = _doctor(tmp_path)

    assert (before, while_, after) == (0, 0, 0)
    assert "a heed server serves here" in str(found_while["listen"]["found"])
    assert "sealed" in str(found_after["index of default"]["found"])


def test_doctor_names_what_is_wrong_and_changes_nothing(tmp_path: Path) -> None:
    _, key_file = Authority(tmp_path).issue()
    flags = (
        *("--tls-certificate-file", str(tmp_path / "server.pem")),
        *("--tls-private-key-file", str(key_file)),
        "--auth-required=false",
    )
    key_file.chmod(0o644)
    (tmp_path / "heed-data").mkdir(mode=0o755)
    (tmp_path / "heed-data" / "heed.db").write_text("no database")

    code, found = _doctor(tmp_path, *flags, listen="0.0.0.0:0")

    assert code == 1
    assert {what for what, finding in found.items() if not finding["good"]} == {
        "certificate",
        "data folder",
        "database",
        "exposure",
    }
    assert (tmp_path / "heed-data" / "heed.db").read_text() == "no database"


def test_doctor_knows_its_own_server_by_the_certificate_that_it_shows(tmp_path: Path) -> None:
    flags = Authority(tmp_path).flags()
    (tmp_path / "other").mkdir()
    other, other_key = Authority(tmp_path / "other").issue()
    others_flags = (
        f"--tls-certificate-file={other}",
        f"--tls-private-key-file={other_key}",
    )
    with Served(tmp_path, *flags) as server:
        ours, found_ours = _doctor(tmp_path, *flags, listen=server.address)
        others, found_others = _doctor(tmp_path, *others_flags, listen=server.address)

    assert "shows the certificate" in str(found_ours["listen"]["found"])
    assert ours == 0
    assert "does not show" in str(found_others["listen"]["found"])
    assert others == 1


def test_doctor_says_that_history_was_lost_until_another_epoch_is_begun(tmp_path: Path) -> None:
    with Served(tmp_path) as server:
        server.stop()
    epoch = _epoch_of(tmp_path)
    lost = tmp_path / "heed-data" / "index" / "tenant-1.history-lost"

    lost.write_text(f"the database was put back\nepoch {epoch}\n")
    code, found = _doctor(tmp_path)
    run_command("new-epoch", "--reason", "the disk went back", cwd=tmp_path)
    later, _ = _doctor(tmp_path)

    assert code == 1
    assert "heed-server new-epoch" in str(found["index of default"]["found"])
    assert later == 0


def test_doctor_takes_an_older_schema_for_good_only_where_the_start_migrates_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "heed-data").mkdir(mode=0o700)
    sqlite3.connect(tmp_path / "heed-data" / "heed.db").close()

    by_itself, found = _doctor(tmp_path)
    by_hand, _ = _doctor(tmp_path, "--storage-migrate=false")

    assert "or start the server" in str(found["database"]["found"])
    assert (by_itself, by_hand) == (0, 1)


def test_version_says_what_runs(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["version", "--json"])

    found = json.loads(done.output)
    assert {"heed-server", "heed", "grpcio", "python"} <= set(found)
    assert "missing" not in found.values()


def test_migrate_makes_a_database_and_running_it_again_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    first = CliRunner().invoke(app, ["migrate", "--json"])
    second = CliRunner().invoke(app, ["migrate", "--json"])

    assert json.loads(first.output) == {"changed": True}
    assert json.loads(second.output) == {"changed": False}


def test_what_is_not_asked_for_is_not_loaded(tmp_path: Path) -> None:
    """OpenTelemetry costs start time and memory, the database a probe's time."""
    loaded = "import sys; import {}; print(sorted(m for m in sys.modules if m in {!r}))"
    heavy = ["opentelemetry", "alembic", "asyncpg", "sqlalchemy"]
    for module, absent in (
        ("heed_server.primary.serving", ["opentelemetry", "alembic"]),
        ("heed_server.cli.main", heavy),
    ):
        code = loaded.format(module, absent)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]", module


def test_on_a_terminal_it_says_where_and_what_to_try(tmp_path: Path) -> None:
    import os
    import pty

    controller, terminal = pty.openpty()
    variables = {"HEED_TELEMETRY_METRICS_ADDRESS": "", "HEED_DRAIN_ANNOUNCE_SECONDS": "0"}
    process = subprocess.Popen(
        [*COMMAND, "serve", "--listen", "127.0.0.1:0"],
        cwd=tmp_path,
        env={**os.environ, **variables},
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    said = b""
    try:
        while b"Ctrl-C" not in said:
            said += os.read(controller, 4096)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        os.close(controller)

    address = re.search(rb"serves on (127\.0\.0\.1:\d+)", said)
    assert address is not None
    command = re.search(r"try +(\S+) (check .*)\r", said.decode())
    assert command is not None
    assert b"--address " + address[1] in said
    tried = subprocess.run([command[1], "--help"], cwd=tmp_path, capture_output=True, check=False)
    assert tried.returncode == 0
