"""Import a list into nothing, and print how much memory that took: a process for one measurement.

In KiB: the most that the process held, the most that its Python objects took, and what they take
in the end.

python -m tests.support.import_memory FILE FORMAT
"""

import asyncio
import resource
import sys
import tracemalloc
from pathlib import Path
from typing import cast

from heed.connection.spec import A, MethodSpec, Q
from heed.importing import ImportPlan, opened_source, prepare, send
from heed_proto.v1 import admin_service_pb2 as admin
from tests.support.imported import options


class Nowhere:
    """Calls that are answered at once, without a server: every row is added."""

    async def unary(
        self,
        spec: MethodSpec[Q, A],
        request: Q,
        *,
        timeout: float | None,
        idempotency_key: str = "",
    ) -> A:
        assert isinstance(request, admin.ImportRecordsRequest)
        size = len(request.SerializeToString())
        await asyncio.sleep(0)
        assert size > 0
        return cast("A", admin.ImportRecordsResponse(added=len(request.rows)))

    async def wait_ready(self, timeout: float) -> None:
        """It is ready."""


def main(path: Path, format_name: str) -> None:
    tracemalloc.start()
    with opened_source(path, sys.stdin.buffer) as stream:
        prepared = prepare(stream, ImportPlan(options=options(format_name=format_name)))
        tracemalloc.reset_peak()
        summary = asyncio.run(
            send(prepared, Nowhere(), on_rejected=lambda _: None, on_progress=lambda _: None)
        )
        left, most = (one // 1_024 for one in tracemalloc.get_traced_memory())
    sys.stdout.write(f"{summary.added} {_most_kibibytes()} {most} {left}\n")


def _most_kibibytes() -> int:
    """Return the most memory that this program held.

    Linux hands `ru_maxrss` on from whoever started the program, so it is asked in another way.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
