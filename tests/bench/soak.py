"""Whether memory stays flat in a server and in a client with a cache.

2,000 times the connection of the cache is cut, and between the cuts come an hour's changes: five a
second, 18,000 in all: a sender of ten million messages a day, of which one in 25 brings a change.
They come as fast as they are taken, about the same people again and again, so that what stands does
not grow. Before all that, as many changes are written as fill the page cache of SQLite (32 MiB) and
the window of the stream; both are bounded, and would look like growth. What is read is the resident
memory of both processes, without the first quarter.

`python -m tests.bench.soak ADDRESS FOLDER` is the client.
"""

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, Final, Self
from unittest import mock

import heed
from heed.requests import OptOut, PersonChoices
from tests.bench import messages
from tests.bench.figures import Figure
from tests.bench.nodes import HeedNode
from tests.support.stream_proxy import StreamProxy

FIGURES: Final = (
    "server_growth_mib",
    "server_resident_mib",
    "client_growth_mib",
    "client_resident_mib",
)
RECONNECTS: Final = 2_000
CHANGES_A_RECONNECT: Final = 9
"""Together 18,000: five a second for an hour."""
PEOPLE: Final = 2_000
CHECKS_A_RECONNECT: Final = 100
FILLING_CALLS: Final = 90
FILLING_CHANGES: Final = 1_000
WARM_SHARE: Final = 0.25
SAMPLES: Final = 40
SECONDS_MAX: Final = 60.0
PAUSE_SECONDS: Final = 0.001
WINDOW_BYTES: Final = 1 << 20
"""Of the server's `watch.window_bytes_max`, so that the window is full before anything counts."""
ORIGIN: Final = heed.Origin(source="soak")


def measure_soak(folder: Path) -> list[Figure]:
    """Return how much each process grew."""
    begun = time.perf_counter()
    with (
        HeedNode(folder, variables={"HEED_WATCH_WINDOW_BYTES_MAX": str(WINDOW_BYTES)}) as node,
        StreamProxy(f"127.0.0.1:{node.port}") as proxy,
        heed.SyncClient(f"127.0.0.1:{node.port}", timeout=SECONDS_MAX) as writer,
        _Client(proxy.address, folder / "cache") as client,
    ):
        people = itertools.cycle(range(PEOPLE))
        for number in range(FILLING_CALLS):
            batch = [next(people) for _ in range(FILLING_CHANGES)]
            writer.set_preferences([_choice(one, number) for one in batch], origin=ORIGIN)
        sizes: list[tuple[float, float]] = []
        for number in range(RECONNECTS):
            proxy.cut()
            batch = [next(people) for _ in range(CHANGES_A_RECONNECT)]
            answer = writer.set_preferences([_choice(one, number) for one in batch], origin=ORIGIN)
            client.follow_to(answer.revision)
            if number % (RECONNECTS // SAMPLES) == 0:
                sizes.append((_resident_mib(node.pid), _resident_mib(client.pid)))
                print(
                    f"{number:5} server {sizes[-1][0]:6.1f} MiB, client {sizes[-1][1]:6.1f} MiB",
                    flush=True,
                )
        told = client.end()
    warm = sizes[int(len(sizes) * WARM_SHARE) :]
    quarter = max(len(warm) // 4, 1)
    against = (
        f"resident memory, the median of the last quarter over the first, after {WARM_SHARE:.0%} "
        f"of {RECONNECTS:,} cuts and {RECONNECTS * CHANGES_A_RECONNECT:,} changes "
        f"({told['streams']:,} streams, resyncs {told['resyncs']}, {told['answered']:,} checks, "
        f"{time.perf_counter() - begun:.0f} s)"
    )
    figures: list[Figure] = []
    for at, name in enumerate(("server", "client")):
        first = median(one[at] for one in warm[:quarter])
        last = median(one[at] for one in warm[-quarter:])
        figures += [
            Figure(name=f"{name}_growth_mib", value=last - first, unit="MiB", against=against),
            Figure(name=f"{name}_resident_mib", value=last, unit="MiB", against="at the end"),
        ]
    return figures


class _Client:
    """The process with the cache."""

    def __init__(self, address: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.soak", address, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            text=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def follow_to(self, revision: int) -> None:
        """Return once its cache has a revision, and some checks were asked."""
        self._ask(revision)

    def end(self) -> dict[str, Any]:
        """Return its counts."""
        return self._ask(0)

    def _ask(self, revision: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{revision}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the client ended")
        told: dict[str, Any] = json.loads(line)
        return told


def follow(address: str, folder: str) -> None:
    """Be the client: wait for each revision that is read, and ask about people then.

    It opens its streams again without a pause, since an hour is to pass in minutes.
    """
    people = itertools.cycle(range(2 * PEOPLE))
    with (
        mock.patch("heed.replica.follower.BACKOFF_MAX_SECONDS", 0.02),
        mock.patch("heed.connection.options.RECONNECT_FIRST_MILLISECONDS", 10),
        heed.SyncClient(address, cache=folder, timeout=SECONDS_MAX) as client,
    ):
        client.wait_live(SECONDS_MAX)
        for line in sys.stdin:
            end = time.monotonic() + SECONDS_MAX
            while not client.cache.has(int(line)):
                if time.monotonic() > end:
                    raise SystemExit(
                        f"revision {line.strip()} did not come: {client.cache.stats()}"
                    )
                time.sleep(PAUSE_SECONDS)
            for one in itertools.islice(people, CHECKS_A_RECONNECT):
                client.check(email=messages.email(one), channel="email", topic=messages.TOPIC)
            stats = client.cache.stats()
            told = {
                "streams": stats.streams,
                "resyncs": dict(stats.resyncs),
                "answered": stats.answered,
            }
            print(json.dumps(told), flush=True)


def _choice(person: int, number: int) -> PersonChoices:
    topic = f"{messages.TOPIC}.t{number % 3}"
    return PersonChoices(choices=[OptOut(topic=topic)], email=messages.email(person))


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"process {pid} has no resident memory")


if __name__ == "__main__":
    follow(*sys.argv[1:])
