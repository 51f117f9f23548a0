"""A view as one JSON document: all its tables, each row an object by the columns' names."""

import msgspec

from heed_server.web.dashboard.exports.stamp import Stamp
from heed_server.web.dashboard.tables import Table
from heed_server.web.dashboard.texts import instant_written, written
from heed_server.web.dashboard.view import Shown


def as_json(shown: Shown, stamp: Stamp) -> bytes:
    """Return a view as JSON, in UTF-8."""
    told = {
        "view": stamp.view,
        "title": stamp.title,
        "tenant": stamp.tenant,
        "asked_by": stamp.asked_by,
        "time": instant_written(stamp.now),
        "revision": stamp.revision,
        "tables": {table.name: _table(table) for table in shown.tables},
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=1) + b"\n"


def _table(table: Table) -> dict[str, object]:
    return {
        "title": table.title,
        "note": table.note,
        "columns": [
            {"name": column.name, "title": column.title, "kind": column.kind.value}
            for column in table.columns
        ],
        "rows": [
            {
                column.name: written(cell, column.kind)
                for column, cell in zip(table.columns, row, strict=True)
            }
            for row in table.rows
        ],
        "cut": table.is_cut,
    }
