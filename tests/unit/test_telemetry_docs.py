"""docs/operations.md says what the code does."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from heed_server.auth.policy import Right
from heed_server.cli.exits import Exit
from heed_server.cli.main import app
from heed_server.service.rights import RIGHT_OF_METHOD

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
BEYOND_THE_TABLE = {"consent": {"SetPreference", "BatchSetPreferences"}, "write": {"ImportRecords"}}
"""Methods that need a second right for some of what they do."""


def _rows(heading: str) -> dict[str, str]:
    """The first two cells of a section's table."""
    section = re.split(r"(?m)^#+ ", PAGE.partition(f"# {heading}\n")[2])[0]
    return dict(re.findall(r"(?m)^\| `?([\w.]+)`?[^|]* \| ([^|]+) \|$", section))


@pytest.mark.parametrize("right", Right)
def test_every_right_is_explained_with_the_methods_that_need_it(right: Right) -> None:
    words = set(re.findall(r"\w+", _rows("Rights")[right.value]))

    needing = {method for method, needed in RIGHT_OF_METHOD.items() if needed is right}
    assert words & set(RIGHT_OF_METHOD) == needing | BEYOND_THE_TABLE.get(right.value, set())


def _commands(group: Any, path: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}"


def test_every_command_is_explained() -> None:
    explained = set(re.findall(r"(?m)^\| `heed-server ([\w -]+)` \|", PAGE))

    assert explained == set(_commands(typer.main.get_command(app)))


def test_every_exit_code_is_explained() -> None:
    assert set(_rows("Exit codes")) == {"code", *(str(code.value) for code in Exit)}


def test_every_event_of_the_log_is_explained() -> None:
    logged = set[str]()
    for file in (ROOT / "server" / "heed_server").rglob("*.py"):
        logged |= set(re.findall(r"_log\.[a-z]+\(\s*\"(\w+)\"", file.read_text()))

    assert set(_rows("Logs")) - {"event"} == logged
