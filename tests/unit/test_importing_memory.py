"""A million rows take no more memory than some."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.vendor_files import write_postmark_json, write_sendgrid_csv

FEW, MANY = 50_000, 1_000_000
GROWTH_KIBIBYTES_MAX = 16 * 1_024
"""What a million rows may take beyond what fifty thousand take: the allocator's slack."""
KIBIBYTES_MAX = 200 * 1_024
"""What any import may take, libraries included."""

Write = Callable[[Path, int], None]


@pytest.mark.slow
@pytest.mark.timeout(400)  # half a minute of processor time, of which others may take their share
@pytest.mark.parametrize(
    ("write", "format_name"),
    [
        (write_sendgrid_csv, "sendgrid-bounces"),
        (write_postmark_json, "postmark"),
    ],
    ids=["SendGrid CSV", "Postmark JSON, one array"],
)
def test_a_million_rows_take_no_more_memory_than_some(
    write: Write, format_name: str, tmp_path: Path
) -> None:
    few = kibibytes(write, format_name, tmp_path / "few", FEW)
    many = kibibytes(write, format_name, tmp_path / "many", MANY)

    assert many < KIBIBYTES_MAX
    assert many - few < GROWTH_KIBIBYTES_MAX


def kibibytes(write: Write, format_name: str, path: Path, rows: int) -> int:
    """Import so many rows in a process of its own, and return the most memory that it held."""
    write(path, rows)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.import_memory", str(path), format_name],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent.parent,
    )
    path.unlink()
    added, most = done.stdout.split()
    assert int(added) == rows
    return int(most)
