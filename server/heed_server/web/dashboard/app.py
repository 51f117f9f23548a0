"""What the dashboard answers: signed in or not, a view as a page, as its tables, or as a file.

Laws:
- Nothing but the form to sign in and the files of the pages is answered to who is not signed in.
- Who asks is judged anew at each request, and what they may see is the service's to say: what is
  asked here has the rights, the rates and the places of calls over gRPC.
- Reading changes nothing. A form is taken from this server's own pages alone, and, but for that of
  signing in, only with what the session's own pages know.
- Whatever is exported is noted in the log: what, of which tenant, by whom.

Source: ADR 0048.
"""

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from http import HTTPStatus
from typing import Final, NamedTuple

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from heed.errors import ErrorReason, ExhaustedError, HeedError, UnauthenticatedError
from heed_server.auth.policy import Principal
from heed_server.rates import Rate, RateKind
from heed_server.room import Room
from heed_server.service import Service
from heed_server.web.dashboard import pages
from heed_server.web.dashboard.answers import Cookie, answer, problem, see, status_of
from heed_server.web.dashboard.exporting import FORMATS, Exported, export
from heed_server.web.dashboard.guard import (
    form_of,
    is_asked_by_reader,
    is_by_own_name,
    is_from_own_page,
)
from heed_server.web.dashboard.limits import (
    CREDENTIAL_CHARACTERS_MAX,
    EXPORT_ROWS_MAX,
    PAGE_ROWS_MAX,
    PDF_ROWS_MAX,
    PDFS_MAX,
    PDFS_OF_PRINCIPAL_MAX,
    SIGN_IN_BURST_SECONDS,
    VIEW_SECONDS_MAX,
    DashboardLimits,
)
from heed_server.web.dashboard.sessions import Session, Sessions, is_form_of
from heed_server.web.dashboard.view import Asking, Shown, View
from heed_server.web.dashboard.views import BY_NAME, VIEWS
from heed_server.web.measures import EdgeMetrics
from heed_server.web.strangers import network_of

_ASSETS: Final = "/assets/"
_SIGN_IN: Final = "/sign-in"
_SIGN_OUT: Final = "/sign-out"
_PART: Final = "part"
_READING: Final = {"GET", "HEAD"}
_KEPT_LONG: Final = {"Cache-Control": "public, max-age=31536000, immutable"}

_log = structlog.stdlib.get_logger("heed_server.web")


class SignedIn(NamedTuple):
    """Who asks."""

    session: Session
    principal: Principal


class Reached(NamedTuple):
    """How browsers reach the dashboard."""

    is_secure: bool
    """By https: here, or at a proxy."""
    behind_proxy: bool


class DashboardApp:
    """The dashboard, an ASGI application. Used on one event loop alone."""

    def __init__(
        self,
        service: Service,
        sessions: Sessions,
        metrics: EdgeMetrics,
        limits: DashboardLimits,
        reached: Reached,
    ) -> None:
        self._service = service
        self._sessions = sessions
        self._metrics = metrics
        self._limits = limits
        self._reached = reached
        self._cookie = Cookie(is_secure=reached.is_secure)
        self._attempts = Rate(
            "dashboard.sign_ins_per_second_max",
            limits.sign_ins_per_second_max,
            SIGN_IN_BURST_SECONDS,
            asyncio.get_running_loop().time,
        )

        self._printing = Room(
            "PDFs under way",
            most=("PDFS_MAX", PDFS_MAX),
            most_of_principal=("PDFS_OF_PRINCIPAL_MAX", PDFS_OF_PRINCIPAL_MAX),
            reason=ErrorReason.OVERLOADED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        try:
            async with asyncio.timeout(VIEW_SECONDS_MAX):
                response = await self._respond(request)
        except ClientDisconnect:
            return
        except HeedError as error:
            response = problem(status_of(error), f"{error.message[:1].upper()}{error.message[1:]}.")
        except TimeoutError:
            response = problem(HTTPStatus.SERVICE_UNAVAILABLE, "It took too long. Try again.")
        except Exception:  # noqa: BLE001 - the root of a request
            _log.exception("request_failed")
            response = problem(HTTPStatus.SERVICE_UNAVAILABLE, "It failed; the log says why.")
        self._metrics.answered(request.method, response.status_code)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        path, method = request.url.path, request.method
        if method not in _READING and method != "POST":
            return _not_allowed("GET, HEAD, POST")
        if path.startswith(_ASSETS):
            return _asset(path.removeprefix(_ASSETS))
        if self._sessions.is_open and not is_by_own_name(request):
            said = "Open it as localhost: a server without keys is for its own host alone."
            return problem(HTTPStatus.FORBIDDEN, said)
        if method == "POST" and not is_from_own_page(request, is_secure=self._reached.is_secure):
            return problem(HTTPStatus.FORBIDDEN, "This form was not sent by a page of this server.")
        if path == _SIGN_IN:
            return await self._sign_in(request)
        known = self._sessions.find(request.cookies.get(self._cookie.name, ""))
        if known is None:
            return self._lead_to_sign_in(request)
        form = await form_of(request) if method == "POST" else {}
        if form is None:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The form is too large.")
        session, principal = known
        if method == "POST" and not is_form_of(session, form.pop("form_token", "")):
            said = "This form is not of your session. Open the page anew."
            return problem(HTTPStatus.FORBIDDEN, said)
        if path == _SIGN_OUT:
            return self._sign_out(request, principal)
        self._service.admission.rates.take(RateKind.READS, principal)
        with self._service.admission.place(principal):
            return await self._look(request, path, SignedIn(session, principal), form)

    async def _sign_in(self, request: Request) -> Response:
        if request.method in _READING:
            return self._asking()
        network = network_of(request, behind_proxy=self._reached.behind_proxy)
        whose = Principal(name=network, rights=frozenset())
        try:
            self._attempts.take(whose)
        except ExhaustedError as error:
            seconds = 1 + int(error.metadata["retry_ms"]) // 1_000
            refused = self._asking("Too many attempts. Try again in a while.", error)
            refused.headers["Retry-After"] = str(seconds)
            return refused
        form = await form_of(request) or {}
        credential = form.get("credential", "").strip()
        is_meant = bool(credential) or form.get("open") == "yes"
        if not is_meant or len(credential) > CREDENTIAL_CHARACTERS_MAX:
            return self._asking("This is no credential.", UnauthenticatedError(""))
        try:
            principal = self._sessions.judge(credential)
            self._service.tenants_to_look_at(principal)
        except UnauthenticatedError as error:
            return self._asking("This credential is not taken here.", error)
        except HeedError as error:
            return self._asking(f"{error.message[:1].upper()}{error.message[1:]}.", error)
        self._sessions.end(request.cookies.get(self._cookie.name, ""))
        session_id = self._sessions.begin(credential, principal)
        _log.info("dashboard_signed_in", by=principal.name, tenant=principal.tenant)
        response = see("/")
        response.headers.update(self._cookie.setting(session_id))
        return response

    def _asking(self, said: str = "", error: HeedError | None = None) -> Response:
        page = pages.sign_in_page(
            is_open=self._sessions.is_open, minutes=self._limits.session_minutes, problem=said
        )
        return answer(HTTPStatus.OK if error is None else status_of(error), page)

    def _sign_out(self, request: Request, principal: Principal) -> Response:
        if request.method != "POST":
            return _not_allowed("POST")
        self._sessions.end(request.cookies.get(self._cookie.name, ""))
        _log.info("dashboard_signed_out", by=principal.name, tenant=principal.tenant)
        response = see(_SIGN_IN)
        response.headers.update(self._cookie.taking())
        return response

    def _lead_to_sign_in(self, request: Request) -> Response:
        is_page = "." not in request.url.path
        if request.method in _READING and is_page:
            return see(_SIGN_IN)
        return problem(HTTPStatus.UNAUTHORIZED, "Sign in again: this session has ended.")

    async def _look(
        self, request: Request, path: str, who: SignedIn, form: Mapping[str, str]
    ) -> Response:
        looker = self._looker(who, request.query_params.get("tenant", ""))
        if path == "/":
            return self._first_page(looker)
        name, _, suffix = path.removeprefix("/").partition(".")
        view = BY_NAME.get(name)
        if view is None or suffix not in _suffixes_of(view):
            return problem(HTTPStatus.NOT_FOUND, "The views are those of the dashboard.")
        if suffix and not is_asked_by_reader(request):
            said = "Files are for the pages of this server, and for whoever asks by hand."
            return problem(HTTPStatus.FORBIDDEN, said)
        query = dict(request.query_params)
        query.pop("tenant", None)
        if view.form is None:
            if request.method not in _READING:
                return _not_allowed("GET, HEAD")
            return await self._tell(view, suffix, looker, query, query)
        if request.method in _READING:
            if suffix:
                return _not_allowed("POST")
            if view not in looker.views:
                return problem(HTTPStatus.FORBIDDEN, "Your rights are not those of this view.")
            if view.is_shown_at_once:
                return await self._tell(view, suffix, looker, {}, query)
            return answer(HTTPStatus.OK, pages.view_page(view, looker, None, {}))
        return await self._tell(view, suffix, looker, form, query)

    def _looker(self, who: SignedIn, tenant: str) -> pages.Looker:
        tenants = self._service.tenants_to_look_at(who.principal)
        name = tenant or (tenants[0] if tenants else "")
        return pages.Looker(
            principal=who.principal,
            tenants=tenants,
            tenant=self._service.look(who.principal, name).name,
            views=[view for view in VIEWS if view.rights & who.principal.rights],
            form_token=who.session.form_token,
        )

    def _first_page(self, looker: pages.Looker) -> Response:
        if not looker.views:
            return problem(HTTPStatus.FORBIDDEN, "There is no view for your rights.")
        return see(f"/{looker.views[0].name}")

    async def _tell(
        self,
        view: View,
        suffix: str,
        looker: pages.Looker,
        asked: Mapping[str, str],
        query: Mapping[str, str],
    ) -> Response:
        """Read a view, and tell it as it is asked for."""
        is_page = not suffix
        try:
            shown = await view.read(self._asking_for(suffix, looker, asked))
        except HeedError as error:
            if view.form is None or not is_page:
                raise
            said = f"{error.message[:1].upper()}{error.message[1:]}."
            page = pages.view_page(view, looker, None, asked, problem=said)
            return answer(status_of(error), page)
        if is_page:
            return answer(HTTPStatus.OK, pages.view_page(view, looker, shown, asked))
        if suffix == _PART:
            return answer(HTTPStatus.OK, pages.part_of(view, looker, shown, asked))
        return await self._export(view, suffix, looker, shown, query.get("table", ""))

    def _asking_for(self, suffix: str, looker: pages.Looker, asked: Mapping[str, str]) -> Asking:
        rows_max = {"pdf": PDF_ROWS_MAX, "csv": EXPORT_ROWS_MAX, "json": EXPORT_ROWS_MAX}
        return Asking(
            service=self._service,
            principal=looker.principal,
            tenant=looker.tenant,
            query=asked,
            rows_max=rows_max.get(suffix, PAGE_ROWS_MAX),
            is_export=suffix in FORMATS,
        )

    async def _export(
        self, view: View, suffix: str, looker: pages.Looker, shown: Shown, table: str
    ) -> Response:
        whose = looker.principal
        place = self._printing.place(whose.identity) if suffix == "pdf" else nullcontext()
        with place:
            made: Exported | None = await export(
                suffix, view, shown, table, tenant=looker.tenant, asked_by=whose.name
            )
        if made is None:
            return problem(HTTPStatus.NOT_FOUND, "The view has no such table.")
        _log.info(
            "dashboard_exported",
            view=view.name,
            format=suffix,
            tenant=looker.tenant,
            by=looker.principal.name,
            rows=made.rows,
            cut=made.is_cut,
        )
        named = f'attachment; filename="{made.name}.{suffix}"'
        return answer(
            HTTPStatus.OK, made.content, made.content_type, {"Content-Disposition": named}
        )


def _suffixes_of(view: View) -> set[str]:
    """Return what an address may have after a view's name; by itself a form is not sent again."""
    return {"", *FORMATS} if view.form else {"", _PART, *FORMATS}


def _asset(name: str) -> Response:
    found = pages.ASSETS.get(name)
    if found is None:
        return problem(HTTPStatus.NOT_FOUND, "There is no such file.")
    return answer(HTTPStatus.OK, found.content, found.content_type, _KEPT_LONG)


def _not_allowed(methods: str) -> Response:
    refused = problem(HTTPStatus.METHOD_NOT_ALLOWED, "This is not how it is asked for.")
    refused.headers["Allow"] = methods
    return refused
