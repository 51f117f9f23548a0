"""heed's errors as google.rpc.Status, or as a stream's Refusal, and back.

Laws:
- An error keeps its class, reason, metadata and violations across the wire; its text is for people.
- A status fits into the metadata that every peer takes: what is too long is cut, and violations
  that do not fit are left out (the message has their count).
- A refusal says in a stream what the status of a call would say, within the same bounds.
- A status without an ErrorInfo of this domain is of the transport, and no HeedError is made of it.
- RATE_LIMITED has a google.rpc.RetryInfo besides, which other languages' libraries know.
- A reason that this version does not know is read by its code alone, on the protective side: the
  class of that code, or UnavailableError.
Source: google.rpc.Code and error_details; protos/heed/v1/error_reason.proto.
"""

from collections.abc import Iterable, Mapping

from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from heed.errors import (
    ConflictError,
    ErrorReason,
    ExhaustedError,
    FieldViolation,
    HeedError,
    InvalidArgumentError,
    NotFoundError,
    OutcomeUnknownError,
    RightRequiredError,
    UnauthenticatedError,
    UnavailableError,
)
from heed.wire.limits import (
    STATUS_BYTES_MAX,
    STATUS_MESSAGE_CHARACTERS_MAX,
    STATUS_VALUE_CHARACTERS_MAX,
    VIOLATIONS_MAX,
)
from heed_proto.v1 import preference_service_pb2 as preference

DOMAIN = "heed.dev"
"""The `domain` of every ErrorInfo of ours."""

RETRY_MS_DIGITS_MAX = 9
"""A server that names a longer wait, of twelve days and more, is not believed."""

DETAILS_METADATA_KEY = "grpc-status-details-bin"
"""The trailing metadata that carries the status."""

_CODES: tuple[tuple[type[HeedError], int], ...] = (
    (InvalidArgumentError, code_pb2.INVALID_ARGUMENT),
    (NotFoundError, code_pb2.NOT_FOUND),
    (ConflictError, code_pb2.FAILED_PRECONDITION),
    (UnauthenticatedError, code_pb2.UNAUTHENTICATED),
    (RightRequiredError, code_pb2.PERMISSION_DENIED),
    (ExhaustedError, code_pb2.RESOURCE_EXHAUSTED),
    (UnavailableError, code_pb2.UNAVAILABLE),
)

_CLASS_OF_CODE: dict[int, type[HeedError]] = {code_pb2.ALREADY_EXISTS: ConflictError}
_CLASS_OF_CODE.update((code, class_) for class_, code in _CODES)


def code_of(error: HeedError) -> int:
    """Return the number of the google.rpc.Code by which an error is answered."""
    if error.reason is ErrorReason.TENANT_EXISTS:
        return code_pb2.ALREADY_EXISTS
    for class_, code in _CODES:
        if isinstance(error, class_):
            return code
    return code_pb2.UNAVAILABLE


def to_status(error: HeedError) -> status_pb2.Status:
    """Return the status that tells a caller of this error."""
    status = status_pb2.Status(
        code=code_of(error), message=_cut(error.message, STATUS_MESSAGE_CHARACTERS_MAX)
    )
    named = error_details_pb2.ErrorInfo(
        reason=error.reason.value,
        domain=DOMAIN,
        metadata={
            name: _cut(value, STATUS_VALUE_CHARACTERS_MAX) for name, value in error.metadata.items()
        },
    )
    status.details.add().Pack(named)
    retry_ms = retry_ms_of(error)
    if retry_ms is not None:
        retried = error_details_pb2.RetryInfo()
        retried.retry_delay.FromMilliseconds(retry_ms)
        status.details.add().Pack(retried)
    if isinstance(error, InvalidArgumentError) and error.violations:
        room = STATUS_BYTES_MAX - status.ByteSize()
        status.details.add().Pack(_bad_request(error.violations, room))
    return status


def retry_ms_of(error: HeedError) -> int | None:
    """Return after how many milliseconds a call may be tried again that was refused for its rate.

    None: it was refused for something else, or nobody said.
    """
    said = error.metadata.get("retry_ms", "")
    is_number = said.isascii() and said.isdigit() and len(said) <= RETRY_MS_DIGITS_MAX
    return int(said) if error.reason is ErrorReason.RATE_LIMITED and is_number else None


def from_status(status: status_pb2.Status) -> HeedError | None:
    """Return the error that a status tells of, or None if it is not one of heed's."""
    named = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    is_ours = False
    try:
        for detail in status.details:
            if detail.TypeName() == error_details_pb2.ErrorInfo.DESCRIPTOR.full_name:
                named.ParseFromString(detail.value)
                is_ours = named.domain == DOMAIN
            elif detail.TypeName() == error_details_pb2.BadRequest.DESCRIPTOR.full_name:
                bad_request.ParseFromString(detail.value)
    except DecodeError:
        return None
    if not is_ours:
        return None
    violations = tuple(
        FieldViolation(violation.field, violation.description)
        for violation in bad_request.field_violations
    )
    return _error(status.code, status.message, named.reason, named.metadata, violations)


def to_refusal(error: HeedError) -> preference.Refusal:
    """Return what a stream says in the place of an answer."""
    refusal = preference.Refusal(
        code=code_of(error),
        reason=error.reason.value,
        message=_cut(error.message, STATUS_MESSAGE_CHARACTERS_MAX),
        metadata={
            name: _cut(value, STATUS_VALUE_CHARACTERS_MAX) for name, value in error.metadata.items()
        },
    )
    if isinstance(error, InvalidArgumentError) and error.violations:
        room = STATUS_BYTES_MAX - refusal.ByteSize()
        for violation in _bad_request(error.violations, room).field_violations:
            refusal.violations.add(field=violation.field, description=violation.description)
    return refusal


def from_refusal(refusal: preference.Refusal) -> HeedError:
    """Return the error that a refusal tells of."""
    violations = tuple(
        FieldViolation(violation.field, violation.description) for violation in refusal.violations
    )
    return _error(refusal.code, refusal.message, refusal.reason, refusal.metadata, violations)


def _error(
    code: int,
    message: str,
    reason_name: str,
    metadata: Mapping[str, str],
    violations: tuple[FieldViolation, ...],
) -> HeedError:
    class_ = _CLASS_OF_CODE.get(code, UnavailableError)
    if reason_name == ErrorReason.OUTCOME_UNKNOWN:
        class_ = OutcomeUnknownError
    try:
        reason = ErrorReason(reason_name)
    except ValueError:
        return class_(message, metadata={**metadata, "unknown_reason": reason_name})
    if issubclass(class_, InvalidArgumentError):
        return class_(message, violations=violations, reason=reason, metadata=metadata)
    return class_(message, reason=reason, metadata=metadata)


def _bad_request(violations: Iterable[FieldViolation], room: int) -> error_details_pb2.BadRequest:
    """As many violations as fit; the first one always does."""
    found = error_details_pb2.BadRequest()
    for violation in list(violations)[:VIOLATIONS_MAX]:
        told = found.field_violations.add(
            field=_cut(violation.field, STATUS_VALUE_CHARACTERS_MAX),
            description=_cut(violation.description, STATUS_VALUE_CHARACTERS_MAX),
        )
        room -= told.ByteSize() + 8
        if room < 0 and len(found.field_violations) > 1:
            del found.field_violations[-1]
            break
    return found


def _cut(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"
