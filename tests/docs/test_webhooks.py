"""The receiver that docs/webhooks.md shows is run as it stands, and the page tells every event."""

import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from heed import Evidence, OptIn, OptOut, Origin, SyncClient, user
from heed.model import Method
from heed_server.webhooks.events import EventType
from heed_server.webhooks.targets import parse_targets
from tests.docs.pages import DOCS, code_blocks, first_cells
from tests.support.ports import free_port
from tests.support.receiver import SECRET, target_file
from tests.support.served import Served

PAGE = DOCS / "webhooks.md"
ORIGIN = Origin(source="docs")


def test_every_event_stands_on_the_page_and_no_other() -> None:
    events = {cell for cell in first_cells(PAGE) if re.fullmatch(r"[a-z_]+\.[a-z_]+", cell)}

    assert events == {one.value for one in EventType}


def test_the_file_of_the_page_is_one(tmp_path: Path) -> None:
    block, _ = code_blocks(PAGE, "toml")
    for one in tomllib.loads(block)["target"]:
        (tmp_path / one["secret_file"]).write_text(SECRET)

    targets = parse_targets(block, source=tmp_path / "targets.toml")

    assert [one.name for one in targets] == ["crm", "pager"]


@pytest.mark.slow
def test_the_receiver_runs_as_it_stands(tmp_path: Path) -> None:
    (code,) = code_blocks(PAGE, "python")
    port = free_port()
    file = target_file(tmp_path, f"http://127.0.0.1:{port}/")
    receiver = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "WEBHOOK_SECRET": SECRET, "PORT": str(port)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert receiver.stdout is not None
    variables = {
        "HEED_WEBHOOKS_TARGETS_FILE": str(file),
        "HEED_WEBHOOKS_PRIVATE_NETWORKS": "127.0.0.0/8",
        "HEED_WEBHOOKS_RETRY_SECONDS_MIN": "0.1",
    }
    try:
        with Served(tmp_path, variables=variables) as server, server.client() as client:
            told: list[str] = []
            for act in (opts_out, opts_in, erases, holds):
                act(client)
                told.append(receiver.stdout.readline())
    finally:
        receiver.kill()
        receiver.communicate()

    assert told == [
        "preference.changed 1 1\n",
        "preference.changed 2 2\n",
        "subject.erased 3 1\n",
        "hold.placed 4 1\n",
    ]


def opts_out(client: SyncClient) -> None:
    client.set_preference(user="u-1", choices=[OptOut(topic="news")], origin=ORIGIN)


def opts_in(client: SyncClient) -> None:
    shown = Evidence(notice="n", notice_version="1", act="ticked", language="en")
    consent = OptIn(channel="email", topic="tips", evidence=shown)
    origin = Origin(source="docs", method=Method.WEB_FORM, decided_time=datetime.now(UTC))
    client.set_preference(user="u-1", choices=[consent], origin=origin)


def erases(client: SyncClient) -> None:
    client.erase_subject([user("u-1")], reason="asked", origin=ORIGIN)


def holds(client: SyncClient) -> None:
    client.place_hold(reason="a look", origin=ORIGIN)
