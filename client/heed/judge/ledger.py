"""What stands for the subjects, topics and holds that a group of writes touches.

Laws:
- A ledger is one tenant's, in memory, filled from the database under the lock of the tenant's head.
- Judging reads a ledger and writes a `Ruling`; only `Ledger.accept` changes the ledger, so that a
  refused write leaves nothing behind for its neighbours.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from heed.acts import (
    Approved,
    ErasedSubject,
    KeyedSubject,
    Outcome,
    Reverted,
    StoredRecord,
    Tally,
)
from heed.audit.claims import ReceiptClaim
from heed.errors import ConflictError, ErrorReason, UnavailableError
from heed.keys import LookupKey
from heed.model import (
    ACTS_OF_THE_PERSON,
    OF_ONE_SLOT,
    RULE_VERSION,
    TOPIC_ROOT,
    Cause,
    ChangeKind,
    Channel,
    Effect,
    Erasure,
    Evidence,
    Head,
    Hold,
    Instant,
    Origin,
    Reach,
    Record,
    RecordKind,
    Rekey,
    Revision,
    SubjectKey,
    Topic,
)

SlotKey = tuple[int, str]
"""A record's slot as a key that hashes quickly: kind, cause, reach and channel in one number."""


class Held(NamedTuple):
    """What the store keeps of one slot of one subject."""

    record: Record
    standing: bool
    """False: a suppression that was released, or what an erasure left in the place of a subject's
    opt-ins; only its `release_time` still counts."""
    release_time: Instant | None
    """When the slot was last released. What is dated at or before it does nothing. In the slot of
    the opt-in to everything (`ERASURE_SLOT`): when the subject was last erased."""


class Draft(NamedTuple):
    """One change as judged, before it is written down."""

    kind: ChangeKind
    effect: Effect
    commit_time: Instant
    origin: Origin
    subject: KeyedSubject | None = None
    asked: Record | None = None
    stands: Record | None = None
    """What followers apply. The same object as `asked` where nothing was merged."""
    topic: Topic | None = None
    hold: Hold | None = None
    evidence: Evidence | None = None
    reason: str = ""
    batch_id: str = ""
    erased: SubjectKey | None = None
    """The subject of an ERASURE, which names no readable one."""
    erasure: Erasure | None = None
    whose: SubjectKey | None = None
    """The subject of a change that names no readable one: it is known by its key alone."""
    approved: Approved | None = None
    rekey: Rekey | None = None

    @property
    def key(self) -> SubjectKey | None:
        """Whose change it is; None: no subject's."""
        if self.subject is not None:
            return self.subject.key
        return self.whose if self.erased is None else self.erased


class History(NamedTuple):
    """What there is to erase of one subject, and when that was done last."""

    changes_count: int
    """Changes that are not erased, erasures aside."""
    residues_hash: bytes
    """What would be left of them, committed to (`heed.proof.residues_hash`)."""
    is_readable: bool
    """Whether its readable address is kept."""
    last: ErasedSubject | None = None
    """The last erasure."""


class Batch(NamedTuple):
    """Where in the log a batch is."""

    first: Revision
    last: Revision
    """The last of its changes; one less than `first` where it made none."""
    reverted: Revision | None = None
    """The change that closed it; None: it is open."""


class Reserve(NamedTuple):
    """What the rows of imports asked for that changed nothing, and so are not in the log.

    It stands in the place of what made it change nothing, should that be undone (ADR 0033).
    """

    record: Record
    batch_id: str
    """Whose rows they were; empty: of several batches."""


class Said(NamedTuple):
    """What one change of a subject said, for working out what stands by all but some of them."""

    kind: ChangeKind
    asked: Record | None
    commit_time: Instant
    batch_id: str
    standing: tuple[Record, ...] = ()
    """What stood after an ERASURE."""


Slots = dict[SlotKey, Held]

_NO_SLOTS: Slots = {}
_NO_RESERVES: dict[SlotKey, Reserve] = {}

ERASURE_SLOT: Final[SlotKey] = (
    RecordKind.OPT_IN << 12 | Cause.NONE << 8 | Reach.ALL << 4 | Channel.ANY,
    TOPIC_ROOT,
)
"""The slot of the opt-in to everything: its release time says when the subject was last erased."""


class Ledger:
    """One tenant's rows, as the writes of a group that were accepted so far have left them."""

    def __init__(
        self,
        records: dict[SubjectKey, Slots] | None = None,
        topics: dict[str, Topic] | None = None,
        holds: dict[str, Hold] | None = None,
        histories: dict[SubjectKey, History] | None = None,
    ) -> None:
        """`histories` are of the subjects that an erasure names, where anything is known."""
        self.records = records if records is not None else {}
        self.topics = topics if topics is not None else {}
        self.holds = holds if holds is not None else {}
        self.histories = histories if histories is not None else {}
        self.batches: dict[str, Batch] = {}
        self.reserves: dict[SubjectKey, dict[SlotKey, Reserve]] = {}
        self.said: dict[SubjectKey, list[Said]] = {}
        self.lookup_key_id = 1
        """The newest lookup key."""
        self.rule_version = RULE_VERSION
        """The version of the rules that all who decide by this log know."""
        self.readable: set[SubjectKey] = set()
        """Of the subjects that are to be moved, those whose readable address is kept."""

    def accept(self, ruling: "Ruling") -> None:
        """Take over what a ruling changed, for the writes that are judged after it."""
        self.records.update(ruling.records)
        self.batches.update(ruling.batches)
        for (key, slot), reserve in ruling.reserves.items():
            self.reserves.setdefault(key, {})[slot] = reserve
        self.hear(ruling.drafts)
        for topic in ruling.topics:
            self.topics[topic.name] = topic
        for hold in ruling.placed:
            self.holds[hold.hold_id] = hold
        for hold in ruling.lifted:
            del self.holds[hold.hold_id]

    def hear(self, drafts: Iterable[Draft]) -> None:
        """Note what changes said of those of whom all that was said is known here."""
        for draft in drafts:
            said = self.said.get(draft.key) if draft.key is not None else None
            if said is not None:
                standing = () if draft.erasure is None else draft.erasure.standing
                said.append(
                    Said(draft.kind, draft.asked, draft.commit_time, draft.batch_id, standing)
                )


class Ruling:
    """What one accepted act does: its changes in order, and what stands after them."""

    def __init__(
        self, ledger: Ledger, *, after: Revision, commit_time: Instant, clock_off_ms: int | None
    ) -> None:
        """`after` is the head's revision, `commit_time` that of the first change.

        `clock_off_ms` is None while the clock is trusted; otherwise only stops are taken.
        """
        self.ledger = ledger
        self.clock_off_ms = clock_off_ms
        self.drafts: list[Draft] = []
        self.records: dict[SubjectKey, Slots] = {}
        self.touched: list[tuple[SubjectKey, SlotKey]] = []
        self.emptied: list[tuple[SubjectKey, SlotKey]] = []
        self.erased: list[ErasedSubject] = []
        self.renewed: set[SubjectKey] = set()
        """Erased subjects whose person opted in anew: their addresses are kept again."""
        self.batches: dict[str, Batch] = {}
        self.reserves: dict[tuple[SubjectKey, SlotKey], Reserve] = {}
        self.topics: list[Topic] = []
        self.placed: list[Hold] = []
        self.lifted: list[Hold] = []
        self.stored: list[StoredRecord] = []
        self.released: list[Record] = []
        self.standing: list[tuple[int, int, Record]] = []
        self.tally = Tally()
        self.reverted = Reverted()
        self.topic: Topic | None = None
        self.hold: Hold | None = None
        self.moved: list[SubjectKey] = []
        """The keys that subjects were moved away from: nothing is held there any more."""
        self.lookup_key: LookupKey | None = None
        """The one that began."""
        self._after = after
        self._first_time = commit_time

    @property
    def revision(self) -> Revision:
        """The number that the next change takes."""
        return Revision(self._after + len(self.drafts) + 1)

    @property
    def commit_time(self) -> Instant:
        """The time that the next change takes."""
        return Instant(self._first_time + len(self.drafts))

    def slots(self, key: SubjectKey) -> Slots:
        """Return what is held of a subject, as this act has left it. Not to be changed."""
        slots = self.records.get(key)
        return self.ledger.records.get(key, _NO_SLOTS) if slots is None else slots

    def hold_slot(self, key: SubjectKey, slot: SlotKey, held: Held) -> None:
        """Put a record into its slot."""
        slots = self.records.get(key)
        if slots is None:
            slots = self.records[key] = dict(self.ledger.records.get(key, _NO_SLOTS))
        slots[slot] = held
        self.touched.append((key, slot))

    def empty_slot(self, key: SubjectKey, slot: SlotKey) -> None:
        """Take what is held out of a slot, as if nothing had ever been there."""
        self.records[key] = {at: held for at, held in self.slots(key).items() if at != slot}
        self.emptied.append((key, slot))

    def erase_time(self, key: SubjectKey) -> Instant | None:
        """Return when a subject was last erased; None: never."""
        held = self.slots(key).get(ERASURE_SLOT)
        return None if held is None else held.release_time

    def reserve(self, key: SubjectKey, slot: SlotKey) -> Reserve | None:
        """Return what rows asked of a slot that changed nothing there."""
        return self.reserves.get((key, slot)) or self.ledger.reserves.get(key, _NO_RESERVES).get(
            slot
        )

    def note_batch(self, batch_id: str) -> None:
        """Note that the changes of this act are of a batch."""
        before = self.ledger.batches.get(batch_id)
        first = Revision(self._after + 1)
        if before is None:
            self.batches[batch_id] = Batch(first, Revision(self._after + len(self.drafts)))
        elif self.drafts:
            last = Revision(self._after + len(self.drafts))
            self.batches[batch_id] = before._replace(last=last)

    def standing_of(self, key: SubjectKey) -> list[Record]:
        """Return everything that stands for a subject, by kind, topic and channel."""
        return in_order(self.slots(key))

    def outcome(
        self, head: Head, commit_time: Instant, claim: ReceiptClaim | None = None
    ) -> Outcome:
        """Return what the act did, with the head after it.

        `commit_time` is that of an act that changed nothing.
        """
        return Outcome(
            revision=head.revision,
            running_hash=head.running_hash,
            epoch=head.epoch,
            commit_time=head.commit_time if self.drafts else commit_time,
            stored=tuple(self.stored),
            released=tuple(self.released),
            standing=tuple(self.standing),
            tally=self.tally,
            reverted=self.reverted,
            topic=self.topic,
            hold=self.hold,
            holds_placed=len(self.placed),
            claim=claim,
            erased=tuple(self.erased),
        )

    def require_trusted_clock(self) -> None:
        """Refuse what is not a stop while the clock is off."""
        if self.clock_off_ms is not None:
            raise UnavailableError(
                f"this node's clock is off by {self.clock_off_ms} ms, so only stops are taken; "
                "set it right and try again",
                reason=ErrorReason.CLOCK_UNTRUSTED,
                metadata={"off_ms": str(self.clock_off_ms)},
            )


def slot_key(record: Record) -> SlotKey:
    """Return the key of a record's slot; where the latest replaces all others, of no reach."""
    reach = 0 if record.kind in OF_ONE_SLOT else record.reach
    return (
        record.kind << 12 | record.cause << 8 | reach << 4 | record.channel,
        record.topic,
    )


def in_order(slots: Slots) -> list[Record]:
    """Return what stands in some slots, by kind, topic and channel."""
    return sorted((held.record for held in slots.values() if held.standing), key=_order)


def require_act_of_person(origin: Origin, what: str) -> None:
    """Refuse what would weaken a person's protection, but by an act of that person."""
    if origin.method not in ACTS_OF_THE_PERSON:
        method = origin.method.name.lower()
        raise ConflictError(
            f"{what} weakens a person's protection and needs an act of that person; "
            f"the method {method} is none",
            reason=ErrorReason.CONSENT_REQUIRED,
            metadata={"method": method},
        )


def _order(record: Record) -> tuple[int, str, int, int, int]:
    return (record.kind, record.topic, record.channel, record.cause, record.reach)
