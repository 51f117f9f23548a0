"""What the oldest Python that heed runs on does otherwise than the one that the tests run on."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("client/heed", "server/heed_server")
    for path in (ROOT / folder).rglob("*.py")
)


def raises_in_except_star(source: str) -> list[int]:
    """The lines where an error is raised inside an `except*`."""
    return [
        raised.lineno
        for tried in ast.walk(ast.parse(source))
        if isinstance(tried, ast.TryStar)
        for handler in tried.handlers
        for raised in ast.walk(handler)
        if isinstance(raised, ast.Raise)
    ]


def test_no_error_is_raised_in_an_except_star() -> None:
    """Python before 3.11.4, which Debian 12 has, puts it in a group that nobody catches."""
    found = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if (lines := raises_in_except_star(path.read_text()))
    }

    assert len(SOURCES) > 100
    assert found == {}


@pytest.mark.parametrize("raised", ["raise", "raise failed.exceptions[0] from None"])
def test_one_that_is_would_be_found(raised: str) -> None:
    source = f"try:\n    pass\nexcept* OSError as failed:\n    if failed:\n        {raised}\n"

    assert raises_in_except_star(source) == [5]
