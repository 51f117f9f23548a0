"""The reasons of problems, and what to do about each, for the docs that REST serves.

docs/errors.md says the same; tests/docs/test_rest.py holds them to each other.
"""

from collections.abc import Mapping
from typing import Final

from heed.errors import ErrorReason

ADVICE: Final[Mapping[ErrorReason, str]] = {
    ErrorReason.INVALID_FIELD: "mend what `violations` names; sent unchanged it fails again",
    ErrorReason.MALFORMED_MESSAGE: "send a message of this method; its strings are UTF-8",
    ErrorReason.BATCH_TOO_LARGE: "send several calls",
    ErrorReason.BAD_TOKEN: "give a token back as it was given, or none",
    ErrorReason.TENANT_UNKNOWN: "name a tenant that is there and yours to see",
    ErrorReason.TENANT_REQUIRED: "name a tenant: there are several",
    ErrorReason.IDEMPOTENCY_KEY_REUSED: "use a new key for a new payload; nothing changed",
    ErrorReason.CONSENT_REQUIRED: "only an act of the person weakens their protection; record that "
    "act, or leave it",
    ErrorReason.NODE_OUTDATED: "a server of an earlier release still uses this database and knows "
    "no quiet hours and no `no_ask_until`: replace it, then send the same again "
    "([upgrade](operations.md#upgrade))",
    ErrorReason.STORE_MISMATCH: "the token is of another tenant or history; ask without one",
    ErrorReason.EPOCH_CHANGED: "the store was restored or is another one; drop what was cached, "
    "ask without a token",
    ErrorReason.CREDENTIAL_INVALID: "give a credential that is known, not revoked and not expired; "
    "the server's log says what is wrong with it",
    ErrorReason.RIGHT_REQUIRED: "use a credential with this right",
    ErrorReason.LIMIT_REACHED: "there are as many as there may be; remove some",
    ErrorReason.OVERLOADED: "wait, then try again; send less at once",
    ErrorReason.RATE_LIMITED: "nothing was done; call again after `retry_ms` milliseconds, or ask "
    "for less",
    ErrorReason.NODE_BEHIND: "ask again; another node may know the token's revision, or the lookup "
    "key that was replaced",
    ErrorReason.STATE_STALE: "ask another node; until one answers, do not send",
    ErrorReason.DRAINING: "this node is stopping; another is not",
    ErrorReason.STORE_UNAVAILABLE: "the database does not answer and nothing was written; try "
    "again with the same key",
    ErrorReason.CLOCK_UNTRUSTED: "the node's clock is off and it takes only stops; set the clock "
    "right",
    ErrorReason.OUTCOME_UNKNOWN: "the write may or may not have happened; the same call with the "
    "same key does it once and tells",
    ErrorReason.STREAM_UNKNOWN: "the stream ended, or is of another node; open another",
    ErrorReason.APPROVAL_REQUIRED: "the call needs a second person and did nothing: have another "
    "principal grant the approval, then send the same call with the same key; where none is named "
    "there is none to grant, and the message says what to do (`used_up` names one that was granted "
    "and has nothing left: send the call again in an hour)",
}
"""Those that a request can meet, in the order of their statuses."""
