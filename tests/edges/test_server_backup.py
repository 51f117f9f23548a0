"""`heed-server backup` and `restore` beside a server that runs, and what callers meet afterwards."""

import json
import signal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heed import ConflictError, ErrorReason, Origin, Rule, SyncClient
from heed.cli.main import app
from tests.support.served import Served, run_command

ORIGIN = Origin(source="tests")

pytestmark = pytest.mark.slow


def told_by(*arguments: str, folder: Path) -> dict[str, object]:
    command = run_command(*arguments, "--json", cwd=folder)
    assert command.returncode == 0, command.stderr
    told: dict[str, object] = json.loads(command.stdout)
    return told


def test_a_backup_taken_from_a_server_that_runs_is_restored_under_a_hold(tmp_path: Path) -> None:
    """Tokens of the lost life are refused; the person whose opt-out was lost gets nothing."""
    with Served(tmp_path) as server, server.client() as client:
        client.declare_topic(
            "security", topic_class="mandatory", mandatory_channels=["email"], origin=ORIGIN
        )
        client.opt_out(email="kept@example.com", source="tests")
        taken = told_by("backup", "--to", ".", folder=tmp_path)
        lost = client.opt_out(email="lost@example.com", source="tests")
        refused = run_command("restore", "--from", str(taken["file"]), cwd=tmp_path)
        aside = run_command("restore", "--from", str(taken["file"]), "--set-aside", cwd=tmp_path)
        server.stop()

    back = told_by("restore", "--from", str(taken["file"]), "--set-aside", folder=tmp_path)
    with Served(tmp_path) as server, server.client() as client:
        held = client.check(email="lost@example.com", channel="email", topic="news")
        mandatory = client.check(email="lost@example.com", channel="email", topic="security")
        with pytest.raises(ConflictError) as other_epoch:
            client.check(email="lost@example.com", channel="email", token=lost.token)
        client.opt_out(email="lost@example.com", source="tests")
        listed = CliRunner().invoke(app, ["holds", "list", "--address", server.address])
        client.lift_hold(str(back["hold"]), reason="recorded again", origin=ORIGIN)
        after = {
            name: client.check(email=f"{name}@example.com", channel="email", topic="news").allowed
            for name in ("kept", "lost", "nobody")
        }

    assert refused.returncode == 2
    assert "--set-aside" in refused.stderr
    assert aside.returncode == 3  # a server runs
    assert not held.allowed
    assert held.reasons[0].rule is Rule.HOLD
    assert mandatory.allowed
    assert "mandatory messages" in listed.stdout  # which this hold spares
    assert other_epoch.value.reason is ErrorReason.EPOCH_CHANGED
    assert after == {"kept": False, "lost": False, "nobody": True}
    assert Path(tmp_path, str(back["set_aside"])).exists()


def test_a_key_that_was_revoked_since_is_revoked_again(tmp_path: Path) -> None:
    made = told_by("keys", "create", "sender", "--right", "check", "--all-tenants", folder=tmp_path)
    taken = told_by("backup", "--to", ".", folder=tmp_path)
    revoked = run_command("keys", "revoke", str(made["key_id"]), cwd=tmp_path)
    ledger = run_command("keys", "revocations", cwd=tmp_path)

    back = run_command("restore", "--from", str(taken["file"]), "--set-aside", cwd=tmp_path)

    assert revoked.returncode == 0
    (line,) = [json.loads(line) for line in ledger.stdout.splitlines()]
    assert (line["v"], line["key_id"]) == (1, made["key_id"])
    assert "API keys revoked again" in back.stdout
    assert "revoked" in run_command("keys", "list", cwd=tmp_path).stdout


def test_a_restore_without_a_ledger_of_revocations_says_what_is_good_again(tmp_path: Path) -> None:
    told_by("keys", "create", "sender", "--right", "check", "--all-tenants", folder=tmp_path)
    taken = told_by("backup", "--to", ".", folder=tmp_path)

    back = run_command("restore", "--from", str(taken["file"]), "--set-aside", cwd=tmp_path)

    assert back.returncode == 0
    assert "heed-server keys revoke" in back.stderr


def test_a_cache_of_before_begins_anew_and_holds_too(tmp_path: Path) -> None:
    with Served(tmp_path) as server:
        with server.client() as client:
            client.opt_out(email="kept@example.com", source="tests")
        taken = told_by("backup", "--to", "a.backup", folder=tmp_path)
        with server.client(cache=tmp_path / "cache") as cached:
            allowed = cached.check(email="nobody@example.com", channel="email", topic="news")
        server.stop()
    told_by("restore", "--from", str(taken["file"]), "--set-aside", folder=tmp_path)

    with (
        Served(tmp_path) as server,
        server.client(cache=tmp_path / "cache") as cached,
    ):
        held = cached.check(email="nobody@example.com", channel="email", topic="news")

    assert allowed.allowed
    assert not held.allowed


def test_a_server_that_was_killed_is_backed_up_too(tmp_path: Path) -> None:
    with Served(tmp_path) as server:
        with server.client() as client:
            client.opt_out(email="kept@example.com", source="tests")
        server.signal(signal.SIGKILL)
        server.wait()

    taken = told_by("backup", "--to", "a.backup", folder=tmp_path)
    verified = told_by("restore", "--from", "a.backup", "--verify-only", folder=tmp_path)

    assert taken["tenants"] == verified["tenants"]
    assert [tenant["revision"] for tenant in taken["tenants"]] == [1]  # type: ignore[attr-defined] # a list
    assert sole_check(tmp_path)


def sole_check(folder: Path) -> bool:
    """The server starts as if no backup had been taken."""
    with Served(folder) as server, server.client() as client:
        client_: SyncClient = client
        return not client_.check(email="kept@example.com", channel="email", topic="news").allowed


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("backup", "--to", "x"), 3),  # no database
        (("restore", "--from", "nowhere"), 3),
        (("new-epoch", "--reason", ""), 2),
        (("new-epoch", "--reason", "put back"), 3),
        (("keys", "lookup", "replace", "--reason", " "), 2),
    ],
)
def test_what_cannot_be_done_says_so(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    command = run_command(*arguments, cwd=tmp_path)

    assert command.returncode == code, command.stderr
    assert "Traceback" not in command.stderr
    assert list(tmp_path.iterdir()) == []
