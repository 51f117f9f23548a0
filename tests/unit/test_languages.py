"""Which examples are run, skipped or missed."""

import sys
from pathlib import Path

import pytest

from scripts.build_examples import Language, Tool
from tests.languages.programs import require_built

PRESENT = Tool(name=sys.executable)
ABSENT = Tool(name="no-such-tool")


def language(tool: Tool, built: Path) -> Language:
    return Language(name="x", tools=(tool,), build=lambda: None, command=(), built=built)


@pytest.mark.parametrize("ci", ["", "true"])
def test_what_is_built_is_run(ci: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", ci)

    assert _outcome(language(PRESENT, tmp_path)) == "run"


@pytest.mark.parametrize(("ci", "outcome"), [("", "skipped"), ("1", "failed"), ("true", "failed")])
def test_what_could_be_built_and_is_not_fails_in_ci(
    ci: str, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)

    assert _outcome(language(PRESENT, tmp_path / "absent")) == outcome


@pytest.mark.parametrize("ci", ["", "true"])
def test_what_cannot_be_built_here_is_skipped(
    ci: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)

    assert _outcome(language(ABSENT, tmp_path / "absent")) == "skipped"


def _outcome(of: Language) -> str:
    try:
        require_built(of)
    except pytest.skip.Exception:
        return "skipped"
    except pytest.fail.Exception:
        return "failed"
    return "run"
