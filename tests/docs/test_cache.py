"""docs/cache.md says what the code does."""

import dataclasses
from typing import Any, Final

import pytest

import heed
from heed.answers import CacheState, CacheStats
from heed.client import cached
from heed.replica import follower, following, freshness, sampler
from tests.docs.pages import DOCS, code_blocks

PAGE: Final = (DOCS / "cache.md").read_text(encoding="utf-8")


def cells(heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    rows = PAGE[PAGE.index(f"| {heading} |") :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_every_class_stands_on_the_page_with_its_time() -> None:
    said = {name.strip("`"): time for name, time in cells("class of the message")}

    assert said == {
        one.name.lower(): f"{longest.total_seconds():g} s"
        for one, longest in freshness.MAX_STALENESS.items()
    }


def test_every_state_stands_on_the_page() -> None:
    assert [row[0].strip("`") for row in cells("state")] == [state.value for state in CacheState]


def test_every_field_of_the_stats_stands_on_the_page() -> None:
    said = [name.strip("` ") for row in cells("field") for name in row[0].split(",")]

    assert sorted(said) == sorted(field.name for field in dataclasses.fields(CacheStats))


@pytest.mark.parametrize(
    "sentence",
    [
        f"from {freshness.MAX_STALENESS_MIN.seconds} s to {freshness.MAX_STALENESS_MAX.seconds:,} s",
        f"not reached within {cached.CATCH_UP_SECONDS * 1000:g} ms",
        f"one local answer in {1 / sampler.SHARE:,.0f}",
        f"{follower.BACKOFF_FIRST_SECONDS:g} s at most, doubled with each failure",
        f"with each failure up to {follower.BACKOFF_MAX_SECONDS:g} s",
        f"live for {follower.BACKOFF_RESET_NS / 1e9:g} s",
    ],
)
def test_every_bound_stands_on_the_page(sentence: str) -> None:
    assert sentence in PAGE


def test_silence_is_as_long_as_the_page_says() -> None:
    assert following.SILENT_INTERVALS == 3
    assert "Silence for three heartbeats" in PAGE


def test_the_clients_of_the_pages_can_be_made() -> None:
    for page in ("cache.md", "clients.md"):
        (block,) = [one for one in code_blocks(DOCS / page, "python") if "cache=" in one]
        scope: dict[str, Any] = {}
        exec(compile(block, page, "exec"), scope)  # noqa: S102 - our own page

        assert isinstance(scope["open_client"]("key"), heed.SyncClient | heed.Client)
