"""Many rows take no more memory than some."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.vendor_files import write_postmark_json, write_sendgrid_csv

FEW, MANY = 20_000, 60_000
"""Both more than the chunks that are under way at a time."""
GROWTH_KIBIBYTES_MAX = 200
"""What many may take beyond what few take: five bytes a row, less than anything kept of one is."""
KIBIBYTES_MAX = 200 * 1_024
"""What any import may take, libraries included."""

Write = Callable[[Path, int], None]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "format_name"),
    [
        (write_sendgrid_csv, "sendgrid-bounces"),
        (write_postmark_json, "postmark"),
    ],
    ids=["SendGrid CSV", "Postmark JSON, one array"],
)
def test_many_rows_take_no_more_memory_than_some(
    write: Write, format_name: str, tmp_path: Path
) -> None:
    few = imported(write, format_name, tmp_path / "few", FEW)
    many = imported(write, format_name, tmp_path / "many", MANY)

    assert many.most < KIBIBYTES_MAX
    assert many.most_of_objects - few.most_of_objects < GROWTH_KIBIBYTES_MAX
    assert many.left_of_objects - few.left_of_objects < GROWTH_KIBIBYTES_MAX


class Kibibytes(NamedTuple):
    most: int
    most_of_objects: int
    left_of_objects: int


def imported(write: Write, format_name: str, path: Path, rows: int) -> Kibibytes:
    """Import so many rows in a process of its own; return how much memory that took."""
    write(path, rows)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.import_memory", str(path), format_name],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent.parent,
    )
    path.unlink()
    added, *told = map(int, done.stdout.split())
    assert added == rows
    return Kibibytes(*told)
