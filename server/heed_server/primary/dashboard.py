"""The dashboard of a node, if it has one."""

from typing import TYPE_CHECKING

from heed_server.auth.credentials import Authenticator
from heed_server.config import Config
from heed_server.config.addresses import parse_address
from heed_server.primary.edges import HttpEdges
from heed_server.primary.limits import limits_of
from heed_server.service import Service
from heed_server.storage import Clock

if TYPE_CHECKING:
    from heed_server.web.listener import App
    from heed_server.web.measures import EdgeMetrics


def open_dashboard(
    edges: HttpEdges, config: Config, service: Service, authenticator: Authenticator, clock: Clock
) -> None:
    """Serve the dashboard from now on, if that is asked for.

    Raises:
        InvalidArgumentError: the certificate cannot be used.
        UnavailableError: the address cannot be listened on.
    """
    section = config.dashboard
    if not section.address:
        return
    from heed_server.web.dashboard.app import DashboardApp, Reached
    from heed_server.web.dashboard.limits import DashboardLimits
    from heed_server.web.dashboard.sessions import Sessions

    def build(metrics: "EdgeMetrics") -> "App":
        is_of_host = parse_address(section.address).is_loopback and not section.behind_proxy
        return DashboardApp(
            service,
            Sessions(
                authenticator,
                minutes=section.session_minutes,
                boot_seconds=clock.boot,
                takes_nothing=is_of_host,
            ),
            metrics,
            limits_of(DashboardLimits, section),
            Reached(
                is_secure=section.behind_proxy or config.tls.certificate_file is not None,
                behind_proxy=section.behind_proxy,
            ),
        )

    edges.serve("dashboard", "dashboard", build)
