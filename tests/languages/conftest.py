"""Each test runs in each language, against each process that answers for heed."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.build_examples import Language
from tests.languages.programs import NAMES, Program, language_named
from tests.support.agents import ServedAgent
from tests.support.served import Served, run_command

RIGHTS = ("check", "write", "watch")
KINDS = ("server", "agent")


class Target:
    """A server with an API key, and before it, where the test says so, an agent's socket."""

    def __init__(self, folder: Path, *, with_agent: bool) -> None:
        self.folder = folder
        folder.mkdir()
        self.server = self._new_server("127.0.0.1:0").start()
        self._agents: list[ServedAgent] = []
        """The last one runs; the socket is that of the first."""
        try:
            self.api_key = self._new_key()
            if with_agent:
                self._start_agent()
        except BaseException:
            self.close()
            raise

    @property
    def process(self) -> Served:
        """What the programs talk to."""
        return self._agents[-1] if self._agents else self.server

    @property
    def address(self) -> str:
        """Where the programs connect."""
        return self.process.address

    def restart(self) -> None:
        """Start what the programs talk to again, where it was; it has ended."""
        self.process.wait()
        if self._agents:
            self._start_agent()
        else:
            self.server = self._new_server(self.server.address).start()

    def opt_out(self, *people: str) -> int:
        """Record opt-outs at the server, and return the revision of the last."""
        with self.server.client(api_key=self.api_key) as client:
            answers = [client.opt_out(email=one, topic="news", source="tests") for one in people]
        return answers[-1].revision

    def close(self) -> None:
        """End all."""
        for one in (*self._agents, self.server):
            one.end()

    def _new_server(self, address: str) -> Served:
        return Served(
            self.folder,
            listen=address,
            variables={"HEED_AUTH_REQUIRED": "true", "HEED_WATCH_HEARTBEAT_SECONDS": "0.5"},
        )

    def _start_agent(self) -> None:
        agent = ServedAgent(
            self.folder,
            self.server.address,
            listen=self._agents[0].address if self._agents else "",
            variables={"HEED_AGENT_API_KEY": self.api_key},
        )
        self._agents.append(agent)
        agent.start().wait_in_step()

    def _new_key(self) -> str:
        flags = [word for right in RIGHTS for word in ("--right", right)]
        made = run_command("keys", "create", "example", "--json", *flags, cwd=self.folder)
        assert made.returncode == 0, made.stderr
        return str(json.loads(made.stdout)["key"])


@pytest.fixture(params=NAMES)
def language(request: pytest.FixtureRequest) -> Language:
    """Each language that this machine can run."""
    return language_named(request.param)


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest, language: Language, tmp_path: Path) -> Iterator[Target]:
    """One that the test may stop. After `language`, so that nothing starts for a skip."""
    yield from _running(tmp_path / "served", request.param)


@pytest.fixture(params=KINDS, scope="session")
def lasting_target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    """One that tests share and leave running; their people and keys are their own."""
    yield from _running(tmp_path_factory.mktemp("served") / "lasting", request.param)


def program_at(language: Language, target: Target, api_key: str | None = None) -> Program:
    """The language's program, told where the target is."""
    key = target.api_key if api_key is None else api_key
    return Program(language=language, address=target.address, api_key=key)


def _running(folder: Path, kind: str) -> Iterator[Target]:
    target = Target(folder, with_agent=kind == "agent")
    try:
        yield target
    finally:
        target.close()
