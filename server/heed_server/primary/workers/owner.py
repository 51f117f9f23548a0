"""The owner: the whole server of `heed_server.primary.node`, that workers alone ask."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from heed_server.config import Config
from heed_server.config.addresses import parse_address
from heed_server.primary.node import Node, Owning, open_node
from heed_server.primary.stopping import Stop
from heed_server.primary.workers.folder import RunFolder


@asynccontextmanager
async def open_owner(config: Config, folder: RunFolder, stop: Stop) -> AsyncGenerator[Node]:
    """Serve the workers within the block. It is told to stop when they have ended.

    Raises:
        HeedError: as `open_node`.
    """
    # Nobody watches its health for long, and no caller comes to it by itself: nothing to announce.
    config = config.model_copy(
        update={"drain": config.drain.model_copy(update={"announce_seconds": 0.0})}
    )
    with folder.socket_address() as address:
        async with open_node(
            config, stop, owning=Owning(address=parse_address(address), folder=folder)
        ) as node:
            yield node
