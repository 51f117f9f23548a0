"""`heed check FILE`: a list in, the same list with verdicts out."""

import csv
import io
import json
import tracemalloc
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner, Result

from heed.cli.checking_files import BATCH_ROWS
from heed.cli.main import app
from heed.cli.rows import read_rows
from heed.testing import FakeSyncClient
from tests.support.fake_server import FakeServer, fake_server

Check = Callable[..., Result]


@pytest.fixture
def server() -> Generator[FakeServer]:
    with fake_server() as server:
        client = FakeSyncClient(server.service)
        client.opt_out(email="out@example.com", source="tests")
        client.opt_out(email="news@example.com", topic="news", source="tests")
        client.opt_out(phone="+436601234567", source="tests")
        yield server


@pytest.fixture
def check(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Check:
    monkeypatch.delenv("HEED_API_KEY", raising=False)

    def run(*arguments: str, given: str | bytes = "") -> Result:
        environment = {"HEED_ADDRESS": server.address}
        return CliRunner().invoke(app, ["check", *arguments], input=given, env=environment)

    return run


def rows(text: str, delimiter: str = ",") -> list[dict[str, Any]]:
    return list(csv.DictReader(io.StringIO(text), delimiter=delimiter))


def test_a_list_of_bare_addresses_comes_out_with_verdicts(check: Check) -> None:
    done = check("-", given="out@example.com\nok@example.com\n+43 660 1234567\n")

    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "address,verdict,rule,reason"
    assert [(row["address"], row["verdict"], row["rule"]) for row in rows(done.stdout)] == [
        ("out@example.com", "suppressed", "opt_out"),
        ("ok@example.com", "allowed", "default"),
        ("+43 660 1234567", "suppressed", "opt_out"),
    ]
    assert done.stderr == "3 rows: 1 allowed, 2 suppressed, 0 invalid\n"


def test_columns_of_a_row_come_before_the_options_and_all_others_pass_through(
    check: Check,
) -> None:
    given = (
        "\ufeffName;E-Mail;Topic;Verdict\r\n"
        'Ada;news@example.com;news;old\r\n"Bob; the second";news@example.com;;old\r\n'
    )

    done = check("-", "--topic", "offers", given=given)

    assert done.stdout.splitlines()[0] == "Name;E-Mail;Topic;verdict;rule;reason"
    found = rows(done.stdout, ";")
    assert [(row["Name"], row["Topic"], row["verdict"]) for row in found] == [
        ("Ada", "news", "suppressed"),
        ("Bob; the second", "", "allowed"),
    ]


def test_every_identifier_of_a_row_counts(check: Check) -> None:
    given = "email,phone,user\nok@example.com,+436601234567,u-1\nok@example.com,,u-1\n"

    done = check("-", "--channel", "email", given=given)

    assert [row["verdict"] for row in rows(done.stdout)] == ["suppressed", "allowed"]


def test_json_lines_come_out_as_json_lines(check: Check) -> None:
    given = (
        '{"email": "out@example.com", "name": "Ada", "age": 36}\n\n'
        '{"user": "u-1", "channel": "in_app", "email": null}\n'
    )

    done = check("-", given=given)

    ada, bob = map(json.loads, done.stdout.splitlines())
    assert ada == {
        "email": "out@example.com",
        "name": "Ada",
        "age": 36,
        "verdict": "suppressed",
        "rule": "opt_out",
        "reason": ada["reason"],
    }
    assert bob["verdict"] == "allowed"
    assert done.exit_code == 0


def test_csv_comes_out_as_json_lines_if_asked(check: Check) -> None:
    done = check("-", "--json", given="email,name\nok@example.com,Ada\n")

    assert json.loads(done.stdout)["name"] == "Ada"
    assert json.loads(done.stderr) == {"allowed": 1, "suppressed": 0, "invalid": 0}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense,,", "has no '@'"),
        ("ok@example.com,No Topic,", "topic"),
        ("ok@example.com,,emial", "did you mean 'email'"),
        ("ok@example.com,,any", "name one"),
        (",,", "names nobody"),
        ("ok@example.com,,,more", "has 4 cells, the header 3"),
        ("\x00@example.com,,", "nobody can see"),
    ],
)
def test_a_row_that_cannot_be_asked_about_is_invalid_and_the_others_are_answered(
    check: Check, line: str, reason: str
) -> None:
    done = check("-", given=f"email,topic,channel\nok@example.com,,\n{line}\nout@example.com,,\n")

    assert done.exit_code == 6
    found = rows(done.stdout)
    assert [row["verdict"] for row in found] == ["allowed", "invalid", "suppressed"]
    assert reason in found[1]["reason"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "is no JSON"),
        ("[]", "is no JSON object"),
        ('{"email": 5}', "has a email that is no text"),
        ('{"email": "a@example.com", "E-Mail": "b@example.com"}', "two columns of email"),
        ('{"address": "what"}', "neither"),
        ("{" + " " * 140_000 + "}", "too long"),
    ],
)
def test_a_line_of_json_that_cannot_be_read_is_invalid(
    check: Check, line: str, reason: str
) -> None:
    done = check("-", given=f'{{"email": "ok@example.com"}}\n{line}\n')

    assert done.exit_code == 6
    ok, bad = map(json.loads, done.stdout.splitlines())
    assert ok["verdict"] == "allowed"
    assert bad["verdict"] == "invalid"
    assert reason in bad["reason"]


def test_bytes_that_are_no_utf_8_pass_through_and_are_never_an_address(check: Check) -> None:
    given = b"email,name\nok@example.com,Gr\xfc\xdfe\n\xff@example.com,x\n"

    done = check("-", given=given)

    assert b"Gr\xfc\xdfe" in done.stdout_bytes
    assert b"\xff@example.com,x,invalid" in done.stdout_bytes


def test_a_row_that_only_the_server_refuses_is_invalid_and_the_others_are_asked_again(
    check: Check, server: FakeServer
) -> None:
    long = "c" * 201  # a campaign's bound, which only the server knows
    given = f"email,campaign\nok@example.com,\nok@example.com,{long}\nout@example.com,x\n"

    done = check("-", given=given)

    assert [row["verdict"] for row in rows(done.stdout)] == ["allowed", "invalid", "suppressed"]
    assert [name for name, _ in server.calls] == ["BatchCheckSuppression"] * 2


def test_only_the_wanted_rows_come_out(check: Check) -> None:
    given = "out@example.com\nok@example.com\nnonsense@\n"

    allowed = check("-", "--only", "allowed", given=given)

    assert [row["address"] for row in rows(allowed.stdout)] == ["ok@example.com"]
    assert "1 suppressed, 1 invalid" in allowed.stderr


def test_a_file_of_a_name_is_there_only_when_all_of_it_is(
    check: Check, server: FakeServer, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("email\n" + "".join(f"u{at}@example.com\n" for at in range(BATCH_ROWS + 1)))

    def fail_second(data: bytes, context: grpc.ServicerContext) -> bytes:
        if len(server.calls) > 1:
            context.abort(grpc.StatusCode.INTERNAL, "gone")
        return server.service.answer("BatchCheckSuppression", data)

    server.answers["BatchCheckSuppression"] = fail_second
    broken = check(str(source), "--output", str(target))
    assert broken.exit_code == 3
    assert "suppress: do not send" in broken.stderr
    assert not target.exists()

    server.answers.clear()
    whole = check(str(source), "--output", str(target))
    assert whole.exit_code == 0
    assert len(rows(target.read_text())) == BATCH_ROWS + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_no_row_comes_out_that_no_answer_came_for(check: Check, server: FakeServer) -> None:
    server.answers["BatchCheckSuppression"] = lambda _data, _context: b"\xff"

    done = check("-", given="ok@example.com\n")

    assert done.exit_code == 3
    assert rows(done.stdout) == []


@pytest.mark.parametrize("given", ["", "\n\n", "name,city\nAda,Vienna\n", "one two\n"])
def test_what_names_nobody_to_ask_about_is_refused(check: Check, given: str) -> None:
    done = check("-", given=given)

    assert done.exit_code == 2
    assert done.stdout == ""


def test_a_list_is_asked_about_in_batches(check: Check, server: FakeServer) -> None:
    given = "".join(f"u{at}@example.com\n" for at in range(2 * BATCH_ROWS + 1))

    done = check("-", given=given)

    assert len(rows(done.stdout)) == 2 * BATCH_ROWS + 1
    assert len(server.calls) == 3


def test_a_row_knows_its_line_past_blank_ones_and_cells_of_several_lines() -> None:
    text = '\n\nemail,name\na@example.com,"two\nlines"\n\nb@example.com,x\n'

    found = read_rows(io.StringIO(text, newline=""))

    assert [row.number for row in found] == [4, 7]


def test_reading_takes_the_same_memory_however_long_the_list_is() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in read_rows(f"u{at}@example.com\n" for at in range(count)):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(20_000) < peak(1_000) + 100_000
