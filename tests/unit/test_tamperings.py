"""Ten thousand tamperings with a log, as many of each kind, all found by who has its key alone.

Whoever tampers has every file and may make what is hashed anew, so half of what is done to rows
fits in all but the signature. Who forks a history may sign too; then only an auditor who kept an
earlier checkpoint can tell, and does.
"""

import random
from collections.abc import Callable, Mapping
from functools import cache

import pytest

from heed.audit import consistency, exports
from heed.audit.consistency import open_consistency
from heed.audit.exports import CHECKPOINT_PATH, verify_export
from heed.audit.signing import verify
from heed.audit.tiles import ENTRIES, TILE_WIDTH, Edge, Tile, join_entries
from tests.support.logged import LoggedFiles

SIZE = 260
"""More than a tile, so that there are partial ones and one of a second level."""
KEPT = 200
"""The size of the checkpoint that an auditor kept."""
OF_EACH_KIND = 2_000
PROOF = "since-the-kept-one.proof"
PLACE_BYTES = 26
"""Of an entry's beginning, where it says its revision and its time; 64 of commitments follow."""

Files = Mapping[str, bytes]
Tamper = Callable[[LoggedFiles, random.Random], Files]


@pytest.fixture(scope="module")
def log() -> LoggedFiles:
    return LoggedFiles(SIZE)


@pytest.mark.slow
def test_ten_thousand_tamperings_are_all_found(log: LoggedFiles) -> None:
    assert is_as_signed(log, files_of(log))

    found = found_of(log, OF_EACH_KIND)

    assert found == {
        "a bit": 2_000,
        "a row removed": 2_000,
        "two rows swapped": 2_000,
        "truncated": 2_000,
        "a forked history": 2_000,
    }
    assert sum(found.values()) == 10_000
    assert is_as_signed(log, files_of(log))


def test_a_fork_that_its_own_key_signed_passes_where_nothing_was_kept(log: LoggedFiles) -> None:
    """So it is the kept checkpoint, and nothing else, by which forks are found."""
    fork = forked(log, random.Random(1))

    checkpoint = verify_export(LoggedFiles.reading(fork), [log.key.verifier], verify)

    assert checkpoint.size == SIZE
    assert not is_as_signed(log, fork)


class Believing(Edge):
    """A tree that has the root it is to have."""

    def root(self) -> bytes:
        return TRUE_ROOT


TRUE_ROOT = LoggedFiles(SIZE).checkpoint.root


@pytest.mark.parametrize(
    ("module", "name", "mutant", "missed"),
    [
        (exports, "_require_same", lambda *_: None, {"a bit", "truncated"}),
        (exports, "Edge", Believing, {"a row removed", "two rows swapped"}),
        (consistency, "verify_consistency", lambda **_: None, {"a bit", "a forked history"}),
    ],
    ids=["tiles", "root", "kept"],
)
def test_a_verifier_that_looks_at_less_misses_some(
    log: LoggedFiles,
    module: object,
    name: str,
    mutant: object,
    missed: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, name, mutant)

    found = found_of(log, 40)

    assert {kind for kind, number in found.items() if number < 40} == missed


def found_of(log: LoggedFiles, of_each_kind: int) -> dict[str, int]:
    """Tamper so many times in each way; return how many of each were found."""
    found: dict[str, int] = {}
    for kind, tamper in KINDS.items():
        chosen = random.Random(4)
        untouched = files_of(log)
        for _ in range(of_each_kind):
            files = tamper(log, chosen)
            assert files != untouched
            found[kind] = found.get(kind, 0) + (not is_as_signed(log, files))
    return found


@cache
def files_of(log: LoggedFiles) -> Files:
    """Return what an auditor is given: the whole log, and that it begins with what they kept."""
    return _told(log)


@cache
def kept_of(log: LoggedFiles) -> str:
    """Return the checkpoint that the auditor kept."""
    return log.key.sign(log.at(KEPT))


def is_as_signed(log: LoggedFiles, files: Files) -> bool:
    """Whether a whole log is what was signed, by its key and the checkpoint that was kept."""
    keys = [log.key.verifier]
    try:
        checkpoint = verify_export(LoggedFiles.reading(files), keys, verify)
        _, later = open_consistency(files[PROOF].decode(), kept_of(log), keys, verify)
    except ValueError:
        return False
    return later == checkpoint


def flipped(log: LoggedFiles, chosen: random.Random) -> Files:
    """One bit of one file."""
    files = files_of(log)
    name = chosen.choice(sorted(files))
    content = bytearray(files[name])
    bit = chosen.randrange(len(content) * 8)
    content[bit // 8] ^= 1 << bit % 8
    return {**files, name: bytes(content)}


def removed(log: LoggedFiles, chosen: random.Random) -> Files:
    """One row, out of its file; or all after it moved up, one made up, and all hashed anew."""
    at = chosen.randrange(SIZE)
    rows = log.entries[:at] + log.entries[at + 1 :]
    if chosen.random() < 0.5:
        return {**files_of(log), **_entry_files(rows)}
    return _hashed_anew(log, [*rows, chosen.randbytes(len(rows[0]))])


def swapped(log: LoggedFiles, chosen: random.Random) -> Files:
    """Two rows, in their files; or each with the other's place, and all hashed anew."""
    one, other = chosen.sample(range(SIZE), 2)
    rows = list(log.entries)
    rows[one], rows[other] = rows[other], rows[one]
    if chosen.random() < 0.5:
        return {**files_of(log), **_entry_files(rows)}
    return _hashed_anew(log, rows)


def truncated(log: LoggedFiles, chosen: random.Random) -> Files:
    """One file cut short; or the last rows and all that was made of them gone."""
    files = files_of(log)
    if chosen.random() < 0.5:
        name = chosen.choice(sorted(files))
        return {**files, name: files[name][: chosen.randrange(len(files[name]))]}
    shorter = log.rewritten(log.entries[: chosen.randrange(1, SIZE)])
    return shorter.files | {name: files[name] for name in (CHECKPOINT_PATH, PROOF)}


def forked(log: LoggedFiles, chosen: random.Random) -> Files:
    """A row of before the kept checkpoint says something else; all is hashed and signed anew."""
    rows = list(log.entries)
    at = chosen.randrange(KEPT)
    rows[at] = rows[at][:PLACE_BYTES] + chosen.randbytes(len(rows[at]) - PLACE_BYTES)
    fork = log.rewritten(rows)
    if chosen.random() < 0.5:
        return _told(fork)
    # The hashes of the true log beneath the checkpoint of the fork.
    proof = str(log.consistency(KEPT)).partition("\n\n")[0]
    return fork.files | {PROOF: proof.encode() + b"\n\n" + fork.files[CHECKPOINT_PATH]}


KINDS: Mapping[str, Tamper] = {
    "a bit": flipped,
    "a row removed": removed,
    "two rows swapped": swapped,
    "truncated": truncated,
    "a forked history": forked,
}


def _told(log: LoggedFiles) -> Files:
    return log.files | {PROOF: str(log.consistency(KEPT)).encode()}


def _hashed_anew(log: LoggedFiles, rows: list[bytes]) -> Files:
    """The log of other rows, each of which says the place where it stands; not signed anew."""
    placed = [
        own[:PLACE_BYTES] + row[PLACE_BYTES:] for row, own in zip(rows, log.entries, strict=True)
    ]
    files = files_of(log)
    return log.rewritten(placed).files | {name: files[name] for name in (CHECKPOINT_PATH, PROOF)}


def _entry_files(rows: list[bytes]) -> Files:
    """The files of the entries alone, by the names that they have in the log."""
    names = [
        Tile(ENTRIES, start // TILE_WIDTH, min(TILE_WIDTH, SIZE - start)).path
        for start in range(0, SIZE, TILE_WIDTH)
    ]
    parts = [rows[start : start + TILE_WIDTH] for start in range(0, SIZE, TILE_WIDTH)]
    return {name: join_entries(part) for name, part in zip(names, parts, strict=True)}
