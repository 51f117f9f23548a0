"""Whether an act may stand, and what it changes: one pure function over what stands.

Laws:
- No act weakens a person's protection but those of the closed list (design, section 3): an opt-in,
  the person ending their own pause, the release of a suppression, the lifting of a hold, the
  undoing of a batch.
- A refusal raises and leaves the ledger as it was.
- While the clock is not trusted only stops are taken: opt-outs, pauses, suppressions, holds.

A server's store calls it under the lock of the tenant's head, for one write of a group after
another (ADR 0006); a fake (`heed.testing`) calls it over what it has in memory.
"""

from typing import assert_never

from heed.acts import (
    Act,
    AddLookupKey,
    AddProtections,
    DeclareTopic,
    EraseSubjects,
    LiftHold,
    OfferRecords,
    PlaceHold,
    RekeySubjects,
    ReleaseSuppression,
    ReleaseSuppressions,
    RetireTopic,
    RevertBatch,
    SetPreferences,
    says_more,
)
from heed.errors import ConflictError, ErrorReason
from heed.judge.choices import judge_preferences
from heed.judge.erasures import judge_erasure
from heed.judge.ledger import (
    ERASURE_SLOT,
    Batch,
    Draft,
    Held,
    History,
    Ledger,
    Reserve,
    Ruling,
    Said,
    SlotKey,
    Slots,
    in_order,
    slot_key,
)
from heed.judge.offers import judge_offer, require_offers_taken
from heed.judge.operations import (
    HOLDS_MAX,
    TOPICS_MAX,
    judge_declare,
    judge_lift,
    judge_place,
    judge_retire,
)
from heed.judge.protections import judge_protections, judge_release, judge_releases
from heed.judge.rekeying import judge_add_lookup_key, judge_rekey, key_replaced
from heed.judge.reverting import (
    batch_of,
    batch_unknown,
    fold,
    judge_revert,
    require_open,
    require_open_batch,
)
from heed.model import RULE_VERSION, Instant, Revision

__all__ = [
    "ERASURE_SLOT",
    "HOLDS_MAX",
    "TOPICS_MAX",
    "Batch",
    "Draft",
    "Held",
    "History",
    "Ledger",
    "Reserve",
    "Ruling",
    "Said",
    "SlotKey",
    "Slots",
    "batch_of",
    "batch_unknown",
    "fold",
    "in_order",
    "judge",
    "key_replaced",
    "require_offers_taken",
    "require_open",
    "require_open_batch",
    "slot_key",
]


def judge(
    act: Act,
    ledger: Ledger,
    *,
    after: Revision,
    commit_time: Instant,
    clock_off_ms: int | None = None,
) -> Ruling:
    """Return what an act does, or raise what refuses it; the ledger is only read.

    The act's changes are numbered from `after` + 1 and take the times from `commit_time` on, one
    microsecond apart. `clock_off_ms` is None while the clock is trusted.

    Raises:
        ConflictError: CONSENT_REQUIRED, TOPIC_WOULD_LOOSEN, TOPIC_RETIRED, BATCH_REVERTED,
            APPROVAL_REQUIRED, OFFERS_CLOSED, NODE_OUTDATED.
        NotFoundError: TOPIC_UNKNOWN, HOLD_UNKNOWN, SUPPRESSION_UNKNOWN, BATCH_UNKNOWN.
        InvalidArgumentError: what weakens is ahead of the commit time, a hold ends before it.
        ExhaustedError: LIMIT_REACHED.
        UnavailableError: CLOCK_UNTRUSTED.
    """
    ruling = Ruling(ledger, after=after, commit_time=commit_time, clock_off_ms=clock_off_ms)
    require_open(act, ledger.batches)
    if ledger.rule_version < RULE_VERSION and says_more(act):
        raise _outdated()
    match act:
        case SetPreferences():
            judge_preferences(act, ruling)
        case AddProtections():
            judge_protections(act, ruling)
        case OfferRecords():
            judge_offer(act, ruling)
        case ReleaseSuppression():
            judge_release(act, ruling)
        case ReleaseSuppressions():
            judge_releases(act, ruling)
        case RevertBatch():
            judge_revert(act, ruling)
        case DeclareTopic():
            judge_declare(act, ruling)
        case RetireTopic():
            judge_retire(act, ruling)
        case PlaceHold():
            judge_place(act, ruling)
        case LiftHold():
            judge_lift(act, ruling)
        case EraseSubjects():
            judge_erasure(act, ruling)
        case AddLookupKey():
            judge_add_lookup_key(act, ruling)
        case RekeySubjects():
            judge_rekey(act, ruling)
        case _:
            assert_never(act)
    batch_id = batch_of(act)
    if batch_id:
        ruling.note_batch(batch_id)
    return ruling


def _outdated() -> ConflictError:
    return ConflictError(
        "a server of an earlier release still uses this database, and would not know what is asked "
        "for (quiet hours, or until when not to ask); replace it, then send the same again",
        reason=ErrorReason.NODE_OUTDATED,
    )
