"""A legitimate caller beside a flood: how long its Checks take, and how many are not answered."""

import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from tests.support import requests as ask

CHECK_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What became of Checks, asked one after the other."""

    seconds: tuple[float, ...]
    """How long each took that was answered, sorted."""
    refused: int
    """How many were not."""

    @property
    def p99(self) -> float:
        """The 99th of 100 that were answered, in seconds; where none was, as long as was waited."""
        if not self.seconds:
            return CHECK_SECONDS_MAX
        return self.seconds[int(len(self.seconds) * 0.99)]

    @property
    def answered_share(self) -> float:
        """The share of those that were answered."""
        return len(self.seconds) / (len(self.seconds) + self.refused)


@contextmanager
def attack(name: str, host: str, port: int | str, seconds: float) -> Generator[Callable[[], bool]]:
    """Attack for so long in a process of its own; gives what says whether it is over.

    An attacker has a machine of its own: this one gives way to the server and to the caller.
    """
    process = subprocess.Popen(
        [
            *("nice", "-n", "19", sys.executable, "-m", "tests.support.http2_attacker"),
            *(name, host, str(port), f"--seconds={seconds}"),
        ],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield lambda: process.poll() is not None
        process.wait(seconds + 30)
    finally:
        process.kill()
        process.wait()


@contextmanager
def caller(address: str) -> Generator[Callable[[Callable[[], bool], float], Checked]]:
    """Give what checks again and again over one connection, until it is over or for so long."""
    request = ask.check().SerializeToString()
    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/heed.v1.PreferenceService/CheckSuppression"
        )

        def checked(is_over: Callable[[], bool], seconds_max: float) -> Checked:
            took: list[float] = []
            refused = 0
            ends_at = time.monotonic() + seconds_max
            while time.monotonic() < ends_at and not is_over():
                began = time.perf_counter()
                try:
                    check(request, timeout=CHECK_SECONDS_MAX)
                except grpc.RpcError:
                    refused += 1
                else:
                    took.append(time.perf_counter() - began)
            return Checked(seconds=tuple(sorted(took)), refused=refused)

        yield checked


def resident_bytes(pid: int) -> int:
    """How much memory a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024
