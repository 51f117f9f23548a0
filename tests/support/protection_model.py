"""What stands by all that was acknowledged, worked out anew each time, for the tests alone.

It shares nothing with `heed.judge` or `heed.records`: it keeps what was asked as it was asked, and
says in one sentence a kind what stands. It is slow and flat on purpose.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from heed.acts import Act, Protection
from heed.hours import NO_HOURS, Hours
from heed.model import Cause, Choice, ChoiceKind, Reach, Record, RecordKind, Scope

Slot = tuple[int, int, int, int, str]
"""Kind, cause, reach (0 for a pause and for quiet hours), channel and topic."""

FOREVER = 2**63
KINDS = {
    ChoiceKind.OPT_OUT: RecordKind.OPT_OUT,
    ChoiceKind.OPT_IN: RecordKind.OPT_IN,
    ChoiceKind.PAUSE: RecordKind.PAUSE,
    ChoiceKind.END_PAUSE: RecordKind.PAUSE,
    ChoiceKind.QUIET_HOURS: RecordKind.QUIET_HOURS,
    ChoiceKind.END_QUIET_HOURS: RecordKind.QUIET_HOURS,
}
REPLACING = (RecordKind.PAUSE, RecordKind.QUIET_HOURS)
"""Of these the latest replaces the earlier whatever its reach."""


@dataclass(frozen=True)
class Stop:
    """One thing that was said of one person, and acknowledged."""

    slot: Slot
    decided: int
    end: int
    reach: int
    hours: Hours | None
    no_ask: int
    batch: str


class Stands(NamedTuple):
    """What stands in a slot."""

    decided: int
    end: int
    reach: int
    hours: Hours | None
    """Of quiet hours; None: every hour."""
    no_ask: int
    """Until when nobody asks again; 0: not said."""


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
        reach, hours = choice.reach, choice.quiet_hours
        if choice.kind is ChoiceKind.END_PAUSE:
            end = at
        elif choice.kind is ChoiceKind.END_QUIET_HOURS:
            end, hours = at, NO_HOURS
        elif choice.kind is ChoiceKind.OPT_OUT:
            end = FOREVER
        elif choice.kind is ChoiceKind.OPT_IN:
            reach = Reach.ALL
        stands = Stands(at, end, int(reach), hours, choice.no_ask_until or 0)
        self._say(name, KINDS[choice.kind], Cause.NONE, choice.scope, stands, batch)

    def protect(self, name: str, one: Protection, commit_time: int, batch: str = "") -> None:
        """A stop was added, or imported, whether or not it changed anything."""
        decided = one.decided_time
        at = commit_time if decided is None else min(decided, commit_time)
        is_choice = one.cause is Cause.NONE
        kind = RecordKind.OPT_OUT if is_choice else RecordKind.SUPPRESSION
        end = FOREVER if is_choice or one.end_time is None else int(one.end_time)
        stands = Stands(at, end, int(one.reach), None, 0)
        self._say(name, kind, one.cause, one.scope, stands, batch)

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
        scope: Scope,
        stands: Stands,
        batch: str,
    ) -> None:
        slot_reach = 0 if kind in REPLACING else stands.reach
        slot = (int(kind), int(cause), slot_reach, int(scope.channel), scope.topic)
        if batch:
            self.lists.setdefault((name, slot), set()).add(batch)
        self.said.setdefault(name, []).append(Stop(slot, *stands, batch))


@dataclass(frozen=True)
class Kept:
    """A backup, and what was said until it was taken."""

    path: Path
    model: Model
    asked: list[tuple[Act, str]]


def slot_of(record: Record) -> Slot:
    """The slot of a record."""
    reach = 0 if record.kind in REPLACING else int(record.reach)
    return (int(record.kind), int(record.cause), reach, int(record.channel), record.topic)


def told(record: Record) -> Stands:
    """What a record says, as the model does."""
    end = FOREVER if record.end_time is None else int(record.end_time)
    return Stands(
        int(record.decided_time),
        end,
        int(record.reach),
        record.quiet_hours,
        record.no_ask_until or 0,
    )


def _standing(some: list[Stop]) -> Stands:
    """Of choices the last decided, ties on the protective side; of suppressions the most."""
    no_ask = max(one.no_ask for one in some)
    if some[0].slot[0] != RecordKind.SUPPRESSION:
        last = max(one.decided for one in some)
        some = [one for one in some if one.decided == last]
    ends = [one.end for one in some]
    end = min(ends) if some[0].slot[0] == RecordKind.OPT_IN else max(ends)
    return Stands(
        max(one.decided for one in some),
        end,
        max(one.reach for one in some),
        _quiet_by_any([one.hours for one in some]),
        no_ask,
    )


def _quiet_by_any(some: list[Hours | None]) -> Hours | None:
    """What is quiet by any of these; hours of two zones cannot be said, so every hour."""
    said = [one for one in some if one is not None and one.periods]
    if None in some or len({one.time_zone for one in said}) > 1:
        return None
    if not said:
        return NO_HOURS
    periods = tuple(period for one in said for period in one.periods)
    return Hours(time_zone=said[0].time_zone, periods=periods)


def protects(held: Stands | None, least: Stands | None) -> bool:
    """Whether what is held is at least what is to stand."""
    if least is None:
        return True
    if held is None or held.hours != least.hours:
        return False
    return (
        held.decided >= least.decided
        and held.end >= least.end
        and held.reach >= least.reach
        and held.no_ask >= least.no_ask
    )
