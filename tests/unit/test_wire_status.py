"""Errors survive the wire, whatever they carry, within the bounds of metadata."""

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

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
from heed.wire import limits
from heed.wire.status import code_of, from_status, to_status
from heed_proto.v1 import error_reason_pb2

ERRORS = [
    (InvalidArgumentError("a", violations=[FieldViolation("f", "d")]), code_pb2.INVALID_ARGUMENT),
    (NotFoundError("a", metadata={"tenant": "shop"}), code_pb2.NOT_FOUND),
    (ConflictError("a"), code_pb2.FAILED_PRECONDITION),
    (ConflictError("a", reason=ErrorReason.TENANT_EXISTS), code_pb2.ALREADY_EXISTS),
    (UnauthenticatedError("a"), code_pb2.UNAUTHENTICATED),
    (RightRequiredError("a"), code_pb2.PERMISSION_DENIED),
    (ExhaustedError("a"), code_pb2.RESOURCE_EXHAUSTED),
    (
        ExhaustedError("a", reason=ErrorReason.RATE_LIMITED, metadata={"retry_ms": "1500"}),
        code_pb2.RESOURCE_EXHAUSTED,
    ),
    (UnavailableError("a", reason=ErrorReason.STATE_STALE), code_pb2.UNAVAILABLE),
    (OutcomeUnknownError("a"), code_pb2.UNAVAILABLE),
]


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda one: getattr(one, "reason", ""))
def test_an_error_comes_back_as_it_went(error: HeedError, code: int) -> None:
    status = to_status(error)

    back = from_status(status)

    assert status.code == code == code_of(error)
    assert type(back) is type(error)
    assert back is not None
    assert (back.message, back.reason, back.metadata) == (
        error.message,
        error.reason,
        error.metadata,
    )
    if isinstance(error, InvalidArgumentError):
        assert isinstance(back, InvalidArgumentError)
        assert back.violations == error.violations


def test_every_reason_that_a_server_sends_is_in_the_contract() -> None:
    told = {
        name.removeprefix("ERROR_REASON_")
        for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name
    }

    ours = {reason.value for reason in ErrorReason}

    assert ours - told == {"SERVER_UNREACHABLE"}
    assert told - ours == {"UNSPECIFIED"}


def test_an_error_outside_the_tree_is_unavailable() -> None:
    assert code_of(HeedError("odd")) == code_pb2.UNAVAILABLE


@given(
    st.text(max_size=2_000),
    st.dictionaries(st.text(max_size=20), st.text(max_size=1_000), max_size=3),
    st.lists(
        st.builds(FieldViolation, field=st.text(max_size=300), description=st.text(max_size=300)),
        max_size=150,
    ),
)
def test_a_status_always_fits_into_metadata(
    message: str, metadata: dict[str, str], violations: list[FieldViolation]
) -> None:
    status = to_status(InvalidArgumentError(message, metadata=metadata, violations=violations))

    assert status.ByteSize() <= limits.STATUS_BYTES_MAX + 2_048
    assert len(status.message) <= limits.STATUS_MESSAGE_CHARACTERS_MAX
    back = from_status(status)
    assert isinstance(back, InvalidArgumentError)
    assert bool(back.violations) == bool(violations)


def test_violations_that_do_not_fit_are_left_out_and_the_first_is_not() -> None:
    long = [FieldViolation(f"field {at}", "d" * 1_000) for at in range(100)]

    back = from_status(to_status(InvalidArgumentError("a", violations=long)))

    assert isinstance(back, InvalidArgumentError)
    assert 1 < len(back.violations) < 100
    assert back.violations[0].field == "field 0"
    assert back.violations[0].description.endswith("d…")


def test_a_status_of_the_transport_is_not_ours() -> None:
    assert from_status(status_pb2.Status(code=14, message="connection refused")) is None


def test_a_status_of_another_domain_is_not_ours() -> None:
    status = status_pb2.Status(code=9)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="X", domain="example.com"))

    assert from_status(status) is None


def test_details_that_are_damaged_are_not_ours() -> None:
    status = to_status(ConflictError("a"))
    status.details[0].value = b"\xff\xff"

    assert from_status(status) is None


def test_details_that_are_not_known_are_passed_over() -> None:
    status = to_status(ConflictError("a"))
    status.details.insert(0, AnyMessage(type_url="type.googleapis.com/google.rpc.Help"))

    assert isinstance(from_status(status), ConflictError)


@pytest.mark.parametrize(
    ("code", "class_"),
    [(code_pb2.FAILED_PRECONDITION, ConflictError), (code_pb2.DATA_LOSS, UnavailableError)],
)
def test_a_reason_of_a_later_version_is_read_by_its_code(
    code: int, class_: type[HeedError]
) -> None:
    status = status_pb2.Status(code=code, message="new")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="NEW_ONE", domain="heed.dev"))

    back = from_status(status)

    assert back is not None
    assert type(back) is class_
    assert back.metadata == {"unknown_reason": "NEW_ONE"}
