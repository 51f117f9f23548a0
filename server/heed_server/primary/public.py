"""The public edge of a node, if it has one."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from heed_server.config import Config
from heed_server.primary.edges import HttpEdges
from heed_server.primary.limits import limits_of
from heed_server.service import Service

if TYPE_CHECKING:
    from heed_server.web.listener import App
    from heed_server.web.measures import EdgeMetrics


def open_public(
    edges: HttpEdges, config: Config, service: Service, registry: CollectorRegistry
) -> None:
    """Serve links and pages from now on, if that is asked for.

    Raises:
        InvalidArgumentError: the certificate cannot be used, or `pages.file` says what cannot be.
        UnavailableError: the address cannot be listened on.
    """
    if not config.web.address:
        return
    from heed_server.web.limits import LinkLimits, PageLimits
    from heed_server.web.public.app import build_app
    from heed_server.web.public.looks import looks_of
    from heed_server.web.public.measures import LinkMetrics

    looks = looks_of(config.pages.file)

    def build(metrics: "EdgeMetrics") -> "App":
        return build_app(
            service,
            metrics,
            LinkMetrics(registry),
            limits_of(LinkLimits, config.web),
            looks,
            limits_of(PageLimits, config.pages),
            behind_proxy=config.web.behind_proxy,
        )

    edges.serve("public", "web", build)
