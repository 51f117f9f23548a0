"""Agents of one server in a process of their own, one a tenant: `python -m tests.support.agent_process`.

It reads a tenant's name a line, and writes the address of that tenant's agent once its replica is
in step. At the end of its input it writes how many Checks the agents had their upstream answer.
"""

import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from heed_server.agent.node import AgentNode, open_agent
from heed_server.config import Config, load
from heed_server.primary.stopping import Stop
from heed_server.telemetry.logs import configure_logs


async def main(upstream: str, folder: str) -> None:
    configure_logs(log_format="json", level="warning")  # to standard error
    asked = 0
    nodes: list[AgentNode] = []
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory(prefix="heed-") as sockets:
        async with AsyncExitStack() as opened:
            while tenant := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
                config = _config(upstream, tenant, Path(folder) / tenant, sockets)
                node = await opened.enter_async_context(open_agent(config, Stop()))
                nodes.append(node)
                while not node.known.is_young(5.0):  # noqa: ASYNC110 - another thread follows
                    await asyncio.sleep(0.005)
                _say(node.addresses[0])
            asked = sum(node.asked.answered + node.asked.unanswered for node in nodes)
        _say(asked)


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def _config(upstream: str, tenant: str, folder: Path, sockets: str) -> Config:
    return load(
        flags={
            "agent.upstream": upstream,
            "agent.tenant": tenant,
            "agent.cache_dir": folder,
            "listen.address": f"unix:{sockets}/{tenant}.sock",
            "telemetry.metrics_address": "",
            "drain.announce_seconds": 0,
        },
        variables={},
    ).config


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
