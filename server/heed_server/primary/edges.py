"""The HTTP edges of a node: each a listener of its own, and none unless its address is set.

Law: where no edge is asked for, no web framework is loaded.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import structlog
from prometheus_client import CollectorRegistry

from heed.task_group import TaskGroup
from heed_server.background import Background
from heed_server.config import Config
from heed_server.config.addresses import parse_address
from heed_server.primary.limits import limits_of

if TYPE_CHECKING:
    from heed_server.web.listener import App, Listener
    from heed_server.web.measures import EdgeMetrics, WebMetrics

_log = structlog.stdlib.get_logger("heed_server.primary")


class EdgeSettings(Protocol):
    """What the settings say of every edge; `connections_max` and `request_seconds_max` beside."""

    @property
    def address(self) -> str:
        """Where it listens."""
        ...

    @property
    def behind_proxy(self) -> bool:
        """Whether a proxy speaks TLS for it."""
        ...


class HttpEdges:
    """Opens edges, and ends them with the stack at the latest."""

    def __init__(
        self,
        opened: AsyncExitStack,
        background: Background,
        config: Config,
        registry: CollectorRegistry,
    ) -> None:
        self._opened = opened
        self._background = background
        self._config = config
        self._registry = registry
        self._metrics: WebMetrics | None = None
        self._listeners: list[Listener] = []
        self._serving: list[asyncio.Task[None]] = []

    def serve(
        self,
        name: str,
        section: str,
        build: Callable[["EdgeMetrics"], "App"],
        *,
        asks_for_certificates: bool = False,
    ) -> None:
        """Serve what `build` makes from now on, as a section of the settings says.

        `asks_for_certificates`: every caller has to show one, where this server speaks TLS.

        Raises:
            InvalidArgumentError: the certificate cannot be used.
            UnavailableError: the address cannot be listened on.
        """
        from heed_server.web.certificate import EdgeCertificate
        from heed_server.web.limits import ListenerLimits
        from heed_server.web.listener import Listener
        from heed_server.web.measures import WebMetrics

        settings: EdgeSettings = getattr(self._config, section)
        certificate = None
        tls = self._config.tls
        if not settings.behind_proxy and tls.certificate_file and tls.private_key_file:
            certificate = EdgeCertificate(
                tls.certificate_file,
                tls.private_key_file,
                tls.client_ca_file if asks_for_certificates else None,
            )
        address = parse_address(settings.address)
        if self._metrics is None:
            self._metrics = WebMetrics(self._registry)
        metrics = self._metrics.of(name)
        listener = Listener(
            build(metrics),
            address,
            metrics,
            limits_of(ListenerLimits, getattr(self._config, section)),
            setting=f"{section}.address",
            tls=None if certificate is None else certificate.context,
        )
        task = self._background.start(name, listener.run())

        async def end() -> None:
            await listener.stop(None)
            await asyncio.wait([task])

        self._opened.push_async_callback(end)
        self._listeners.append(listener)
        self._serving.append(task)
        served = str(replace(address, port=listener.port))
        _log.info("edge_served", edge=name, address=served, tls=certificate is not None)

    async def stop(self, grace_seconds: float | None) -> None:
        """Have all stop, seeing what is under way to its end for so many seconds; None: at once."""
        async with TaskGroup() as group:
            for listener in self._listeners:
                group.create_task(listener.stop(grace_seconds))
        if self._serving:
            await asyncio.wait(self._serving)
