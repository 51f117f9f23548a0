"""What gRPC raises, as heed's errors.

Laws:
- An error that a heed server sent is told by its reason (`heed.wire.status`); one without a reason
  is of the transport.
- No failure of a decision becomes an answer: it is an error that names the safe one.
- A write whose answer did not come may have happened. Unless the server is known not to have taken
  it, that is OutcomeUnknownError, with the key that tells.
- An error of a write that says "nothing was written" speaks of the last attempt; an earlier one may
  have been lost on its way back. So every UnavailableError of a write has the key too.
"""

from collections.abc import Iterable
from typing import Protocol

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import status_pb2

from heed.connection.spec import A, Kind, MethodSpec, Q
from heed.errors import (
    SAFE_ANSWER,
    ErrorReason,
    HeedError,
    OutcomeUnknownError,
    UnauthenticatedError,
    UnavailableError,
)
from heed.wire.status import DETAILS_METADATA_KEY, from_status


class Failed(Protocol):
    """What a failed call says; the errors of `grpc` and of `grpc.aio` both are one."""

    def code(self) -> grpc.StatusCode:
        """Return the status."""
        ...

    def details(self) -> str | None:
        """Return the text that came with it."""
        ...

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return the metadata that came after it."""
        ...


def failure(
    failed: Failed,
    spec: MethodSpec[Message, Message],
    *,
    address: str,
    timeout_seconds: float,
    idempotency_key: str,
) -> HeedError:
    """Return the error that tells a caller of this failure."""
    told = error_from_rpc(failed)
    if told is None:
        told = _of_transport(failed, spec, address, timeout_seconds)
    return advised(told, spec, idempotency_key)


def unreachable(
    spec: MethodSpec[Message, Message], address: str, why: str, idempotency_key: str
) -> HeedError:
    """Return the error for a call that no server answered."""
    return advised(
        _no_answer(spec, f"no heed server answered at {address} ({why})"), spec, idempotency_key
    )


def advised(told: HeedError, spec: MethodSpec[Message, Message], idempotency_key: str) -> HeedError:
    """Return the error, with the key by which a write is sent again, and what to do where no answer
    came.
    """
    if told.reason is ErrorReason.APPROVAL_REQUIRED and "approval_id" in told.metadata:
        return _keyed(told, idempotency_key)
    if not isinstance(told, UnavailableError):
        return told
    if spec.kind is Kind.DECISION:
        return UnavailableError(
            f"{told.message}; the safe answer is {SAFE_ANSWER}",
            reason=told.reason,
            metadata=told.metadata,
        )
    if spec.kind is Kind.WRITE and idempotency_key:
        return type(told)(
            f"{told.message}; call again with idempotency_key={idempotency_key!r}, "
            "which does it once and tells what became of it",
            reason=told.reason,
            metadata=told.metadata | {"idempotency_key": idempotency_key},
        )
    return told


def _keyed(told: HeedError, idempotency_key: str) -> HeedError:
    """The same error, with the key that the call has to have once it is approved."""
    if not idempotency_key:
        return told
    return type(told)(
        told.message,
        reason=told.reason,
        metadata=told.metadata | {"idempotency_key": idempotency_key},
    )


def decoded(data: bytes, spec: MethodSpec[Q, A], *, address: str, idempotency_key: str) -> A:
    """Return the answer that these bytes are.

    gRPC is not asked to do this: its asyncio side makes None of what cannot be decoded.

    Raises:
        UnavailableError: they are none.
    """
    try:
        return spec.answer.FromString(data)
    except DecodeError:
        why = f"what came is no {spec.answer.DESCRIPTOR.full_name}"
        raise unreachable(spec, address, why, idempotency_key) from None


def error_from_rpc(failed: Failed) -> HeedError | None:
    """Return the error that a heed server sent, or None if this is not one of a heed server's."""
    for name, value in failed.trailing_metadata() or ():
        if name == DETAILS_METADATA_KEY and isinstance(value, bytes):
            try:
                return from_status(status_pb2.Status.FromString(value))
            except DecodeError:
                return None
    return None


def _of_transport(
    failed: Failed, spec: MethodSpec[Message, Message], address: str, timeout_seconds: float
) -> HeedError:
    code = failed.code()
    what = f"{code.name}: {(failed.details() or 'nothing more is said')[:300]}"
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return UnauthenticatedError(f"{address} refused the credential ({what})")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return UnavailableError(
            f"{address} has no {spec.path}: it is not a heed server, or an older one ({what})",
            reason=ErrorReason.SERVER_UNREACHABLE,
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        problem = f"no answer from {address} within {timeout_seconds:g} s"
    else:
        problem = f"no heed server answered at {address} ({what})"
    return _no_answer(spec, problem)


def _no_answer(spec: MethodSpec[Message, Message], problem: str) -> UnavailableError:
    if spec.kind is Kind.WRITE:
        return OutcomeUnknownError(f"{problem}: the write may or may not have happened")
    return UnavailableError(problem, reason=ErrorReason.SERVER_UNREACHABLE)
