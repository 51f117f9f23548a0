"""What a fake keeps of one tenant: its log, what stands by it, and the answers it gave, in memory.

Laws:
- Whether an act may stand is judged by `heed.judge`, as on a server; a refused one leaves no trace.
- Commit times strictly increase, and change n is `log[n - 1]`, as in the log of a server.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from heed.acts import Act, ErasedSubject, EraseSubjects, Outcome, RevertBatch
from heed.decide import Facts
from heed.judge import ERASURE_SLOT, Draft, History, Ledger, Said, in_order, judge
from heed.keys import LOOKUP_KEY_BYTES, LookupKey, LookupKeys
from heed.model import (
    Change,
    ChangeKind,
    Effect,
    Head,
    Instant,
    Origin,
    Record,
    RecordKind,
    Revision,
    Subject,
    SubjectKey,
    TenantId,
)
from heed.tokens import EPOCH_BYTES, encode_token
from heed.topics import TopicTable
from heed.wire.asked import LinkTarget

EPOCH = b"heedfake"[:EPOCH_BYTES]
LOOKUP = LookupKeys([LookupKey(1, bytes(LOOKUP_KEY_BYTES))])
"""Nothing of a fake leaves its process, so its lookup key is no secret."""


def _running_hash(revision: Revision) -> bytes:
    return hashlib.sha256(revision.to_bytes(8)).digest()


def _change(draft: Draft, revision: Revision) -> Change:
    return Change(
        revision=revision,
        commit_time=draft.commit_time,
        kind=draft.kind,
        effect=draft.effect,
        running_hash=_running_hash(revision),
        subject=draft.key,
        record=draft.stands,
        asked=None if draft.asked is draft.stands else draft.asked,
        topic=draft.topic,
        hold=draft.hold,
        origin=None if draft.origin is _ERASED else draft.origin,
        evidence=draft.evidence,
        reason=draft.reason,
        batch_id=draft.batch_id,
        erasure=draft.erasure,
        is_erased=draft.origin is _ERASED,
    )


_EMPTY = Head(
    revision=Revision(0),
    running_hash=_running_hash(Revision(0)),
    commit_time=Instant(0),
    epoch=EPOCH,
)


_ERASED: Final = Origin(source="")
"""Stands in the place of who said what was erased."""


@dataclass(slots=True, kw_only=True)
class Memory:
    """One tenant."""

    tenant_id: TenantId
    name: str
    create_time: Instant
    head: Head = _EMPTY
    ledger: Ledger = field(default_factory=Ledger)
    log: list[Draft] = field(default_factory=list[Draft])
    subjects: dict[SubjectKey, Subject] = field(default_factory=dict[SubjectKey, Subject])
    answers: dict[str, tuple[bytes, bytes]] = field(default_factory=dict[str, tuple[bytes, bytes]])
    """By method and key: what the call said, hashed, and its first answer."""
    links: dict[str, LinkTarget] = field(default_factory=dict[str, LinkTarget])
    """What each link that was made stops."""
    declared: set[str] = field(default_factory=set)
    """The subscribers that are missed."""

    @property
    def revision(self) -> Revision:
        """Where the log ends."""
        return self.head.revision

    @property
    def topics(self) -> TopicTable:
        """The declared topics."""
        return TopicTable(self.ledger.topics.values())

    def standing(self, key: SubjectKey) -> list[Record]:
        """Return everything that stands for a subject, by kind, topic and channel."""
        return in_order(self.ledger.records.get(key, {}))

    def facts(self, keys: Sequence[SubjectKey]) -> Facts:
        """Return what a decision is made by."""
        return Facts(
            records=tuple(tuple(self.standing(key)) for key in keys),
            holds=tuple(self.ledger.holds.values()),
            topics=self.topics,
        )

    def change(self, revision: Revision) -> Draft:
        """Return the change of a revision: who said so, when and why."""
        return self.log[revision - 1]

    def logged(self, revision: Revision) -> Change:
        """Return the change of a revision as a server's log would have it."""
        return _change(self.log[revision - 1], revision)

    def erase_time(self, key: SubjectKey) -> Instant | None:
        """Return when a subject was erased last; None: never."""
        held = self.ledger.records.get(key, {}).get(ERASURE_SLOT)
        return None if held is None else held.release_time

    def is_erased(self, revision: Revision) -> bool:
        """Whether what a change said was erased."""
        return self.change(revision).origin is _ERASED

    def changes(self, through: Revision) -> list[Change]:
        """Return the log up to a revision, as a server's changes of it would be."""
        return [
            _change(draft, Revision(number))
            for number, draft in enumerate(self.log[:through], start=1)
        ]

    def head_at(self, revision: Revision) -> Head:
        """Return where the log ended at a revision that it has."""
        at = self.change(revision).commit_time if revision else self.create_time
        return replace(
            self.head, revision=revision, running_hash=_running_hash(revision), commit_time=at
        )

    def token(self, revision: Revision | None = None) -> str:
        """Return the token of a revision; None: of where the log ends."""
        at = self.head.revision if revision is None else revision
        return encode_token(
            epoch=EPOCH,
            tenant_id=self.tenant_id,
            revision=at,
            running_hash=_running_hash(at),
        )

    def append(self, act: Act, now: Instant, *, dry_run: bool = False) -> Outcome:
        """Do what an act asks, or raise what refuses it; a dry run only says what it would do.

        Raises:
            HeedError: as `heed.judge.judge`.
        """
        head = self.head
        commit_time = Instant(max(now, head.commit_time + 1))
        if isinstance(act, EraseSubjects):
            self.ledger.histories = self._histories(act.keys)
        if isinstance(act, RevertBatch):
            self.ledger.said = self._said(act.keys)
        ruling = judge(act, self.ledger, after=head.revision, commit_time=commit_time)
        if dry_run:
            return ruling.outcome(self.head, commit_time)
        self.ledger.accept(ruling)
        if ruling.drafts:
            revision = Revision(head.revision + len(ruling.drafts))
            self.head = replace(
                head,
                revision=revision,
                running_hash=_running_hash(revision),
                commit_time=ruling.drafts[-1].commit_time,
            )
            for draft in ruling.drafts:
                if draft.erased is not None:
                    self._erase(draft.erased)
                elif draft.subject is not None and self._is_kept(draft.subject.key, ruling.renewed):
                    self.subjects[draft.subject.key] = draft.subject.subject
            self.log += ruling.drafts
        return ruling.outcome(self.head, commit_time)

    def _is_kept(self, key: SubjectKey, renewed: set[SubjectKey]) -> bool:
        """Whether a subject's address is kept: not of an erased one that did not opt in anew."""
        is_erased = any(change.erased == key for change in self.log)
        return not is_erased or key in renewed or key in self.subjects

    def _histories(self, keys: Sequence[SubjectKey]) -> dict[SubjectKey, History]:
        histories: dict[SubjectKey, History] = {}
        for key in keys:
            count = 0
            last: ErasedSubject | None = None
            for revision, change in enumerate(self.log, start=1):
                if change.erasure is not None and change.erased == key:
                    erased = change.erasure.changes_count
                    last = ErasedSubject(0, Revision(revision), change.commit_time, erased)
                elif change.key == key and change.origin is not _ERASED:
                    count += 1
            if count or last is not None:
                histories[key] = History(count, b"", key in self.subjects, last)
        return histories

    def _erase(self, key: SubjectKey) -> None:
        self.subjects.pop(key, None)
        self.log = [
            _residue(change)
            if change.key == key and change.kind is not ChangeKind.ERASURE
            else change
            for change in self.log
        ]

    def _said(self, keys: Sequence[SubjectKey]) -> dict[SubjectKey, list[Said]]:
        """Return all that the log says of some subjects."""
        said: dict[SubjectKey, list[Said]] = {key: [] for key in keys}
        for one in self.log:
            if one.key is not None and one.key in said:
                standing = () if one.erasure is None else one.erasure.standing
                said[one.key].append(
                    Said(one.kind, one.asked, one.commit_time, one.batch_id, standing)
                )
        return said


def _residue(change: Draft) -> Draft:
    """What an erasure leaves of a change: of a stop its record, of an opt-in nothing."""
    stands = change.stands
    is_emptied = change.kind is ChangeKind.REVERT and stands is None
    named = change.asked if is_emptied else stands
    kept = change.effect is Effect.APPLIED and named and named.kind is not RecordKind.OPT_IN
    return change._replace(
        origin=_ERASED,
        evidence=None,
        reason="",
        batch_id="",
        effect=Effect.APPLIED if kept else Effect.SUPERSEDED,
        asked=named if kept else None,
        stands=stands if kept else None,
    )
