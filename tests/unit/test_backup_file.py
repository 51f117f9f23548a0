"""The file of a backup: what was written is read, and nothing else is taken for a backup."""

import random
import stat
from pathlib import Path

import pytest

from heed.errors import InvalidArgumentError
from heed_server.backup import file
from heed_server.backup.file import BackupReader, BackupWriter, Manifest, ManifestLog

MANIFEST = Manifest(
    heed_version="0.1.0",
    schema_version=4,
    database="sqlite",
    epoch="00" * 8,
    taken_us=1_800_000_000_000_000,
    logs=(ManifestLog(tenant_id=1, name="shop", revision=2, running_hash="11" * 32),),
    tables=(),
)
ROWS = [[1, "ä", b"\x00\xff", None, True], [2, "", b"", -5, False]]
COLUMNS = ("id", "text", "bytes", "number", "flag")


def written(path: Path) -> Path:
    writer = BackupWriter(path)
    writer.begin("things", COLUMNS)
    writer.begin("nothing", ("id",))
    for row in ROWS:
        writer.add("things", [row])
    writer.finish(MANIFEST)
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    reader = BackupReader(written(tmp_path / "a.backup"))

    assert [(one.table, one.columns, one.rows) for one in reader.rows()] == [
        ("things", COLUMNS, [row]) for row in ROWS
    ]
    assert [(one.name, one.rows) for one in reader.manifest.tables] == [
        ("things", 2),
        ("nothing", 0),
    ]
    assert reader.manifest.logs == MANIFEST.logs


def test_large_rows_stand_in_frames_that_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that is kept under a key may have a megabyte, and a batch of them thousands."""
    monkeypatch.setattr(file, "FRAME_BYTES", 1_000)
    monkeypatch.setattr(file, "FRAME_BYTES_MAX", 2_000)
    rows = [[number, bytes(size)] for number, size in enumerate([10, 900, 10, 10, 1_900, 10, 600])]
    writer = BackupWriter(tmp_path / "a.backup")
    writer.begin("things", ("id", "bytes"))
    writer.add("things", rows)
    writer.finish(MANIFEST)

    frames = [one.rows for one in BackupReader(tmp_path / "a.backup").rows()]

    assert [row for frame in frames for row in frame] == rows
    assert len(frames) == 3


def test_it_is_its_users_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "a.backup")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    path = written(tmp_path / "a.backup")

    with pytest.raises(InvalidArgumentError, match="there already"):
        BackupWriter(path)


def test_before_it_is_finished_there_is_nothing_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.backup"
    writer = BackupWriter(path)
    writer.begin("things", COLUMNS)
    writer.add("things", ROWS)

    assert not path.exists()
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_run_left_behind_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.backup.partial").write_bytes(b"x" * 10_000)

    assert BackupReader(written(tmp_path / "a.backup")).manifest.logs == MANIFEST.logs


def test_a_file_that_was_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.backup").read_bytes()
    cut = tmp_path / "cut.backup"

    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        with pytest.raises(InvalidArgumentError, match="no backup"):
            BackupReader(cut)


def test_a_file_with_one_bit_changed_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.backup").read_bytes()
    changed = tmp_path / "changed.backup"

    for place in random.Random(1).sample(range(8 * len(whole)), k=1_000):
        other = bytearray(whole)
        other[place // 8] ^= 1 << place % 8
        changed.write_bytes(other)
        with pytest.raises(InvalidArgumentError, match="no backup"):
            BackupReader(changed)


def test_what_follows_its_end_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.backup")
    path.write_bytes(path.read_bytes() + b"\x00")

    with pytest.raises(InvalidArgumentError, match="no backup"):
        BackupReader(path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "heed.db"
    path.write_bytes(b"SQLite format 3\x00" * 10)

    with pytest.raises(InvalidArgumentError, match="does not begin as one"):
        BackupReader(path)
