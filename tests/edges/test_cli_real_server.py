"""The `heed` command against a real server: over TLS, with keys that may more or less."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heed.cli.main import app
from tests.support.served import Authority, Served, run_command

pytestmark = pytest.mark.slow

HEED = Path(sys.executable).with_name("heed")
Heed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Generator[Served]:
    folder = tmp_path_factory.mktemp("server")
    flags = ("--auth-required=true", "--caps-releases-per-hour-max=1", *authority.flags())
    with Served(folder, *flags) as server:
        yield server


@pytest.fixture(scope="module")
def variables(server: Served, authority: Authority) -> dict[str, str]:
    """What says to the command where the server is."""
    return {"HEED_ADDRESS": server.address, "HEED_CA_FILE": str(authority.file)}


@pytest.fixture
def heed(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Heed:
    """The command, run in this process."""
    for name in [name for name in os.environ if name.startswith("HEED_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, key: str | None, given: str = "") -> subprocess.CompletedProcess[str]:
        environment = variables | ({} if key is None else {"HEED_API_KEY": key})
        done = CliRunner().invoke(app, arguments, input=given, env=environment)
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def heed_process(variables: dict[str, str]) -> Heed:
    """The command as it is installed, in a process of its own."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("HEED_")}

    def run(*arguments: str, key: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HEED, *arguments],
            env=bare | variables | {"HEED_API_KEY": key},
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture(scope="module")
def new_key(server: Served) -> Callable[..., str]:
    def make(*rights: str, name: str = "tests") -> str:
        flags = [flag for right in rights for flag in ("--right", right)]
        done = run_command("keys", "create", name, "--json", *flags, cwd=server.folder)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["key"])

    return make


@pytest.fixture(scope="module")
def key(new_key: Callable[..., str]) -> str:
    return new_key("check", "write", "consent", "suppress", "admin", "audit", "operate", "export")


def test_a_choice_is_recorded_checked_explained_and_exported(heed_process: Heed, key: str) -> None:
    whom = ["--email", "Ada@Example.com"]
    scope = ["--channel", "email", "--topic", "marketing"]

    before = heed_process("check", *whom, "--topic", "marketing.weekly", key=key)
    done = heed_process("set", "opt-out", *whom, *scope, "--source", "preference-page", key=key)
    after = heed_process("check", *whom, "--topic", "marketing.weekly", "--json", key=key)
    why = heed_process("explain", *whom, "--topic", "marketing.weekly", key=key)
    exported = heed_process("export", "--topic", "marketing", "--channel", "email", key=key)

    assert (before.returncode, done.returncode, after.returncode) == (0, 0, 10), done.stderr
    assert json.loads(after.stdout)["rule"] == "opt_out"
    assert "said by preference-page" in why.stdout
    (row,) = csv.DictReader(io.StringIO(exported.stdout))
    assert (row["address"], row["kind"], row["topic"]) == (
        "ada@example.com",
        "opt_out",
        "marketing",
    )


def test_a_list_is_checked(heed: Heed, heed_process: Heed, key: str) -> None:
    heed("suppressions", "add", "--email", "gone@example.com", "--cause", "bounce", key=key)
    given = "email,topic\ngone@example.com,news\nhere@example.com,news\nnonsense,news\n"

    done = heed_process("check", "-", key=key, given=given)

    verdicts = [row["verdict"] for row in csv.DictReader(io.StringIO(done.stdout))]
    assert verdicts == ["suppressed", "allowed", "invalid"]
    assert done.returncode == 6


def test_a_release_above_the_cap_is_made_by_the_key_that_the_command_told(
    heed: Heed, new_key: Callable[..., str]
) -> None:
    desk, lead = (new_key("suppress", "admin", name=name) for name in ("desk", "lead"))
    whom = [("--email", f"suppressed{at}@example.com", "--cause", "manual") for at in range(2)]
    for one in whom:
        heed("suppressions", "add", *one, key=lead)
    release = ("suppressions", "release", *whom[1], "--reason", "a typo")
    heed("suppressions", "release", *whom[0], "--reason", "a typo", key=desk)

    refused = heed(*release, key=desk)
    (waiting,) = heed("approvals", "list", "--json", key=lead).stdout.splitlines()
    approval = json.loads(waiting)
    of_ones_own = heed("approvals", "grant", approval["approval_id"], key=desk)
    granted = heed("approvals", "grant", approval["approval_id"], key=lead)
    told = refused.stderr.split("then give the same command again with ")[1].split()
    done = heed(*release, *told, key=desk)

    assert refused.returncode == 4
    assert approval["reason"] == "a typo"
    assert approval["about"].startswith("suppressions by manual of one person: more releases than")
    assert told[0] == "--idempotency-key"
    assert of_ones_own.returncode == 4
    assert "give the same" not in of_ones_own.stderr
    assert granted.returncode == 0
    assert done.returncode == 0, done.stderr
    assert "released: manual" in done.stdout


def test_history_shows_the_evidence_and_after_an_erasure_nothing_of_what_was_said(
    heed: Heed, key: str
) -> None:
    whom = ("--email", "erased@example.com")
    evidence = ("--notice", "newsletter", "--notice-version", "2026-03", "--language", "de-AT")
    act = ("--act", "ticked the box", "--method", "web_form")
    scope = ("--channel", "email", "--topic", "news")
    decided = ("--decided-time", "2026-03-01T09:00:00Z")
    heed("set", "opt-in", *whom, *scope, *evidence, *act, *decided, key=key)

    before = heed("history", *whom, key=key)
    erased = heed("erase", *whom, "--user", "nobody", "--reason", "asked", key=key)
    after = heed("history", *whom, key=key)

    assert "newsletter 2026-03 (de-AT): ticked the box" in before.stdout
    assert "nothing is known under identifier 2" in erased.stdout
    assert "newsletter" not in after.stdout
    assert "something later stood" not in after.stdout


def test_a_key_without_the_right_is_refused_by_its_name(
    heed: Heed, new_key: Callable[..., str]
) -> None:
    may_check = new_key("check")

    assert heed("check", "--user", "u", "--channel", "in_app", key=may_check).returncode == 0
    refused = heed("holds", "place", "--everything", "--reason", "r", key=may_check)

    assert refused.returncode == 4
    assert "RIGHT_REQUIRED" in refused.stderr
    assert "operate" in refused.stderr


def test_without_a_key_nothing_is_answered_and_the_error_says_where_keys_come_from(
    heed: Heed,
) -> None:
    refused = heed("check", "--user", "u", "--channel", "in_app", key=None)

    assert refused.returncode == 4
    assert "CREDENTIAL_INVALID" in refused.stderr
    assert "heed-server keys create" in refused.stderr


def test_doctor_finds_it_well_and_without_a_key_says_what_is_bad(heed: Heed, key: str) -> None:
    well = heed("doctor", key=key)
    bad = heed("doctor", key=None)

    assert well.returncode == 0, well.stdout
    assert "by TLS" in well.stdout
    assert bad.returncode == 3
    assert "BAD credential: CREDENTIAL_INVALID" in bad.stdout


def test_a_method_is_called_by_reflection_with_the_key(heed: Heed, key: str) -> None:
    request = '{"query": {"subjects": [{"user": "u"}], "channel": "CHANNEL_IN_APP"}}'

    done = heed("call", "heed.v1.PreferenceService/CheckSuppression", request, key=key)
    refused = heed("call", "CheckSuppression", request, key=None)

    assert json.loads(done.stdout)["decision"]["verdict"] == "VERDICT_ALLOWED"
    assert refused.returncode == 4
    assert "CREDENTIAL_INVALID" in refused.stderr


def test_the_log_of_the_server_holds_no_address(heed: Heed, server: Served, key: str) -> None:
    heed("check", "--email", "secret-person@example.com", key=key)
    heed("check", "--email", "secret-person.example.com", key=key)

    assert "secret-person" not in server.log
