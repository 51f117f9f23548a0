"""Go's checksum-database packages, which are not ours, believe what heed signs, and only that."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from heed.cli.main import app
from scripts.build_examples import LANGUAGES, SUMDB_VERIFY
from tests.languages.programs import require_built
from tests.support.logged import LoggedFiles
from tests.support.served import Served

pytestmark = [pytest.mark.languages, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _go() -> None:
    require_built(replace(next(one for one in LANGUAGES if one.name == "go"), built=SUMDB_VERIFY))


def verified(key: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(SUMDB_VERIFY), key, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def written(log: LoggedFiles, folder: Path) -> Path:
    """An export of a log, with receipts, and proofs from earlier checkpoints."""
    size = len(log.entries)
    for name, content in log.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for index in sorted({0, size // 3, size // 2, size - 1}):
        (folder / f"{index}.tlog-proof").write_text(str(log.receipt(index)), encoding="utf-8")
    for old in sorted({1, size // 2 or 1, size}):
        (folder / f"{old}.checkpoint").write_text(log.key.sign(log.at(old)), encoding="utf-8")
        (folder / f"{old}.consistency").write_text(str(log.consistency(old)), encoding="utf-8")
    return folder


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 512, 700, 66_000])
def test_go_believes_checkpoints_entries_tiles_receipts_and_growth(
    tmp_path: Path, size: int
) -> None:
    log = LoggedFiles(size)

    done = verified(str(log.key.verifier), written(log, tmp_path))

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["size"], told["entries"]) == (size, size)
    assert told["tiles"] >= 1
    assert told["receipts"] == len({0, size // 3, size // 2, size - 1})
    assert told["grown"] == len({1, size // 2 or 1, size})


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint",
        "tile/0/001",
        "tile/entries/001",
        "350.tlog-proof",
        "350.consistency",
        "350.checkpoint",
    ],
)
def test_go_believes_nothing_that_was_changed(tmp_path: Path, name: str) -> None:
    log = LoggedFiles(700)
    path = written(log, tmp_path) / name
    assert verified(str(log.key.verifier), tmp_path).returncode == 0
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)

    done = verified(str(log.key.verifier), tmp_path)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr


def test_go_believes_what_a_server_gave(tmp_path: Path) -> None:
    served = Served(tmp_path).start()
    folder = tmp_path / "log"
    try:
        with served.client() as client:
            claims = [
                client.opt_out(email=f"p{number}@example.com", source="tests").receipt_claim
                for number in range(5)
            ]
            receipts = [client.get_receipt(one).text for one in claims if one is not None]
            before = client.get_checkpoint()
            last = client.opt_out(email="last@example.com", source="tests").receipt_claim
            assert last is not None
            receipts.append(client.get_receipt(last).text)
            proof = client.get_consistency_proof(5)
        environment = {"HEED_ADDRESS": served.address}
        done = CliRunner().invoke(app, ["audit", "export", str(folder)], env=environment)
        assert done.exit_code == 0, done.stderr
    finally:
        served.end()
    for number, said in enumerate(receipts):
        (folder / f"{number}.tlog-proof").write_text(said, encoding="utf-8")
    (folder / "five.checkpoint").write_text(before.text, encoding="utf-8")
    (folder / "five.consistency").write_text(str(proof), encoding="utf-8")

    found = verified((folder / "key").read_text(encoding="utf-8").strip(), folder)

    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert (told["size"], told["receipts"], told["grown"]) == (6, 6, 1)
