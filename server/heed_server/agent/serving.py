"""The run of `heed-server agent`, from its settings to its exit."""

import logging
import sys
from importlib.metadata import version

import structlog

from heed_server.agent.node import AgentNode, open_agent
from heed_server.config import Effective
from heed_server.primary.listening import shown
from heed_server.primary.loop import freeze_what_stays
from heed_server.primary.serving import run_on_a_loop, serve_opened
from heed_server.primary.stopping import Stop

_log = structlog.stdlib.get_logger("heed_server.agent")


def run(effective: Effective) -> bool:
    """Serve until told to stop; False when the agent had to stop by itself.

    Raises:
        HeedError: it could not start.
    """
    # The library says so of each stream that ends; the agent, of when that matters.
    logging.getLogger("heed.cache").setLevel(logging.WARNING)
    serving = serve_opened(open_agent, effective, on_serving=_begin, stop=Stop())
    return run_on_a_loop(effective, serving)


def _begin(node: AgentNode) -> None:
    freeze_what_stays()
    config = node.config
    _log.info(
        "serving",
        version=version("heed-server"),
        addresses=[str(address) for address in node.addresses],
        upstream=config.agent.upstream,
        tls=config.tls.certificate_file is not None,
        keys_required=node.keys_required,
        trusts_sockets=node.trusts_sockets,
        metrics_port=node.metrics_port,
    )
    if not sys.stdout.isatty():
        return
    who = "whoever may open the socket" if node.trusts_sockets else "keys that the upstream takes"
    lines = (
        f"heed agent {version('heed-server')} serves on {shown(node.addresses)} (checks: {who})",
        f"  upstream  {config.agent.upstream}",
        f"  replica   {config.agent.cache_dir}",
        "  stop      Ctrl-C",
    )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
