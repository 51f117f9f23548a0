"""What stands by all that was acknowledged, worked out anew each time, for the tests alone.

It shares nothing with `heed.judge` or `heed.records`: it keeps what was asked as it was asked, and
says in one sentence a kind what stands. It is slow and flat on purpose.
"""

from dataclasses import dataclass, field
from pathlib import Path

from heed.acts import Act, Protection
from heed.model import Cause, Choice, ChoiceKind, Reach, Record, RecordKind, Scope

Slot = tuple[int, int, int, int, str]
"""Kind, cause, reach (0 for a pause), channel and topic."""

FOREVER = 2**63
KINDS = {
    ChoiceKind.OPT_OUT: RecordKind.OPT_OUT,
    ChoiceKind.OPT_IN: RecordKind.OPT_IN,
    ChoiceKind.PAUSE: RecordKind.PAUSE,
    ChoiceKind.END_PAUSE: RecordKind.PAUSE,
}


@dataclass(frozen=True)
class Stop:
    """One thing that was said of one person, and acknowledged."""

    slot: Slot
    decided: int
    end: int
    reach: int
    batch: str


Stands = tuple[int, int, int]
"""Decided time, end and reach."""


@dataclass
class Model:
    """All that was said of every person, all releases, and the batches that were undone."""

    said: dict[str, list[Stop]] = field(default_factory=dict[str, list[Stop]])
    releases: dict[tuple[str, Slot], int] = field(default_factory=dict[tuple[str, Slot], int])
    undone: set[str] = field(default_factory=set[str])
    erasures: dict[str, int] = field(default_factory=dict[str, int])
    """When each person was last erased."""
    lists: dict[tuple[str, Slot], set[str]] = field(
        default_factory=dict[tuple[str, Slot], set[str]]
    )
    """The batches that ever named a slot, those of an erased person too."""

    def choose(
        self, name: str, choice: Choice, decided: int | None, commit_time: int, batch: str = ""
    ) -> None:
        """A person chose."""
        at = commit_time if decided is None else min(decided, commit_time)
        end = FOREVER if choice.end_time is None else int(choice.end_time)
        reach = choice.reach
        if choice.kind is ChoiceKind.END_PAUSE:
            end = at
        elif choice.kind is ChoiceKind.OPT_OUT:
            end = FOREVER
        elif choice.kind is ChoiceKind.OPT_IN:
            reach = Reach.ALL
        self._say(name, KINDS[choice.kind], Cause.NONE, reach, choice.scope, (at, end), batch)

    def protect(self, name: str, one: Protection, commit_time: int, batch: str = "") -> None:
        """A stop was added, or imported, whether or not it changed anything."""
        decided = one.decided_time
        at = commit_time if decided is None else min(decided, commit_time)
        is_choice = one.cause is Cause.NONE
        kind = RecordKind.OPT_OUT if is_choice else RecordKind.SUPPRESSION
        end = FOREVER if is_choice or one.end_time is None else int(one.end_time)
        self._say(name, kind, one.cause, one.reach, one.scope, (at, end), batch)

    def release(self, name: str, record: Record, commit_time: int) -> None:
        """A suppression was released."""
        self.releases[name, slot_of(record)] = commit_time

    def erase(self, name: str, commit_time: int) -> None:
        """A person was erased: what stops stands on, of no batch, and nothing else was ever said.

        What of it a list said is not known any more, so undoing that list does not end it.
        """
        self.said[name] = [
            Stop(slot, *stands, "")
            for slot, stands in self.stands(name).items()
            if slot[0] != RecordKind.OPT_IN
        ]
        self.erasures[name] = commit_time

    def stands(self, name: str) -> dict[Slot, Stands]:
        """What stands for a person."""
        by_slot: dict[Slot, list[Stop]] = {}
        for one in self.said.get(name, []):
            ended = self.releases.get((name, one.slot), -1)
            if one.slot[0] == RecordKind.OPT_IN:
                ended = self.erasures.get(name, -1)
            if one.batch not in self.undone and one.decided > ended:
                by_slot.setdefault(one.slot, []).append(one)
        return {slot: _standing(some) for slot, some in by_slot.items()}

    def batches_at(self, name: str, slot: Slot) -> set[str]:
        """Which batches ever named a slot."""
        return self.lists.get((name, slot), set())

    def _say(
        self,
        name: str,
        kind: RecordKind,
        cause: Cause,
        reach: Reach,
        scope: Scope,
        times: tuple[int, int],
        batch: str,
    ) -> None:
        slot_reach = 0 if kind is RecordKind.PAUSE else int(reach)
        slot = (int(kind), int(cause), slot_reach, int(scope.channel), scope.topic)
        decided, end = times
        if batch:
            self.lists.setdefault((name, slot), set()).add(batch)
        self.said.setdefault(name, []).append(Stop(slot, decided, end, int(reach), batch))


@dataclass(frozen=True)
class Kept:
    """A backup, and what was said until it was taken."""

    path: Path
    model: Model
    asked: list[tuple[Act, str]]


def slot_of(record: Record) -> Slot:
    """The slot of a record."""
    reach = 0 if record.kind is RecordKind.PAUSE else int(record.reach)
    return (int(record.kind), int(record.cause), reach, int(record.channel), record.topic)


def told(record: Record) -> Stands:
    """What a record says, as the model does."""
    end = FOREVER if record.end_time is None else int(record.end_time)
    return (int(record.decided_time), end, int(record.reach))


def _standing(some: list[Stop]) -> Stands:
    """Of choices the last decided, ties on the protective side; of suppressions the most."""
    if some[0].slot[0] != RecordKind.SUPPRESSION:
        last = max(one.decided for one in some)
        some = [one for one in some if one.decided == last]
    ends = [one.end for one in some]
    end = min(ends) if some[0].slot[0] == RecordKind.OPT_IN else max(ends)
    return (max(one.decided for one in some), end, max(one.reach for one in some))


def protects(held: Stands | None, least: Stands | None) -> bool:
    """Whether what is held is at least what is to stand."""
    if least is None:
        return True
    return held is not None and all(one >= other for one, other in zip(held, least, strict=True))
