"""What of one target may be sent now, and what is to be kept of it. Pure: no clock, no I/O.

Changes are taken from the log in its order into a window, each in its lane. Of a lane one event is
under way at a time, the first. A lane whose first event fails becomes late: of it nothing is kept
in memory but where it stands, and its events are read from the log again, one by one.

Laws:
- Of a lane no event is sent before all that were before it were delivered, or are dead letters.
- What is noted says of each change up to its position what became of it, so that whoever goes on
  from there leaves none out; what was delivered and not noted yet is delivered again.
- What was given up is kept before anything that follows it is sent, and from then on sent by a
  replay alone: else a crash would have it sent again after that.
- What a subject did under one key comes before what it does under another: a move waits while the
  earlier lane is under way, and where that is late, the new lane is late behind it.
- Memory is bounded by the window and the number of late lanes; past that nothing more is taken.

Source: ADR 0049.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from heed.model import Change, Instant, Revision
from heed_server.webhook_store import (
    NO_TIME,
    DeadLetter,
    Health,
    Lane,
    LateLane,
    Note,
    Position,
    Standing,
)
from heed_server.webhooks.events import lane_of
from heed_server.webhooks.wanted import Wanted

WINDOW_CHANGES_MAX: Final = 256
"""Changes of a target that are in memory to be sent, some 0.3 MB. Higher: more memory, and more is
sent again after a crash. Lower: one slow answer keeps others waiting sooner."""


@dataclass(frozen=True, slots=True)
class Sending:
    """An event that is to be sent now: the first of its lane."""

    lane: Lane
    change: Change | None
    """None: the lane is late, and its event is yet to be read."""
    late: LateLane | None
    """None: the lane is in time."""


class _Entry(NamedTuple):
    """A change in the window."""

    change: Change
    before: Position
    """Where the log stood before it."""


class Order:
    """The order of one target's events. Whoever sends says of each what became of it."""

    def __init__(self, wanted: Wanted, standing: Standing) -> None:
        self.read = standing.position
        """Up to where the log was taken."""
        self.dead_count = standing.dead_count
        self._dead_changes = set(standing.dead)
        self._wanted = wanted
        self._window: deque[_Entry] = deque()
        self._settled: set[Revision] = set()
        self._lanes: dict[Lane, deque[Change]] = {}
        self._ready: deque[Lane] = deque()
        self._late: dict[Lane, LateLane] = {}
        # The last change up to which a late lane has any; beyond it there is none in the log yet.
        self._through: dict[Lane, Revision] = {}
        self._due: list[tuple[Instant, Lane]] = []
        self._behind: dict[Lane, list[Lane]] = {}
        self._under_way: set[Lane] = set()
        # Lanes of what was given up: since the last note, and by the note that is being kept.
        self._given_up: set[Lane] = set()
        self._being_kept: set[Lane] = set()
        # What was to be sent meanwhile.
        self._held_ready: list[Lane] = []
        self._held_due: list[LateLane] = []
        # What was not noted yet.
        self._noted = standing.position
        self._touched: set[Lane] = set()
        self._dead: list[DeadLetter] = []
        self._replayed: list[str] = []
        for late in standing.late:
            self._put_late(late, self.read.revision)

    @property
    def late_count(self) -> int:
        """How many lanes are late, notices too."""
        return len(self._late)

    @property
    def position(self) -> Position:
        """Up to where of each change it is known what became of it."""
        return self._window[0].before if self._window else self.read

    @property
    def has_news(self) -> bool:
        """Whether more is to be noted than a position."""
        return bool(self._touched or self._dead or self._replayed)

    @property
    def has_moved(self) -> bool:
        """Whether the position is another than was noted last."""
        return self.position != self._noted

    @property
    def room(self) -> int:
        """How many more changes fit into the window."""
        return WINDOW_CHANGES_MAX - len(self._window)

    def take(self, change: Change) -> bool:
        """Take the change that follows `read`; False: it has to wait, and was not taken."""
        lane, previous = lane_of(change), _previous_lane(change)
        if previous is not None and (
            previous in self._lanes or lane in self._lanes or self._is_held(previous)
        ):
            return False
        before = self.read
        self.read = Position(before.epoch, change.revision, change.running_hash)
        if lane in self._late:
            self._through[lane] = change.revision
        elif previous is not None and previous in self._late:
            late = LateLane(lane=lane, revision=change.revision, behind=previous)
            self._put_late(late, change.revision)
            self._touched.add(lane)
        elif self.is_told(change):
            self._window.append(_Entry(change, before))
            if lane not in self._lanes:
                self._lanes[lane] = deque()
                if lane not in self._under_way:
                    self._ready.append(lane)
            self._lanes[lane].append(change)
        return True

    def is_told(self, change: Change, *, replay: int = 0) -> bool:
        """Whether the event of a change is to be sent; a dead letter is by a replay alone."""
        is_dead = not replay and change.revision in self._dead_changes
        return self._wanted.is_told(change) and not is_dead

    def next_in_time(self) -> Sending | None:
        """Begin to send the next event of a lane that is in time; None: there is none."""
        while self._ready:
            lane = self._ready.popleft()
            if self._is_held(lane):
                self._held_ready.append(lane)
            elif lane in self._lanes and lane not in self._under_way:
                self._under_way.add(lane)
                return Sending(lane, self._lanes[lane][0], None)
        return None

    def next_late(self, now: Instant) -> Sending | None:
        """Begin to send the event of a late lane that is due, the longest one; None: none is."""
        while self._due and self._due[0][0] <= now:
            _, lane = heapq.heappop(self._due)
            late = self._late.get(lane)
            if late is None or late.next_time > now or lane in self._under_way:
                continue
            if late.behind is not None and late.behind in self._late:
                continue
            if self._is_held(lane) or self._is_held(late.behind):
                self._held_due.append(late)
                continue
            self._under_way.add(lane)
            return Sending(lane, None, late)
        return None

    def next_due(self) -> Instant | None:
        """Return when a late lane is due; None: none will be by itself."""
        return self._due[0][0] if self._due else None

    def through(self, lane: Lane) -> Revision:
        """Return up to where a late lane has events."""
        return self._through[lane]

    def delivered(self, sending: Sending, revision: Revision) -> None:
        """Go on after an event that was delivered."""
        self._end(sending)
        self._go_on(sending, revision)

    def failed(self, sending: Sending, late: LateLane) -> None:
        """Keep a lane late: from which event on, and when it is tried next."""
        self._end(sending)
        now_late = self._late.get(sending.lane)
        if now_late is not None and now_late != sending.late:
            self._touch_due(now_late)  # it was to be replayed meanwhile
            return
        self._leave_window(sending.lane)
        self._put_late(late, self._through.get(sending.lane, self.read.revision))
        self._touched.add(sending.lane)

    def given_up(self, sending: Sending, letter: DeadLetter) -> None:
        """Go on after an event that is a dead letter now, once it is kept as one (`kept`)."""
        self._dead.append(letter)
        self.dead_count += 1
        if not letter.notice:
            self._dead_changes.add(letter.revision)
        self._given_up.add(sending.lane)
        self.delivered(sending, letter.revision)

    def caught_up(self, sending: Sending, through: Revision) -> None:
        """Have a late lane in time again: it was read up to there, and nothing more is to be told.

        A lane that has more by now is read again.
        """
        self._end(sending)
        late = self._late.get(sending.lane)
        if late is None:
            return
        if late != sending.late or self._through[sending.lane] > through:
            self._touch_due(late)
        else:
            self._remove_late(sending.lane)

    def put_off(self, sending: Sending, until: Instant) -> None:
        """Leave a late lane as it is until a time: its event could not be read."""
        self._end(sending)
        late = self._late.get(sending.lane)
        if late is not None:
            self._put_late(replace(late, next_time=until), self._through[sending.lane])

    def add_notice(self, notice: LateLane) -> None:
        """Have a notice sent; one that is there already is left as it is."""
        if notice.lane not in self._late:
            self._put_late(notice, notice.revision)
            self._touched.add(notice.lane)

    def replay(self, letter: DeadLetter, moved: Sequence[Lane]) -> None:
        """Send a dead letter anew, and after it all that its lane has been sent since.

        `moved` are the lanes in which the same person was since, in their order.
        """
        self._replayed.append(letter.letter_id)
        behind: Lane | None = None
        for lane in (letter.lane, *moved):
            self._rewind(lane, letter, behind)
            behind = lane

    def count_dead(self, kept: int) -> None:
        """Know how many dead letters are kept, those aside that were not noted yet."""
        self.dead_count = kept + len(self._dead)

    def note(self, health: Health) -> Note:
        """Return what is to be kept now, which counts as noted; say so once it is (`kept`)."""
        touched, self._touched = self._touched, set()
        dead, self._dead = self._dead, []
        replayed, self._replayed = self._replayed, []
        self._noted = self.position
        self._being_kept |= self._given_up
        self._given_up.clear()
        return Note(
            position=self._noted,
            late=tuple(self._late[lane] for lane in sorted(touched) if lane in self._late),
            in_time=tuple(lane for lane in sorted(touched) if lane not in self._late),
            dead=tuple(dead),
            replayed=tuple(replayed),
            health=health,
        )

    def kept(self) -> bool:
        """Go on after what was given up, as it is kept by the last note; False: nothing was."""
        if not self._being_kept:
            return False
        self._being_kept.clear()
        held_ready, self._held_ready = self._held_ready, []
        held_due, self._held_due = self._held_due, []
        self._ready.extend(held_ready)
        for late in held_due:
            self._touch_due(late)
        return True

    def _is_held(self, lane: Lane | None) -> bool:
        """Whether what was given up of a lane is yet to be kept."""
        return lane in self._given_up or lane in self._being_kept

    def _rewind(self, lane: Lane, letter: DeadLetter, behind: Lane | None) -> None:
        late, number = self._late.get(lane), letter.replay + 1
        if late is None:
            self._leave_window(lane)
            late = LateLane(lane=lane, revision=letter.revision)
        again = replace(
            late,
            revision=min(late.revision, letter.revision),
            attempts=0,
            first_time=None,
            next_time=NO_TIME,
            replay=max(late.replay, number),
            behind=behind or late.behind,
            notice=late.notice or letter.notice,
        )
        self._put_late(again, max(self._through.get(lane, self.read.revision), letter.revision))
        self._touched.add(lane)

    def _end(self, sending: Sending) -> None:
        self._under_way.discard(sending.lane)

    def _go_on(self, sending: Sending, revision: Revision) -> None:
        lane = sending.lane
        late = self._late.get(lane)
        if late is None:
            if sending.late is None and lane in self._lanes:
                self._settle(self._lanes[lane].popleft().revision)
                if self._lanes[lane]:
                    self._ready.append(lane)
                else:
                    del self._lanes[lane]
            elif lane in self._lanes:
                self._ready.append(lane)
            return
        if late != sending.late:
            self._touch_due(late)  # it was to be replayed meanwhile, from its beginning
        elif late.notice or revision >= self._through[lane]:
            self._remove_late(lane)
        else:
            after = replace(
                late,
                revision=Revision(revision + 1),
                attempts=0,
                first_time=None,
                next_time=NO_TIME,
                failure="",
            )
            self._put_late(after, self._through[lane])
            self._touched.add(lane)

    def _put_late(self, late: LateLane, through: Revision) -> None:
        self._late[late.lane] = late
        self._through[late.lane] = through
        if late.behind is not None:
            behind = self._behind.setdefault(late.behind, [])
            if late.lane not in behind:
                behind.append(late.lane)
        self._touch_due(late)

    def _touch_due(self, late: LateLane) -> None:
        if late.behind is None or late.behind not in self._late:
            heapq.heappush(self._due, (late.next_time, late.lane))

    def _remove_late(self, lane: Lane) -> None:
        del self._late[lane], self._through[lane]
        self._touched.add(lane)
        for behind in self._behind.pop(lane, ()):
            late = self._late.get(behind)
            if late is not None:
                self._touch_due(late)

    def _leave_window(self, lane: Lane) -> None:
        """Forget what a lane has in the window: it is read from the log again."""
        for change in self._lanes.pop(lane, ()):
            self._settle(change.revision)

    def _settle(self, revision: Revision) -> None:
        self._settled.add(revision)
        while self._window and self._window[0].change.revision in self._settled:
            self._settled.discard(self._window.popleft().change.revision)


def _previous_lane(change: Change) -> Lane | None:
    if change.rekey is None or change.rekey.previous is None:
        return None
    return Lane(change.rekey.previous)
