"""REST of a node: opened where its address is set, asked by the callers that gRPC has too."""

from typing import TYPE_CHECKING

from heed_server.auth.credentials import Authenticator
from heed_server.config import Config
from heed_server.config.exposure import asks_for_certificates
from heed_server.primary.edges import HttpEdges
from heed_server.primary.limits import limits_of
from heed_server.rpc import Observe
from heed_server.service import Service

if TYPE_CHECKING:
    from heed_server.web.listener import App
    from heed_server.web.measures import EdgeMetrics


def open_rest(
    edges: HttpEdges,
    config: Config,
    service: Service,
    authenticator: Authenticator,
    observe: Observe,
) -> None:
    """Serve REST from now on, if that is asked for.

    Raises:
        InvalidArgumentError: the certificate cannot be used.
        UnavailableError: the address cannot be listened on.
    """
    if not config.rest.address:
        return
    from heed_server.web.limits import RestLimits
    from heed_server.web.rest.app import RestApp

    def build(metrics: "EdgeMetrics") -> "App":
        return RestApp(
            service,
            authenticator,
            metrics,
            limits_of(RestLimits, config.rest),
            observe,
            observes_checks=config.telemetry.check_metrics,
            with_docs=config.rest.docs,
        )

    asks = asks_for_certificates(config, config.rest.address)
    edges.serve("rest", "rest", build, asks_for_certificates=asks)
