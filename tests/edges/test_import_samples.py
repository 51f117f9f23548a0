"""The main job on real input: vendors' files go in, and checks on those addresses come out right."""

import json
import os
import uuid
from collections.abc import Generator
from typing import Any

import pytest
from typer.testing import CliRunner

from heed import SyncClient
from heed.cli.main import app
from heed.model import TopicClass
from heed.requests import Origin
from tests.support.imported import CASES
from tests.support.postgres import Postgres
from tests.support.roots import shared_root_file
from tests.support.served import Served, run_command

TABLE: list[dict[str, Any]] = json.loads((CASES / "cases.json").read_text(encoding="utf-8"))
NOT_IMPORTED = {"cloudflare.csv", "bare.txt", "heed-export.csv"}
"""They are of the same addresses as others, and would hide what those do."""
IMPORTED_TWICE = {"mailchimp.zip", "mailgun-bounces.csv", "generic.csv"}

NEWS, WEEKLY, ORDERS, SECURITY = "news", "marketing.weekly", "orders", "security"

CHECKS = [
    ("ses", "recipient1@example.com", SECURITY, "suppression"),
    ("ses", "Recipient2@Example.com", ORDERS, "suppression"),
    ("ses, of a complaint", "recipient2@example.com", SECURITY, ""),
    ("ses-list", "recipient0@example.com", NEWS, "suppression"),
    ("ses-delete", "recipient4@example.com", NEWS, ""),
    ("ses-contacts", "all@example.com", NEWS, "opt_out"),
    ("ses-contacts", "all@example.com", ORDERS, ""),
    ("ses-contacts, a mapped topic", "some@example.com", WEEKLY, "opt_out"),
    ("ses-contacts, no opt-out", "none@example.com", NEWS, ""),
    ("sendgrid-bounces", "gone@example.com", SECURITY, "suppression"),
    ("sendgrid-bounces, normalised", "nomx@EXAMPLE.org", SECURITY, "suppression"),
    ("sendgrid-unsubscribes", "leaver@example.com", ORDERS, "opt_out"),
    ("sendgrid-unsubscribes", "leaver@example.com", SECURITY, ""),
    ("sendgrid-invalid", "nobody@invalid", SECURITY, "suppression"),
    ("sendgrid-spam", "annoyed@example.com", NEWS, "suppression"),
    ("sendgrid-groups", "two@example.com", WEEKLY, "opt_out"),
    ("sendgrid-groups, another topic", "two@example.com", NEWS, ""),
    ("sendgrid-groups, unmapped", "three@example.com", NEWS, ""),
    ("mailgun-bounces", "alice@example.com", SECURITY, "suppression"),
    ("mailgun-bounces, without date", "carol@example.com", SECURITY, "suppression"),
    ("mailgun-bounces, 4xx, without date", "dave@example.com", ORDERS, "suppression"),
    ("mailgun-bounces, 4xx, ended", "bob@example.com", ORDERS, ""),
    ("mailgun-unsubscribes, a mapped tag", "bob@example.com", WEEKLY, "opt_out"),
    ("mailchimp-unsubscribed", "left@example.com", NEWS, "opt_out"),
    ("mailchimp-unsubscribed", "left@example.com", ORDERS, ""),
    ("mailchimp-cleaned", "bounced@example.com", SECURITY, "suppression"),
    ("mailchimp-subscribed", "reader@example.com", NEWS, ""),
    ("mailchimp, old", "stays@example.com", NEWS, ""),
    ("listmonk", "anon@example.com", NEWS, "suppression"),
    ("listmonk, enabled", "john@example.com", NEWS, ""),
    ("postmark", "address@wildbit.com", NEWS, "opt_out"),
    ("postmark", "bounce.address@wildbit.com", SECURITY, "suppression"),
    ("postmark", "spam.complaint.address@wildbit.com", ORDERS, "suppression"),
    ("postmark", "by.hand@wildbit.com", ORDERS, "suppression"),
    ("postmark", "by.admin@wildbit.com", SECURITY, ""),
    ("twilio-consents", "+1 999 999 9991", SECURITY, "opt_out"),
    ("twilio-consents, opted in", "+19999999992", NEWS, ""),
    ("telnyx-sms", "+13125550001", SECURITY, "opt_out"),
    ("telnyx-email", "hard@example.com", SECURITY, "suppression"),
    ("telnyx-email, opted out", "quit@example.com", ORDERS, "opt_out"),
    ("telnyx-email, of a group", "group@example.com", WEEKLY, "opt_out"),
    ("telnyx-email, removed", "back@example.com", NEWS, ""),
    ("generic", "+436601234567", SECURITY, "opt_out"),
    ("generic", "grace@example.com", WEEKLY, "opt_out"),
    ("generic, legal but narrow", "legal@example.com", NEWS, "suppression"),
    ("generic, legal but narrow", "legal@example.com", ORDERS, ""),
    ("generic, an opt-in is nothing", "back@example.com", NEWS, ""),
]


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def imported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Generator[SyncClient]:
    """A server that every sample was imported into, by the command; some a second time."""
    flags: tuple[str, ...] = ()
    folder = tmp_path_factory.mktemp("server")
    if request.param == "postgres":
        running: Postgres = request.getfixturevalue("postgres")
        url = running.create_database(f"heed_import_{uuid.uuid4().hex}")
        flags = ("--database", url, "--keys-root-file", str(shared_root_file()))
        assert run_command("migrate", *flags, cwd=folder).returncode == 0
    with Served(folder, *flags) as server, server.client() as client:
        _declare(client)
        for case in TABLE:
            if "refused" not in case and case["file"] not in NOT_IMPORTED:
                _import(server, case)
        before = client.check(email="x@example.com", channel="email").revision
        for case in TABLE:
            if case["file"] in IMPORTED_TWICE:
                _import(server, case)
        assert client.check(email="x@example.com", channel="email").revision == before
        yield client


def _declare(client: SyncClient) -> None:
    origin = Origin(source="test")
    client.declare_topic(ORDERS, topic_class=TopicClass.TRANSACTIONAL, origin=origin)
    client.declare_topic(
        SECURITY,
        topic_class=TopicClass.MANDATORY,
        mandatory_channels=["email", "sms"],
        origin=origin,
    )


def _import(server: Served, case: dict[str, Any]) -> None:
    said = case.get("options", {})
    if said.get("format_name") in {"sendgrid-blocks", "sendgrid-spam"}:
        return  # the same bytes, as something else
    arguments = ["import", str(CASES / case["file"]), "--as", said.get("format_name", "")]
    for option in ("topic", "cause"):
        arguments += [f"--{option}", said.get(option, "")]
    for label, topic in said.get("topics", {}).items():
        arguments += ["--map", f"{label}={topic}"]
    bare = {name: "" for name in os.environ if name.startswith("HEED_")}
    result = CliRunner().invoke(app, arguments, env={**bare, "HEED_ADDRESS": server.address})
    has_rejected = any(words.startswith("rejected") for words in case["becomes"])
    assert result.exit_code == (6 if has_rejected else 0), result.output


def test_checks_after_imports_come_out_right(imported: SyncClient) -> None:
    """One test for all of them, since the imports before cost the most."""
    found = [
        (why, whom, topic, _stopped_by(imported, whom, topic)) for why, whom, topic, _ in CHECKS
    ]

    assert found == CHECKS


def _stopped_by(client: SyncClient, whom: str, topic: str) -> str:
    """The rule that suppresses a message; empty if it is allowed."""
    if whom.startswith("+"):
        answer = client.check(phone=whom, channel="sms", topic=topic)
    else:
        answer = client.check(email=whom, channel="email", topic=topic)
    assert answer.rule is not None
    return "" if answer.allowed else answer.rule.name.lower()
