"""What the public edge answers: links, and the preference pages behind page links.

Source: RFC 8058; ADR 0043, ADR 0046.
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from heed_server import links, page_links
from heed_server.service import Service
from heed_server.web.limits import LinkLimits, PageLimits
from heed_server.web.measures import EdgeMetrics
from heed_server.web.public.links import LinkRequests
from heed_server.web.public.looks import Looks
from heed_server.web.public.measures import LinkMetrics
from heed_server.web.public.preferences import PageRequests
from heed_server.web.public.serving import Answering, Edge
from heed_server.web.routes import routed


def build_app(
    service: Service,
    metrics: EdgeMetrics,
    presses: LinkMetrics,
    limits: LinkLimits,
    looks: Looks,
    page_limits: PageLimits,
    *,
    behind_proxy: bool,
) -> Starlette:
    """Return what answers requests. `behind_proxy`: the last X-Forwarded-For is who asks."""
    edge = Edge(service, metrics, limits, looks, behind_proxy=behind_proxy)

    async def unknown(request: Request, _error: Exception) -> Response:
        return edge.counted(request, edge.face(request).problem("nowhere", 404))

    return routed(
        [
            Route(links.PATH + "{token}", Answering(edge, LinkRequests(edge, presses).respond)),
            Route(
                page_links.PATH + "{token}",
                Answering(edge, PageRequests(edge, presses, page_limits).respond),
            ),
        ],
        unknown,
    )
