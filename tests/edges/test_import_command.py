"""`heed import` over gRPC, against a heed in memory: what it prints, writes, and how it exits."""

import gzip
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from heed.cli.main import app
from tests.support.fake_server import FakeServer, fake_server
from tests.support.imported import CASES

POSTMARK = str(CASES / "postmark.json")
GONE = "bounce.address@wildbit.com"


class Heed:
    """The command, pointed at a server."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server

    def __call__(self, *arguments: str, given: bytes | None = None) -> Result:
        environment = {"HEED_ADDRESS": self.server.address, "COLUMNS": "200"}
        return CliRunner().invoke(app, list(arguments), input=given, env=environment)

    def is_allowed(self, email: str, topic: str = "news") -> bool:
        return self("check", "--email", email, "--topic", topic).exit_code == 0

    def json(self, *arguments: str) -> dict[str, Any]:
        """What an import says for programs."""
        found: dict[str, Any] = json.loads(self("import", *arguments, "--json").stdout)
        return found


@pytest.fixture
def heed(monkeypatch: pytest.MonkeyPatch) -> Generator[Heed]:
    for variable in [name for name in os.environ if name.startswith("HEED_")]:
        monkeypatch.delenv(variable)
    with fake_server() as server:
        yield Heed(server)


def test_an_import_suppresses_what_the_vendor_suppressed(heed: Heed) -> None:
    before = heed.is_allowed(GONE)

    result = heed("import", POSTMARK)

    assert result.exit_code == 0, result.output
    assert (before, heed.is_allowed(GONE)) == (True, False)
    assert result.stdout.splitlines()[:3] == [
        "the input: postmark",
        "5 records: 1 bounce, 1 complaint, 2 manual, 1 opt_out, 0 nothing, 0 rejected",
        "5 added, 0 strengthened, 0 unchanged, 0 superseded by something later",
    ]
    assert result.stderr == ""


def test_a_list_may_come_through_a_pipe_and_packed(heed: Heed) -> None:
    packed = gzip.compress(Path(POSTMARK).read_bytes())

    result = heed("import", "-", given=packed)

    assert (result.exit_code, heed.is_allowed(GONE)) == (0, False)


def test_the_same_command_again_is_told_what_it_did(heed: Heed) -> None:
    first, second = heed.json(POSTMARK), heed.json(POSTMARK)

    assert (first["added"], first["replayed"]) == (5, 0)
    assert second == first | {"replayed": 1}


def test_a_dry_run_says_what_would_change_and_changes_nothing(heed: Heed) -> None:
    result = heed("import", POSTMARK, "--dry-run")

    assert result.exit_code == 0
    assert "5 would be added, 0 would be strengthened" in result.stdout
    assert heed.is_allowed(GONE)


def test_an_import_never_lifts_what_stands(heed: Heed, tmp_path: Path) -> None:
    heed("set", "opt-out", "--email", "ada@example.com", "--reach", "all")
    path = tmp_path / "list.csv"
    path.write_text(
        "address,kind,cause,decided_time\n"
        "ada@example.com,opt_in,,2099-01-01T00:00:00Z\n"
        "ada@example.com,opt_out,,2001-01-01T00:00:00Z\n",
        encoding="utf-8",
    )

    result = heed("import", str(path))

    assert result.exit_code == 0
    assert not heed.is_allowed("ada@example.com")


def test_bytes_that_several_formats_fit_are_refused_until_one_is_named(heed: Heed) -> None:
    bare = str(CASES / "bare.txt")

    refused = heed("import", bare)
    named = heed("import", bare, "--as", "cloudflare")

    assert refused.exit_code == 2
    assert "these bytes fit ses-delete, sendgrid-groups, cloudflare and generic" in refused.stderr
    assert (named.exit_code, heed.is_allowed("grace@example.com")) == (0, False)


def test_labels_are_mapped_to_topics(heed: Heed) -> None:
    arguments = (str(CASES / "mailgun-unsubscribes.csv"), "--map-tag", "weekly=marketing.weekly")

    result = heed("import", *arguments)

    assert result.exit_code == 0, result.output
    assert not heed.is_allowed("bob@example.com", "marketing.weekly")
    assert heed.is_allowed("bob@example.com", "marketing.offers")


def test_opt_outs_stand_at_the_channel_and_topic_that_are_said(heed: Heed) -> None:
    arguments = ("--topic", "marketing", "--channel", "any")

    result = heed("import", str(CASES / "mailchimp.zip"), *arguments)

    assert result.exit_code == 0, result.output
    assert not heed.is_allowed("left@example.com", "marketing.weekly")
    assert heed.is_allowed("left@example.com", "orders")
    assert not heed.is_allowed("bounced@example.com", "orders")


def test_the_columns_of_any_list_can_be_named(heed: Heed, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("E-Mail;Grund\nada@example.com;Umzug\n", encoding="utf-8")

    result = heed("import", str(path), "--column", "address=E-Mail", "--cause", "opt_out")

    assert (result.exit_code, heed.is_allowed("ada@example.com")) == (0, False)


def test_rejected_records_are_told_by_place_and_kept_where_the_operator_says(
    heed: Heed, tmp_path: Path
) -> None:
    source, rejects = tmp_path / "ses.csv", tmp_path / "rejected.csv"
    source.write_text("ada@example.com,BOUNCE\ngrace@exa mple.com,BOUNCE\n", encoding="utf-8")

    result = heed("import", str(source), "--rejects", str(rejects))

    assert result.exit_code == 6
    assert result.stderr.startswith("line 2: subject.email: has a domain that is not labels")
    assert "grace" not in result.output
    assert rejects.read_text(encoding="utf-8").startswith("grace@exa mple.com,BOUNCE,")
    assert not heed.is_allowed("ada@example.com")
    corrected = rejects.read_text(encoding="utf-8").replace("exa mple", "example")
    rejects.write_text(corrected, encoding="utf-8")
    assert heed("import", str(rejects)).exit_code == 0
    assert not heed.is_allowed("grace@example.com")


def test_only_the_first_rejected_records_are_told(heed: Heed, tmp_path: Path) -> None:
    source = tmp_path / "ses.csv"
    source.write_text("ada@example.com,BOUNCE\n" + "no address,BOUNCE\n" * 50, encoding="utf-8")

    result = heed("import", str(source))

    assert result.exit_code == 6
    assert result.stderr.count("emailAddress: is no email address") == 20
    assert "and 30 more" in result.stderr
    assert "--rejects FILE keeps rejected records" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.csv"], "No such file"),
        ([POSTMARK, "--as", "postmrak"], "there is no format 'postmrak'"),
        ([POSTMARK, "--map", "weekly"], "is no pair; write it as NAME=VALUE"),
        ([POSTMARK, "--map", "a=b", "--map", "a=c"], "'a' is given twice"),
        ([POSTMARK, "--topic", "Not A Topic"], "topic 'Not A Topic'"),
        ([POSTMARK, "--channel", "emial"], "did you mean 'email'?"),
        ([POSTMARK, "--rejects", POSTMARK], "is the file to import"),
        ([str(CASES / "hashes.txt")], "heed cannot make a subject of a hash"),
    ],
)
def test_what_cannot_be_imported_is_told_and_changes_nothing(
    heed: Heed, arguments: list[str], said: str
) -> None:
    before = Path(POSTMARK).read_bytes()

    result = heed("import", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert heed.is_allowed(GONE)
    assert Path(POSTMARK).read_bytes() == before


def test_a_batch_id_that_named_other_rows_is_refused(heed: Heed) -> None:
    heed("import", POSTMARK, "--batch-id", "autumn")

    result = heed("import", str(CASES / "ses.csv"), "--batch-id", "autumn")

    assert result.exit_code == 4
    assert "IDEMPOTENCY_KEY_REUSED" in result.stderr


def test_a_server_that_is_away_says_how_to_go_on(heed: Heed) -> None:
    heed.server.stop()

    result = heed("import", POSTMARK)

    assert result.exit_code == 3
    assert "the same command again, with the same input, does the rest" in result.stderr
