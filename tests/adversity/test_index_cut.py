"""An index whose file was cut is refused before a page behind its end is read, which would kill."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from heed.index import pages
from heed.index.shared import SharedIndex
from heed.model import SubjectKey
from tests.support.caches import CachedSyncClient, wait_until
from tests.support.fake_watch import fake_watch
from tests.support.followed_cache import ADA, UNREACHABLE, live, source_of
from tests.support.indexes import build
from tests.support.memory_log import MemoryLog

OPENS = """
import sys
from pathlib import Path
from heed.index import pages, reader, shared
from heed.index.faults import IndexUnusableError

kind, path, is_careless = sys.argv[1:]
if is_careless:
    reader.require_all_pages = shared.require_all_pages = lambda *_: None
try:
    if kind == "shared":
        print(sum(1 for _ in shared.SharedIndex.open(Path(path)).records_by_key()))
    else:
        keys = [bytes([at]) * 16 for at in range(256)]
        print(len(reader.IndexReader(Path(path), hash_at=lambda _: None).records_many(keys)))
except IndexUnusableError as error:
    print(error.fault)
"""
PAGE = 4096


def shared(path: Path) -> Path:
    """A cache's index of many pages, closed by the end of its process."""
    index = SharedIndex.create(path)
    index.append([(SubjectKey(at.to_bytes(16)), bytes(300)) for at in range(1_000)])
    index.sync()
    return path


def of_a_node(path: Path) -> Path:
    """A node's index of many pages."""
    log = MemoryLog()
    log.opt_outs(2_000, people=2_000)
    build(path, log).close()
    return path


def opened(kind: str, path: Path, *, is_careless: bool = False) -> tuple[int, str]:
    """How a process ended that opened an index and read it, and what it said."""
    ended = subprocess.run(
        [sys.executable, "-c", OPENS, kind, str(path), "careless" if is_careless else ""],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout.strip()


@pytest.mark.parametrize(("kind", "make"), [("shared", shared), ("reader", of_a_node)])
def test_an_index_that_was_cut_is_damaged_and_kills_nobody(
    kind: str, make: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = make(tmp_path / "index")
    size = (path / "data.mdb").stat().st_size
    whole = opened(kind, path)

    os.truncate(path / "data.mdb", size // 2 // PAGE * PAGE)

    assert whole[0] == 0
    assert int(whole[1]) >= 256
    assert opened(kind, path) == (0, "damaged")
    assert opened(kind, path, is_careless=True)[0] == -signal.SIGBUS


def test_a_file_has_all_its_pages_after_each_write(tmp_path: Path) -> None:
    """LMDB alone leaves some short, which would be taken for cut."""
    chosen = random.Random(1)
    short = 0
    for number in range(12):
        folder = tmp_path / str(number)
        with lmdb.open(str(folder), map_size=1 << 28, sync=False) as env:
            for _ in range(40):
                with env.begin(write=True) as transaction:
                    for _ in range(chosen.randrange(1, 400)):
                        key = b"r%04d" % chosen.randrange(400)
                        if chosen.random() < 0.5:
                            transaction.put(key, bytes(chosen.choice([20, 300, 1_500, 5_000])))
                        else:
                            transaction.delete(key)
                before = (folder / "data.mdb").stat().st_size
                pages.fill_up(env, folder)
                pages.require_all_pages(env, folder)
                short += before < (folder / "data.mdb").stat().st_size

    assert short > 0


def test_a_cache_that_was_cut_is_made_anew(tmp_path: Path) -> None:
    with fake_watch() as server:
        with CachedSyncClient(server.address, tmp_path / "cache") as client:
            live(server, client)
            assert source_of(client, ADA) == (False, "cache")
        (file,) = (tmp_path / "cache").rglob("data.mdb")
        os.truncate(file, 2 * PAGE)
        server.is_obedient = True

        with CachedSyncClient(server.address, tmp_path / "cache") as client:
            wait_until(lambda: source_of(client, ADA) == (False, "cache"))
            server.failure = UNREACHABLE
            assert source_of(client, ADA) == (False, "cache")
            assert client.cache.stats().resyncs
