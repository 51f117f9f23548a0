"""The erasure of what is known of a person (ADR 0030).

Laws:
- Every stop stands on, with its scope, reach, time and end; every opt-in ends, so that an erasure
  never lets through what was stopped before.
- An opt-in that the person decided before the erasure does nothing, whenever it arrives. One that
  they decide later begins anew.
- Where nothing is left to erase, nothing is logged, and the answer is that of the last erasure; but
  an erasure that a restore lost is logged in any case, or the opt-ins before it would count.
"""

from heed.acts import ErasedSubject, EraseSubjects
from heed.judge.ledger import ERASURE_SLOT, Draft, Held, History, Ruling
from heed.model import (
    TOPIC_ROOT,
    Cause,
    ChangeKind,
    Channel,
    Effect,
    Erasure,
    Instant,
    Reach,
    Record,
    RecordKind,
    Revision,
    SubjectKey,
)
from heed.proof import residues_hash

_NOTHING_KNOWN = History(changes_count=0, residues_hash=residues_hash(()), is_readable=False)


def judge_erasure(act: EraseSubjects, ruling: Ruling) -> None:
    """Erase what is known under each key, one change each; of a key not known nothing is said.

    Raises:
        UnavailableError: CLOCK_UNTRUSTED; it would not be known which opt-ins came later.
    """
    ruling.require_trusted_clock()
    for index, key in enumerate(act.keys):
        history = ruling.ledger.histories.get(key)
        if history is None and act.was_lost:
            history = _NOTHING_KNOWN
        if history is None:
            continue
        if history.changes_count or history.is_readable or act.was_lost:
            ruling.erased.append(_erase(key, index, history, act, ruling))
        elif history.last is not None:
            ruling.erased.append(history.last._replace(subject_index=index))
    ruling.standing = [
        (0, index, record)
        for index, key in enumerate(act.keys)
        for record in ruling.standing_of(key)
    ]


def _erase(
    key: SubjectKey, index: int, history: History, act: EraseSubjects, ruling: Ruling
) -> ErasedSubject:
    revision, commit_time = ruling.revision, ruling.commit_time
    for slot, held in ruling.slots(key).items():
        if held.record.kind is RecordKind.OPT_IN and slot != ERASURE_SLOT:
            ruling.empty_slot(key, slot)
    ruling.hold_slot(key, ERASURE_SLOT, Held(_marker(revision, commit_time), False, commit_time))
    ruling.drafts.append(
        Draft(
            ChangeKind.ERASURE,
            Effect.APPLIED,
            commit_time,
            act.origin,
            reason=act.reason,
            erased=key,
            erasure=Erasure(
                standing=tuple(ruling.standing_of(key)),
                changes_count=history.changes_count,
                residues_hash=history.residues_hash,
            ),
        )
    )
    return ErasedSubject(index, revision, commit_time, history.changes_count)


def _marker(revision: Revision, commit_time: Instant) -> Record:
    """What is held in the place of the opt-in to everything. It does not stand."""
    return Record(
        RecordKind.OPT_IN,
        Cause.NONE,
        Reach.ALL,
        Channel.ANY,
        TOPIC_ROOT,
        commit_time,
        None,
        revision,
    )
