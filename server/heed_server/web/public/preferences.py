"""What a page link answers: the preference page of one person, and what became of a choice there.

Laws:
- Only a POST of one of the page's forms writes. Reading changes nothing, and neither does a form
  that another site sent.
- A page link that is old shows nothing that stands, and takes stops all the same.
- What is recorded of an opt-in is what its page showed: the words beside the box, and what names
  all of it. If the texts have changed since, the page is shown anew.

Source: ADR 0046.
"""

import asyncio
import re
from dataclasses import replace
from typing import Final, assert_never

import structlog
from starlette.requests import Request
from starlette.responses import Response

from heed.errors import ExhaustedError, HeedError
from heed.model import TOPIC_ROOT, Choice, ChoiceKind, Evidence, Revision, Scope
from heed.topics import TopicTable
from heed_server.service.links import EVERYTHING, SIGNALLED
from heed_server.service.pages import Chosen, OpenedPage, Refusal
from heed_server.service.personal import PersonalStanding
from heed_server.web.limits import WRITE_SECONDS_MAX, PageLimits
from heed_server.web.public.confirming import done_page, stopped_page
from heed_server.web.public.forms import Form, FormError, read_form, read_scope, said_of
from heed_server.web.public.looks import PAGE_TOPICS_MAX, Look
from heed_server.web.public.measures import LinkMetrics
from heed_server.web.public.notices import notice_of
from heed_server.web.public.page_rates import PageRates
from heed_server.web.public.rendering import Face
from heed_server.web.public.serving import (
    NOT_DONE,
    Edge,
    has_signal,
    is_of_other_site,
    seconds_of,
)
from heed_server.web.public.view import shown_topics, view_of

_log = structlog.stdlib.get_logger("heed_server.web")


class PageRequests:
    """The requests of all page links."""

    def __init__(self, edge: Edge, presses: LinkMetrics, limits: PageLimits) -> None:
        self._edge = edge
        self._presses = presses
        self._rates = PageRates(limits)

    async def respond(self, request: Request) -> Response:
        """Answer one."""
        edge = self._edge
        page = edge.service.open_page(request.path_params["token"])
        if page is None:
            return edge.refuse_invalid(request)
        face = edge.face(request, page.context.name)
        if request.method == "POST":
            return await self._take(request, face, page)
        if not edge.service.is_good(page):
            return self._show_expired(face)
        try:
            self._rates.read(page)
            return await self._show(request, face, page)
        except ExhaustedError as error:
            return face.problem("often", 429, title="busy", headers=seconds_of(error))
        except HeedError as error:
            _log.warning("page_not_shown", tenant=page.context.name, reason=error.reason)
            return face.problem("busy", 503, title="busy", headers=NOT_DONE)

    async def _show(self, request: Request, face: Face, page: OpenedPage) -> Response:
        asked = request.query_params
        if "receipt" in asked:
            return await self._give_receipt(asked["receipt"], face, page)
        standing = await self._edge.service.standing_of(page)
        scope = read_scope(asked.get("start", ""))
        if scope is not None and _is_shown(scope, standing, face.look):
            return self._ask_consent(request, face, standing, scope)
        return await self._show_all(request, face, standing)

    async def _show_all(
        self,
        request: Request,
        face: Face,
        standing: PersonalStanding,
        *,
        problem: str = "",
        code: int = 200,
    ) -> Response:
        # A hundred topics take tens of milliseconds, for which no Check should wait.
        return await asyncio.to_thread(
            self._all_of, request, face, standing, problem=problem, code=code
        )

    def _all_of(
        self, request: Request, face: Face, standing: PersonalStanding, *, problem: str, code: int
    ) -> Response:
        texts, words = face.texts, face.words(standing.topics)
        view = view_of(standing, face.look, words, asked_again="again" in request.query_params)
        signal = ""
        if has_signal(request):
            key = "signal.honoured" if view.processing.is_stopped else "signal.waits"
            signal = texts(key, what=view.processing.what, status=view.processing.status)
        return face.page(
            "choices.html",
            title=texts("choices.title"),
            code=code,
            view=view,
            signal=signal,
            problem=problem,
        )

    def _show_expired(self, face: Face, *, code: int = 200) -> Response:
        return face.page(
            "expired.html",
            title=face.texts("expired.title"),
            code=code,
            scope=said_of(EVERYTHING),
            what=face.words().what(EVERYTHING),
        )

    def _ask_consent(
        self,
        request: Request,
        face: Face,
        standing: PersonalStanding,
        scope: Scope,
        *,
        problem: str = "",
        code: int = 200,
    ) -> Response:
        notice = notice_of(face, standing, scope, signalled=has_signal(request))
        return face.page(
            "consent.html",
            title=notice.title,
            code=code,
            notice=notice,
            scope=said_of(scope),
            stood=str(standing.newest),
            problem=problem,
        )

    async def _take(self, request: Request, face: Face, page: OpenedPage) -> Response:
        service = self._edge.service
        if is_of_other_site(request, service.public_url):
            return face.problem("site", 403)
        body = await self._edge.body_of(request)
        if body is None:
            return face.problem("large", 413, headers={"Connection": "close"})
        try:
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                form = read_form(request.headers.get("content-type", ""), body, service.now())
                return await self._choose(request, face, page, form)
        except FormError:
            self._presses.chosen("refused")
            return face.problem("form", 400)
        except ExhaustedError as error:
            _log.info("choice_refused", tenant=page.context.name, reason=error.reason)
            self._presses.chosen("refused")
            return face.problem("often", 429, title="busy", headers=seconds_of(error))
        except (HeedError, TimeoutError) as error:
            reason = error.reason if isinstance(error, HeedError) else "TIMEOUT"
            _log.warning("choice_failed", tenant=page.context.name, reason=reason)
            self._presses.chosen("failed")
            return face.problem("not_done", 503, title="not_done", headers=NOT_DONE)

    async def _choose(self, request: Request, face: Face, page: OpenedPage, form: Form) -> Response:
        service, choice = self._edge.service, form.choice
        if not _is_offered(choice.scope, service.declared_topics(page.context), face.look):
            raise FormError
        if not service.is_good(page) and choice.kind is not ChoiceKind.OPT_OUT:
            return self._show_expired(face, code=403)
        if form.problem or choice.kind is ChoiceKind.OPT_IN:
            self._rates.read(page)  # the page is shown again, maybe
            standing = await service.standing_of(page)
            again = await self._ask_again(request, face, standing, form)
            if again is not None:
                return again
            choice = replace(choice, evidence=self._evidence_of(request, face, standing, choice))
        self._rates.choose(page, choice)
        became = await service.choose(
            page, choice, stood=form.stood, has_signal=has_signal(request)
        )
        match became:
            case Chosen():
                self._presses.chosen("written" if became.is_written else "stood")
                return self._confirm(request, face, page, choice, became)
            case Refusal.EXPIRED:
                return self._show_expired(face, code=403)
            case Refusal.CHANGED:
                self._presses.chosen("refused")
                standing = await service.standing_of(page)
                return await self._show_changed(request, face, standing, choice)
            case _:
                assert_never(became)

    async def _ask_again(
        self, request: Request, face: Face, standing: PersonalStanding, form: Form
    ) -> Response | None:
        """The page of a form that cannot be taken as it is; None: it can."""
        scope = form.choice.scope
        if form.problem:
            said = face.texts(f"problem.{form.problem}")
            return await self._show_all(request, face, standing, problem=said, code=400)
        if not _is_shown(scope, standing, face.look):
            raise FormError
        notice = notice_of(face, standing, scope, signalled=has_signal(request))
        if not form.agreed:
            problem = face.texts("problem.agree", statement=notice.statement)
            return self._ask_consent(request, face, standing, scope, problem=problem, code=400)
        if form.version != notice.version:
            problem = face.texts("problem.words_changed")
            return self._ask_consent(request, face, standing, scope, problem=problem, code=409)
        return None

    def _evidence_of(
        self, request: Request, face: Face, standing: PersonalStanding, choice: Choice
    ) -> Evidence:
        notice = notice_of(face, standing, choice.scope, signalled=has_signal(request))
        return Evidence(
            notice=notice.statement,
            notice_version=notice.version,
            act=f"ticked the box beside these words, and pressed {notice.button!r}",
            language=face.texts.tag,
            truncated_ip=self._edge.truncated_ip(request),
        )

    async def _show_changed(
        self, request: Request, face: Face, standing: PersonalStanding, choice: Choice
    ) -> Response:
        problem = face.texts("problem.changed")
        if choice.kind is ChoiceKind.OPT_IN:
            return self._ask_consent(
                request, face, standing, choice.scope, problem=problem, code=409
            )
        return await self._show_all(request, face, standing, problem=problem, code=409)

    def _confirm(
        self,
        request: Request,
        face: Face,
        page: OpenedPage,
        choice: Choice,
        chosen: Chosen,
    ) -> Response:
        service, signalled = self._edge.service, has_signal(request)
        if not service.is_good(page):
            # Who has an old page link is told no more than who has a link.
            words = face.words(service.declared_topics(page.context))
            said = service.still_sent_after(page.context, choice.scope)
            return stopped_page(
                face,
                words,
                choice.scope,
                still=words.still_sent(*said),
                reference=page.link.reference,
                now=service.now(),
                signalled=signalled,
            )
        return done_page(face, choice, chosen, signalled=signalled)

    async def _give_receipt(self, said: str, face: Face, page: OpenedPage) -> Response:
        if not _REVISION.fullmatch(said):
            return face.problem("nowhere", 404)
        proven = await self._edge.service.receipt_of(page, Revision(int(said)))
        if proven is None:
            return face.problem("nowhere", 404)
        return face.file(f"receipt-{said}.txt", proven.text)


def _is_offered(scope: Scope, declared: TopicTable | None, look: Look) -> bool:
    """Whether a page of a tenant may have a form about a scope: about everything, or a topic that
    there is, retired ones too. So nobody fills the log with topics that there are not.

    `declared` None: what there is is not known just now, and no stop is refused for that.
    """
    if scope.topic == TOPIC_ROOT:
        return scope in {EVERYTHING, SIGNALLED}
    return (
        declared is None
        or declared.get(scope.topic) is not None
        or any(one.topic == scope.topic for one in look.topics)
    )


def _is_shown(scope: Scope, standing: PersonalStanding, look: Look) -> bool:
    """Whether a page shows a place, so that it can be opted in to there."""
    return any(
        scope == Scope(channel=channel, topic=topic)
        for topic, channels in shown_topics(standing, look)[:PAGE_TOPICS_MAX]
        for channel in channels
    )


_REVISION: Final = re.compile(r"[1-9][0-9]{0,14}")
