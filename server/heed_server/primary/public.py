"""The public edge of a node, if it has one."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
from prometheus_client import CollectorRegistry

from heed_server.background import Background
from heed_server.config import Config
from heed_server.config.addresses import parse_address
from heed_server.primary.limits import limits_of
from heed_server.service import Service

if TYPE_CHECKING:
    from heed_server.web.listener import Listener

_log = structlog.stdlib.get_logger("heed_server.primary")


def open_public(
    opened: AsyncExitStack,
    background: Background,
    config: Config,
    service: Service,
    registry: CollectorRegistry,
) -> "Listener | None":
    """Serve links from now on; None where that is not asked for: then no web framework is loaded.

    It ends when it is stopped, with the stack at the latest.

    Raises:
        InvalidArgumentError: the certificate cannot be used.
        UnavailableError: the address cannot be listened on.
    """
    if not config.web.address:
        return None
    from heed_server.web.app import build_app
    from heed_server.web.certificate import EdgeCertificate
    from heed_server.web.limits import WebLimits
    from heed_server.web.listener import Listener
    from heed_server.web.measures import WebMetrics

    certificate = None
    tls = config.tls
    if not config.web.behind_proxy and tls.certificate_file and tls.private_key_file:
        certificate = EdgeCertificate(tls.certificate_file, tls.private_key_file)
    address = parse_address(config.web.address)
    limits = limits_of(WebLimits, config.web)
    metrics = WebMetrics(registry)
    listener = Listener(
        build_app(service, metrics, limits, behind_proxy=config.web.behind_proxy),
        address,
        metrics,
        limits,
        tls=None if certificate is None else certificate.context,
    )
    task = background.start("web", listener.run())

    async def end() -> None:
        await listener.stop(None)
        await asyncio.wait([task])

    opened.push_async_callback(end)
    _log.info(
        "links_served",
        address=str(replace(address, port=listener.port)),
        tls=certificate is not None,
        public_url=config.web.public_url,
    )
    return listener
