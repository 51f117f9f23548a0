"""A process that reads an index while another writes it, and says what it saw.

    python -m tests.adversity.index_reader FOLDER LAST

Each change that the writer makes sets the record of `HOT_PERSON` to its own revision: whatever is
read must say so, and never go back.
"""

import sys
from pathlib import Path

from heed.index import IndexReader
from tests.support.memory_log import key_of

HOT_PERSON = "hot"


def main() -> None:
    folder, last = Path(sys.argv[1]), int(sys.argv[2])
    reader = IndexReader(folder, hash_at=lambda _: None)
    sys.stdout.write("open\n")
    sys.stdout.flush()
    seen = changes = 0
    while seen < last:
        ((record,),) = reader.facts([key_of(HOT_PERSON)]).records
        if record.revision != reader.revision:
            raise SystemExit(f"the record of {record.revision} was read at {reader.revision}")
        if reader.revision < seen:
            raise SystemExit(f"{reader.revision} was read after {seen}")
        changes += reader.revision != seen
        seen = reader.revision
    sys.stdout.write(f"{changes}\n")


if __name__ == "__main__":
    main()
