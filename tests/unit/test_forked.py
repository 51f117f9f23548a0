"""A process that was forked is as one that was started anew."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.forked import Parent
from tests.support.served import Served, run_command

pytestmark = pytest.mark.slow  # each starts processes


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("version",), 0),
        (("--help",), 0),
        (("keys", "create"), 2),
        (("serve", "--nope"), 2),
    ],
)
def test_a_command_says_the_same_and_ends_the_same(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    forked = run_command(*arguments, cwd=tmp_path)
    anew = run_command(*arguments, cwd=tmp_path, anew=True)

    assert forked.returncode == anew.returncode == code
    assert forked.stdout == anew.stdout
    assert forked.stderr == anew.stderr


@pytest.mark.parametrize("anew", [False, True])
def test_a_server_serves_stops_when_told_and_is_killed(tmp_path: Path, anew: bool) -> None:
    with Served(tmp_path, anew=anew) as server:
        with server.client() as client:
            client.opt_out(email="ada@example.com", topic="news", source="tests")
        assert server.process.poll() is None
        assert server.stop() == 0

    with Served(tmp_path, anew=anew) as server:
        with server.client() as client:
            assert not client.check(email="ada@example.com", channel="email", topic="news").allowed
        server.signal(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        assert server.process.poll() == -signal.SIGKILL


def test_each_has_the_folder_and_the_variables_that_it_was_given(tmp_path: Path) -> None:
    for number in (40, 41):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "heed.toml").write_text(f"[limits]\ncalls_max = {number}\n")
        variables = {"HEED_LIMITS_STREAMS_MAX": str(number)}

        done = run_command("serve", "--print-config", cwd=folder, variables=variables)

        lines = done.stdout.splitlines()
        for setting in ("calls_max", "streams_max"):
            assert any(line.startswith(f"{setting} = {number}") for line in lines), done.stdout


def test_where_python_is_told_something_a_process_is_started_anew(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('a Python of its own')")

    done = run_command("version", cwd=tmp_path, variables={"PYTHONPATH": str(tmp_path)})

    assert done.stdout.startswith("a Python of its own\n")


def test_what_forks_ends_with_whoever_started_it_and_what_was_forked_goes_on(
    tmp_path: Path,
) -> None:
    parent = Parent()
    with Path(os.devnull).open("wb") as nowhere:
        forked = parent.fork(
            *("serve", "--listen", "127.0.0.1:0", "--telemetry-metrics-address", ""),
            cwd=tmp_path,
            env=dict(os.environ),
            out=nowhere.fileno(),
            err=nowhere.fileno(),
        )
    with pytest.raises(subprocess.TimeoutExpired):
        forked.wait(0.1)

    parent.close()

    os.kill(forked.pid, signal.SIGKILL)
