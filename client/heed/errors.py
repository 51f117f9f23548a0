"""Every error that heed raises on purpose, as one tree.

    HeedError
    ├── InvalidArgumentError      what was asked is malformed; nothing changed   INVALID_FIELD …
    ├── NotFoundError             a tenant, topic or hold that is not there      TENANT_UNKNOWN …
    ├── ConflictError             it does not fit what stands                    CONSENT_REQUIRED …
    ├── UnauthenticatedError      no credential, or not one of ours              CREDENTIAL_INVALID
    ├── RightRequiredError        the credential lacks a right                   RIGHT_REQUIRED
    ├── ExhaustedError            a named limit is reached                       OVERLOADED …
    ├── UnavailableError          no answer now; the safe answer is "suppress"   NODE_BEHIND …
    └── OutcomeUnknownError       a write may or may not have happened; retry with the same key

Each carries a `reason` that equals a value of `heed.v1.ErrorReason` without its prefix, and the
`metadata` of that reason. Callers decide by class and reason, never by text.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SAFE_ANSWER = "suppress: do not send"
"""What a sender does when no answer came."""


class ErrorReason(enum.StrEnum):
    """The reasons, as in `protos/heed/v1/error_reason.proto`."""

    INVALID_FIELD = "INVALID_FIELD"
    BATCH_TOO_LARGE = "BATCH_TOO_LARGE"
    BAD_TOKEN = "BAD_TOKEN"  # noqa: S105 - the name of a reason, not a secret
    MALFORMED_MESSAGE = "MALFORMED_MESSAGE"
    TENANT_UNKNOWN = "TENANT_UNKNOWN"
    TENANT_REQUIRED = "TENANT_REQUIRED"
    TENANT_EXISTS = "TENANT_EXISTS"
    TOPIC_UNKNOWN = "TOPIC_UNKNOWN"
    HOLD_UNKNOWN = "HOLD_UNKNOWN"
    SUPPRESSION_UNKNOWN = "SUPPRESSION_UNKNOWN"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    CONSENT_REQUIRED = "CONSENT_REQUIRED"
    TOPIC_WOULD_LOOSEN = "TOPIC_WOULD_LOOSEN"
    TOPIC_RETIRED = "TOPIC_RETIRED"
    STORE_MISMATCH = "STORE_MISMATCH"
    EPOCH_CHANGED = "EPOCH_CHANGED"
    CREDENTIAL_INVALID = "CREDENTIAL_INVALID"
    RIGHT_REQUIRED = "RIGHT_REQUIRED"
    LIMIT_REACHED = "LIMIT_REACHED"
    OVERLOADED = "OVERLOADED"
    NODE_BEHIND = "NODE_BEHIND"
    STATE_STALE = "STATE_STALE"
    DRAINING = "DRAINING"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    CLOCK_UNTRUSTED = "CLOCK_UNTRUSTED"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    STREAM_UNKNOWN = "STREAM_UNKNOWN"
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"
    APPROVAL_UNKNOWN = "APPROVAL_UNKNOWN"
    BATCH_UNKNOWN = "BATCH_UNKNOWN"
    BATCH_REVERTED = "BATCH_REVERTED"
    OFFERS_CLOSED = "OFFERS_CLOSED"
    LINKS_NOT_SERVED = "LINKS_NOT_SERVED"
    NODE_OUTDATED = "NODE_OUTDATED"
    WEBHOOK_TARGET_UNKNOWN = "WEBHOOK_TARGET_UNKNOWN"
    CHECKPOINT_UNKNOWN = "CHECKPOINT_UNKNOWN"
    RATE_LIMITED = "RATE_LIMITED"
    REVISION_UNKNOWN = "REVISION_UNKNOWN"
    RULES_UNKNOWN = "RULES_UNKNOWN"
    SERVER_UNREACHABLE = "SERVER_UNREACHABLE"
    """Made by the library when no heed server answered; never sent by one."""


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One field that is wrong: its path in the request, and what to do about it."""

    field: str
    """`query.subjects[0].email`"""
    description: str


class HeedError(Exception):
    """The root: something heed refuses or cannot do, with a reason that programs can use."""

    default_reason: ErrorReason = ErrorReason.STORE_UNAVAILABLE

    def __init__(
        self,
        message: str,
        *,
        reason: ErrorReason | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata: dict[str, str] = dict(metadata or {})


class InvalidArgumentError(HeedError):
    """What was asked is malformed; nothing changed. Never retry it unchanged."""

    default_reason = ErrorReason.INVALID_FIELD

    def __init__(
        self,
        message: str,
        *,
        violations: Sequence[FieldViolation] = (),
        reason: ErrorReason | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.violations: tuple[FieldViolation, ...] = tuple(violations)


def invalid_field(field: str, description: str) -> InvalidArgumentError:
    """Return the error for one field that is wrong: what is wrong, and what to do."""
    return InvalidArgumentError(
        f"{field}: {description}",
        violations=[FieldViolation(field, description)],
        metadata={"field": field},
    )


class NotFoundError(HeedError):
    """Something named is not there, or not the caller's to see."""

    default_reason = ErrorReason.TENANT_UNKNOWN


class ConflictError(HeedError):
    """The request does not fit what stands; nothing changed."""

    default_reason = ErrorReason.CONSENT_REQUIRED


class UnauthenticatedError(HeedError):
    """No credential, or one that is unknown, revoked or expired."""

    default_reason = ErrorReason.CREDENTIAL_INVALID


class RightRequiredError(HeedError):
    """The credential is good but lacks the right named in `metadata["right"]`."""

    default_reason = ErrorReason.RIGHT_REQUIRED


class ExhaustedError(HeedError):
    """A named limit is reached; wait, or ask for less."""

    default_reason = ErrorReason.OVERLOADED


class UnavailableError(HeedError):
    """No answer could be had now. For a Check the safe answer is `SAFE_ANSWER`."""

    default_reason = ErrorReason.STORE_UNAVAILABLE


class OutcomeUnknownError(UnavailableError):
    """A write may or may not have happened; the same call with the same key tells."""

    default_reason = ErrorReason.OUTCOME_UNKNOWN
