"""`heed audit`: what proves a log is got from a server, and verified without one."""

import json
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from heed.audit.signing import SigningKey
from heed.cli.main import app
from tests.support.served import Served


def heed(*words: str, cwd: Path, address: str = "127.0.0.1:1") -> Result:
    """Run the command in a folder; without an address no server is there."""
    with chdir(cwd):
        return CliRunner().invoke(app, list(words), env={"HEED_ADDRESS": address})


class Audited:
    """A server whose log has some changes, and the folder of who audits it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.served = Served(folder / "served").start()
        with self.served.client() as client:
            for number in range(3):
                self.answer = client.opt_out(email=f"p{number}@example.com", source="tests")
            assert self.answer.receipt_claim is not None
            client.get_receipt(self.answer.receipt_claim)
        self.key = self.run("checkpoint", "--show-key").strip()

    def run(self, *words: str, code: int = 0) -> str:
        done = heed("audit", *words, address=self.served.address, cwd=self.folder)
        assert done.exit_code == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    def verify(self, *words: str, code: int = 0) -> str:
        """Without a server: verifying has no option for one."""
        done = heed("audit", "verify", "--key", self.key, *words, cwd=self.folder)
        assert done.exit_code == code, done.stderr
        return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audited")
    (folder / "served").mkdir()
    made = Audited(folder)
    try:
        yield made
    finally:
        made.served.end()


def test_a_receipt_is_got_and_verified(audited: Audited) -> None:
    audited.run("receipt", "2", "--out", "two.tlog-proof")

    told = json.loads(audited.verify("two.tlog-proof", "--json"))
    (content,) = (
        line.partition("content: ")[2]
        for line in audited.verify("two.tlog-proof").splitlines()
        if "content: " in line
    )

    assert told["verified"] is True
    assert json.loads(content) == told["content"]
    assert (told["revision"], told["kind"], told["size"]) == (2, "choice", 3)
    assert told["content"]["record"]["kind"] == "opt_out"
    assert len(told["subject_key"]) == 32


def test_a_receipt_is_got_by_its_claim_and_held_against_it(audited: Audited) -> None:
    claim = str(audited.answer.receipt_claim)
    audited.run("receipt", "--claim", claim, "--out", "mine.tlog-proof")
    audited.run("receipt", "1", "--out", "other.tlog-proof")

    assert "revision: 3" in audited.verify("mine.tlog-proof", "--claim", claim)
    assert "another revision" in audited.verify("other.tlog-proof", "--claim", claim, code=13)


def test_what_a_write_answers_names_the_claim_in_json_too(audited: Audited) -> None:
    done = heed(
        *("set", "opt-out", "--email", "eve@example.com", "--json"),
        address=audited.served.address,
        cwd=audited.folder,
    )

    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)["receipt_claim"]
    assert said.startswith("heed.dev/log/")
    audited.run("receipt", "--claim", said, "--out", "eve.tlog-proof")
    audited.verify("eve.tlog-proof", "--claim", said)


def test_a_log_is_verified_to_begin_with_what_was_kept(audited: Audited) -> None:
    audited.run("checkpoint", "--out", "old.checkpoint")
    with audited.served.client() as client:
        answer = client.opt_out(email="late@example.com", source="tests")
        assert answer.receipt_claim is not None
        client.get_receipt(answer.receipt_claim)
    audited.run("consistency", "old.checkpoint", "--out", "today.proof")

    assert "since: " in audited.verify("today.proof", "--since", "old.checkpoint")
    assert "since" in audited.verify("today.proof", code=2)
    audited.run("checkpoint", "--out", "new.checkpoint")
    assert audited.verify("new.checkpoint").startswith("verified")
    assert "not from the earlier" in audited.verify(
        "today.proof", "--since", "new.checkpoint", code=13
    )


def test_a_whole_log_is_exported_and_verified(audited: Audited) -> None:
    audited.run("export", "log")

    assert audited.verify("log").startswith("verified")
    entries = next((audited.folder / "log" / "tile" / "entries").iterdir())
    tile = next(entries.iterdir())
    content = bytearray(tile.read_bytes())
    content[50] ^= 1
    tile.write_bytes(content)
    assert "not verified" in audited.verify("log", code=13)
    tile.unlink()
    assert "there is no tile/entries" in audited.verify("log", code=13)


def test_what_another_key_signed_is_not_verified(audited: Audited) -> None:
    audited.run("checkpoint", "--out", "signed.checkpoint")
    other = SigningKey(bytes(32), audited.key.partition("+")[0]).verifier

    done = heed(
        "audit", "verify", "--key", str(other), "signed.checkpoint", "--json", cwd=audited.folder
    )

    assert done.exit_code == 13
    assert json.loads(done.stdout)["verified"] is False


def test_what_is_no_key_no_claim_and_no_file_is_told(audited: Audited) -> None:
    audited.run("receipt", "--claim", "nonsense", code=2)
    (audited.folder / "nothing").write_bytes(b"\xff")
    assert "is no text" in audited.verify("nothing", code=13)
    done = heed("audit", "verify", "--key", "nonsense", "nothing", cwd=audited.folder)
    assert done.exit_code == 2
    assert "CHECKPOINT_UNKNOWN" in audited.run("receipt", "99", code=4)
