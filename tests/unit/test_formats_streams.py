"""From bytes to text: packed, encoded, damaged."""

import bz2
import gzip
import io
import lzma
import zipfile

import pytest

from heed.formats import UnusableInputError, streams
from tests.support.imported import options, read, words_of

LIST = b"".join(b"user%d@example.com,BOUNCE\n" % number for number in range(20_000))


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress], ids=["gzip", "bzip2", "xz"]
)
def test_packed_bytes_that_are_cut_short_are_refused_and_said_so(pack: object) -> None:
    packed = pack(LIST)  # type: ignore[operator]  # pyright: ignore[reportCallIssue]

    with pytest.raises(UnusableInputError, match="damaged or cut short"):
        read(packed[: len(packed) // 2])


def test_an_archive_that_is_cut_short_is_refused() -> None:
    with pytest.raises(UnusableInputError, match="the archive is damaged or cut short"):
        read(_archive({"list.csv": LIST})[:-40])


def test_an_archive_whose_list_is_damaged_is_refused() -> None:
    packed = bytearray(_archive({"list.csv": LIST}))
    packed[len(packed) // 2] ^= 0xFF

    with pytest.raises(UnusableInputError, match=r"list\.csv: the file is damaged or cut short"):
        read(bytes(packed))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_what_is_packed_twice_is_refused(pack: object) -> None:
    packed = gzip.compress(pack(LIST))  # type: ignore[operator]  # pyright: ignore[reportCallIssue]

    with pytest.raises(UnusableInputError, match="packed twice"):
        read(packed)


def test_an_archive_without_files_is_refused() -> None:
    with pytest.raises(UnusableInputError, match="has no files"):
        read(_archive({}))


def test_an_archive_of_too_many_files_is_refused() -> None:
    files = {
        f"{number}.csv": b"a@example.com,BOUNCE\n" for number in range(streams.MEMBERS_MAX + 1)
    }

    with pytest.raises(UnusableInputError, match="has 101 files, at most 100 are read"):
        read(_archive(files))


def test_an_archive_of_two_files_of_one_name_is_refused() -> None:
    packed = _archive({"a.csv": LIST, "b.csv": LIST}).replace(b"b.csv", b"a.csv")

    with pytest.raises(UnusableInputError, match="two files of one name"):
        read(packed)


def test_an_archive_with_a_password_is_refused() -> None:
    packed = bytearray(_archive({"list.csv": LIST}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        packed[packed.index(mark) + offset] |= 1

    with pytest.raises(UnusableInputError, match=r"list\.csv in the archive has a password"):
        read(bytes(packed))


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UnusableInputError, match="this is no text"):
        read(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")


def test_zstd_is_read_or_says_how() -> None:
    with pytest.raises(UnusableInputError, match=r"zstd|damaged"):
        read(b"\x28\xb5\x2f\xfd\x04\x00\x01\x02")


def test_a_text_that_begins_like_bzip2_is_a_text() -> None:
    assert words_of(b"BZh@example.com,BOUNCE\n") == ["bounce BZh@example.com"]


def test_the_stream_stays_open() -> None:
    stream = io.BytesIO(gzip.compress(LIST))

    read(stream, options())

    assert not stream.closed


def _archive(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()
