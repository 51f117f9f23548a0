"""Compares the contract with the last one on main, by `buf breaking`.

On a branch that is the tip of main; on main itself it is HEAD while protos/ has uncommitted
changes, and the commit before HEAD when it has none, so that the check always compares something.
Where there is nothing to compare with (no history, a clone of one commit, no contract yet) it says
so and passes.
"""

import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sys.executable).parent / "buf"


def main() -> int:
    """Runs the comparison; what `buf breaking` answers, or 0 when there is nothing to compare."""
    base = _base()
    if base is None:
        return 0
    if not _git("ls-tree", "--name-only", base, "protos"):
        print(f"{base[:12]} has no contract yet: no breaking change possible")
        return 0

    print(f"comparing the contract with {base[:12]}")
    archive = subprocess.run(
        ["git", "archive", "--format=zip", base, "protos"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            opened.extractall(folder)
        shutil.copy(ROOT / "buf.yaml", folder)
        return subprocess.run(
            [BUF, "breaking", "--against", folder], cwd=ROOT, check=False
        ).returncode


def _base() -> str | None:
    head = _commit("HEAD")
    if head is None:
        print("no commit yet: no contract to compare with")
        return None
    trunk = _commit("refs/remotes/origin/main") or _commit("refs/heads/main")
    if trunk is not None and not _is_ancestor(head, trunk):
        return trunk
    if _git("status", "--porcelain", "--", "protos"):
        return head
    before = _commit("HEAD~1")
    if before is None:
        shallow = _git("rev-parse", "--is-shallow-repository") == "true"
        reason = "this clone holds only one commit" if shallow else "this is the first commit"
        print(f"{reason}: no contract to compare with")
    return before


def _commit(name: str) -> str | None:
    return _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}") or None


def _is_ancestor(commit: str, of: str) -> bool:
    command = ["git", "merge-base", "--is-ancestor", commit, of]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode == 0


def _git(*arguments: str) -> str:
    """What git prints; nothing where it fails, as it does outside of a repository."""
    run = subprocess.run(["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True)
    return run.stdout.strip() if run.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
