"""Delimited text: strict quoting, and what it costs to break it."""

import csv
import io
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.formats import tables
from heed.formats.tables import Broken, Table, delimiter_of
from tests.support.imported import options, read, words_of

HEADER: Final = "status,reason,email,created\n"


def _records(text: str, delimiter: str = ",") -> list[tuple[int, list[str] | Broken]]:
    return list(Table(io.StringIO(text, newline=""), delimiter).records())


CELLS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00@"), max_size=20)
ROWS = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=20)
)


@given(
    rows=ROWS,
    delimiter=st.sampled_from(tables.DELIMITERS),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_writer_of_csv_writes_is_read_as_it_was(
    rows: list[list[str]], delimiter: str, line_end: str
) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(
        written, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL
    )
    writer.writerows(rows)

    found = [cells for _, cells in _records(written.getvalue(), delimiter)]

    assert found == [row for row in rows if "".join(row).strip()]


@given(st.text(alphabet='ab,"\n\r@', max_size=200))
def test_no_line_is_lost_whatever_the_quotation_marks(text: str) -> None:
    """Each line that holds an `a` is in some record, or is given back broken."""
    said = "".join(
        found.text if isinstance(found, Broken) else "".join(found) for _, found in _records(text)
    )

    assert said.count("a") == text.count("a")
    assert said.count("@") == text.count("@")


def test_a_stray_quotation_mark_costs_its_own_line_alone() -> None:
    text = (
        HEADER
        + '5.1.1,"550 no such user,one@example.com,1790083507\n'
        + "5.1.1,550 no such user,two@example.com,1790083507\n"
        + '5.1.1,"550 quoted, and right",three@example.com,1790083507\n'
        + '5.1.1,"550 again,four@example.com,1790083507\n'
    )

    becomes = words_of(text.encode(), options(format_name="sendgrid-bounces"))

    assert [words.split()[:2] for words in becomes] == [
        ["rejected", ":"],
        ["bounce", "two@example.com"],
        ["bounce", "three@example.com"],
        ["rejected", ":"],
    ]


def test_two_stray_quotation_marks_do_not_swallow_the_row_between() -> None:
    text = (
        HEADER
        + '5.1.1,"550,one@example.com,1790083507\n'
        + "5.1.1,550,two@example.com,1790083507\n"
        + '",550,three@example.com,1790083507\n'
    )

    becomes = words_of(text.encode(), options(format_name="sendgrid-bounces"))

    assert any("two@example.com" in words for words in becomes)


def test_a_reason_may_span_lines_and_hold_commas() -> None:
    text = (
        HEADER
        + '5.1.1,"550 5.1.1 no such user\nas you, dear sender,\nsay",ada@example.com,1790083507\n'
    )

    (entry,) = read(text.encode(), options(format_name="sendgrid-bounces"))

    assert words_of(text.encode(), options(format_name="sendgrid-bounces")) == [
        (
            "bounce ada@example.com at=2026-09-22T13:25:07Z "
            "reason=550 5.1.1 no such user as you, dear sender, say"
        )
    ]
    assert entry.place == 2


def test_a_record_is_known_by_its_first_line() -> None:
    text = 'a,"x\ny"\n\nb,c\n"d\n'

    assert [number for number, _ in _records(text)] == [1, 4, 5]


def test_a_line_beyond_its_bound_is_given_up_and_the_next_is_read() -> None:
    text = "a,b\n" + "x" * (2 * tables.LINE_CHARACTERS_MAX + 5) + ",y\nc,d\n"

    first, second, third = _records(text)

    assert (first[1], third) == (["a", "b"], (3, ["c", "d"]))
    assert isinstance(second[1], Broken)
    assert "more than 131072 characters" in second[1].description


@pytest.mark.parametrize(
    "line", ["x" * 1000 + "\n", "\n"], ids=["by its characters", "by its lines"]
)
def test_a_quotation_mark_that_is_never_closed_is_given_up_at_a_bound(line: str) -> None:
    text = 'a,"b\n' + line * 2_000 + "c,d\n"

    records = _records(text)

    assert isinstance(records[0][1], Broken)
    assert records[-1] == (2_002, ["c", "d"])


@pytest.mark.parametrize(
    ("line", "delimiter"),
    [
        ("email,created\n", ","),
        ("email;created\n", ";"),
        ("email\tcreated", "\t"),
        ("email|created", "|"),
        ('"a,b,c";"d,e"\r\n', ";"),
        ("sep=;\r\n", ";"),
        ("email\n", ","),
    ],
)
def test_the_delimiter_is_the_one_that_stands_most_often_outside_quotes(
    line: str, delimiter: str
) -> None:
    assert delimiter_of(line) == delimiter
