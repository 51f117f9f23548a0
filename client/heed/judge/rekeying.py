"""The life of a lookup key: another one begins, and subjects are moved under it (ADR 0042).

Laws:
- A subject stands under one key at any revision. It is moved whole, in one change: what stands,
  what was released, and since when, are as they were.
- Only whoever is readable is moved, for only of them the other key is known to be theirs. Whoever
  was erased stays, and is found by looking up every key in use.
"""

from heed.acts import AddLookupKey, Move, RekeySubjects
from heed.errors import ErrorReason, UnavailableError
from heed.judge.ledger import Draft, Ruling
from heed.model import ChangeKind, Effect, Rekey, Revision


def judge_add_lookup_key(act: AddLookupKey, ruling: Ruling) -> None:
    """Begin another lookup key.

    Raises:
        UnavailableError: NODE_BEHIND, another one began meanwhile; CLOCK_UNTRUSTED.
    """
    ruling.require_trusted_clock()
    newest = ruling.ledger.lookup_key_id
    if act.key.key_id != newest + 1:
        raise key_replaced(newest, Revision(ruling.revision - 1))
    ruling.drafts.append(
        Draft(
            ChangeKind.REKEY,
            Effect.APPLIED,
            ruling.commit_time,
            act.origin,
            reason=act.reason,
            rekey=Rekey(key_id=act.key.key_id),
        )
    )
    ruling.lookup_key = act.key


def judge_rekey(act: RekeySubjects, ruling: Ruling) -> None:
    """Move subjects under the newest lookup key, one change each.

    Raises:
        UnavailableError: NODE_BEHIND, another one began meanwhile; CLOCK_UNTRUSTED.
    """
    ruling.require_trusted_clock()
    ledger = ruling.ledger
    if act.key_id != ledger.lookup_key_id:
        raise key_replaced(ledger.lookup_key_id, Revision(ruling.revision - 1))
    for move in act.moves:
        # Where something stands under the other key too, both are looked up as they are.
        if move.previous in ledger.readable and not ruling.slots(move.subject.key):
            _move(move, act, ruling)


def _move(move: Move, act: RekeySubjects, ruling: Ruling) -> None:
    key = move.subject.key
    for slot, held in ruling.slots(move.previous).items():
        ruling.hold_slot(key, slot, held)
    for slot, reserve in ruling.ledger.reserves.get(move.previous, {}).items():
        ruling.reserves[key, slot] = reserve
    ruling.moved.append(move.previous)
    ruling.drafts.append(
        Draft(
            ChangeKind.REKEY,
            Effect.APPLIED,
            ruling.commit_time,
            act.origin,
            subject=move.subject,
            rekey=Rekey(key_id=act.key_id, previous=move.previous),
        )
    )


def key_replaced(newest: int, revision: Revision) -> UnavailableError:
    """Return the error of what was asked by an older lookup key than the newest of a revision."""
    return UnavailableError(
        f"lookup key {newest} is the newest by now, which this call did not know; ask again",
        reason=ErrorReason.NODE_BEHIND,
        metadata={"needed": str(revision)},
    )
