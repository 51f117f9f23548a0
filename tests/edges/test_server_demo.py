"""`make demo` ends well and leaves nothing behind."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.served import WAIT_SECONDS_MAX, environment

pytestmark = pytest.mark.slow  # each starts processes


def test_the_demo_gives_every_answer_it_should_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "heed_server.demo"],
        cwd=tmp_path,
        env=environment({"TMPDIR": str(tmp_path)}),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS_MAX,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    for word in ("mailchimp", "mailgun", "postmark", "sendgrid", "ses", "suppressed", "allowed"):
        assert word in done.stdout
    assert list(tmp_path.iterdir()) == []
