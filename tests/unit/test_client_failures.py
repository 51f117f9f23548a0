"""What a failed call is to a caller."""

from collections.abc import Iterable

import grpc
import pytest
from google.protobuf.message import Message

import heed
from heed.connection.failures import failure
from heed.connection.methods import CHECK, GET_PREFERENCES, SET_PREFERENCE
from heed.connection.spec import MethodSpec
from heed.wire.status import DETAILS_METADATA_KEY, to_status


class Failed:
    """A failed call as gRPC gives it."""

    def __init__(
        self, code: grpc.StatusCode, details: str | None = None, status: bytes | None = None
    ) -> None:
        self._code = code
        self._details = details
        self._status = status

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        return None if self._status is None else [(DETAILS_METADATA_KEY, self._status)]


def told(failed: Failed, spec: MethodSpec[Message, Message], key: str = "") -> heed.HeedError:
    return failure(failed, spec, address="heed:1", timeout_seconds=0.05, idempotency_key=key)


def sent(error: heed.HeedError, code: grpc.StatusCode) -> Failed:
    return Failed(code, error.message, to_status(error).SerializeToString())


TRANSPORT = [
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.OUT_OF_RANGE,
]


@pytest.mark.parametrize("code", [*TRANSPORT, grpc.StatusCode.UNIMPLEMENTED])
def test_a_check_without_an_answer_is_unavailable_and_names_the_safe_answer(
    code: grpc.StatusCode,
) -> None:
    error = told(Failed(code), CHECK)

    assert type(error) is heed.UnavailableError
    assert error.reason is heed.ErrorReason.SERVER_UNREACHABLE
    assert heed.SAFE_ANSWER in error.message
    assert "heed:1" in error.message


@pytest.mark.parametrize("code", TRANSPORT)
def test_a_write_without_an_answer_may_have_happened_and_names_its_key(
    code: grpc.StatusCode,
) -> None:
    error = told(Failed(code), SET_PREFERENCE, "k-1")

    assert type(error) is heed.OutcomeUnknownError
    assert error.metadata["idempotency_key"] == "k-1"
    assert "idempotency_key='k-1'" in error.message


def test_a_write_that_the_server_has_no_method_for_did_not_happen() -> None:
    error = told(Failed(grpc.StatusCode.UNIMPLEMENTED), SET_PREFERENCE, "k-1")

    assert type(error) is heed.UnavailableError


def test_a_read_without_an_answer_is_unavailable() -> None:
    error = told(Failed(grpc.StatusCode.UNAVAILABLE, "connection refused"), GET_PREFERENCES)

    assert type(error) is heed.UnavailableError
    assert "connection refused" in error.message


def test_a_deadline_says_how_long_it_was() -> None:
    assert "within 0.05 s" in told(Failed(grpc.StatusCode.DEADLINE_EXCEEDED), CHECK).message


def test_a_proxy_that_refuses_the_credential_is_told_as_that() -> None:
    error = told(Failed(grpc.StatusCode.UNAUTHENTICATED), CHECK)

    assert isinstance(error, heed.UnauthenticatedError)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (heed.RightRequiredError("r", metadata={"right": "check"}), "PERMISSION_DENIED"),
        (heed.ConflictError("c"), "FAILED_PRECONDITION"),
        (heed.NotFoundError("n", metadata={"tenant": "shop"}), "NOT_FOUND"),
        (heed.ExhaustedError("e"), "RESOURCE_EXHAUSTED"),
        (heed.UnauthenticatedError("u"), "UNAUTHENTICATED"),
    ],
)
def test_what_a_server_refused_is_told_by_its_reason(error: heed.HeedError, code: str) -> None:
    got = told(sent(error, grpc.StatusCode[code]), CHECK)

    assert type(got) is type(error)
    assert (got.reason, got.message, got.metadata) == (error.reason, error.message, error.metadata)


def test_every_violation_comes_through() -> None:
    violations = [
        heed.FieldViolation("query.channel", "is required"),
        heed.FieldViolation("a", "b"),
    ]
    error = heed.InvalidArgumentError("m", violations=violations)

    got = told(sent(error, grpc.StatusCode.INVALID_ARGUMENT), CHECK)

    assert isinstance(got, heed.InvalidArgumentError)
    assert got.violations == tuple(violations)


def test_a_server_that_cannot_answer_a_check_names_the_safe_answer_too() -> None:
    error = heed.UnavailableError("old", reason=heed.ErrorReason.STATE_STALE)

    got = told(sent(error, grpc.StatusCode.UNAVAILABLE), CHECK)

    assert got.reason is heed.ErrorReason.STATE_STALE
    assert heed.SAFE_ANSWER in got.message


def test_a_server_that_cannot_take_a_write_leaves_the_key_to_try_again() -> None:
    error = heed.UnavailableError("away", reason=heed.ErrorReason.STORE_UNAVAILABLE)

    got = told(sent(error, grpc.StatusCode.UNAVAILABLE), SET_PREFERENCE, "k-1")

    assert type(got) is heed.UnavailableError
    assert got.metadata["idempotency_key"] == "k-1"


def test_an_outcome_that_the_server_does_not_know_stays_unknown() -> None:
    error = heed.OutcomeUnknownError("lost")

    got = told(sent(error, grpc.StatusCode.UNAVAILABLE), SET_PREFERENCE, "k-1")

    assert type(got) is heed.OutcomeUnknownError


@pytest.mark.parametrize("status", [b"\xff\xff", b""])
def test_details_that_are_not_ours_are_of_the_transport(status: bytes) -> None:
    error = told(Failed(grpc.StatusCode.UNAVAILABLE, status=status), CHECK)

    assert error.reason is heed.ErrorReason.SERVER_UNREACHABLE


def waits(metadata: dict[str, str], key: str) -> heed.HeedError:
    sent_by_server = heed.ConflictError(
        "it needs a second person", reason=heed.ErrorReason.APPROVAL_REQUIRED, metadata=metadata
    )
    failed = sent(sent_by_server, grpc.StatusCode.FAILED_PRECONDITION)
    return told(failed, SET_PREFERENCE, key)


def test_a_write_that_waits_for_a_second_person_names_the_key_to_send_it_again_with() -> None:
    error = waits({"approval_id": "approval-1", "method": "ReleaseSuppression"}, "k-1")

    assert type(error) is heed.ConflictError
    assert error.metadata["idempotency_key"] == "k-1"
    assert error.metadata["approval_id"] == "approval-1"


@pytest.mark.parametrize(
    ("metadata", "key"),
    [({"method": "RevertBatch"}, "k-1"), ({"approval_id": "approval-1"}, "")],
    ids=["nobody could approve it", "an approval that was refused has no key"],
)
def test_what_does_not_wait_names_no_key(metadata: dict[str, str], key: str) -> None:
    assert "idempotency_key" not in waits(metadata, key).metadata
