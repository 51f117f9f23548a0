"""What a fake keeps of one tenant: what stands, and the answers it gave, in memory.

Laws:
- A write is made on a `Draft`, which changes nothing until it is kept: a refused one leaves no
  trace.
- Commit times strictly increase, and every change takes the next revision, as in the log.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from heed.decide import Facts
from heed.keys import LOOKUP_KEY_BYTES, Keyer
from heed.model import (
    Evidence,
    Hold,
    Instant,
    Origin,
    Record,
    Revision,
    Subject,
    SubjectKey,
    TenantId,
    Topic,
)
from heed.records import Slot
from heed.tokens import EPOCH_BYTES, encode_token
from heed.topics import TopicTable

EPOCH = b"heedfake"[:EPOCH_BYTES]
KEYER = Keyer(bytes(LOOKUP_KEY_BYTES))
"""Nothing of a fake leaves its process, so its lookup key is no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is kept of one slot of one subject."""

    record: Record
    standing: bool
    """False: a suppression that was released; only its `release_time` still counts."""
    release_time: Instant | None
    commit_time: Instant
    origin: Origin
    evidence: Evidence | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldHold:
    """A hold with who placed it and when."""

    hold: Hold
    commit_time: Instant
    origin: Origin


Slots = dict[Slot, Held]


@dataclass(slots=True, kw_only=True)
class Memory:
    """One tenant."""

    tenant_id: TenantId
    name: str
    create_time: Instant
    revision: Revision
    commit_time: Instant
    records: dict[SubjectKey, Slots] = field(default_factory=dict)
    subjects: dict[SubjectKey, Subject] = field(default_factory=dict)
    topics: dict[str, Topic] = field(default_factory=dict)
    holds: dict[str, HeldHold] = field(default_factory=dict)
    answers: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)
    """By method and key: what the call said, hashed, and its first answer."""
    declared: set[str] = field(default_factory=set)
    """The subscribers that are missed."""

    def standing(self, key: SubjectKey) -> list[Held]:
        """Return everything that stands for a subject, by kind, topic and channel."""
        return in_order(self.records.get(key, {}))

    def facts(self, keys: Sequence[SubjectKey]) -> Facts:
        """Return what a decision is made by."""
        return Facts(
            records=tuple(tuple(held.record for held in self.standing(key)) for key in keys),
            holds=tuple(held.hold for held in self.holds.values()),
            topics=TopicTable(self.topics.values()),
        )

    def token(self) -> str:
        """Return the token of where the log ends."""
        return encode_token(
            epoch=EPOCH,
            tenant_id=self.tenant_id,
            revision=self.revision,
            running_hash=hashlib.sha256(self.revision.to_bytes(8)).digest(),
        )


class Draft:
    """A write on its way."""

    def __init__(self, memory: Memory, now: Instant) -> None:
        self.memory = memory
        self.records: dict[SubjectKey, Slots] = {}
        self.subjects: dict[SubjectKey, Subject] = {}
        self.topics = dict(memory.topics)
        self.holds = dict(memory.holds)
        self.changes = 0
        self._first_time = Instant(max(now, memory.commit_time + 1))

    @property
    def revision(self) -> Revision:
        """The number that the next change takes."""
        return Revision(self.memory.revision + self.changes + 1)

    @property
    def commit_time(self) -> Instant:
        """The time that the next change takes."""
        return Instant(self._first_time + self.changes)

    @property
    def last_time(self) -> Instant:
        """The time of the last change; of none the time that it would have had."""
        return Instant(self._first_time + max(self.changes - 1, 0))

    def slots(self, subject: Subject) -> Slots:
        """Return what is held of a subject, as this write has left it; not to be changed."""
        key = KEYER.key(subject)
        return self.records.get(key) or self.memory.records.get(key, {})

    def hold(self, subject: Subject, held: Held) -> None:
        """Put a record into its slot."""
        key = KEYER.key(subject)
        self.subjects[key] = subject
        slots = self.records.setdefault(key, dict(self.slots(subject)))
        slots[held.record.slot] = held

    def keep(self) -> None:
        """Make it what stands."""
        if not self.changes:
            return
        memory = self.memory
        memory.records |= self.records
        memory.subjects |= self.subjects
        memory.topics, memory.holds = self.topics, self.holds
        memory.commit_time = self.last_time
        memory.revision = Revision(memory.revision + self.changes)


def in_order(slots: Slots) -> list[Held]:
    """Return what stands in some slots, by kind, topic and channel."""
    return sorted((held for held in slots.values() if held.standing), key=_order)


def _order(held: Held) -> tuple[int, str, int, int, int]:
    record = held.record
    return (record.kind, record.topic, record.channel, record.cause, record.reach)
