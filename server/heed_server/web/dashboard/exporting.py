"""Exports of any view: which formats there are, and how each is made.

Law: a file is made off the event loop, so that no Check waits for one: PDFs, which take seconds,
one at a time, and so all others. One that nobody waits for any more is left by its thread before
the next is begun.
"""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from heed_server.web.dashboard.exports.as_csv import as_csv
from heed_server.web.dashboard.exports.as_json import as_json
from heed_server.web.dashboard.exports.as_pdf import as_pdf
from heed_server.web.dashboard.exports.stamp import Stamp, file_name
from heed_server.web.dashboard.view import Shown, View

FORMATS: Final = {
    "csv": "text/csv; charset=utf-8; header=present",
    "json": "application/json",
    "pdf": "application/pdf",
}
"""Their content types, by the ending of a file's name."""

_printer: Final = ThreadPoolExecutor(1, thread_name_prefix="pdf")
_writer: Final = ThreadPoolExecutor(1, thread_name_prefix="csv")


class Exported(NamedTuple):
    """A file."""

    name: str
    """Without its ending."""
    content: bytes
    content_type: str
    rows: int
    is_cut: bool


async def export(
    format_: str, view: View, shown: Shown, table: str, *, tenant: str, asked_by: str
) -> Exported | None:
    """Return a view as a file. CSV has one of its tables, the first unless one is named.

    None: it has no such table.
    """
    stamp = Stamp(
        view=view.name,
        title=view.title,
        tenant=tenant,
        asked_by=asked_by,
        now=shown.now,
        revision=shown.revision,
    )
    loop = asyncio.get_running_loop()
    tables = shown.tables
    parts: tuple[str, ...] = ()
    if format_ == "csv":
        tables = tuple(one for one in tables if table in {"", one.name})[:1]
        if not tables:
            return None
        parts = (tables[0].name,)
        content = await loop.run_in_executor(_writer, as_csv, tables[0])
    elif format_ == "json":
        content = await loop.run_in_executor(_writer, as_json, shown, stamp)
    else:
        given_up = threading.Event()
        try:
            printing = loop.run_in_executor(_printer, as_pdf, shown, stamp, given_up.is_set)
            content, tables = await printing
        finally:
            given_up.set()
    is_cut = any(one.is_cut for one in tables)
    return Exported(
        name=file_name(stamp, *parts, is_cut=is_cut),
        content=content,
        content_type=FORMATS[format_],
        rows=sum(len(one.rows) for one in tables),
        is_cut=is_cut,
    )
