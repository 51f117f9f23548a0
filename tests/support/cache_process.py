"""A process with a client and its cache, told by lines what to do: what several of a host are.

    python -m tests.support.cache_process ADDRESS FOLDER

It reads a command a line and writes an answer a line, both JSON. `freeze` makes the owner stop for
ever, and say so, at the next of: a change in the middle of its transaction, holding LMDB's lock
(`apply`); a change that is committed and not told yet (`told`); a snapshot that is written and not
whole (`snapshot`).
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self
from unittest import mock

import heed
from heed.index.changes import write_changes
from heed.index.shared import SharedIndex
from heed.replica.owned import Owned
from heed.replica.replica import Replica

WAIT_SECONDS_MAX = 60
TAKE_OVER_SECONDS_MAX = 2.0
"""As docs/cache.md promises: from the kill of the owner until another process has the lock and has
opened its stream. Both run by then, so that nothing is added for starting them."""


class CacheProcess:
    """Such a process, from outside."""

    def __init__(self, address: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.cache_process", address, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def ask(self, command: str, **said: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"command": command, **said}) + "\n")
        self.process.stdin.flush()
        return self.line()

    def line(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process ended"
        return json.loads(line)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(WAIT_SECONDS_MAX)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def records_of(replica: Replica) -> dict[str, str]:
    """Everything that a cache's index holds, by key."""
    generation = replica.state().generation
    return {key.hex(): encoded.hex() for key, encoded in replica.index(generation).records_by_key()}


def main(address: str, folder: str) -> None:
    frozen = threading.Event()
    with heed.SyncClient(address, cache=folder, timeout=5) as client:
        for line in sys.stdin:
            said = json.loads(line)
            _say(_do(client, said, frozen))
            if said["command"] == "close":
                return


def _do(client: heed.SyncClient, said: dict[str, Any], frozen: threading.Event) -> Any:
    match said["command"]:
        case "check":
            answer = client.check(email=said["email"], channel="email", topic="news")
            return [answer.allowed, answer.source]
        case "live":
            client.wait_live()
            return client.cache.stats().is_owner
        case "wait":
            while not client.cache.has(said["revision"]):
                frozen.wait(0.005)
            return client.cache.stats().revision
        case "own":
            while not client.cache.stats().is_owner:
                frozen.wait(0.005)
            return client.cache.stats().revision
        case "stats":
            stats = client.cache.stats()
            return {"is_owner": stats.is_owner, "revision": stats.revision, "state": stats.state}
        case "records":
            return records_of(client.cache._replica)
        case "freeze":
            _freeze(frozen, said["at"])
            return "will"
        case "fork":
            return _fork(client)
        case "close":
            return "closing"
        case _:
            raise ValueError(said)


def _fork(client: heed.SyncClient) -> int:
    """Fork a process that says what the cache is to it, and then stays until it is killed."""
    cache = client.cache
    child = os.fork()
    if child:
        return child
    sys.stdin.close()
    _FORKED.wait(0.2)  # after the parent's answer
    _say(cache.state)
    while True:
        signal.pause()


_FORKED = threading.Event()
"""Never set."""


def _say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _freeze(frozen: threading.Event, at: str) -> None:
    def stop() -> None:
        _say("frozen")
        frozen.wait()

    def write(*args: Any) -> None:
        write_changes(*args)
        stop()

    def tell(owned: Owned, **said: Any) -> None:
        if said.get("revision") is not None:
            stop()
        told(owned, **said)

    def complete(*_: Any) -> None:
        stop()

    told = Owned._tell
    match at:
        case "apply":
            mock.patch("heed.index.shared.write_changes", write).start()
        case "told":
            mock.patch.object(Owned, "_tell", tell).start()
        case "snapshot":
            mock.patch.object(SharedIndex, "complete", complete).start()
        case _:
            raise ValueError(at)


if __name__ == "__main__":
    main(*sys.argv[1:])
