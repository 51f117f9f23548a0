"""The RPCs that make links: parse, act, format."""

from heed.wire import format as told
from heed.wire import parse
from heed_proto.v1 import preference_service_pb2 as preference
from heed_server.auth.policy import Principal
from heed_server.service import Service


async def make_links(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer MakeLinks."""
    urls = service.make_links(principal, parse.make_links(data))
    return preference.MakeLinksResponse(
        links=[preference.Link(url=url) for url in urls]
    ).SerializeToString()


async def make_page_links(service: Service, principal: Principal, data: bytes) -> bytes:
    """Answer MakePageLinks."""
    made = service.make_page_links(principal, parse.make_page_links(data))
    return preference.MakePageLinksResponse(
        links=[
            preference.PageLink(url=one.url, expire_time=told.timestamp(one.expire_time))
            for one in made
        ]
    ).SerializeToString()
