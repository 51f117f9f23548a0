"""docs/imports.md says what the code does."""

import re
from typing import Final

import pytest

from heed import model
from heed.cli import exits, importing
from heed.formats import FORMATS, documents, streams, tables
from heed.formats.generic import COLUMNS
from heed.formats.protections import TEMPORARY_FAILURE_DAYS
from heed.importing import CHUNK_ROWS_MAX, CHUNKS_IN_FLIGHT, chunks, driver
from tests.docs.pages import DOCS

PAGE: Final = (DOCS / "imports.md").read_text(encoding="utf-8")

BOUNDS: Final = {
    "characters of a line of a table, and of a cell": tables.LINE_CHARACTERS_MAX,
    "characters of a record of a table": tables.RECORD_CHARACTERS_MAX,
    "lines of a record of a table": tables.RECORD_LINES_MAX,
    "characters of a record of JSON": documents.RECORD_CHARACTERS_MAX,
    "files in an archive": streams.MEMBERS_MAX,
    "characters of an address": model.SUBJECT_CHARACTERS_MAX,
    "characters of a reason that are kept": model.REASON_CHARACTERS_MAX,
    "rows of a chunk": CHUNK_ROWS_MAX,
    "characters of a chunk's rows, about": chunks.CHUNK_CHARACTERS_MAX,
    "records behind a chunk, those that are nothing too": chunks.CHUNK_ENTRIES_MAX,
    "chunks under way at once": CHUNKS_IN_FLIGHT,
    "attempts of a chunk whose outcome is unknown, within some 8 s of waiting": (
        len(driver.RETRY_SECONDS) + 1
    ),
    "rejected records told on stderr": importing.REJECTED_SHOWN_MAX,
}


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    lines = iter(PAGE.splitlines())
    for line in lines:
        if line.startswith(f"| {heading} |"):
            next(lines)
            break
    found: list[list[str]] = []
    for line in lines:
        if not line.startswith("|"):
            return found
        found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return found


def test_every_format_stands_on_the_page_as_it_is_in_the_code() -> None:
    assert table("format") == [[f"`{one.name}`", one.file, one.becomes] for one in FORMATS]


def test_every_column_of_a_generic_list_stands_on_the_page() -> None:
    assert [row[0] for row in table("column")] == [f"`{name}`" for name in COLUMNS]


def test_every_bound_stands_on_the_page() -> None:
    assert table("bound") == [[name, f"{most:,}"] for name, most in BOUNDS.items()]


def test_every_vendor_of_the_code_can_be_exported_from_by_the_page() -> None:
    ours = {one.vendor for one in FORMATS} - {"file", ""}

    named = {row[0].lower().replace("amazon ", "") for row in table("vendor")}

    assert named == ours


@pytest.mark.parametrize(
    "code",
    [
        exits.DONE,
        exits.INVALID,
        exits.UNAVAILABLE,
        exits.REFUSED,
        exits.INTERRUPTED,
        exits.SOME_REJECTED,
    ],
)
def test_every_exit_code_stands_on_the_page(code: int) -> None:
    assert str(code) in {row[0] for row in table("exit")}


def test_the_end_of_a_temporary_failure_stands_on_the_page() -> None:
    assert f"ends {TEMPORARY_FAILURE_DAYS} days after its date" in PAGE
