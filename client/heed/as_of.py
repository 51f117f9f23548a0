"""Which moment of a log a question is about, and what must hold of it to be answered.

Law: a past decision is given back as it was, by the rules of then, or refused; never one of another
history, or of a moment that is not there yet.
"""

from heed.decide import KINDS_OF_RULES
from heed.errors import ConflictError, ErrorReason, NotFoundError, invalid_field
from heed.model import RULE_VERSION, Head, Instant, Revision, TenantId
from heed.tokens import TOKEN_HASH_BYTES, decode_token


def rules_of(rule_version: int) -> int:
    """Return the version of the rules that a decision is asked for by; 0 names the newest.

    Raises:
        NotFoundError: RULES_UNKNOWN.
    """
    if not rule_version or rule_version in KINDS_OF_RULES:
        return rule_version or RULE_VERSION
    raise NotFoundError(
        f"the rules here are of version {RULE_VERSION} and before, not {rule_version}; "
        "ask a server that has those",
        reason=ErrorReason.RULES_UNKNOWN,
        metadata={"rule_version": str(rule_version), "rule_version_max": str(RULE_VERSION)},
    )


def require_past(instant: Instant, now: Instant) -> None:
    """Return if an instant is not ahead of the clock.

    Raises:
        InvalidArgumentError: it is.
    """
    if instant <= now:
        return
    raise invalid_field("time", "is ahead of the server's clock; what will stand then is not known")


def require_history(token: str, tenant_id: TenantId, head: Head) -> None:
    """Return if a position is of this log, as far as its token tells; `head` is where it was there.

    A position of an earlier life of the store is of this log where their histories agree: a
    restore takes back nothing that stood before its copy.

    Raises:
        ConflictError: STORE_MISMATCH.
        InvalidArgumentError: BAD_TOKEN.
    """
    if not token:
        return
    named = decode_token(token)
    if named.tenant_id != tenant_id:
        raise _mismatch(head.revision, "another tenant")
    if named.running_hash != head.running_hash[:TOKEN_HASH_BYTES]:
        raise _mismatch(head.revision, "another history")


def revision_unknown(revision: Revision, newest: Revision) -> NotFoundError:
    """Return the error of a revision that the log does not have yet."""
    return NotFoundError(
        f"the log is at revision {newest} and not yet at {revision}",
        reason=ErrorReason.REVISION_UNKNOWN,
        metadata={"revision": str(revision), "head": str(newest)},
    )


def _mismatch(revision: Revision, of: str) -> ConflictError:
    return ConflictError(
        f"the position is of {of} than this log; what was answered there is not known here",
        reason=ErrorReason.STORE_MISMATCH,
        metadata={"revision": str(revision)},
    )
