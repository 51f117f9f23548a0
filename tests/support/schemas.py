"""Databases of released schemas, with the rows that the release itself had written.

`tests/cases/schemas/NNNN.json` is what the code of that schema wrote: every table with its columns
and rows, bytes as `{"hex": …}`. Earlier schemas lack tables, and the rows of the others were alike.
"""

import json
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from heed_server.storage import StorageLimits
from heed_server.storage.copying import Loader
from heed_server.storage.migrations import migrate_to
from heed_server.storage.opening import backend_of, parse_url
from heed_server.storage.sqlite import SqliteBackend

RELEASED = (1, 2, 3)
"""The schemas that releases had."""
NOT_YET = {1: {"subscribers", "leases"}, 2: {"leases"}, 3: set[str]()}

_CASES = Path(__file__).parents[1] / "cases" / "schemas"


def rows_of(version: int) -> dict[str, tuple[tuple[str, ...], list[list[Any]]]]:
    """The columns and rows of each table of a schema."""
    written = json.loads((_CASES / "0003.json").read_text(encoding="utf-8"))
    return {
        name: (
            tuple(table["columns"]),
            [[bytes.fromhex(v["hex"]) if isinstance(v, dict) else v for v in row] for row in rows],
        )
        for name, table in written.items()
        if name not in NOT_YET[version]
        for rows in [table["rows"]]
    }


async def make_database(url: str, version: int) -> None:
    """Make an empty database one of a released schema, with rows in every table."""
    backend = backend_of(parse_url(url), StorageLimits())

    def fill(connection: Connection) -> None:
        migrate_to(connection, version)
        loader = Loader(backend.dialect)
        for name, (columns, rows) in rows_of(version).items():
            if rows:
                loader.put(connection, name, columns, rows)
        loader.finish(connection)

    if isinstance(backend, SqliteBackend):
        await backend.open(fill)
    else:
        await backend.run_alone(fill)
    await backend.close()
