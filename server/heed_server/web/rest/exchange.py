"""One request and its one answer, as HTTP has them: headers, bodies, and what they may be.

Law: each answer is counted once, when it begins, and is kept by nobody on its way (`no-store`).
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from starlette.types import Message, Receive, Scope, Send

from heed_server.web.measures import EdgeMetrics
from heed_server.web.rest import problems
from heed_server.web.rest.problems import Problem, RefusedError

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"

_STRING: Final = re.compile(r'"(?:[^"\\]|\\["\\])*"')
_ESCAPED: Final = re.compile(r"\\(.)")
_NOT_AT_ALL: Final = re.compile(r"q=0(?:\.0{0,3})?", re.IGNORECASE)
_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
_PLAIN: Final = frozenset({"", "identity"})
_WITHOUT_BODY: Final = frozenset({HTTPStatus.NO_CONTENT})

encode: Final = msgspec.json.Encoder().encode
"""Return a body as JSON."""


class GoneError(Exception):
    """The caller left before the request was here."""


class Exchange:
    """One request, and its one answer."""

    __slots__ = ("_metrics", "_receive", "_send", "has_begun", "method", "scope")

    def __init__(self, scope: Scope, receive: Receive, send: Send, metrics: EdgeMetrics) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.has_begun = False
        """Whether a status was sent."""
        self._receive = receive
        self._send = send
        self._metrics = metrics

    def headers(self, name: bytes) -> list[str]:
        """Return a header's values, one for each time that it was sent."""
        return [value.decode("latin-1") for one, value in self.scope["headers"] if one == name]

    def require_no_query(self) -> None:
        """Return if all is said in the body: whoever names a tenant elsewhere means that one.

        Raises:
            RefusedError: 400.
        """
        if self.scope["query_string"]:
            said = "there are no parameters here; say it in the body"
            raise RefusedError(HTTPStatus.BAD_REQUEST, said)

    def require_json_body(self) -> None:
        """Return if the body says to be JSON, as it is.

        Raises:
            RefusedError: 415.
        """
        codings = ",".join(self.headers(b"content-encoding")).split(",")
        if any(one.strip().lower() not in _PLAIN for one in codings):
            raise RefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "send the body as it is, without Content-Encoding",
                {"Accept-Encoding": "identity"},
            )
        said = self.headers(b"content-type")
        if len(said) != 1 or said[0].partition(";")[0].strip().lower() != JSON:
            raise RefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"send the body as {JSON}, and say so in Content-Type",
                {"Accept-Post": JSON},
            )

    def require_accepted(self, media_type: str) -> None:
        """Return if the caller takes an answer of a type.

        Raises:
            RefusedError: 406.
        """
        accept = ",".join(self.headers(b"accept"))
        if accept and not _takes(accept, media_type):
            raise RefusedError(
                HTTPStatus.NOT_ACCEPTABLE, f"the answer is {media_type}; accept that"
            )

    def idempotency_key(self) -> str:
        """Return the key that names a write; empty: none was given, which `heed.wire` refuses.

        A string of RFC 9651 and the same characters bare are the same key.

        Raises:
            RefusedError: 400, there are two, or a string that is not one.
        """
        found = self.headers(b"idempotency-key")
        if len(found) > 1:
            said = f"{problems.KEY_HEADER} is sent {len(found)} times; send one"
            raise RefusedError(HTTPStatus.BAD_REQUEST, said)
        key = found[0].strip() if found else ""
        if not key.startswith('"'):
            return key
        if _STRING.fullmatch(key) is None:
            said = f"{problems.KEY_HEADER} begins a string that it does not end"
            raise RefusedError(HTTPStatus.BAD_REQUEST, said)
        return _ESCAPED.sub(r"\1", key[1:-1])

    async def body(self, bytes_max: int) -> bytes:
        """Return the body.

        Raises:
            RefusedError: 413, it is larger.
            GoneError: it will not come.
        """
        length = "".join(self.headers(b"content-length"))
        if length.isascii() and length.isdigit() and int(length) > bytes_max:
            raise _too_large(bytes_max)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._next()
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > bytes_max:
                raise _too_large(bytes_max)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def gone(self) -> None:
        """Return once the caller has left."""
        while True:
            try:
                await self._next()
            except GoneError:
                return

    async def answer(
        self,
        status: int,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        media_type: str = JSON,
    ) -> None:
        """Answer whole."""
        of_body: dict[str, str] = {"Content-Type": media_type} if body else {}
        if status not in _WITHOUT_BODY:
            of_body["Content-Length"] = str(len(body))
        await self._begin(status, {**of_body, **(headers or {})})
        shown = b"" if self.method == "HEAD" else body
        await self._send({"type": "http.response.body", "body": shown})

    async def begin(self, media_type: str) -> None:
        """Begin an answer of many parts; `write` them, and `end`."""
        # A proxy that collects parts would hold back what is said.
        await self._begin(HTTPStatus.OK, {"Content-Type": media_type, "X-Accel-Buffering": "no"})

    async def write(self, part: bytes) -> None:
        """Write a part; returns once there is room for the next."""
        await self._send({"type": "http.response.body", "body": part, "more_body": True})

    async def end(self) -> None:
        """End an answer of many parts."""
        await self._send({"type": "http.response.body", "body": b""})

    async def refuse(self, refusal: RefusedError) -> None:
        """Answer what is refused for its HTTP."""
        await self.tell_problem(problems.problem_of_refusal(refusal), refusal.headers)

    async def tell_problem(self, problem: Problem, headers: Mapping[str, str]) -> None:
        """Answer with a problem."""
        await self.answer(problem.status, encode(problem), headers, problems.MEDIA_TYPE)

    async def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self._metrics.answered(self.method, status)
        self.has_begun = True
        told = [*_HEADERS]
        told += [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": told})

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise GoneError
        return message


def _takes(accept: str, media_type: str) -> bool:
    """Whether a list of ranges takes a type, by the one that names it most closely (RFC 9110)."""
    kind = media_type.partition("/")[0]
    closeness = {"*/*": 0, f"{kind}/*": 1, media_type: 2}
    closest, is_taken = -1, False
    for one in accept.lower().split(","):
        range_, *parameters = (part.strip() for part in one.split(";"))
        close = closeness.get(range_, -1)
        if close > closest:
            closest = close
            is_taken = not any(_NOT_AT_ALL.fullmatch(part) for part in parameters)
    return is_taken


def _too_large(bytes_max: int) -> RefusedError:
    return RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body may have {bytes_max} bytes; send several requests",
        {"Connection": "close"},
    )
