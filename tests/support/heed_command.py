"""The `heed` command, run in the test's own process against a heed in memory."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from heed.cli.main import app
from tests.support.fake_server import FakeServer, fake_server

VARIABLES = (
    "HEED_ADDRESS",
    "HEED_API_KEY",
    "HEED_API_KEY_FILE",
    "HEED_CA_FILE",
    "HEED_TENANT",
)


class Heed:
    """The command, pointed at a server."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server

    def __call__(self, *arguments: str, given: str | bytes | None = None) -> Result:
        environment = {"HEED_ADDRESS": self.server.address, "COLUMNS": "200"}
        return CliRunner().invoke(app, list(arguments), input=given, env=environment)

    def json(self, *arguments: str) -> Any:
        """The one JSON value that a command prints."""
        result = self(*arguments, "--json")
        assert result.stderr == ""
        return json.loads(result.stdout)


@contextmanager
def heed_command(monkeypatch: pytest.MonkeyPatch) -> Generator[Heed]:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    with fake_server() as server:
        yield Heed(server)
