"""One opt-out, from the button of a mail program to the proof that everybody has applied it.

A mail carries a link; whoever reads it presses the button; each node, cache and agent suppresses;
the dashboard says who applied it and when; a webhook tells the tenant's systems; and somebody who
trusts none of them verifies the receipt.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import heed
from heed.cli.main import app
from tests.support.agents import ServedAgent
from tests.support.caches import CachedSyncClient, GoingClock, wait_until
from tests.support.dashboard import Operator
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.receiver import Receiver, target_file
from tests.support.served import run_command
from tests.support.web import WebServed, path_of, press_at

ADA = "ada@example.com"
PUBLIC_URL = "https://news.example.com"

pytestmark = pytest.mark.slow  # it starts processes


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where the nodes keep their log: one of them its own, or two the same."""
    if request.param == "sqlite":
        yield {}
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    with postgres.database("story") as url:
        yield {"HEED_STORAGE_URL": url}


async def test_a_press_reaches_everybody_and_is_proven_to_a_stranger(
    tmp_path: Path, database: dict[str, str]
) -> None:
    async with Receiver() as receiver:
        hooks = {
            "HEED_WEBHOOKS_TARGETS_FILE": str(target_file(tmp_path, receiver.url)),
            "HEED_WEBHOOKS_PRIVATE_NETWORKS": "127.0.0.0/8",
        }
        story = Story(tmp_path, {**database, **hooks})
        revision = await asyncio.to_thread(story.happen)
        await receiver.until_taken(1)

    (event,) = receiver.taken  # its signature was verified, by the standard's own library
    assert (event.type, event.revision) == ("preference.changed", revision)
    assert event.event["data"]["record"]["kind"] == "opt_out"
    assert ADA.encode() not in event.body


class Story:
    """Who takes part: the node that links lead to, the node that an operator looks at, and those
    that answer a sender; of SQLite both nodes are one."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._folder = folder
        self._variables = {**variables, "HEED_DASHBOARD_ADDRESS": "127.0.0.1:0"}
        self._is_shared = "HEED_STORAGE_URL" in variables

    def happen(self) -> int:
        """Tell all of it; returns the revision of the opt-out."""
        with ExitStack() as taking_part:
            front, back = self._nodes(taking_part)
            client = taking_part.enter_context(front.client())
            cache = taking_part.enter_context(
                CachedSyncClient(back.address, self._folder / "cache", clock=GoingClock())
            )
            agent = taking_part.enter_context(ServedAgent(self._folder, back.address))
            agent.wait_in_step()
            cache.wait_for(0)
            senders = [
                client,
                cache,
                taking_part.enter_context(back.client()),
                taking_part.enter_context(agent.client()),
            ]
            before = [is_suppressed(sender) for sender in senders]

            mail = a_mail(client.make_link(heed.email(ADA), channel="email", topic="news"))
            answers = [press_at(front.edges["public"], path_of(link_in(mail))) for _ in range(2)]
            revision = client.get_preferences(email=ADA).revision
            for sender in senders:
                wait_until(partial(is_suppressed, sender))

            assert before == [False] * len(senders)
            assert [answer.code for answer in answers] == [200, 200]
            assert revision == 1
            self._shows_all(back, revision)
            key = self._gets_receipt(front, revision)
        self._verifies(key, revision)
        return revision

    def _nodes(self, taking_part: ExitStack) -> tuple[WebServed, WebServed]:
        links = {"HEED_WEB_ADDRESS": "127.0.0.1:0", "HEED_WEB_PUBLIC_URL": PUBLIC_URL}
        if not self._is_shared:
            both = WebServed(self._folder, variables={**self._variables, **links})
            taking_part.enter_context(both)
            return both, both
        migrated = run_command("migrate", cwd=self._folder, variables=self._variables)
        assert migrated.returncode == 0, migrated.stderr
        nodes: list[WebServed] = []
        for name, more in (("front", links), ("back", {})):
            folder = self._folder / name
            folder.mkdir()
            listen = f"127.0.0.1:{free_port()}"  # by which a node is named
            node = WebServed(folder, listen=listen, variables={**self._variables, **more})
            nodes.append(taking_part.enter_context(node))
        front, back = nodes
        return front, back

    def _shows_all(self, node: WebServed, revision: int) -> None:
        """The dashboard names everybody who follows, and says that each has applied it, and when."""
        look = Operator(node.edges["dashboard"])
        followers = 4 if self._is_shared else 3
        wait_until(lambda: _is_applied_by(look.tables("propagation"), followers, revision))
        shown = look.tables("propagation")
        rows = shown["subscribers"]["rows"]
        names = {row["subscriber"].partition("/")[0] for row in rows}
        assert names == {"node", "tests", "agent"}
        assert all(re.match(r"20\d\d-", row["applied_time"]) for row in rows)
        (now,) = shown["now"]["rows"]
        assert (now["applied"], now["pending"], now["missing"]) == (len(rows), 0, 0)
        assert b"applied all" in look.at("/propagation")

    def _gets_receipt(self, node: WebServed, revision: int) -> str:
        """Have the operator hand out the receipt; returns the key that a stranger was given once."""
        got = self._heed("audit", "receipt", str(revision), "--out", "ada.tlog-proof", at=node)
        assert got.exit_code == 0, got.stderr
        shown = self._heed("audit", "checkpoint", "--show-key", at=node)
        assert shown.exit_code == 0, shown.stderr
        return shown.stdout.strip()

    def _verifies(self, key: str, revision: int) -> None:
        """A stranger does, with the key and the text alone: no server runs any more."""
        verifying = ("audit", "verify", "--key", key)
        told = self._heed(*verifying, "ada.tlog-proof", "--json")
        receipt = self._folder / "ada.tlog-proof"
        (self._folder / "forged.tlog-proof").write_text(_with_another_leaf(receipt.read_text()))
        forged = self._heed(*verifying, "forged.tlog-proof")

        assert told.exit_code == 0, told.stderr
        said = json.loads(told.stdout)
        assert (said["verified"], said["revision"]) == (True, revision)
        record, origin = said["content"]["record"], said["content"]["origin"]
        assert (record["kind"], record["topic"]) == ("opt_out", "news")
        assert (origin["source"], origin["method"]) == ("link", "one_click")
        assert forged.exit_code == 13  # the control

    def _heed(self, *words: str, at: WebServed | None = None) -> Result:
        address = "127.0.0.1:1" if at is None else at.address
        with chdir(self._folder):
            return CliRunner().invoke(app, list(words), env={"HEED_ADDRESS": address})


def is_suppressed(sender: heed.SyncClient) -> bool:
    """Whether a sender is told not to send."""
    return not sender.check(email=ADA, channel="email", topic="news").allowed


def a_mail(link: heed.Link) -> bytes:
    """A mail as a sender makes one by Python's own library, as it goes on the wire."""
    mail = EmailMessage(policy=SMTP.clone(max_line_length=998))
    mail["Subject"] = "What is new"
    mail["To"] = ADA
    for name, value in link.headers.items():
        mail[name] = value
    mail.set_content(f"To get no more of this: {link.url}\n")
    return mail.as_bytes()


def link_in(mail: bytes) -> str:
    """What a mailbox provider finds: it reads the headers as they came, and decodes nothing."""
    headers = message_from_bytes(mail)
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    found = re.fullmatch(r"<(https://[^>\s]+)>", str(headers["List-Unsubscribe"]))
    assert found is not None, headers["List-Unsubscribe"]
    return found[1]


def _is_applied_by(tables: dict[str, Any], followers: int, revision: int) -> bool:
    return len(tables["subscribers"]["rows"]) == followers and all(
        row["status"] == "applied all" and row["applied_revision"] >= revision
        for row in tables["subscribers"]["rows"]
    )


def _with_another_leaf(receipt: str) -> str:
    """The receipt of another index of the same tree."""
    return re.sub(r"(?m)^index \d+$", "index 1", receipt)
