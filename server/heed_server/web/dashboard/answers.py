"""Answers: what a refusal of heed's is over HTTP, and the cookie of a session."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from google.rpc import code_pb2
from starlette.responses import Response

from heed.errors import HeedError
from heed.wire.status import code_of
from heed_server.web.dashboard.pages import HEADERS, problem_page
from heed_server.web.limits import RETRY_AFTER_SECONDS

HTML: Final = "text/html; charset=utf-8"

_STATUS_OF_CODE: Final[Mapping[int, HTTPStatus]] = {
    code_pb2.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    code_pb2.NOT_FOUND: HTTPStatus.NOT_FOUND,
    code_pb2.FAILED_PRECONDITION: HTTPStatus.CONFLICT,
    code_pb2.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    code_pb2.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    code_pb2.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    code_pb2.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
_TITLES: Final = {
    HTTPStatus.BAD_REQUEST: "This cannot be asked",
    HTTPStatus.UNAUTHORIZED: "Not signed in",
    HTTPStatus.FORBIDDEN: "Not yours to see",
    HTTPStatus.NOT_FOUND: "There is no such page",
    HTTPStatus.METHOD_NOT_ALLOWED: "This cannot be done here",
    HTTPStatus.CONFLICT: "This does not fit what stands",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Too much was sent",
    HTTPStatus.TOO_MANY_REQUESTS: "Too much at once",
    HTTPStatus.SERVICE_UNAVAILABLE: "No answer just now",
}


def answer(
    status: HTTPStatus, content: bytes, kind: str = HTML, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer with the headers of every answer."""
    return Response(content, status, {**HEADERS, **(headers or {})}, kind)


def see(path: str) -> Response:
    """Return the answer that leads to another page."""
    return answer(HTTPStatus.SEE_OTHER, b"", headers={"Location": path})


def problem(status: HTTPStatus, text: str) -> Response:
    """Return the page of what is not answered."""
    headers: dict[str, str] = {}
    if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return answer(status, problem_page(_TITLES.get(status, "No answer"), text), headers=headers)


def status_of(error: HeedError) -> HTTPStatus:
    """Return the status of a refusal."""
    return _STATUS_OF_CODE.get(code_of(error), HTTPStatus.SERVICE_UNAVAILABLE)


class Cookie:
    """How a browser keeps a session's id: for this server alone, for no script and no other site.

    Source: RFC 6265bis, sections 4.1.2 and 4.1.3.
    """

    def __init__(self, *, is_secure: bool) -> None:
        self.name = "__Host-heed" if is_secure else "heed"
        self._secure = "; Secure" if is_secure else ""

    def setting(self, session_id: str) -> dict[str, str]:
        """Return the header that has it kept until the browser is closed."""
        return self._header(session_id, "")

    def taking(self) -> dict[str, str]:
        """Return the header that has it forgotten."""
        return self._header("", "; Max-Age=0")

    def _header(self, value: str, more: str) -> dict[str, str]:
        said = f"{self.name}={value}; Path=/; HttpOnly; SameSite=Strict{self._secure}{more}"
        return {"Set-Cookie": said}
