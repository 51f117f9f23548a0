"""A real `heed-server agent` in a process of its own, and what its replica holds.

with Served(tmp_path) as server, ServedAgent(tmp_path, server.address) as agent:
    agent.wait_in_step(); agent.client() …
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import heed
from heed.index.shared import SharedIndex
from heed.keys import Keyer
from heed.records import decode_records
from tests.support.caches import wait_until
from tests.support.served import Served


class ServedAgent(Served):
    """An agent on a unix socket of its own unless told otherwise, its replica in the folder."""

    command = "agent"

    def __init__(
        self,
        folder: Path,
        upstream: str,
        *flags: str,
        name: str = "agent",
        listen: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        # A path of pytest's would be too long for a socket.
        self._sockets = tempfile.TemporaryDirectory(prefix="heed-")
        self.replica = folder / f"{name}-replica"
        super().__init__(
            folder,
            *flags,
            listen=listen or f"unix:{self._sockets.name}/heed.sock",
            variables={
                "HEED_AGENT_UPSTREAM": upstream,
                "HEED_AGENT_CACHE_DIR": str(self.replica),
                "HEED_AGENT_SUBSCRIBER": name,
                **(variables or {}),
            },
        )

    @property
    def revision(self) -> int:
        return int(self.metrics()["heed_index_revision"])

    def asked(self) -> float:
        """How many Checks it had its upstream answer."""
        return self.metrics()['heed_agent_asked_total{answered="yes"}']

    def wait_in_step(self) -> Self:
        self.wait_for("replica_in_step")
        return self

    def wait_for_revision(self, revision: int) -> None:
        wait_until(lambda: self.revision >= revision)

    def end(self) -> None:
        super().end()
        self._sockets.cleanup()


def held(folder: Path) -> dict[str, list[int]]:
    """The revisions of the records of each subject in the one index of a replica, by its key."""
    (generation,) = folder.glob("gen-*")
    index = SharedIndex.open(generation)
    return {
        key.hex(): sorted(record.revision for record in decode_records(encoded))
        for key, encoded in index.records_by_key()
    }


def standing(client: heed.SyncClient, folder: Path) -> dict[str, list[int]]:
    """The same of a server's records, under the lookup key that the replica was given."""
    (generation,) = folder.glob("gen-*")
    view, _ = SharedIndex.open(generation).find_all((), None)
    keyer = Keyer(view.source.lookup_keys[0][1])
    found: dict[str, list[int]] = {}
    for one in client.export_records():
        assert one.subject is not None
        found.setdefault(keyer.key(one.subject).hex(), []).append(one.record.revision)
    return {key: sorted(revisions) for key, revisions in found.items()}
