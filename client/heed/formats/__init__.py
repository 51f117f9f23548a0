"""Reading the suppression and preference files of vendors, unmodified.

- `lists` tells every file of an input by its content; `entries` yields their records and what each
  becomes. Both read a binary stream that can seek, and nothing else.
- `FORMATS` is every format there is; docs/imports.md is the same as a table for users.
"""

from heed.formats.format import Format
from heed.formats.reading import List, entries, lists
from heed.formats.registry import FORMATS
from heed.formats.rows import (
    Became,
    Entry,
    ImportedRow,
    Nothing,
    Options,
    Rejected,
    UnusableInputError,
)
from heed.formats.sample import ERROR_CELL_PREFIX, ERROR_COLUMN, Shape

__all__ = [
    "ERROR_CELL_PREFIX",
    "ERROR_COLUMN",
    "FORMATS",
    "Became",
    "Entry",
    "Format",
    "ImportedRow",
    "List",
    "Nothing",
    "Options",
    "Rejected",
    "Shape",
    "UnusableInputError",
    "entries",
    "lists",
]
