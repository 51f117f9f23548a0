"""Applies a log to an index, a few changes at a time, until killed: `index_writer PATH COUNT`."""

import sys
from itertools import count
from pathlib import Path

from heed.index import Index, IndexBuilder
from tests.support.memory_log import EPOCH, TENANT, MemoryLog, written_log


def main() -> None:
    path, changes = Path(sys.argv[1]), written_log(int(sys.argv[2])).changes
    empty = MemoryLog()
    IndexBuilder(
        path, tenant_id=TENANT.tenant_id, head=empty.current_head, topics=(), holds=()
    ).finish().close()
    index = Index.open(path, tenant_id=TENANT.tenant_id, epoch=EPOCH)
    for step in count(1):
        slice_ = changes[index.revision : index.revision + step % 7]
        index.apply(slice_)
        sys.stdout.write(f"{index.revision}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
