"""Each test runs in each language, against each process that answers for heed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.build_examples import Language
from tests.languages.programs import NAMES, Program, language_named
from tests.support.served import Served, run_command

RIGHTS = ("check", "write", "watch")


class Target:
    """A server with an API key, and what stands before it, if anything does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.server = self._new_server("127.0.0.1:0").start()
        rights = [word for right in RIGHTS for word in ("--right", right)]
        made = run_command("keys", "create", "example", "--json", *rights, cwd=folder)
        assert made.returncode == 0, made.stderr
        self.api_key: str = json.loads(made.stdout)["key"]

    @property
    def address(self) -> str:
        """Where the programs connect."""
        return self.server.address

    def restart(self) -> None:
        """Start the server again where it was; it has ended."""
        self.server.wait()
        self.server = self._new_server(self.server.address).start()

    def opt_out(self, *people: str) -> int:
        """Record opt-outs, and return the revision of the last."""
        with self.server.client(api_key=self.api_key) as client:
            answers = [client.opt_out(email=one, topic="news", source="tests") for one in people]
        return answers[-1].revision

    def close(self) -> None:
        """End it."""
        self.server.end()

    def _new_server(self, address: str) -> Served:
        return Served(
            self.folder,
            listen=address,
            variables={"HEED_AUTH_REQUIRED": "true", "HEED_WATCH_HEARTBEAT_SECONDS": "0.5"},
        )


@pytest.fixture(params=NAMES)
def language(request: pytest.FixtureRequest) -> Language:
    """Each language that this machine can run."""
    return language_named(request.param)


@pytest.fixture
def target(language: Language, tmp_path: Path) -> Iterator[Target]:
    """What the programs ask. After `language`, so that nothing starts for one that is skipped."""
    made = Target(tmp_path / "served")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def program(language: Language, target: Target) -> Program:
    """The language's program, told where the target is."""
    return Program(language=language, address=target.address, api_key=target.api_key)
