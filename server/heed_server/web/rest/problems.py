"""Whatever is not answered, as a problem (RFC 9457): what programs and people do about it.

Laws:
- A refusal of heed's has the reason, the metadata and the violations that a gRPC caller is told,
  each violation with its place in the body. A refusal of HTTP's own has its status alone.
- A problem is never an answer: a check that ends in one means do not send, and a write that ends in
  a 5xx may have happened, which the same request with the same key tells.
- 429 and 503 say after how many seconds to come again.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Final

from google.rpc import code_pb2
from msgspec import UNSET, Meta, Struct, UnsetType

from heed.errors import ErrorReason, HeedError, InvalidArgumentError
from heed.wire.status import code_of, retry_ms_of
from heed_server.web.rest.reasons import ADVICE

MEDIA_TYPE: Final = "application/problem+json"
KEY_HEADER: Final = "Idempotency-Key"

RETRY_AFTER_SECONDS: Final = 1
"""After how long a caller may come again where nothing better is known."""

_STATUS_OF_CODE: Final[Mapping[int, HTTPStatus]] = {
    code_pb2.INVALID_ARGUMENT: HTTPStatus.UNPROCESSABLE_ENTITY,
    code_pb2.NOT_FOUND: HTTPStatus.NOT_FOUND,
    code_pb2.FAILED_PRECONDITION: HTTPStatus.CONFLICT,
    code_pb2.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    code_pb2.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    code_pb2.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    code_pb2.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    code_pb2.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}
_STATUS_OF_REASON: Final[Mapping[ErrorReason, HTTPStatus]] = {
    ErrorReason.MALFORMED_MESSAGE: HTTPStatus.BAD_REQUEST,
    # draft-ietf-httpapi-idempotency-key-header, 2.7
    ErrorReason.IDEMPOTENCY_KEY_REUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
}
_SAID_BELOW: Final = {"field", "violations"}
"""What the metadata of INVALID_FIELD says is said by the violations, as places in the body."""
_OTHER_PLACE: Final = re.compile(r"\b(?:subjects|choices)\[\d+\]")
"""What a violation says of another place: `is the same as subjects[0]`."""
_WORD: Final = re.compile(r"\b(?:CHANNEL|METHOD|REACH)_([A-Z_]+)\b")


class Violation(Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a request, and what to do about it."""

    detail: str
    pointer: Annotated[
        str | UnsetType, Meta(description="Its place in the body, a JSON pointer.")
    ] = UNSET
    header: Annotated[str | UnsetType, Meta(description="The header that is wrong.")] = UNSET
    parameter: Annotated[
        str | UnsetType, Meta(description="The parameter of the query that is wrong.")
    ] = UNSET


class Problem(Struct, frozen=True, kw_only=True):
    """Why a request was not answered. Of a check it means: do not send."""

    type: Annotated[str, Meta(description="Where the docs say what it is, or `about:blank`.")]
    title: str
    status: int
    detail: Annotated[str, Meta(description="What happened and what to do, for people.")]
    reason: Annotated[
        str | UnsetType,
        Meta(
            description="For programs: the reason, as gRPC callers are told it. Absent where the "
            "status says all.",
            examples=["INVALID_FIELD"],
        ),
    ] = UNSET
    metadata: Annotated[
        dict[str, str] | UnsetType, Meta(description="What belongs to the reason.")
    ] = UNSET
    violations: list[Violation] | UnsetType = UNSET


Place = Callable[[str, str], Violation]
"""Makes the violation of a path of the contract's message, and of what is wrong there."""


class RefusedError(Exception):
    """A request is refused for its HTTP."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


def in_body(pointer: Callable[[str], str]) -> Place:
    """Return where in a body it is that a path of its message leads to.

    What is a pointer already stays as it is.
    """

    def place(field: str, detail: str) -> Violation:
        if field == "idempotency_key":
            return Violation(header=KEY_HEADER, detail=detail)
        at = field if not field or field.startswith("/") else pointer(field)
        said = _OTHER_PLACE.sub(lambda found: pointer(found[0]), detail)
        return Violation(pointer=at, detail=said)

    return place


def problem_of(error: HeedError, place: Place) -> tuple[Problem, dict[str, str]]:
    """Return how a refusal is told, and with which headers."""
    violations: list[Violation] = []
    if isinstance(error, InvalidArgumentError):
        told = [place(one.field, _in_words(one.description)) for one in error.violations]
        # What is said once in a body, and by the message once for each scope, is wrong once.
        violations = list(dict.fromkeys(told))
    status = _status_of(error, violations)
    problem = Problem(
        type=f"/v1/docs#{error.reason.value}" if error.reason in ADVICE else "about:blank",
        title=error.reason.value.replace("_", " ").capitalize(),
        status=status,
        detail=_in_words(error.message) if not violations else _told(violations),
        reason=error.reason.value,
        metadata={name: said for name, said in error.metadata.items() if name not in _SAID_BELOW}
        or UNSET,
        violations=violations or UNSET,
    )
    return problem, _headers(error, status)


def problem_of_refusal(refusal: RefusedError) -> Problem:
    """Return how a refusal for its HTTP is told."""
    return Problem(
        type="about:blank",
        title=refusal.status.phrase,
        status=refusal.status,
        detail=refusal.detail,
    )


def _status_of(error: HeedError, violations: Sequence[Violation]) -> HTTPStatus:
    if any(one.header is not UNSET or one.parameter is not UNSET for one in violations):
        return HTTPStatus.BAD_REQUEST
    return _STATUS_OF_REASON.get(error.reason) or _STATUS_OF_CODE[code_of(error)]


def _told(violations: Sequence[Violation]) -> str:
    first = violations[0]
    where = next(
        (place for place in (first.pointer, first.header, first.parameter) if place), "the body"
    )
    others = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
    return f"{where}: {first.detail}{others}"


def _headers(error: HeedError, status: HTTPStatus) -> dict[str, str]:
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return {"WWW-Authenticate": 'Bearer realm="heed"'}
        case HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.SERVICE_UNAVAILABLE:
            retry_ms = retry_ms_of(error)
            seconds = RETRY_AFTER_SECONDS if retry_ms is None else math.ceil(retry_ms / 1_000)
            return {"Retry-After": str(max(1, seconds))}
        case _:
            return {}


def _in_words(text: str) -> str:
    """Say the contract's names of enums as JSON has them."""
    return _WORD.sub(lambda found: found[1].lower(), text)
