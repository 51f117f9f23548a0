"""Earlier code of heed, as git has it: to be run as real processes beside that of now."""

import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def unpack(commit: str, folder: Path) -> str:
    """Put the sources of a commit into a folder; return the PYTHONPATH of what runs by them.

    Where git or its history is missing the test is skipped.
    """
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not here, from which the release before is taken")
    archived = subprocess.run(
        [
            *(git, "-C", str(ROOT), "archive", "--format=zip", commit),
            *("client", "server", "generated"),
        ],
        capture_output=True,
        check=False,
    )
    if archived.returncode:
        pytest.skip("this checkout has no history that reaches the release before")
    with zipfile.ZipFile(io.BytesIO(archived.stdout)) as archive:
        archive.extractall(folder)
    return ":".join(str(folder / part) for part in ("client", "server", "generated"))
