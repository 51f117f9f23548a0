"""An index that other processes read while one writes it."""

import subprocess
import sys
from pathlib import Path

from tests.adversity.index_reader import HOT_PERSON
from tests.support.indexes import build
from tests.support.memory_log import MemoryLog

READERS = 2
CHANGES = 1_000
PEOPLE_A_CHANGE = 40
"""Others who are changed with it, so that the map has to grow."""
LOOKS_UP_FOR_EVER = """
import lmdb, sys
transaction = lmdb.open(sys.argv[1], readonly=True, max_dbs=4).begin()
print("reading", flush=True)
sys.stdin.read()
"""
LONG_NAME = ".".join(["marketing"] * 24)


def test_readers_see_each_revision_whole_and_never_an_earlier_one(tmp_path: Path) -> None:
    """Also when the writer makes room for more than they have mapped."""
    log = MemoryLog()
    log.opt_out(HOT_PERSON, "t")
    index = build(tmp_path / "tenant-7", log)
    last = 1 + CHANGES * (PEOPLE_A_CHANGE + 1)
    readers = [_reader(tmp_path / "tenant-7", last) for _ in range(READERS)]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"

    mapped = index.stats().map_bytes
    for number in range(CHANGES):
        for person in range(PEOPLE_A_CHANGE):
            log.opt_out(f"{number}-{person}", LONG_NAME)
        log.opt_out(HOT_PERSON, "t")
        index.apply(log.changes[-PEOPLE_A_CHANGE - 1 :])
    assert index.stats().map_bytes > mapped

    for reader in readers:
        told, failed = reader.communicate(timeout=60)
        assert (failed, reader.returncode) == ("", 0)
        assert int(told) > 1, "it saw only one revision"
    index.close()


def test_a_reader_that_died_in_a_look_up_holds_on_to_nothing(tmp_path: Path) -> None:
    log = MemoryLog()
    log.opt_out(HOT_PERSON, "t")
    index = build(tmp_path / "tenant-7", log)
    reader = subprocess.Popen(
        [sys.executable, "-c", LOOKS_UP_FOR_EVER, str(tmp_path / "tenant-7")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "reading\n"

    while_it_lives = index.forget_dead_readers()
    reader.kill()
    reader.communicate()
    once_it_died = index.forget_dead_readers()

    assert (while_it_lives, once_it_died) == (0, 1)
    index.close()


def _reader(folder: Path, last: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.adversity.index_reader", str(folder), str(last)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
