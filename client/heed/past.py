"""What stood at a revision: the changes up to it, folded in their order.

Laws:
- The same changes leave the same standing, whatever was written after them: nothing here looks at
  the current tables, and at the head of the log both agree.
- A change that was superseded is in the log and leaves everything as it was. A release takes a
  suppression away and nothing else; what arrives late is judged already: its change says what
  stands after it. An erasure says all that stands on; of what it erased only the stops can be
  folded, with nobody who said so.
- What is folded of some subjects is folded of all their changes, and of all that are of none.

Source: docs/adr/0031-the-past-is-folded-from-the-log.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar, assert_never

from heed.decide import Facts
from heed.errors import UnavailableError
from heed.model import Change, ChangeKind, Effect, Record, Revision, SubjectKey, Topic
from heed.records import Slot, in_order
from heed.topics import TopicTable

T = TypeVar("T")


class Set(NamedTuple):
    """A record, and the change that set it: who said so, when and why."""

    record: Record
    by: Change


@dataclass(slots=True)
class Past:
    """What the changes taken so far left standing."""

    records: dict[SubjectKey, dict[Slot, Set]] = field(
        default_factory=dict[SubjectKey, dict[Slot, Set]]
    )
    topics: dict[str, Topic] = field(default_factory=dict[str, Topic])
    said: dict[Revision, Change] = field(default_factory=dict[Revision, Change])
    """The changes that set a record: what an undoing restores is of one of them again."""
    holds: dict[str, Change] = field(default_factory=dict[str, Change])
    """By their ids, the changes that placed them."""

    def take(self, changes: Iterable[Change]) -> None:
        """Go on by some changes: those after the last that were taken, in their order.

        Raises:
            UnavailableError: a change lacks what its kind must carry; nothing is guessed.
        """
        for change in changes:
            if change.effect is Effect.APPLIED:
                self._take(change)

    def facts(self, keys: Sequence[SubjectKey]) -> Facts:
        """Return all that `decide` needs of these subjects, whose changes were all taken."""
        return Facts(
            records=tuple(
                in_order(one.record for one in self.records.get(key, {}).values()) for key in keys
            ),
            holds=tuple(_there(change, change.hold) for change in self.holds.values()),
            topics=TopicTable(self.topics.values()),
        )

    def _take(self, change: Change) -> None:
        match change.kind:
            case ChangeKind.CHOICE | ChangeKind.SUPPRESSION:
                slots = self.records.setdefault(_there(change, change.subject), {})
                record = _there(change, change.record)
                before = slots.get(record.slot)
                if before is None or before.record != record:
                    slots[record.slot] = Set(record, change)
                    self.said[change.revision] = change
            case ChangeKind.RELEASE:
                slots = self.records.setdefault(_there(change, change.subject), {})
                slots.pop(_there(change, change.record).slot, None)
            case ChangeKind.ERASURE:
                key = _there(change, change.subject)
                before_all = self.records.get(key, {})
                self.records[key] = {
                    record.slot: _kept(before_all.get(record.slot), record, change)
                    for record in _there(change, change.erasure).standing
                }
            case ChangeKind.REVERT:
                if change.subject is None:
                    return  # it only says that the batch is closed
                slots = self.records.setdefault(change.subject, {})
                slot = _there(change, change.slot_record).slot
                if change.record is None:
                    slots.pop(slot, None)
                else:
                    by = self.said.get(change.record.revision, change)
                    slots[slot] = Set(change.record, by)
            case ChangeKind.REKEY:
                previous = _there(change, change.rekey).previous
                if change.subject is not None and previous is not None:
                    self.records[change.subject] = self.records.pop(previous, {})
            case ChangeKind.TOPIC:
                topic = _there(change, change.topic)
                self.topics[topic.name] = topic
            case ChangeKind.HOLD:
                self.holds[_there(change, change.hold).hold_id] = change
            case ChangeKind.LIFT:
                self.holds.pop(_there(change, change.hold).hold_id, None)
            case _:
                assert_never(change.kind)


def _kept(before: Set | None, record: Record, change: Change) -> Set:
    """What stands on after an erasure is by the change that set it."""
    return Set(record, change) if before is None or before.record != record else before


def _there(change: Change, part: T | None) -> T:
    if part is None:
        raise UnavailableError(
            f"change {change.revision} ({change.kind.name.lower()}) lacks what its kind must carry"
        )
    return part
