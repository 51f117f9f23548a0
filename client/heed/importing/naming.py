"""The name of an import, made of what it imports.

Laws:
- The same bytes with the same options have the same name, and so do its chunks. So the same
  command, run again after an interruption, is answered for what was committed with what it did
  the first time, and commits the rest.
- The name stands in the log for ever, where no subject may stand but as its keyed hash. A list of
  one row has few possible contents, and a plain hash of them could be guessed through; so the name
  is made by a function that is slow on purpose. Source: RFC 7914 (scrypt).
"""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import BinaryIO, Final

from heed.formats import List, Options

_READ_BYTES: Final = 1_048_576
_NAME_BYTES: Final = 16
_COST: Final = 2**14
"""16 MiB and some 50 ms a name."""


def batch_name(
    stream: BinaryIO, lists: Sequence[List], options: Options, *, source: str, chunk_rows: int
) -> str:
    """Return the batch id of importing this stream so; `stream` is read whole."""
    digest = hashlib.sha256()
    stream.seek(0)
    while block := stream.read(_READ_BYTES):
        digest.update(block)
    told = [one.format for one in lists if one.format is not None]
    said = {
        "heed": version("heed"),
        "formats": [one.name for one in told],
        "topic": options.topic,
        "channel": options.channel,
        "topics": sorted(options.topics.items()),
        "columns": sorted(options.columns.items()),
        "cause": options.cause,
        "source": source,
        "chunk_rows": chunk_rows,
        "day": options.day_end if any(one.depends_on_day for one in told) else 0,
    }
    digest.update(json.dumps(said, sort_keys=True).encode())
    name = hashlib.scrypt(
        digest.digest(), salt=b"heed batch name v1", n=_COST, r=8, p=1, dklen=_NAME_BYTES
    )
    return f"import-{name.hex()}"
