"""Servers of the release before are replaced, one after the other, while senders go on.

The release before is run from its own sources, as git has them: real processes of the old code, on
the database that the new code has migrated under them.
"""

import asyncio
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from heed import HeedError, SyncClient
from heed_server.backup.file import BackupReader
from heed_server.backup.restoring import restore_backup
from heed_server.backup.taking import take_backup
from heed_server.storage import StorageLimits, SystemClock
from tests.support.postgres import Postgres
from tests.support.releases import unpack
from tests.support.served import WAIT_SECONDS_MAX, Served, run_command

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

RELEASE_BEFORE = "be9c22ab754454853a85d4ee5dce084b1fd13e30"
"""The last commit of schema 3, before the row of `compatibility`."""
SENDERS = 4
PAUSE_SECONDS = 0.01


@pytest.fixture(scope="module")
def old_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where Python finds the release before."""
    folder = tmp_path_factory.mktemp("old")
    yield unpack(RELEASE_BEFORE, folder)
    shutil.rmtree(folder)


@dataclass
class Sending:
    """Senders behind a balancer: they write an opt-out at one node and check for it at another.

    A balancer sends nothing new to a node that is about to stop; what is under way there goes on.
    """

    failures: list[str] = field(default_factory=list)
    wrongly_allowed: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    checks: int = 0
    _addresses: tuple[str, ...] = ()
    _is_over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def balance(self, nodes: Sequence[Served]) -> None:
        """Send to these from now on."""
        self._addresses = tuple(node.address for node in nodes)

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=self._send, args=(number,)) for number in range(SENDERS)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(WAIT_SECONDS_MAX)

    def until_more(self, count: int) -> None:
        """Wait until so many more opt-outs were acknowledged."""
        wanted = len(self.acknowledged) + count
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, self.failures[:3]
            time.sleep(PAUSE_SECONDS)

    def _send(self, sender: int) -> None:
        with ExitStack() as exits:
            clients: dict[str, SyncClient] = {}
            number = 0
            while not self._is_over.wait(PAUSE_SECONDS):
                number += 1
                addresses = self._addresses
                for address in addresses:
                    if address not in clients:
                        clients[address] = exits.enter_context(SyncClient(address, timeout=10))
                at = clients[addresses[number % len(addresses)]]
                other = clients[addresses[(number + 1) % len(addresses)]]
                self._ask(f"sender{sender}-{number}@example.com", at, other)

    def _ask(self, name: str, at: SyncClient, other: SyncClient) -> None:
        try:
            told = at.opt_out(email=name, source="tests")
            self.acknowledged.append(name)
            known = other.check(email=name, channel="email", token=told.token)
            unknown = at.check(email=f"not-{name}", channel="email")
        except HeedError as error:
            self.failures.append(f"{name}: {error!r}")
            return
        self.checks += 2
        if known.allowed:
            self.wrongly_allowed.append(name)
        if not unknown.allowed:
            self.failures.append(f"not-{name} was suppressed")


def test_no_check_fails_while_the_nodes_of_the_release_before_are_replaced(
    tmp_path: Path, old_path: str
) -> None:
    with ExitStack() as exits:
        postgres = exits.enter_context(Postgres())
        url = postgres.create_database("heed_rolling")
        new = {"HEED_STORAGE_URL": url}
        old = {**new, "PYTHONPATH": old_path, "HEED_KEYS_ROOT_FILE": ""}
        assert run_command("migrate", cwd=tmp_path, variables=old).returncode == 0
        folders = [tmp_path / "a", tmp_path / "b"]
        for folder in folders:
            folder.mkdir()

        def serve(number: int, variables: dict[str, str]) -> Served:
            return exits.enter_context(Served(folders[number], variables=variables))

        nodes = [serve(number, old) for number in range(2)]
        sending = Sending()
        sending.balance(nodes)
        with sending:
            sending.until_more(50)
            migrated = run_command("migrate", cwd=tmp_path, variables=new)
            assert migrated.returncode == 0, migrated.stderr
            sending.until_more(50)
            for number in range(2):
                node = nodes[number]
                sending.balance([nodes[1 - number]])
                sending.until_more(5 * SENDERS)
                assert node.stop() == 0
                nodes[number] = serve(number, new)
                sending.balance(nodes)
                sending.until_more(50)

        assert sending.failures == []
        assert sending.wrongly_allowed == []
        assert sending.checks > 300
        for node in nodes:
            with node.client() as client:
                for name in sending.acknowledged:
                    assert not client.check(email=name, channel="email").allowed
        assert asyncio.run(verified_revision(url, tmp_path)) == len(sending.acknowledged)


async def verified_revision(url: str, folder: Path) -> int:
    """Take the log through every check of a restore: dense, and every hash computed again."""
    limits, now = StorageLimits(), SystemClock().now()
    taken = await take_backup(url, folder / "a.backup", now=now, limits=limits)
    back = await restore_backup(
        f"sqlite:///{folder / 'verified.db'}",
        BackupReader(taken.path),
        erased=(),
        sets_aside=False,
        now=now,
        limits=limits,
    )
    return back.restored.logs[0].revision
