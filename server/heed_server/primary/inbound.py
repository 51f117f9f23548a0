"""The inbound edge of a node, if it has one."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from heed.errors import invalid_field
from heed.model import Instant
from heed_server.background import Background
from heed_server.config import Config
from heed_server.primary.edges import HttpEdges
from heed_server.primary.limits import limits_of
from heed_server.service import Service

if TYPE_CHECKING:
    from heed_server.web.inbound.opening import Sources
    from heed_server.web.inbound.sns_certificates import SigningCertificates
    from heed_server.web.listener import App
    from heed_server.web.measures import EdgeMetrics


def open_inbound(
    edges: HttpEdges,
    config: Config,
    service: Service,
    registry: CollectorRegistry,
    background: Background,
    now: Callable[[], Instant],
) -> None:
    """Take notifications from now on, if that is asked for.

    Raises:
        InvalidArgumentError: there is no file of sources, or it or the certificate cannot be used.
        UnavailableError: the address cannot be listened on.
    """
    if not config.inbound.address:
        return
    from heed_server.web.inbound.app import Inbound, build_app
    from heed_server.web.inbound.measures import InboundMetrics
    from heed_server.web.inbound.sns_certificates import SigningCertificates
    from heed_server.web.limits import InboundLimits

    certificates = SigningCertificates(now=now)
    sources = sources_of(config, certificates)
    counted = InboundMetrics(registry)
    counted.watch(lambda: sources.is_in_force)

    def build(metrics: "EdgeMetrics") -> "App":
        return build_app(
            Inbound(
                service=service,
                sources=sources,
                certificates=certificates,
                metrics=metrics,
                counted=counted,
                limits=limits_of(InboundLimits, config.inbound),
                now=now,
                behind_proxy=config.inbound.behind_proxy,
            )
        )

    edges.serve("inbound", "inbound", build)
    background.keep("inbound sources", sources.run())


def sources_of(config: Config, certificates: "SigningCertificates") -> "Sources":
    """Return who may report, as the settings say.

    Raises:
        InvalidArgumentError: there is no file, or it cannot be used.
    """
    from heed_server.web.inbound.opening import Sources

    if config.inbound.file is None:
        raise invalid_field("inbound.file", "is required where there is inbound.address")
    return Sources(config.inbound.file, certificates)
