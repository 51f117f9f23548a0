"""The `heed` command against a heed in memory: what it prints, and how it exits."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.caches import WAIT_SECONDS_MAX
from tests.support.heed_command import Heed, heed_command

ADA = "ada@example.com"


@pytest.fixture
def heed(monkeypatch: pytest.MonkeyPatch) -> Generator[Heed]:
    with heed_command(monkeypatch) as command:
        yield command


def test_a_check_exits_with_0_only_if_the_message_may_be_sent(heed: Heed) -> None:
    before = heed("check", "--email", ADA, "--topic", "news")
    heed("set", "opt-out", "--email", ADA)
    after = heed("check", "--email", ADA, "--topic", "news")

    assert (before.exit_code, before.stdout.splitlines()[0]) == (0, "allowed")
    assert (after.exit_code, after.stdout.splitlines()[0]) == (10, "suppressed")
    assert "opt_out: opt_out at any, every topic, reach promotional" in after.stdout
    assert ADA not in after.output


def test_a_check_in_json_has_the_whole_answer(heed: Heed) -> None:
    heed("set", "opt-out", "--email", ADA, "--channel", "email", "--topic", "news")

    answer = heed.json("check", "--email", ADA, "--topic", "news.weekly")

    assert answer["allowed"] is False
    assert answer["verdict"] == "suppressed"
    assert answer["rule"] == "opt_out"
    assert answer["reasons"][0]["record"]["scope"] == {"channel": "email", "topic": "news"}
    assert answer["undeclared_topic"] is True
    assert answer["now"].endswith("Z")


@pytest.mark.parametrize(
    ("option", "value", "channel"),
    [
        ("--email", ADA, "email"),
        ("--phone", "+43 660 1234567", "sms"),
        ("--device", "token-1", "push"),
    ],
)
def test_the_channel_is_the_one_by_which_the_subject_is_reached(
    heed: Heed, option: str, value: str, channel: str
) -> None:
    heed("set", "opt-out", option, value, "--channel", channel)

    assert heed("check", option, value).exit_code == 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check"], "name somebody"),
        (["check", "--user", "u"], "say how it would travel"),
        (["check", "--email", ADA, "--channel", "emial"], "did you mean 'email'"),
        (["check", "--email", "nonsense"], "query.subjects[0].email"),
        (["check", "--email", ADA, "--topic", "No Topic"], "query.topic"),
        (["check", "--email", ADA, "--only", "allowed"], "give a FILE"),
        (["check", "-", "--email", ADA], "not both"),
        (["check", "-", "--only", "maybe"], "is not one of allowed"),
        (["set", "pause", "--email", ADA, "--until", "soon"], "is no time"),
        (["set", "pause", "--email", ADA, "--until", "2099-01-01T00:00:00"], "has no zone"),
        (["suppressions", "release", "--cause", "bounce", "--reason", "r"], "name somebody"),
        (["suppressions", "add", "--email", ADA, "--cause", "bounced"], "did you mean 'bounce'"),
        (["holds", "place", "--reason", "r"], "--everything"),
        (["holds", "place", "--reason", "r", "--everything", "--topic", "t"], "not both"),
        (["check", "no-such-file.csv"], "no-such-file.csv: No such file"),
        (["check", "--email", ADA, "--address", "nowhere"], "write host:port"),
        (["call", "Chekc"], "is not one"),
        (["check", "--email", "\udcff@example.com"], "no Unicode"),
    ],
)
def test_what_is_malformed_exits_with_2_and_says_what_to_do(
    heed: Heed, arguments: list[str], says: str
) -> None:
    result = heed(*arguments)

    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""


def test_an_error_in_json_has_reason_message_and_violations(heed: Heed) -> None:
    result = heed("check", "--email", "nonsense", "--topic", "No Topic", "--json")

    told = json.loads(result.stderr)
    assert told["error"]["reason"] == "INVALID_FIELD"
    assert {one["field"] for one in told["violations"]} == {
        "query.subjects[0].email",
        "query.topic",
    }


def test_a_server_that_is_not_there_exits_with_3_and_names_the_safe_answer(heed: Heed) -> None:
    result = heed("check", "--email", ADA, "--address", "127.0.0.1:1")

    assert result.exit_code == 3
    assert "SERVER_UNREACHABLE" in result.stderr
    assert "suppress: do not send" in result.stderr
    assert "heed doctor" in result.stderr
    assert result.stdout == ""


def test_a_write_that_may_have_happened_exits_with_5_and_names_its_key(heed: Heed) -> None:
    result = heed(
        "set", "opt-out", "--email", ADA, "--address", "127.0.0.1:1", "--idempotency-key", "k-1"
    )

    assert result.exit_code == 5
    assert "idempotency_key='k-1'" in result.stderr


def test_what_conflicts_or_is_not_there_exits_with_4(heed: Heed) -> None:
    assert heed("holds", "lift", "hold-1", "--reason", "r").exit_code == 4
    assert heed("topics", "retire", "news", "--reason", "r").exit_code == 4
    assert heed("check", "--email", ADA, "--tenant", "other").exit_code == 4


def test_a_person_opts_out_in_and_pauses(heed: Heed) -> None:
    evidence = [
        *("--notice", "newsletter", "--notice-version", "1", "--act", "pressed Save"),
        *("--language", "en", "--method", "web_form"),
    ]
    out = heed("set", "opt-out", "--email", ADA, "--decided-time", "2026-03-01T09:00:00+01:00")
    back = heed(
        *("set", "opt-in", "--email", ADA, "--channel", "email", "--topic", "news"),
        *("--decided-time", "2026-03-02T09:00:00Z", *evidence),
    )
    paused = heed("set", "pause", "--email", ADA, "--until", "2099-01-01T00:00:00Z")
    ended = heed("set", "end-pause", "--email", ADA, "--method", "web_form")

    assert [one.exit_code for one in (out, back, paused, ended)] == [0, 0, 0, 0]
    assert "still sent within it: transactional, mandatory" in out.stdout
    assert "applied: opt_in at email news, of 2026-03-02T09:00:00Z" in back.stdout
    assert heed("check", "--email", ADA, "--topic", "news").exit_code == 0
    assert heed("check", "--email", ADA, "--topic", "offers").exit_code == 10


def test_a_person_has_quiet_hours_and_ends_them(heed: Heed) -> None:
    asked = ("set", "quiet-hours", "--email", ADA, "--time-zone", "Europe/Vienna", "--hours")

    whole_days = heed(*asked, "00:00-24:00")
    suppressed = heed("check", "--email", ADA, "--topic", "news")
    narrower = heed(*asked, "sat,sun 00:00-24:00")
    malformed = heed(*asked, "25:00-08:00")
    nowhere = heed(*asked[:5], "Mars/Base", "--hours", "22:00-08:00")
    ended = heed("set", "end-quiet-hours", "--email", ADA, "--method", "web_form")

    assert "Europe/Vienna: 00:00-00:00" in whole_days.stdout
    assert "still sent at other hours: promotional, transactional, mandatory" in whole_days.stdout
    assert (suppressed.exit_code, "quiet_hours:" in suppressed.stdout) == (10, True)
    assert (narrower.exit_code, "CONSENT_REQUIRED" in narrower.stderr) == (4, True)
    assert (malformed.exit_code, "write `22:00-08:00`" in malformed.stderr) == (2, True)
    assert (nowhere.exit_code, "time_zone" in nowhere.stderr) == (2, True)
    assert ended.exit_code == 0
    assert heed("check", "--email", ADA, "--topic", "news").exit_code == 0


def test_the_same_key_sets_once(heed: Heed) -> None:
    key = ["--idempotency-key", "k-1"]
    first = heed.json("set", "opt-out", "--email", ADA, *key)
    again = heed.json("set", "opt-out", "--email", ADA, *key)

    assert (first["replayed"], again["replayed"]) == (False, True)
    assert first["revision"] == again["revision"] == 1


def test_get_shows_what_stands_with_who_said_so(heed: Heed) -> None:
    heed("set", "opt-out", "--email", ADA, "--source", "preference-page", "--actor", "person")

    table = heed("get", "--email", ADA)
    answer = heed.json("get", "--email", ADA)

    assert "preference-page" in table.stdout
    assert answer["records"][0]["origin"]["actor"] == "person"
    assert "nothing stands" in heed("get", "--email", "b@example.com").stdout


def test_explain_tells_every_rule_that_spoke(heed: Heed) -> None:
    heed("set", "opt-out", "--email", ADA, "--source", "preference-page")
    heed("holds", "place", "--everything", "--reason", "wrong template")

    result = heed("explain", "--email", ADA)

    assert result.exit_code == 10
    assert "hold: hold-fake-2 on every channel, every topic: wrong template" in result.stdout
    assert "said by preference-page" in result.stdout


def test_explain_tells_the_decision_of_then(heed: Heed) -> None:
    first = heed.json("set", "opt-out", "--email", ADA)
    heed("set", "opt-out", "--email", ADA, "--source", "preference-page")

    before = heed("explain", "--email", ADA, "--revision", "0")
    by_answer = heed.json(
        *("explain", "--email", ADA, "--revision", "1", "--now", first["now"]),
        *("--rule-version", "1", "--token", first["token"]),
    )
    by_time = heed.json("explain", "--email", ADA, "--as-of", first["now"])

    assert before.exit_code == 0
    assert by_answer["reasons"][0]["record"]["origin"]["source"] == "heed-cli"
    assert by_answer["reasons"] == by_time["reasons"]


def test_explain_of_then_names_one_moment(heed: Heed) -> None:
    whom, time = ("explain", "--email", ADA), "2026-03-01T09:00:00Z"

    two = heed(*whom, "--revision", "1", "--as-of", time)
    half = heed(*whom, "--now", time)
    unknown = heed(*whom, "--revision", "1")

    assert (two.exit_code, half.exit_code, unknown.exit_code) == (2, 2, 4)
    assert "not both" in two.stderr
    assert "--revision" in half.stderr
    assert "not yet at 1" in unknown.stderr


def test_history_tells_everything_about_a_person(heed: Heed) -> None:
    assert heed("history", "--email", ADA).stdout == "the log has nothing of them\n"
    heed("set", "opt-out", "--email", ADA, "--source", "preference-page", "--actor", "person")
    whom = ("--email", ADA, "--cause", "manual")
    heed("suppressions", "add", *whom, "--reason", "asked by phone")
    heed("suppressions", "release", *whom, "--reason", "a mistake")

    table = heed("history", "--email", ADA)
    done = heed("history", "--email", ADA, "--json")
    changes = [json.loads(line) for line in done.stdout.splitlines()]

    for words in ("preference-page/person", "asked by phone", "release of manual", "a mistake"):
        assert words in table.stdout
    assert [one["kind"] for one in changes] == ["choice", "suppression", "release"]
    assert changes[0]["origin"]["source"] == "preference-page"


def test_topics_are_declared_loosened_retired_and_listed(heed: Heed) -> None:
    reset = ["account.reset", "--class", "mandatory", "--mandatory-on", "email"]
    assert heed("topics", "list").stdout.startswith("no topic is declared")
    assert heed("topics", "declare", *reset, "--title", "Reset").exit_code == 0
    assert (
        heed("topics", "declare", "news", "--class", "promotional", "--requires-opt-in").exit_code
        == 0
    )
    assert heed("topics", "declare", "news", "--class", "promotional").exit_code == 4
    assert (
        heed("topics", "loosen", "news", "--class", "promotional", "--reason", "r").exit_code == 0
    )
    assert "news: promotional, retired" in heed("topics", "retire", "news", "--reason", "r").stdout

    lines = heed("topics", "list", "--json").stdout.splitlines()
    table = heed("topics", "list").stdout

    assert [json.loads(line)["name"] for line in lines] == ["account.reset", "news"]
    assert "promotional (retired)" in table
    assert "email" in table


def test_holds_are_placed_listed_and_lifted(heed: Heed) -> None:
    placed = heed.json("holds", "place", "--campaign", "spring", "--reason", "wrong template")
    hold_id = placed["hold"]["hold_id"]

    assert heed("check", "--email", ADA, "--campaign", "spring").exit_code == 10
    assert heed("check", "--email", ADA, "--campaign", "autumn").exit_code == 0
    assert "wrong template" in heed("holds", "list").stdout
    assert json.loads(heed("holds", "list", "--json").stdout)["hold_id"] == hold_id
    assert heed("holds", "lift", hold_id, "--reason", "mended").exit_code == 0
    assert heed("holds", "list").stdout == "there is no hold\n"


def test_suppressions_are_added_listed_and_released(heed: Heed) -> None:
    phone = "+43 660 1234567"
    added = heed("suppressions", "add", "--phone", phone, "--cause", "invalid")
    assert added.stdout.count("applied: invalid") == 3  # sms, voice, whatsapp

    listed = heed("suppressions", "list", "--cause", "invalid", "--json").stdout.splitlines()
    assert json.loads(listed[0])["subject"] == {"phone": "+436601234567"}
    assert heed("suppressions", "list", "--cause", "bounce").stdout == "no suppression stands\n"

    released = heed(
        "suppressions", "release", "--phone", phone, "--cause", "invalid", "--reason", "r"
    )
    assert released.stdout.count("released: invalid") == 3
    assert "nothing else stands" in released.stdout


def test_tenants_are_created_and_listed(heed: Heed) -> None:
    created = heed("tenants", "create", "shop")
    another = heed("tenants", "create", "another")

    assert created.stdout == "created shop\n"
    assert "must name one (--tenant default, or HEED_TENANT)" in created.stderr
    assert another.stderr == ""


def test_of_several_tenants_one_must_be_named(heed: Heed) -> None:
    heed("tenants", "create", "shop")

    lines = heed("tenants", "list", "--json").stdout.splitlines()

    assert [json.loads(line)["name"] for line in lines] == ["default", "shop"]
    assert heed("set", "opt-out", "--email", ADA, "--tenant", "shop").exit_code == 0
    assert heed("check", "--email", ADA).exit_code == 2  # two tenants, none named
    assert heed("check", "--email", ADA, "--tenant", "default").exit_code == 0


def test_an_export_gets_its_name_once_it_is_whole(heed: Heed, tmp_path: Path) -> None:
    heed("set", "opt-out", "--email", ADA, "--topic", "news")
    heed("suppressions", "add", "--email", "b@example.com", "--cause", "bounce", "--reason", "550")
    target = tmp_path / "all.csv"

    done = heed("export", str(target))

    assert done.stderr == "2 records of revision 2\n"
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert {(row["address"], row["kind"], row["cause"]) for row in rows} == {
        (ADA, "opt_out", ""),
        ("b@example.com", "suppression", "bounce"),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["all.csv"]


def test_an_export_into_a_pipe_leaves_the_pipe(heed: Heed, tmp_path: Path) -> None:
    """As `/dev/stdout` is one: put in its place, a file would take every other's output."""
    heed("set", "opt-out", "--email", ADA)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()

    done = heed("export", str(pipe))
    reader.join(WAIT_SECONDS_MAX)

    assert done.exit_code == 0
    assert pipe.is_fifo()
    assert ADA in read[0]
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_an_export_to_a_link_is_where_the_link_leads(heed: Heed, tmp_path: Path) -> None:
    heed("set", "opt-out", "--email", ADA)
    (tmp_path / "latest.csv").symlink_to("2026.csv")

    for _ in ("not there yet", "there"):
        assert heed("export", str(tmp_path / "latest.csv")).exit_code == 0

    assert (tmp_path / "latest.csv").is_symlink()
    assert ADA in (tmp_path / "2026.csv").read_text()


def test_an_export_that_breaks_off_leaves_no_file_of_that_name(heed: Heed, tmp_path: Path) -> None:
    heed.server.answers["ExportRecords"] = lambda _data, _context: b""
    target = tmp_path / "all.csv"

    done = heed("export", str(target))

    assert done.exit_code == 3
    assert not target.exists()


def test_an_export_can_be_narrowed_and_told_in_json(heed: Heed) -> None:
    heed("set", "opt-out", "--email", ADA)
    heed("suppressions", "add", "--email", ADA, "--cause", "bounce")

    done = heed("export", "--kind", "suppression", "--json")

    assert json.loads(done.stdout)["record"]["cause"] == "bounce"
    assert json.loads(done.stderr) == {"records": 1, "revision": 2}


def test_a_check_of_any_channel_is_told_the_channels(heed: Heed) -> None:
    result = heed("check", "--email", ADA, "--channel", "any")

    assert result.exit_code == 2
    assert "any is not how a message travels; name one of email, sms" in result.stderr


def test_doctor_finds_a_good_connection_good(heed: Heed) -> None:
    result = heed("doctor", "--json")
    findings = {one["what"]: one for one in map(json.loads, result.stdout.splitlines())}

    assert result.exit_code == 0, result.output
    assert findings["credential"]["found"] == "none given, and a check needs none"
    assert findings["rules"]["good"]
    assert findings["latency"]["good"]
    assert findings["health of heed.v1.PreferenceService"]["found"] == "serving"


def test_doctor_says_what_is_bad_and_exits_with_3(heed: Heed) -> None:
    heed.server.service.clock.freeze()
    nowhere = heed("doctor", "--address", "127.0.0.1:1", "--timeout", "0.2")

    assert nowhere.exit_code == 3
    assert nowhere.stdout.startswith("BAD connection: none to dns:///127.0.0.1:1 by plaintext")
    assert "Connection refused" in nowhere.stdout


def test_a_key_comes_from_a_file_or_a_variable_and_never_from_the_command_line(
    heed: Heed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text("heed_of_file\n")
    other = tmp_path / "other"
    other.write_text("heed_of_named_file")
    check = ["check", "--email", ADA]

    heed(*check, "--api-key-file", str(file))
    monkeypatch.setenv("HEED_API_KEY_FILE", str(other))
    heed(*check)
    monkeypatch.setenv("HEED_API_KEY", "heed_of_variable")
    heed(*check)
    heed(*check, "--api-key-file", str(file))

    said = [metadata.get("authorization") for _, metadata in heed.server.calls]
    assert said == [
        "Bearer heed_of_file",
        "Bearer heed_of_named_file",
        "Bearer heed_of_variable",
        "Bearer heed_of_file",
    ]
    file.write_text("")
    assert "is empty" in heed(*check, "--api-key-file", str(file)).stderr


def test_version_tells_what_heed_stands_on(heed: Heed) -> None:
    assert heed.json("version").keys() == {"heed", "grpcio", "protobuf", "python"}
    assert heed("version").stdout.startswith("heed ")


def test_the_installed_command_is_this_one() -> None:
    heed = Path(sys.executable).with_name("heed")

    done = subprocess.run([heed, "--help"], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    for command in (
        "check",
        "explain",
        "set",
        "get",
        "history",
        "topics",
        "holds",
        "suppressions",
        "export",
        "call",
        "doctor",
        "tenants",
        "version",
    ):
        assert f" {command} " in done.stdout


def test_a_reader_that_goes_away_ends_the_command_quietly(heed: Heed) -> None:
    command = Path(sys.executable).with_name("heed")
    for at in range(200):
        heed.server.service.answer("CreateTenant", b"\x0a" + bytes([5]) + f"t{at:04}".encode())
    environment = os.environ | {"HEED_ADDRESS": heed.server.address}
    with subprocess.Popen(
        [command, "tenants", "list", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        process.wait(10)

    assert process.returncode != 0
    assert "Traceback" not in said


def test_a_batch_is_undone_by_two_and_a_dry_run_says_what_that_would_do(
    heed: Heed, tmp_path: Path
) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text(f"address\n{ADA}\n", encoding="utf-8")
    options = ("--as", "generic", "--cause", "opt_out", "--batch-id", "wrong")
    heed("import", str(listed), *options)

    shown = heed("batches", "revert", "wrong", "--reason", "the wrong file", "--dry-run")
    refused = heed("batches", "revert", "wrong", "--reason", "the wrong file")

    assert (shown.exit_code, refused.exit_code) == (0, 4)
    assert "of 1 records 1 released" in shown.stdout
    assert "1 newly allowed" in shown.stdout
    assert "APPROVAL_REQUIRED" in refused.stderr
    assert "nothing asked" in heed("approvals", "list").stdout
    assert heed("check", "--email", ADA).exit_code == 10
