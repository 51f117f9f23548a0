"""Sample files as exporters write them, and what each record becomes: tests/cases/imports."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from typing import Any, Final

import pytest

from heed.formats import FORMATS, UnusableInputError, entries, lists
from tests.support.imported import CASES, options, words_of, words_of_entry

TABLE: list[dict[str, Any]] = json.loads((CASES / "cases.json").read_text(encoding="utf-8"))


def _id(case: dict[str, Any]) -> str:
    said = case.get("options", {})
    return " ".join([case["file"], *(f"{name}={value}" for name, value in said.items())])


@pytest.mark.parametrize("case", TABLE, ids=_id)
def test_a_vendors_file_becomes_what_the_table_says(case: dict[str, Any]) -> None:
    said = options(**case.get("options", {}))

    with (CASES / case["file"]).open("rb") as stream:
        if "refused" in case:
            with pytest.raises(UnusableInputError) as refused:
                lists(stream, said)
            assert str(refused.value) == case["refused"]
            return
        told = lists(stream, said)
        becomes = [words for entry in entries(told) for words in words_of_entry(entry)]

    assert [one.format.name for one in told if one.format] == case["formats"]
    assert becomes == case["becomes"]


def test_every_format_has_a_sample() -> None:
    told = {name for case in TABLE for name in case.get("formats", ())}
    named = {
        case["options"]["format_name"] for case in TABLE if "format_name" in case.get("options", {})
    }

    assert {one.name for one in FORMATS} - told - named == {"hashes"}  # it is only ever refused


def test_every_sample_is_in_the_table() -> None:
    files = {path.name for path in CASES.iterdir()} - {"cases.json"}

    assert files == {case["file"] for case in TABLE}


def _zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("list.csv", data)
    return packed.getvalue()


PACKINGS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zip": _zipped,
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "UTF-16 with mark": lambda data: data.decode().encode("utf-16"),
    "UTF-16 without mark": lambda data: data.decode().encode("utf-16-le"),
    "UTF-32": lambda data: data.decode().encode("utf-32"),
    "line feeds": lambda data: data.replace(b"\r\n", b"\n"),
    "carriage returns and line feeds": lambda data: data.replace(b"\r\n", b"\n").replace(
        b"\n", b"\r\n"
    ),
    "blank lines before": lambda data: b"\n \r\n" + data,
    "no line end at its end": lambda data: data.rstrip(b"\r\n"),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(
    "file", ["ses.csv", "mailgun-bounces.csv", "mailchimp-unsubscribed.csv", "postmark.json"]
)
def test_a_file_is_the_same_however_it_is_packed_and_encoded(file: str, packing: str) -> None:
    data = (CASES / file).read_bytes()

    assert words_of(PACKINGS[packing](data)) == words_of(data)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_table_is_the_same_with_another_delimiter(delimiter: str) -> None:
    data = (CASES / "sendgrid-unsubscribes.csv").read_bytes()

    assert words_of(data.replace(b",", delimiter.encode())) == words_of(data)


def test_a_first_line_that_names_the_delimiter_is_no_record() -> None:
    data = (CASES / "sendgrid-unsubscribes.csv").read_bytes()

    assert words_of(b"sep=;\r\n" + data.replace(b",", b";")) == words_of(data)


def test_an_archive_of_one_file_of_no_format_is_refused_before_any_record() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ses.csv", "ada@example.com,BOUNCE\n")
        archive.writestr("readme.csv", "name,colour\nsky,blue\n")

    with pytest.raises(UnusableInputError, match=r"readme\.csv: no format"):
        lists(packed, options())


def test_what_a_desktop_adds_to_an_archive_is_no_list() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.mkdir("export")
        archive.writestr("export/ses.csv", "ada@example.com,BOUNCE\n")
        archive.writestr("__MACOSX/._ses.csv", b"\x00\x05\x16\x07")
        archive.writestr("export/.DS_Store", b"\x00\x00\x00\x01Bud1")

    assert words_of(packed.getvalue()) == ["bounce ada@example.com"]


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b'{"Suppressions": []}',
        b'{"SuppressedDestinationSummaries":[],"NextToken":null}\n',
        b"email,created\n",
        b"address,tags,created_at\r\n",
    ],
)
def test_an_export_of_nothing_is_no_error(data: bytes) -> None:
    assert words_of(data) == []


@pytest.mark.parametrize("data", [b"", b" \r\n\n", b"\xef\xbb\xbf"])
def test_an_input_without_text_is_refused(data: bytes) -> None:
    with pytest.raises(UnusableInputError, match="an export of nothing still has its header"):
        words_of(data)


def test_a_format_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UnusableInputError, match="no format 'sendgird'; there are ses, "):
        words_of(b"a@example.com,BOUNCE", options(format_name="sendgird"))


def test_a_format_that_is_named_but_does_not_fit_is_refused_with_what_the_file_has() -> None:
    with pytest.raises(
        UnusableInputError,
        match="postmark needs EmailAddress, SuppressionReason; the file has the columns created, email",
    ):
        words_of(b"email,created\nada@example.com,1\n", options(format_name="postmark"))


def test_a_topic_that_is_none_is_refused_before_the_file_is_read() -> None:
    with pytest.raises(UnusableInputError, match="topic 'Marketing News'"):
        words_of(b"email,created\nada@example.com,1\n", options(topic="Marketing News"))


def test_no_refusal_quotes_an_address() -> None:
    for data in (b"ada@example.com,what\n", b"ada@example.com\n", b'[{"mail":"ada@example.com"}]'):
        with pytest.raises(UnusableInputError) as refused:
            words_of(data)
        assert "ada" not in str(refused.value)


def test_opt_outs_stand_where_the_operator_says_and_suppressions_of_the_address() -> None:
    said = options(topic="marketing", channel=None)
    data = (CASES / "postmark.json").read_bytes()

    becomes = words_of(data, said)

    assert becomes[0] == "opt_out address@wildbit.com topic=marketing at=2019-12-10T13:58:33Z"
    assert not any("topic=" in words for words in becomes[1:])


def test_columns_of_any_list_can_be_named() -> None:
    data = b"Kunde;E-Mail;Abgemeldet am\nAda;ada@example.com;2026-01-31 09:00\n"
    said = options(columns={"address": "e-mail", "decided_time": "Abgemeldet am"}, cause="opt_out")

    assert words_of(data, said) == ["opt_out ada@example.com at=2026-01-31T21:00:00Z"]


def test_a_column_that_is_not_there_is_refused() -> None:
    data = b"Kunde;E-Mail\nAda;ada@example.com\n"

    with pytest.raises(UnusableInputError, match="there is no column e-post; the file has e-mail"):
        words_of(data, options(columns={"address": "E-Post"}, cause="opt_out"))


def test_a_column_that_heed_does_not_read_is_refused() -> None:
    with pytest.raises(UnusableInputError, match="--column has no adress; it has address, type"):
        words_of(b"a;b\n1;2\n", options(columns={"adress": "a"}, cause="opt_out"))


def test_a_cause_that_is_none_is_refused() -> None:
    with pytest.raises(UnusableInputError, match="--cause is none of opt_out, bounce"):
        words_of(b"address\na@example.com\n", options(cause="unsubscribed"))


def test_a_row_of_more_or_fewer_cells_than_its_header_is_rejected() -> None:
    data = (
        b"status,reason,email,created\n"
        b"5.1.1,550 no such user, sorry,ada@example.com,1790083507\n"
        b"5.1.1,grace@example.com\n"
        b"5.1.1,550,alan@example.com,1790083507,,\n"
    )

    assert words_of(data, options(format_name="sendgrid-bounces")) == [
        "rejected : has 5 cells, 4 belong there",
        "rejected : has 2 cells, 4 belong there",
        "bounce alan@example.com at=2026-09-22T13:25:07Z reason=5.1.1 550",
    ]


def test_a_rejected_record_is_given_back_as_it_stood() -> None:
    from tests.support.imported import read

    (entry,) = read(b"email,created\n not an address ,1790083507\n")

    assert entry.raw == [" not an address ", "1790083507"]
    assert entry.place == 2


def test_bytes_that_are_no_utf_8_matter_only_in_cells_that_are_used() -> None:
    header = b"uuid,email,name,attributes,status,created_at,updated_at\n"
    latin = (
        "1,ada@example.com,Zoë,{},blocklisted,,\n2,zoë@example.com,Zoe,{},blocklisted,,\n".encode(
            "latin-1"
        )
    )

    assert words_of(header + latin) == [
        "manual ada@example.com",
        "rejected email: has bytes that are not UTF-8; save the file as UTF-8",
    ]


@pytest.mark.parametrize("record", ['["ada@example.com"]', "17", "null", "true"])
def test_a_record_of_json_that_is_no_object_is_rejected(record: str) -> None:
    first = '{"EmailAddress":"ada@example.com","SuppressionReason":"HardBounce"}'
    data = f"[{first},{record}]"

    assert words_of(data.encode())[1] == "rejected : is no object"


@pytest.mark.parametrize("value", ['["ada@example.com"]', "{}", "true"])
def test_a_member_of_json_that_is_no_text_is_rejected(value: str) -> None:
    data = '[{"EmailAddress":' + value + ',"SuppressionReason":"HardBounce"}]'

    assert words_of(data.encode())[0].startswith("rejected EmailAddress: is a ")


def test_json_cannot_smuggle_half_a_character_into_a_row() -> None:
    data = rb'[{"EmailAddress":"a\ud800@example.com","SuppressionReason":"HardBounce"}]'

    assert words_of(data) == [
        "rejected EmailAddress: has bytes that are not UTF-8; save the file as UTF-8"
    ]


def test_reading_twice_gives_the_same_rows() -> None:
    data = (CASES / "mailchimp.zip").read_bytes()
    told = lists(io.BytesIO(data), options())

    assert [words_of_entry(entry) for entry in entries(told)] == [
        words_of_entry(entry) for entry in entries(told)
    ]
