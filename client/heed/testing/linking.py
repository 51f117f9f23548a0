"""Links, on a fake: made as a server makes them, and pressed as a mail program does.

Nothing of a fake leaves its process, so its links are names that it remembers, and seal nothing.
"""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from heed.model import Instant
from heed.records import stop_stands
from heed.testing.memory import LOOKUP, Memory
from heed.testing.reading import ReadMethod
from heed.wire import format as told
from heed.wire import parse
from heed.wire.asked import LinksAsked, LinkTarget, PageLinksAsked
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb

URL: Final = "https://heed.invalid/u/v1.00000000."
"""What every link of a fake begins with."""
PAGE_URL: Final = "https://heed.invalid/p/v1.00000000."
"""What every page link of a fake begins with; a fake has no page to open."""

_PAGE_LINK_MICROSECONDS: Final = 24 * 3_600 * 1_000_000


def stop_of(memory: Memory, url: str) -> preference.SetPreferenceRequest | None:
    """Return what a link of a tenant does when it is pressed; None: it is done already."""
    target = memory.links[url]
    records = memory.standing(LOOKUP.key(target.subject))
    if stop_stands(records, target.scope):
        return None
    return preference.SetPreferenceRequest(
        tenant=memory.name,
        idempotency_key=f"link:{url.removeprefix(URL)[:64]}:{memory.revision}",
        subjects=[told.subject(target.subject)],
        choices=[pb.Choice(scope=told.scope(target.scope), opt_out=pb.OptOut())],
        origin=pb.Origin(source="link", actor="person", method=pb.METHOD_ONE_CLICK),
    )


def _make_links(memory: Memory, asked: LinksAsked, _now: Instant) -> bytes:
    return preference.MakeLinksResponse(
        links=[preference.Link(url=_url(memory, target)) for target in asked.targets]
    ).SerializeToString()


def _url(memory: Memory, target: LinkTarget) -> str:
    named = _name((memory.name, target))
    memory.links[URL + named] = target
    return URL + named


def _make_page_links(memory: Memory, asked: PageLinksAsked, now: Instant) -> bytes:
    return preference.MakePageLinksResponse(
        links=[
            preference.PageLink(
                url=PAGE_URL + _name((memory.name, target, now)),
                expire_time=told.timestamp(Instant(now + _PAGE_LINK_MICROSECONDS)),
            )
            for target in asked.targets
        ]
    ).SerializeToString()


def _name(of: object) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()


LINKING: Final[Mapping[str, ReadMethod]] = MappingProxyType(
    {
        "MakeLinks": ReadMethod(read=parse.make_links, act=_make_links),
        "MakePageLinks": ReadMethod(read=parse.make_page_links, act=_make_page_links),
    }
)
"""By the method's name."""
