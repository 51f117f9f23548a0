"""What REST answers: an ASGI application over the service.

Laws:
- Who calls is known, and has a place, before a body is read: strangers fill no memory.
- A write is answered 2xx only once it is committed; one whose outcome nobody knows is 503, and the
  same request with the same key tells.
- A body is JSON and is answered in JSON. No cookie is set or read, and no origin is allowed by
  CORS: a sender's credential has no business in a browser.
- No answer is kept by anybody on its way (`no-store`).
"""

import asyncio
import re
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from heed.errors import ExhaustedError, HeedError, OutcomeUnknownError, UnavailableError
from heed.wire.status import code_of
from heed_server.auth.credentials import Authenticator
from heed_server.auth.policy import Principal
from heed_server.rpc import Observe
from heed_server.rpc.methods import UnaryMethod
from heed_server.rpc.status import STATUS_CODES, unforeseen
from heed_server.service import Service
from heed_server.web.limits import BODY_BYTES_OF_ONE_MAX, RestLimits
from heed_server.web.measures import EdgeMetrics
from heed_server.web.rest import problems, reading
from heed_server.web.rest.callers import caller_of
from heed_server.web.rest.operations import OPERATIONS, Operation
from heed_server.web.rest.problems import RefusedError

JSON: Final = "application/json"

_STRING: Final = re.compile(r'"(?:[^"\\]|\\["\\])*"')
_ESCAPED: Final = re.compile(r"\\(.)")
_POST: Final = "POST"
_ALLOWED: Final = {"Allow": "POST, OPTIONS"}
_encode: Final = msgspec.json.Encoder().encode


class RestApp:
    """Answers requests. One serves a listener."""

    def __init__(
        self,
        service: Service,
        authenticator: Authenticator | None,
        metrics: EdgeMetrics,
        limits: RestLimits,
        observe: Observe,
        *,
        observe_checks: bool = False,
    ) -> None:
        """`observe` is told of every call but Checks, and of those with `observe_checks`."""
        self._service = service
        self._authenticator = authenticator
        self._metrics = metrics
        self._limits = limits
        self._observe = observe
        self._observe_checks = observe_checks
        self._operations: Mapping[str, Operation[Any]] = {one.path: one for one in OPERATIONS}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = _Request(scope, receive, send, self._metrics)
        operation = self._operations.get(scope["path"])
        if operation is None:
            await request.refuse(
                RefusedError(HTTPStatus.NOT_FOUND, "there is nothing here; /v1/docs says what is")
            )
        elif request.method == "OPTIONS":
            await request.answer(HTTPStatus.NO_CONTENT, b"", _ALLOWED)
        elif request.method != _POST:
            await request.refuse(
                RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "ask by POST", _ALLOWED)
            )
        else:
            await self._serve(operation, request)

    async def _serve(self, operation: Operation[Any], request: "_Request") -> None:
        """Answer one call; its place is given back once the answer is taken."""
        call = _Call(self._service)
        try:
            status, body = await self._answered(operation, request, call)
            encoded = b"" if body is None else _encode(body)
            self._note(operation.method, call, None)
            await request.answer(status, encoded)
        except _GoneError:
            return  # nobody is there to be answered
        except RefusedError as refusal:
            await request.refuse(refusal)
        except HeedError as error:
            await self._fail(operation, request, call, error)
        except Exception as error:  # noqa: BLE001 - the root of a request
            method = operation.method
            failure = unforeseen(method.name, error, is_write=method.is_write)
            await self._fail(operation, request, call, failure)
        finally:
            call.end()

    async def _answered(
        self, operation: Operation[Any], request: "_Request", call: "_Call"
    ) -> tuple[HTTPStatus, msgspec.Struct | None]:
        method = operation.method
        principal = call.caller = caller_of(self._authenticator, request.scope)
        if not method.has_room_always:
            call.take_place()
        request.require_json()
        key = request.idempotency_key() if operation.is_keyed else ""
        data = await request.body(
            BODY_BYTES_OF_ONE_MAX if operation.is_of_one else self._limits.body_bytes_max
        )
        message = operation.message(reading.read(operation.body, data), key)
        deadline = call.began + self._limits.answer_seconds_max
        answer = method.answer(
            self._service,
            principal,
            message.SerializeToString(),
            lambda: deadline - time.perf_counter(),
        )
        if not isinstance(answer, bytes):
            if method.rate is not None:
                try:
                    self._service.admission.rates.take(method.rate, principal)
                except ExhaustedError:
                    answer.close()
                    raise
            with _bounded(method, self._limits.answer_seconds_max):
                async with asyncio.timeout(self._limits.answer_seconds_max):
                    answer = await answer
        return operation.answered(answer)

    async def _fail(
        self, operation: Operation[Any], request: "_Request", call: "_Call", error: HeedError
    ) -> None:
        self._note(operation.method, call, error)
        problem, headers = problems.problem_of(error, operation.pointer)
        await request.answer(problem.status, _encode(problem), headers, problems.MEDIA_TYPE)

    def _note(self, method: UnaryMethod[Service], call: "_Call", error: HeedError | None) -> None:
        if method.is_check and not self._observe_checks:
            return
        code = "OK" if error is None else STATUS_CODES[code_of(error)].name
        reason = "" if error is None else error.reason.value
        name = "" if call.caller is None else call.caller.name
        seconds = time.perf_counter() - call.began
        self._observe(method.name, code, seconds, reason=reason, caller=name)


class _GoneError(Exception):
    """The caller left before the request was here."""


class _Call:
    """What is known and held of one call."""

    __slots__ = ("_place", "_service", "began", "caller")

    def __init__(self, service: Service) -> None:
        self._service = service
        self._place: tuple[str, str] | None = None
        self.began = time.perf_counter()
        self.caller: Principal | None = None

    def take_place(self) -> None:
        """Hold a place among the calls under way, until `end`. Raises ExhaustedError."""
        assert self.caller is not None  # noqa: S101 - who calls is known by then
        calls, whose = self._service.admission.calls, self.caller.identity
        calls.require(whose)
        calls.take(whose)
        self._place = whose

    def end(self) -> None:
        """Give the place back."""
        if self._place is not None:
            self._service.admission.calls.give_back(self._place)


class _Request:
    """One request, and its one answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, metrics: EdgeMetrics) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self._receive = receive
        self._send = send
        self._metrics = metrics

    def header(self, name: bytes) -> str | None:
        """Return a header's value; of one said several times, all of it with commas."""
        found = [value for one, value in self.scope["headers"] if one == name]
        return b", ".join(found).decode("latin-1") if found else None

    def require_json(self) -> None:
        """Return if the body says to be JSON, and JSON is taken for an answer.

        Raises:
            RefusedError: 415, or 406.
        """
        said = (self.header(b"content-type") or "").partition(";")[0].strip().lower()
        if said != JSON:
            raise RefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"send the body as {JSON}, and say so in Content-Type",
                {"Accept-Post": JSON},
            )
        accept = self.header(b"accept")
        if accept is not None and not _takes_json(accept):
            raise RefusedError(HTTPStatus.NOT_ACCEPTABLE, f"the answer is {JSON}; accept that")

    def idempotency_key(self) -> str:
        """Return the key that names a write; empty: none was given, which `heed.wire` refuses.

        A string of RFC 9651 and the same characters bare are the same key.

        Raises:
            RefusedError: 400, there are two, or a string that is not one.
        """
        found = [value for name, value in self.scope["headers"] if name == b"idempotency-key"]
        if len(found) > 1:
            raise RefusedError(
                HTTPStatus.BAD_REQUEST,
                f"{problems.KEY_HEADER} is sent {len(found)} times; send one",
            )
        key = found[0].decode("latin-1").strip() if found else ""
        if not key.startswith('"'):
            return key
        if _STRING.fullmatch(key) is None:
            raise RefusedError(
                HTTPStatus.BAD_REQUEST,
                f"{problems.KEY_HEADER} begins a string that it does not end",
            )
        return _ESCAPED.sub(r"\1", key[1:-1])

    async def body(self, bytes_max: int) -> bytes:
        """Return the body.

        Raises:
            RefusedError: 413, it is larger.
        """
        length = self.header(b"content-length") or ""
        if length.isascii() and length.isdigit() and int(length) > bytes_max:
            raise _too_large(bytes_max)
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > bytes_max:
                raise _too_large(bytes_max)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def answer(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        media_type: str = JSON,
    ) -> None:
        """Answer, and count it."""
        self._metrics.answered(self.method, status)
        told = [*_HEADERS]
        if body:
            told.append((b"content-type", media_type.encode()))
        if status != HTTPStatus.NO_CONTENT:
            told.append((b"content-length", str(len(body)).encode()))
        told += [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        await self._send({"type": "http.response.start", "status": status, "headers": told})
        shown = b"" if self.method == "HEAD" else body
        await self._send({"type": "http.response.body", "body": shown})

    async def refuse(self, refusal: RefusedError) -> None:
        """Answer what is refused for its HTTP."""
        problem = problems.problem_of_refusal(refusal)
        await self.answer(problem.status, _encode(problem), refusal.headers, problems.MEDIA_TYPE)


@contextmanager
def _bounded(method: UnaryMethod[Service], seconds: float) -> Generator[None]:
    """Say what a call is told that took too long; a commit under way is finished all the same."""
    try:
        yield
    except TimeoutError:
        if method.is_write:
            raise OutcomeUnknownError(
                f"the write took more than {seconds:g} s and may still be made; send the same "
                "request with the same key again"
            ) from None
        raise UnavailableError(f"no answer within {seconds:g} s; ask another node") from None


def _takes_json(accept: str) -> bool:
    for one in accept.split(","):
        kind, _, parameters = one.partition(";")
        if kind.strip().lower() in {JSON, "application/*", "*/*"}:
            return not parameters.replace(" ", "").startswith("q=0") or "q=0." in parameters
    return False


def _too_large(bytes_max: int) -> RefusedError:
    return RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body may have {bytes_max} bytes; send several requests",
        {"Connection": "close"},
    )


_HEADERS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
