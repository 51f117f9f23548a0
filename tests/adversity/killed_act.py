"""Does one act to a store and kills itself at a named point of it.

    killed_act URL ROOT_FILE TENANT ACT POINT

ACT: `revert`, `erase` or `rotate` (the root keys). POINT: `before` anything is written, `written`
and not committed, `committed` and not answered, or `never`; then it says `done`.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from heed.acts import Act, RevertBatch
from heed.model import Method, TenantId
from heed_server.storage import SqlStore, group, open_store, rotation, touched
from tests.support.stores import Shop, erases, origin

BATCH = "wrong-list"
PERSON = "p7"
"""Who is erased."""
KEY = "Test:killed"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(step: Callable[..., Any], point: str) -> Callable[..., Any]:
    """A step within a transaction that ends the process before it, or after it."""

    def stepping(*said: Any, **named: Any) -> Any:
        if point == "before":
            die()
        result = step(*said, **named)
        if point == "written":
            die()
        return result

    return stepping


async def act_of(store: SqlStore, tenant_id: TenantId, name: str) -> Act:
    """The act of a name, the same before the kill and after it."""
    if name == "erase":
        return erases(PERSON)
    found = await store.find_batch(tenant_id, BATCH)
    assert found is not None
    return RevertBatch(
        batch_id=BATCH,
        keys=found.keys,
        through=found.last,
        reason="the wrong file",
        origin=origin(Method.OPERATOR),
    )


async def run(url: str, root_file: Path, tenant_id: TenantId, name: str, point: str) -> None:
    store = await open_store(url, root_file=root_file)
    if name == "rotate":
        with mock.patch.object(rotation, "wrap_again", dying(rotation.wrap_again, point)):
            await store.rotation.rotate_root()
    else:
        act = await act_of(store, tenant_id, name)
        with mock.patch.object(group, "insert_all", dying(touched.insert_all, point)):
            await Shop(store, tenant_id).ask(act, key=KEY)
    if point == "committed":
        die()
    sys.stdout.write("done\n")
    await store.close()


if __name__ == "__main__":
    url, root_file, tenant_id, name, point = sys.argv[1:]
    asyncio.run(run(url, Path(root_file), TenantId(int(tenant_id)), name, point))
