"""The consumer that docs/outbox.md shows is run as it stands, beside a real server and NATS."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from heed import OptOut, Origin
from tests.docs.pages import DOCS, code_blocks, first_cells
from tests.support.nats_server import NatsServer
from tests.support.outbox_reader import Mirror, read_to
from tests.support.served import Served, run_command

PAGE = DOCS / "outbox.md"
ORIGIN = Origin(source="docs")


def replace_lookup_key(folder: Path) -> None:
    """Replace the key that subjects are hashed by; the server moves everybody then."""
    done = run_command("keys", "lookup", "replace", "--reason", "leaked", cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
async def test_the_consumer_runs_as_it_stands(tmp_path: Path) -> None:
    (code,) = code_blocks(PAGE, "python")
    with (
        NatsServer() as nats,
        Served(tmp_path, variables={"HEED_OUTBOX_NATS_URL": nats.url}) as server,
        server.client() as client,
    ):
        server.wait_for("outbox_begun")  # what was written before is not published one by one
        for number in range(30):
            client.opt_out(user=f"u-{number}", source="docs")
        client.set_preference(user="u-3", choices=[OptOut(topic="news")], origin=ORIGIN)
        await read_to(Mirror(), nats.url, 31)
        consumer = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a moment, and no more
            [sys.executable, "-W", "error", "-c", code],
            env={**os.environ, "NATS_URL": nats.url},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert consumer.stdout is not None
        try:
            told = [consumer.stdout.readline() for _ in range(31)]
            client.opt_out(user="u-3", source="docs")
            told.append(consumer.stdout.readline())
            replace_lookup_key(tmp_path)
            moved = [consumer.stdout.readline() for _ in range(31)]
            client.opt_out(user="u-3", source="docs")
            moved.append(consumer.stdout.readline())
        finally:
            consumer.kill()
            consumer.communicate()

    assert told[:2] == ["1 1\n", "2 2\n"]
    assert told[30:] == ["31 31\n", "32 31\n"]
    assert moved[30:] == ["63 31\n", "64 31\n"]  # in the place of what was moved


@pytest.mark.slow
async def test_every_header_and_subject_that_is_published_stands_on_the_page(
    tmp_path: Path,
) -> None:
    mirror = Mirror()
    with (
        NatsServer() as nats,
        Served(tmp_path, variables={"HEED_OUTBOX_NATS_URL": nats.url}) as server,
        server.client() as client,
    ):
        client.declare_topic("news", topic_class="promotional", origin=ORIGIN)
        hold = client.place_hold(reason="a look", origin=ORIGIN)
        client.lift_hold(hold.hold.hold_id, origin=ORIGIN, reason="looked")
        client.set_preference(
            user="u-1", choices=[OptOut(channel="email"), OptOut()], origin=ORIGIN
        )
        replace_lookup_key(tmp_path)
        await read_to(mirror, nats.url, 7)
    cells = first_cells(PAGE)

    assert mirror.headers <= {cell for cell in cells if cell.startswith("ce-")} | {
        "Nats-Msg-Id",
        "Nats-Expected-Stream",
        "Nats-Expected-Last-Sequence",
    }
    assert {cell for cell in cells if cell.startswith("ce-")} <= mirror.headers
    shown = {re.sub(r"<\w+>", r"\\w+", cell) for cell in cells if cell.startswith("heed.<")}
    assert all(any(re.fullmatch(one, subject) for one in shown) for subject in mirror.subjects)
    assert "heed.default.rekey" in mirror.subjects
