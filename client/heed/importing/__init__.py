"""Importing a list: from the bytes of a file to records in the log, each once.

- `source`: a file or a pipe as bytes that can be read twice.
- `naming`: the batch id that makes the same import resume by itself.
- `chunks`: rows as the messages of ImportRecords.
- `driver`: sends them, several at a time, and adds up what they did.
- `rejects`: the file of what could not be imported.
"""

from heed.importing.chunks import CHUNK_ROWS_MAX
from heed.importing.driver import (
    CHUNKS_IN_FLIGHT,
    ImportPlan,
    ImportProgress,
    ImportSummary,
    Prepared,
    RejectedEntry,
    prepare,
    send,
)
from heed.importing.rejects import RejectsFile
from heed.importing.source import opened_source

__all__ = [
    "CHUNKS_IN_FLIGHT",
    "CHUNK_ROWS_MAX",
    "ImportPlan",
    "ImportProgress",
    "ImportSummary",
    "Prepared",
    "RejectedEntry",
    "RejectsFile",
    "opened_source",
    "prepare",
    "send",
]
