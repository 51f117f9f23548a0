"""What the README shows is run as it stands, against a real server."""

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, code_blocks
from tests.support.served import WAIT_SECONDS_MAX, Served, environment

README = ROOT / "README.md"
ADDRESS = "127.0.0.1:50051"
"""Where the README's server listens; the test's listens elsewhere."""

pytestmark = pytest.mark.slow


EXIT_CODES = {"check": {10}, "explain": {10}, "import": {0, 6}}
"""By the command: of a person who opted out, and of a list with some rows that are malformed."""

LINES = [
    line
    for block in code_blocks(README, "sh")
    for line in block.splitlines()
    if line.startswith("heed ")
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served, None, None]:
    """A server on which the README's person has opted out."""
    with Served(tmp_path_factory.mktemp("readme")) as served:
        with served.client() as client:
            client.opt_out(email="ada@example.com", topic="marketing", source="readme")
        yield served


def test_the_python_runs_as_it_stands(tmp_path: Path) -> None:
    (code,) = code_blocks(README, "python")
    quoted = f'"{ADDRESS}"'
    assert quoted in code

    with Served(tmp_path) as server:
        # The deadline of 50 ms is for machines that do not run a test suite beside.
        ours = code.replace(quoted, f'"{server.address}", timeout=10')
        done = _run([sys.executable, "-W", "error", "-c", ours])

    assert (done.returncode, done.stdout, done.stderr) == (0, "OPT_OUT\n", "")


@pytest.mark.parametrize("line", LINES)
def test_each_command_runs_as_it_stands(server: Served, line: str) -> None:
    done = _run(["/bin/sh", "-c", line], {"HEED_ADDRESS": server.address})

    assert done.returncode in EXIT_CODES[line.split()[1]], done.stderr
    assert "send" not in done.stdout.splitlines()


def _run(
    command: list[str], variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment({"PATH": path, **(variables or {})}),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS_MAX,
        check=False,
    )
