"""One table as CSV (RFC 4180), safe to open in a spreadsheet.

Laws:
- A text that a spreadsheet would take for a formula begins with an apostrophe instead: of what
  strangers wrote (a reference, a reason) nothing is ever computed. So does what comes after a
  semicolon, a tab or a line's end: where those part the cells of a list, it would be one.
- A file that was cut ends with a row that says so.
"""

import csv
import io
import re
from typing import Final

from heed_server.web.dashboard.tables import Table
from heed_server.web.dashboard.texts import written

CUT: Final = "(cut here: there are more rows than are told at once)"
_FORMULA: Final = r"=+\-@＝＋－＠"  # noqa: RUF001 - these too
_BEGIN: Final = re.compile(rf"^(?= *[{_FORMULA}\t\r\n])|(?<=[;\t\r\n])(?= *[{_FORMULA}])")
"""Where a cell begins that would be computed."""


def as_csv(table: Table) -> bytes:
    """Return a table as CSV, in UTF-8, its first row the names of the columns."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(column.name for column in table.columns)
    kinds = [column.kind for column in table.columns]
    for row in table.rows:
        writer.writerow(
            _guarded(written(cell, kind)) for cell, kind in zip(row, kinds, strict=True)
        )
    if table.is_cut:
        writer.writerow([CUT, *[""] * (len(table.columns) - 1)])
    return out.getvalue().encode()


def _guarded(value: str | float | list[str] | None) -> str | float:
    if value is None:
        return ""
    if isinstance(value, list):
        value = "; ".join(value)
    return _BEGIN.sub("'", value) if isinstance(value, str) else value
