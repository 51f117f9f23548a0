"""What a link answers: a page with two buttons, and what became of pressing one.

Laws:
- Only a POST of exactly one of two bodies writes: the one-click body stops what the link says, the
  other everything. Reading, however often and by whatever scanner, changes nothing.
- Who holds a link is not told whose it is, nor whether heed knows the person, nor whether it was
  pressed before: links are forwarded.

Source: RFC 8058; threats "One-click link"; ADR 0043, ADR 0046.
"""

import asyncio
import time
from typing import Final

import structlog
from starlette.requests import Request
from starlette.responses import Response

from heed.errors import HeedError
from heed.model import Channel, Scope
from heed.topics import covers
from heed_server.service.links import EVERYTHING, SIGNALLED, PressedLink
from heed_server.web.limits import WRITE_SECONDS_MAX
from heed_server.web.public.confirming import stopped_page
from heed_server.web.public.forms import URLENCODED
from heed_server.web.public.measures import LinkMetrics
from heed_server.web.public.one_click import FIELD, VALUE, is_press
from heed_server.web.public.rendering import Face
from heed_server.web.public.serving import NOT_DONE, Edge, has_signal

_EVERYTHING_BODY: Final = b"act=stop-everything"

_log = structlog.stdlib.get_logger("heed_server.web")


class LinkRequests:
    """The requests of all links."""

    def __init__(self, edge: Edge, presses: LinkMetrics) -> None:
        self._edge = edge
        self._presses = presses

    async def respond(self, request: Request) -> Response:
        """Answer one."""
        edge = self._edge
        link = edge.service.open_link(request.path_params["token"])
        if link is None:
            return edge.refuse_invalid(request)
        face = edge.face(request, link.context.name)
        if request.method != "POST":
            return self._ask(request, face, link)
        body = await edge.body_of(request)
        if body is None:
            return face.problem("large", 413, headers={"Connection": "close"})
        kind = request.headers.get("content-type", "")
        if is_press(kind, body):
            return await self._press(request, face, link, everything=False)
        if kind.partition(";")[0].strip().lower() == URLENCODED and body == _EVERYTHING_BODY:
            return await self._press(request, face, link, everything=True)
        return face.problem("body", 400)

    def _ask(self, request: Request, face: Face, link: PressedLink) -> Response:
        scope, texts = link.link.target.scope, face.texts
        words = face.words(self._edge.service.declared_topics(link.context))
        is_processing = scope.channel is Channel.PROCESSING
        return face.plain_page(
            "link.html",
            title=texts("link.title"),
            text=texts(
                "link.processing_text" if is_processing else "link.text", what=words.what(scope)
            ),
            everything=texts("link.all_text", what=words.what(EVERYTHING))
            if not is_processing and not covers(scope, EVERYTHING)
            else "",
            signal=texts("signal.link", what=words.what(SIGNALLED)) if has_signal(request) else "",
            field=FIELD,
            value=VALUE,
        )

    async def _press(
        self, request: Request, face: Face, link: PressedLink, *, everything: bool
    ) -> Response:
        service, signalled = self._edge.service, has_signal(request)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                is_written = await service.press_link(
                    link, everything=everything, has_signal=signalled
                )
        except (HeedError, TimeoutError) as error:
            reason = error.reason if isinstance(error, HeedError) else "TIMEOUT"
            _log.warning("press_failed", tenant=link.context.name, reason=reason)
            self._presses.pressed("failed")
            return face.problem("not_done", 503, title="not_done", headers=NOT_DONE)
        outcome = "written" if is_written else "stood"
        self._presses.pressed(outcome, time.perf_counter() - began)
        return self._done(
            face, link, EVERYTHING if everything else link.link.target.scope, signalled=signalled
        )

    def _done(self, face: Face, link: PressedLink, scope: Scope, *, signalled: bool) -> Response:
        service = self._edge.service
        words = face.words(service.declared_topics(link.context))
        return stopped_page(
            face,
            words,
            scope,
            still=words.still_sent(*service.still_sent_after(link.context, scope)),
            reference=link.link.reference,
            now=service.now(),
            signalled=signalled,
        )
