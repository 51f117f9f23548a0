"""Tables as files: nothing in them is computed, left out, or markup."""

import asyncio
import csv
import io
import json
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from pypdf import PdfReader

from heed.model import Instant, Revision
from heed.task_group import TaskGroup
from heed_server.web.dashboard import exporting
from heed_server.web.dashboard.charts import Bar, BarChart, Chart, LineChart, Series, Tone, drawn
from heed_server.web.dashboard.exports import as_pdf as as_pdf_module
from heed_server.web.dashboard.exports.as_csv import CUT, as_csv
from heed_server.web.dashboard.exports.as_json import as_json
from heed_server.web.dashboard.exports.as_pdf import as_pdf
from heed_server.web.dashboard.exports.stamp import Stamp, file_name
from heed_server.web.dashboard.tables import Cell, Column, Kind, State, Table
from heed_server.web.dashboard.texts import seconds_shown, shown
from heed_server.web.dashboard.view import Shown
from heed_server.web.dashboard.views import now

WAIT_SECONDS_MAX = 30
NOW = Instant(1_800_000_000_250_000)
STAMP = Stamp(
    view="now",
    title="Now & then <b>",
    tenant="shop",
    asked_by="jané <i>",
    now=NOW,
    revision=Revision(7),
)
COLUMNS = (
    Column("text", "Text"),
    Column("number", "Number", Kind.NUMBER),
    Column("time", "Time", Kind.INSTANT),
    Column("state", "State", Kind.STATE),
    Column("names", "Names", is_for_files=True),
)


def table(*texts: str, is_cut: bool = False) -> Table:
    rows: list[list[Cell]] = [
        [one, 12_345, NOW, State("behind", Tone.WARN), ("a", "b")] for one in texts
    ]
    return Table(name="rows", title="Rows", columns=COLUMNS, rows=rows, is_cut=is_cut)


def rows_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def printed(*tables: Table) -> list[str]:
    made = as_pdf(Shown(tables=tables, now=NOW, revision=Revision(7)), STAMP)
    return [page.extract_text() for page in PdfReader(io.BytesIO(made.content)).pages]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("\N{FULLWIDTH EQUALS SIGN}1+1", "'\N{FULLWIDTH EQUALS SIGN}1+1"),
        ("-", "'-"),
        ("\t1", "'\t1"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("\n=1", "'\n'=1"),
        ("a;=1", "a;'=1"),
        ("a; @x;b;+1", "a;' @x;b;'+1"),
        ("a\t-1", "a\t'-1"),
        ("a\r\n=1", "a\r\n'=1"),
    ],
)
def test_what_a_spreadsheet_would_compute_is_text(text: str, written: str) -> None:
    """However it parts cells: with some languages by semicolons, and by tabs when it is told to."""
    _, (cell, *_) = rows_of(as_csv(table(text)))

    assert cell == written


def test_a_list_begins_no_formula_in_its_midst() -> None:
    column = Column("names", "Names")
    rows = Table(name="rows", title="Rows", columns=(column,), rows=[[("a", "=1", "b")]])

    _, (cell,) = rows_of(as_csv(rows))

    assert cell == "a;' =1; b"


@pytest.mark.parametrize(
    "text", ['a "quoted" cell', "two\r\nlines", "a,b", "", "中文", "a=b", "x'", "a; b=c", "a,=b"]
)
def test_any_other_text_is_as_it_was(text: str) -> None:
    _, row = rows_of(as_csv(table(text)))

    assert row == [text, "12345", "2027-01-15T08:00:00.250Z", "behind", "a; b"]


def test_csv_ends_its_lines_as_the_rfc_has_it_and_says_where_it_was_cut() -> None:
    content = as_csv(table("one", is_cut=True))

    assert content.count(b"\r\n") == content.count(b"\n") == 3
    assert rows_of(content)[-1] == [CUT, "", "", "", ""]


def test_json_has_every_column_and_where_it_comes_from() -> None:
    told = json.loads(as_json(Shown(tables=(table("=x"),), now=NOW, revision=Revision(7)), STAMP))

    assert (told["tenant"], told["revision"], told["time"]) == (
        "shop",
        7,
        "2027-01-15T08:00:00.250Z",
    )
    assert told["tables"]["rows"]["rows"] == [
        {
            "text": "=x",
            "number": 12_345,
            "time": "2027-01-15T08:00:00.250Z",
            "state": "behind",
            "names": ["a", "b"],
        }
    ]


def test_pdf_says_on_every_page_what_it_is_and_which_page() -> None:
    pages = printed(table(*map(str, range(200))))

    assert len(pages) > 2
    for number, text in enumerate(pages, start=1):
        assert f"page {number} of {len(pages)}" in text
        assert "heed · Now & then <b> · shop · 2027-01-15 08:00:00 UTC" in text
        assert "Text" in text  # the heads of the columns are repeated
    assert "by jané <i>" in pages[0]
    assert "revision 7 of the log" in pages[0]
    assert "Names" not in pages[0]


def test_pdf_shows_markup_as_text_and_names_what_its_font_has_not() -> None:
    markup = "<font color=\"[[[getattr(pow,Word('__globals__'))]]]\">x</font>&lt;"

    (text,) = printed(table(markup, "中 und Ω", "a" * 500))

    assert markup.replace(" ", "") in text.replace("\n", "").replace(" ", "")
    assert "[U+4E2D] und" in text


def test_a_row_that_is_higher_than_a_page_goes_on_at_the_next() -> None:
    """As that of an opt-in whose evidence is long."""
    pages = printed(table("word " * 1_000, "last"))

    assert len(pages) > 1
    assert sum(page.count("word") for page in pages) == 1_000
    assert "last" in pages[-1]


def test_a_pdf_is_cut_where_its_texts_are_long_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(as_pdf_module, "PDF_CHARACTERS_MAX", 2_000)
    rows = table("x" * 3_000, "second"), table(*["中" * 50] * 9), table("short")

    made = as_pdf(Shown(tables=rows, now=NOW, revision=Revision(7)), STAMP)

    assert [(len(one.rows), one.is_cut) for one in made.tables] == [
        (1, True),
        (4, True),
        (1, False),
    ]
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(made.content)).pages)
    assert text.count("Cut here") == 2
    assert text.count("x") >= 3_000


@pytest.mark.parametrize("name", exporting.FORMATS)
async def test_a_file_is_made_off_the_loop_that_answers_checks(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    threads: set[int] = set()
    make = getattr(exporting, f"as_{name}")

    def noting(*said: Any) -> Any:
        threads.add(threading.get_ident())
        return make(*said)

    monkeypatch.setattr(exporting, f"as_{name}", noting)
    rows = Shown(tables=(table("one"),), now=NOW)

    made = await exporting.export(name, now.VIEW, rows, "", tenant="shop", asked_by="jane")

    assert made is not None
    assert len(threads - {threading.get_ident()}) == 1


def test_a_pdf_is_given_up_at_its_next_page() -> None:
    looks = iter([False, True])

    with pytest.raises(as_pdf_module.NotWantedError):
        as_pdf(Shown(tables=(table(*["row"] * 200),), now=NOW), STAMP, lambda: next(looks))


async def test_a_pdf_that_nobody_waits_for_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, given_up = threading.Event(), threading.Event()

    def print_slowly(view: Shown, _: Stamp, is_given_up: Callable[[], bool]) -> object:
        begun.set()
        end = monotonic() + WAIT_SECONDS_MAX
        while not is_given_up() and monotonic() < end:
            given_up.wait(0.001)
        given_up.set()
        return as_pdf_module.Printed(b"", view.tables)

    monkeypatch.setattr(exporting, "as_pdf", print_slowly)
    rows = Shown(tables=(table("one"),), now=NOW)

    async with TaskGroup() as group:
        left = group.create_task(
            exporting.export("pdf", now.VIEW, rows, "", tenant="shop", asked_by="jane")
        )
        await asyncio.to_thread(begun.wait, WAIT_SECONDS_MAX)
        left.cancel()

    assert await asyncio.to_thread(given_up.wait, WAIT_SECONDS_MAX / 2)


async def test_a_pdf_that_nobody_waits_for_ends_before_the_next_is_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, may_end, under_way = threading.Event(), threading.Event(), threading.Semaphore(1)

    def print_slowly(view: Shown, stamp: Stamp, _: Callable[[], bool]) -> as_pdf_module.Printed:
        assert under_way.acquire(blocking=False)
        begun.set()
        assert may_end.wait(WAIT_SECONDS_MAX)
        under_way.release()
        return as_pdf_module.Printed(stamp.title.encode(), view.tables)

    monkeypatch.setattr(exporting, "as_pdf", print_slowly)
    rows = Shown(tables=(table("one"),), now=NOW)

    async def export() -> exporting.Exported | None:
        return await exporting.export("pdf", now.VIEW, rows, "", tenant="shop", asked_by="jane")

    async with TaskGroup() as group:
        left = group.create_task(export())
        await asyncio.to_thread(begun.wait, WAIT_SECONDS_MAX)
        left.cancel()
        later = [group.create_task(export()) for _ in range(2)]
        await asyncio.sleep(0)
        may_end.set()

    assert left.cancelled()
    assert [made.content for one in later if (made := one.result())] == [b"Now", b"Now"]


def test_a_name_of_a_file_is_of_plain_characters() -> None:
    assert file_name(STAMP, "a/b", is_cut=True) == "heed-shop-now-a-b-1800000000-cut"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0123, "12 ms"),
        (2.345, "2.3 s"),
        (184, "3 min 4 s"),
        (7_265, "2 h 1 min"),
        (183_600, "2 d 3 h"),
        (-184, "\N{MINUS SIGN}3 min 4 s"),
    ],
)
def test_a_duration_is_told_by_its_two_largest_units(seconds: float, text: str) -> None:
    assert seconds_shown(seconds) == text
    assert shown(seconds, Kind.SECONDS) == text


@pytest.mark.parametrize(
    "chart",
    [
        BarChart(
            name="a",
            title="<b>",
            description='"&',
            bars=[
                Bar(label="<script>" * 20, value=0, shown="0"),
                Bar(label="b", value=3, shown="3"),
            ],
        ),
        BarChart(name="a", title="t", description="d", bars=[]),
        LineChart(
            name="a",
            title="<b>",
            description="d",
            unit="",
            begin="<",
            end="now",
            series=[Series(label="x", values=[None, 0, 1]), Series(label="y", values=[])],
        ),
        LineChart(
            name="a",
            title="t",
            description="d",
            unit="",
            begin="",
            end="",
            series=[Series(label="x", values=[0.0, 0.0])],
        ),
    ],
    ids=["bars", "no bars", "lines", "nothing happened"],
)
def test_a_chart_is_well_formed_and_says_in_words_what_it_is(chart: Chart) -> None:
    svg = ET.fromstring(str(drawn(chart)))  # noqa: S314 - our own

    ids = str(svg.get("aria-labelledby")).split()
    said = {one.get("id"): one.text for one in svg.iter() if one.get("id")}
    assert [said[one] for one in ids] == [chart.title, chart.description]
    assert not any(one.get("style") for one in svg.iter())
    assert {one.tag for one in svg.iter()} <= {
        "svg",
        "title",
        "desc",
        "text",
        "rect",
        "line",
        "polyline",
    }
