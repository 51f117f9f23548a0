"""docs/clients.md shows what the programs of examples/ have, and what the library does itself."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

from heed.connection.options import service_config
from tests.docs.pages import DOCS, ROOT, code_blocks

CLIENTS = DOCS / "clients.md"
GO = ROOT / "examples" / "go"
JAVA = ROOT / "examples" / "java" / "src" / "main" / "java" / "dev" / "heed" / "example"
TYPESCRIPT = ROOT / "examples" / "typescript" / "src"

SNIPPETS = [
    ("go", GO / "ask.go"),
    ("java", JAVA / "Ask.java"),
    ("typescript", TYPESCRIPT / "ask.ts"),
]
CONNECTIONS = [GO / "connection.go", JAVA / "Connection.java", TYPESCRIPT / "connection.ts"]


@pytest.mark.parametrize(("language", "file"), SNIPPETS, ids=lambda it: getattr(it, "name", it))
def test_the_snippets_are_those_of_the_programs(language: str, file: Path) -> None:
    (shown,) = code_blocks(CLIENTS, language)
    source = file.read_text(encoding="utf-8")

    assert "UNAVAILABLE" in shown.upper()
    assert shown in source or textwrap.indent(shown, "  ") in source


@pytest.mark.parametrize("file", CONNECTIONS, ids=lambda it: it.name)
def test_every_program_has_the_service_config_that_the_page_shows(file: Path) -> None:
    (shown,) = code_blocks(CLIENTS, "json")
    found = re.search(
        r"(\{\n\s*\"loadBalancingConfig\".*?\n\s*\})(?:`|\n\s*\"\"\")",
        file.read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )

    assert found is not None
    assert json.loads(found[1]) == json.loads(shown)


def test_the_service_config_is_the_librarys_for_the_methods_that_it_names() -> None:
    (shown,) = code_blocks(CLIENTS, "json")
    ours, library = json.loads(shown), json.loads(service_config())
    ours_by_method, by_method = _policies(ours), _policies(library)

    assert ours_by_method
    assert ours_by_method.items() <= by_method.items()
    for name in ("loadBalancingConfig", "retryThrottling"):
        assert ours[name] == library[name]


def _policies(config: dict[str, Any]) -> dict[str, str]:
    """By each method, when and how often it is tried again."""
    return {
        f"{name['service']}/{name['method']}": _policy(part["retryPolicy"])
        for part in config["methodConfig"]
        for name in part["name"]
    }


def _policy(said: dict[str, Any]) -> str:
    seconds = {
        name: float(str(said[name]).removesuffix("s")) for name in ("initialBackoff", "maxBackoff")
    }
    return json.dumps({**said, **seconds}, sort_keys=True)
