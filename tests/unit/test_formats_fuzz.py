"""Whatever the bytes: rows, rejections or one clear refusal, never another error."""

import io
from contextlib import suppress
from pathlib import Path
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from heed.formats import FORMATS, UnusableInputError, entries, lists
from heed.importing.chunks import chunks_of
from tests.support.imported import CASES, options

SAMPLES: Final = sorted(path for path in CASES.iterdir() if path.name != "cases.json")
NAMES: Final = ["", *(one.name for one in FORMATS)]
PIECES: Final = [
    *(
        b"\x00",
        b"\xff",
        b'"',
        b"'",
        b"\\",
        b",",
        b";",
        b"\t",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b"<",
        b"@",
    ),
    *(b"{", b"}", b"[", b"]", b":", b"null", b"true", b"-1", b"1e999", b"NaN", b"\xed\xa0\x80"),
    *(rb"\ud800", b"[" * 3_000, b"9" * 5_000, b"0001-01-01", b"9999-12-31T23:59:59Z", b"%40"),
    *(b"\xef\xbb\xbf", b"\x1f\x8b", b"PK\x03\x04", b"heed: ", b"heed_error", b"sep=;\n"),
]
EDITS: Final = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(PIECES) | st.binary(max_size=8)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=400, deadline=None)
@given(path=st.sampled_from(SAMPLES), edits=EDITS, name=st.sampled_from(NAMES))
def test_an_edited_sample_is_read_or_refused(
    path: Path, edits: list[tuple[float, int, bytes]], name: str
) -> None:
    data = path.read_bytes()
    for place, length, piece in edits:
        at = round(place * len(data))
        data = data[:at] + piece + data[at + length :]

    with suppress(UnusableInputError):
        told = lists(io.BytesIO(data), options(format_name=name, topic="t", cause="opt_out"))
        for chunk in chunks_of(entries(told)):
            assert chunk.read >= len(chunk.entries) + len(chunk.rejected)
            chunk.rows.SerializeToString()


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=400), name=st.sampled_from(NAMES))
def test_any_bytes_are_read_or_refused(data: bytes, name: str) -> None:
    with suppress(UnusableInputError):
        told = lists(io.BytesIO(data), options(format_name=name, topic="t", cause="opt_out"))
        for chunk in chunks_of(entries(told)):
            assert chunk.read >= len(chunk.entries) + len(chunk.rejected)
            chunk.rows.SerializeToString()
