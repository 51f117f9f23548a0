"""What the pages say to try on one host is tried: their commands run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, code_blocks
from tests.support.ports import free_port
from tests.support.served import Served, environment

WEB, INBOUND, RECEIVER = ("127.0.0.1:8080", "127.0.0.1:8083", "127.0.0.1:8084")
BIN = Path(sys.executable).parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="the commands are of curl"),
]


class Trial:
    """A server as the pages start it, on ports of its own, and a shell beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {told: f"127.0.0.1:{free_port()}" for told in (WEB, INBOUND, RECEIVER)}
        (folder / "inbound.toml").write_text(self.source())
        (folder / "trial.toml").write_text(self.here(code_blocks(DOCS / "webhooks.md", "toml")[1]))
        self.server = Served(
            folder,
            variables={
                "HEED_WEB_ADDRESS": self.ports[WEB],
                "HEED_WEB_PUBLIC_URL": f"http://{self.ports[WEB]}",
                "HEED_INBOUND_ADDRESS": self.ports[INBOUND],
                "HEED_INBOUND_FILE": "inbound.toml",
                "HEED_WEBHOOKS_TARGETS_FILE": "trial.toml",
                "HEED_WEBHOOKS_PRIVATE_NETWORKS": "127.0.0.0/8",
                "HEED_WEBHOOKS_RETRY_SECONDS_MIN": "0.1",
            },
        )

    def here(self, text: str) -> str:
        """A text of a page, at the ports of this trial."""
        for told, ours in self.ports.items():
            text = text.replace(told, ours)
        return text

    def source(self) -> str:
        """The last source that the page shows, which is Postmark's."""
        (block,) = code_blocks(DOCS / "inbound.md", "toml")
        return "[[source]]" + block.rpartition("[[source]]")[2]

    def run(self, block: str) -> str:
        """Run commands of a page; return what they print."""
        done = subprocess.run(
            ["bash", "-c", self.here(block)],
            cwd=self.folder,
            env={
                **environment(),
                "HEED_ADDRESS": next(iter(self.server.serving.get("addresses", ())), ""),
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                "COLUMNS": "200",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    trial = Trial(tmp_path_factory.mktemp("trial"))
    trial.run(trial_of("inbound.md", "umask").replace("cat >", "true >"))
    trial.run(trial_of("webhooks.md", "new-secret > trial").splitlines()[0])
    with trial.server:
        yield trial


def trial_of(page: str, begin: str) -> str:
    """The block of commands of a page that has these words."""
    (block,) = [one for one in code_blocks(DOCS / page, "sh") if begin in one]
    return block


def test_a_link_is_pressed(trial: Trial) -> None:
    told = trial.run(trial_of("unsubscribe.md", "link=$("))

    assert re.match(r"200\nsuppressed\n  opt_out: opt_out at any marketing\.weekly", told), told


def test_a_page_is_opened(trial: Trial) -> None:
    told = trial.run(trial_of("preference-page.md", "page=$("))

    assert told == "200\n"
    assert "Your choices" in (trial.folder / "page.html").read_text()


def test_a_bounce_is_reported(trial: Trial) -> None:
    told = trial.run(trial_of("inbound.md", "RecordType"))

    assert re.match(r"taken\s*suppressed\n  suppression: bounce at email", told), told


def test_a_change_is_told_to_a_receiver(trial: Trial) -> None:
    (code,) = code_blocks(DOCS / "webhooks.md", "python")
    (trial.folder / "receiver.py").write_text(trial.here(code).replace(*ports_of(trial)))
    secret = (trial.folder / "trial.secret").read_text().strip()
    with subprocess.Popen(
        [sys.executable, "receiver.py"],
        cwd=trial.folder,
        env={**os.environ, "WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        text=True,
    ) as receiver:
        assert receiver.stdout is not None
        try:
            told = trial.run(trial_of("webhooks.md", "webhooks test trial"))
            heard = {receiver.stdout.readline().split()[0] for _ in range(2)}
        finally:
            receiver.kill()

    assert "trial took it" in told
    assert "preference.changed" in heard


def ports_of(trial: Trial) -> tuple[str, str]:
    """The default port of the receiver that the page shows, and this trial's."""
    return f'"{RECEIVER.rpartition(":")[2]}"', f'"{trial.ports[RECEIVER].rpartition(":")[2]}"'
