"""JSON of any length, in constant memory."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heed.formats import UnusableInputError, documents
from heed.formats.documents import document_records, line_records
from heed.formats.tables import Broken
from tests.support.imported import words_of

KEYS = st.text(max_size=5).filter(lambda key: key not in documents.CONTAINERS)
"""An object with one of the others is a page, and stands for the records in it."""

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value is cut by the edge of what is read at once."""
    monkeypatch.setattr(documents, "_READ_CHARACTERS", 3)


def _records(text: str) -> list[Any]:
    return [record for _, record in document_records(io.StringIO(text))]


@given(
    values=st.lists(VALUES, max_size=8),
    indent=st.sampled_from([None, 1, 4]),
    size=st.sampled_from([1, 2, 7, 64]),
)
def test_an_array_is_read_as_the_json_module_reads_it(
    values: list[Any], indent: int | None, size: int
) -> None:
    text = json.dumps(values, indent=indent)
    before, documents._READ_CHARACTERS = documents._READ_CHARACTERS, size  # type: ignore[misc]  # pyright: ignore[reportPrivateUsage, reportConstantRedefinition]
    try:
        assert _records(text) == json.loads(text)
    finally:
        documents._READ_CHARACTERS = before  # type: ignore[misc]  # pyright: ignore[reportPrivateUsage, reportConstantRedefinition]


def test_pages_one_after_another_are_one_list(small_reads: None) -> None:
    pages = [
        {"NextToken": "x", "Suppressions": [{"a": 1}, {"a": 2}]},
        {"Suppressions": []},
        {"Suppressions": [{"a": 3}]},
    ]

    assert _records("".join(json.dumps(page, indent=2) for page in pages)) == [
        {"a": 1},
        {"a": 2},
        {"a": 3},
    ]
    assert _records(json.dumps(pages)) == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_a_page_larger_than_a_records_bound_is_read_element_by_element() -> None:
    page = {
        "meta": {"total": 30_000, "next": [1, 2, {"deep": []}]},
        "data": [{"to": f"+1312555{number:04}", "keyword": "STOP"} for number in range(30_000)],
        "after": "the list",
    }
    text = json.dumps(page)
    assert len(text) > documents.RECORD_CHARACTERS_MAX

    assert _records(text) == page["data"]


def test_bare_texts_of_a_named_list_are_known_by_its_name() -> None:
    assert _records('{"recipient_emails":["a@example.com"]}') == [
        {"recipient_emails": "a@example.com"}
    ]


@pytest.mark.parametrize(
    "text",
    [
        '[{"a":1},{"a":2',
        '[{"a":1},{"a":2}',
        '[{"a":1},{"a":2},',
        '[{"a":1} {"a":2}]',
        '[{"a":1},{"a":}]',
        '{"Suppressions":[{"a":1},{"a":2}',
        '{"Suppressions":[{"a":1},{"a":2}]',
        '{"Suppressions":[{"a":1}]}{"Suppressions":[{"a"',
        '[{"a":1}]]',
        '[{"a":1},' + "[" * 100_000,
        '[{"a":1},"' + "x" * (documents.RECORD_CHARACTERS_MAX + 10) + '"]',
        '[{"a":1},' + "9" * 10_000 + "]",
        '{"Suppressions":[{"a":1}],["b"]:1}',
    ],
)
def test_what_stands_before_the_damage_is_read_and_the_damage_is_named(text: str) -> None:
    found: list[object] = []

    with pytest.raises(UnusableInputError, match=r"after record \d; what stands before is read"):
        found.extend(record for _, record in document_records(io.StringIO(text)))

    assert found[0] == {"a": 1}


def test_a_broken_line_of_json_lines_costs_itself_alone() -> None:
    text = '{"emailAddress":"a@example.com","reason":"BOUNCE"}\n{"emailAddress":"b@exam\n\n{"emailAddress":"c@example.com","reason":"BOUNCE"}\n{"emailAddress"'

    assert words_of(text.encode()) == [
        "bounce a@example.com",
        "rejected : is no JSON",
        "bounce c@example.com",
        "rejected : is no JSON",
    ]


def test_a_line_beyond_its_bound_is_given_up_and_the_next_is_read() -> None:
    text = '{"a":1}\n{"a":"' + "x" * (2 * documents.RECORD_CHARACTERS_MAX) + '"}\n{"a":3}\n'

    first, second, third = line_records(io.StringIO(text))

    assert (first, third) == ((1, {"a": 1}), (3, {"a": 3}))
    assert isinstance(second[1], Broken)


def test_deep_nesting_in_a_line_is_broken_and_nothing_more() -> None:
    text = '{"a":1}\n{"a":' + "[" * 100_000 + "\n"

    _, second = line_records(io.StringIO(text))

    assert isinstance(second[1], Broken)
