"""Of each lane events are sent in the log's order, whatever fails, dies, moves or is replayed.

A log in memory is sent through an `Order` by a sender that fails as chance has it; what the order
notes is all that outlives a crash. What was sent is then held against the log itself.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.model import Change, Effect, Instant, Revision, SubjectKey
from heed_server.webhook_store import (
    TENANT_LANE,
    DeadLetter,
    Health,
    Lane,
    LateLane,
    Position,
    Standing,
)
from heed_server.webhooks.events import EVENT_TYPES, event_of_notice, lane_of
from heed_server.webhooks.order import WINDOW_CHANGES_MAX, Order, Sending
from heed_server.webhooks.wanted import Wanted
from tests.support.memory_log import EPOCH, MemoryLog, key_of

ALL = Wanted(events=frozenset(EVENT_TYPES))
BEGIN = Position(EPOCH, Revision(0), bytes(32))


@dataclass
class Kept:
    """What a database would have: what was noted last, and nothing else."""

    position: Position = BEGIN
    late: dict[Lane, LateLane] = field(default_factory=dict)
    dead: dict[str, DeadLetter] = field(default_factory=dict)

    def standing(self) -> Standing:
        return Standing(
            position=self.position,
            version=1,
            late=tuple(self.late.values()),
            dead_count=len(self.dead),
            health=Health(),
            dead=frozenset(one.revision for one in self.dead.values()),
        )

    def take(self, order: Order) -> None:
        note = order.note(Health())
        self.position = note.position
        for lane in note.in_time:
            self.late.pop(lane, None)
        self.late |= {one.lane: one for one in note.late}
        for letter_id in note.replayed:
            self.dead.pop(letter_id, None)
        self.dead |= {one.letter_id: one for one in note.dead}
        order.kept()


@dataclass
class Target:
    """A target that is sent a log, by whoever stands where the last one noted."""

    log: MemoryLog
    kept: Kept = field(default_factory=Kept)
    sent: list[tuple[Lane, int, int]] = field(default_factory=list)
    """(lane, revision, replay) of what was taken, in the order in which it was."""
    now: int = 0
    under_way: list[tuple[Sending, Change]] = field(default_factory=list)
    wanted: Wanted = ALL

    def __post_init__(self) -> None:
        self.order = Order(self.wanted, self.kept.standing())

    def crash(self) -> None:
        """What was not noted is lost; what is under way may or may not arrive."""
        self.under_way = []
        self.order = Order(self.wanted, self.kept.standing())

    def note(self) -> None:
        self.kept.take(self.order)

    def read(self, count: int) -> None:
        for change in self.log.changes[self.order.read.revision :][:count]:
            if self.order.room <= 0 or not self.order.take(change):
                return

    def start(self) -> bool:
        """Begin to send one event; False: there is none to be sent."""
        sending = self.order.next_late(Instant(self.now)) or self.order.next_in_time()
        if sending is None:
            return False
        change = sending.change or self._of_late(sending)
        if change is not None:
            self.under_way.append((sending, change))
        return True

    def _of_late(self, sending: Sending) -> Change | None:
        assert sending.late is not None
        through = self.order.read.revision
        for change in self.log.changes[sending.late.revision - 1 : through]:
            replay = sending.late.replay
            if lane_of(change) == sending.lane and self.order.is_told(change, replay=replay):
                return change
        self.order.caught_up(sending, through)
        return None

    def take(self, at: int) -> None:
        """The receiver takes one of those under way."""
        sending, change = self.under_way.pop(at)
        replay = 0 if sending.late is None else sending.late.replay
        self.sent.append((sending.lane, change.revision, replay))
        self.order.delivered(sending, change.revision)

    def fail(self, at: int, *, for_good: bool = False) -> None:
        """The receiver does not take it."""
        sending, change = self.under_way.pop(at)
        before = sending.late or LateLane(lane=sending.lane, revision=change.revision)
        if for_good:
            self.order.given_up(sending, self.letter(sending, change, before))
            return
        self.order.failed(
            sending,
            replace(
                before,
                revision=change.revision,
                attempts=before.attempts + 1,
                first_time=Instant(self.now),
                next_time=Instant(self.now + 1 + len(self.sent) % 3),
                failure="HTTP 500",
            ),
        )

    def letter(self, sending: Sending, change: Change, before: LateLane) -> DeadLetter:
        return DeadLetter(
            letter_id=str(change.revision),
            lane=sending.lane,
            revision=change.revision,
            event="preference.changed",
            dead_time=Instant(self.now),
            first_time=Instant(self.now),
            attempts=before.attempts + 1,
            failure="HTTP 500",
            replay=before.replay,
        )

    def drain(self) -> None:
        """Take everything that there is."""
        for _ in range(20 * len(self.log.changes) + 200):
            self.read(10)
            self.now += 5
            while self.start():
                pass
            while self.under_way:
                self.take(0)
            self.note()
            if self.order.position.revision == len(self.log.changes) and not self.order.late_count:
                return
        raise AssertionError("it never ends")


def mixed_log(chance: random.Random, count: int, people: int, *, moves: bool = True) -> MemoryLog:
    """Changes of several people and of nobody, some of which did nothing; and people who move."""
    log = MemoryLog()
    names = [f"p{number}" for number in range(people)]
    for number in range(count):
        which = chance.randrange(people)
        act = chance.randrange(12)
        if act == 0 and moves:
            name, names[which] = names[which], f"{names[which]}'"
            log.move(name, names[which])
        elif act == 1:
            log.opt_out(names[which], effect=Effect.SUPERSEDED)
        elif act == 2:
            log.replace_key()
        else:
            log.opt_out(names[which], f"t{number}")
    return log


def people_of(log: MemoryLog) -> dict[Lane, str]:
    """Which lanes are of one person."""
    owner: dict[Lane, str] = {TENANT_LANE: "nobody"}
    for change in log.changes:
        lane = lane_of(change)
        if change.rekey is not None and change.rekey.previous is not None:
            previous = Lane(change.rekey.previous)
            owner[lane] = owner.setdefault(previous, previous.hex())
        owner.setdefault(lane, lane.hex())
    return owner


def assert_in_order(target: Target, gave_up: set[int]) -> None:
    """Of each person, without its repeats, what was sent is what the log has, but for the dead."""
    owner = people_of(target.log)
    told: dict[str, list[int]] = {}
    for lane, revision, _ in target.sent:
        if revision in gave_up:
            continue
        of_person = told.setdefault(owner[lane], [])
        if revision not in of_person:
            of_person.append(revision)
    expected: dict[str, list[int]] = {}
    for change in target.log.changes:
        if target.wanted.is_told(change) and change.revision not in gave_up:
            expected.setdefault(owner[lane_of(change)], []).append(change.revision)
    assert told == expected


def test_control_without_lanes_people_would_be_told_out_of_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The control: were each event a lane of its own, what is held against the log would not fit."""
    chance = random.Random(20261127)
    log = mixed_log(chance, 40, 4, moves=False)
    for module in ("heed_server.webhooks.order", __name__):
        monkeypatch.setattr(f"{module}.lane_of", lambda one: Lane(b"%d" % one.revision))
    target = Target(log)
    for _ in range(200):
        step(target, chance.getrandbits(32))
    target.drain()
    monkeypatch.undo()
    target.sent = [(lane_of(log.changes[at - 1]), at, replay) for _, at, replay in target.sent]

    with pytest.raises(AssertionError):
        assert_in_order(target, gave_up=set())


ACTS = st.lists(st.integers(0, 2**32), min_size=10, max_size=400)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), acts=ACTS)
def test_each_persons_events_come_in_order_whatever_fails_and_dies(
    seed: int, acts: Sequence[int]
) -> None:
    chance = random.Random(seed)
    target = Target(mixed_log(chance, 40, 4))
    for act in acts:
        step(target, act)
    target.drain()

    assert_in_order(target, gave_up=set())


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), acts=ACTS)
def test_an_event_is_given_up_or_sent_and_never_left_out(seed: int, acts: Sequence[int]) -> None:
    chance = random.Random(seed)
    target = Target(mixed_log(chance, 40, 4))
    gave_up: set[int] = set()
    for act in acts:
        if act % 11 == 0 and target.under_way:
            at = act % len(target.under_way)
            gave_up.add(target.under_way[at][1].revision)
            target.fail(at, for_good=True)
        else:
            step(target, act)
    target.drain()
    sent = {revision for _, revision, _ in target.sent}

    assert {int(one) for one in target.kept.dead} | sent >= {
        change.revision for change in target.log.changes if ALL.is_told(change)
    }
    assert_in_order(target, gave_up - sent)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), acts=ACTS)
def test_after_a_replay_the_last_that_comes_of_each_person_is_their_last_change(
    seed: int, acts: Sequence[int]
) -> None:
    """Else a receiver that does what it is told last would allow what was taken back since."""
    chance = random.Random(seed)
    log = mixed_log(chance, 40, 3, moves=False)
    target = Target(log)
    for act in acts:
        if act % 7 == 0 and target.under_way:
            target.fail(act % len(target.under_way), for_good=True)
        elif act % 13 == 0 and target.kept.dead:
            target.note()
            letter = min(target.kept.dead.values(), key=lambda one: one.revision)
            target.order.replay(letter, ())
            target.note()
        else:
            step(target, act)
    target.drain()
    while target.kept.dead:
        target.order.replay(next(iter(target.kept.dead.values())), ())
        target.note()
        target.drain()
    last_sent = {lane: revision for lane, revision, _ in target.sent}
    last_told = {lane_of(one): one.revision for one in log.changes if ALL.is_told(one)}

    assert last_sent == last_told


def step(target: Target, act: int) -> None:
    """One thing that may happen."""
    kind, rest = act % 10, act // 10
    if kind == 0:
        target.note()
    elif kind == 1 and rest % 4 == 0:
        target.crash()
    elif kind <= 3:
        target.read(rest % 12)
    elif kind <= 6:
        target.now += rest % 3
        target.start()
    elif kind <= 8 and target.under_way:
        target.take(rest % len(target.under_way))
    elif target.under_way:
        target.fail(rest % len(target.under_way))


def log_of(*names: str) -> MemoryLog:
    log = MemoryLog()
    for number, name in enumerate(names):
        log.opt_out(name, f"t{number}")
    return log


def test_others_go_on_while_one_is_late() -> None:
    target = Target(log_of("ada", "bob", "ada", "bob"))
    target.read(10)
    target.start()
    target.fail(0)
    while target.start():
        target.take(0)

    assert [revision for _, revision, _ in target.sent] == [2, 4]
    assert target.order.position.revision == 4
    assert target.order.late_count == 1


def test_what_is_late_goes_on_from_its_first_event_after_a_crash() -> None:
    target = Target(log_of("ada", "bob", "ada"))
    target.read(10)
    target.start()
    target.fail(0)
    target.note()
    target.crash()
    target.drain()

    assert [revision for lane, revision, _ in target.sent if lane == Lane(key_of("ada"))] == [1, 3]


def test_a_move_waits_while_the_earlier_key_is_under_way() -> None:
    log = log_of("ada")
    log.move("ada", "ada'")
    log.opt_out("ada'")
    target = Target(log)
    target.read(10)

    assert target.order.read.revision == 1

    target.start()
    target.take(0)
    target.drain()
    assert [revision for _, revision, _ in target.sent] == [1, 2, 3]


def test_a_move_is_late_behind_the_earlier_key() -> None:
    log = log_of("ada", "bob")
    log.move("ada", "ada'")
    log.opt_out("ada'")
    target = Target(log)
    target.read(2)
    target.start()
    target.fail(0)
    target.read(10)
    target.note()
    target.crash()

    assert target.kept.late[Lane(key_of("ada'"))].behind == Lane(key_of("ada"))
    target.drain()
    assert [revision for _, revision, _ in target.sent if revision != 2] == [1, 3, 4]


def test_a_dead_letter_of_a_moved_person_is_replayed_with_all_that_follows() -> None:
    log = log_of("ada", "bob")
    log.move("ada", "ada'")
    log.opt_out("ada'")
    target = Target(log)
    target.read(1)
    target.start()
    target.fail(0, for_good=True)
    target.drain()
    (letter,) = target.kept.dead.values()

    target.sent.clear()
    target.order.replay(letter, [Lane(key_of("ada'"))])
    target.drain()

    assert [(revision, replay) for _, revision, replay in target.sent] == [(1, 1), (3, 1), (4, 1)]
    assert target.kept.dead == {}


def given_up_first(log: MemoryLog, read: int = 10) -> Target:
    """A target that gave up the first event, which is not kept yet."""
    target = Target(log)
    target.read(read)
    target.start()
    target.fail(0, for_good=True)
    return target


@pytest.mark.parametrize("is_being_kept", [True, False])
def test_nobody_is_told_what_follows_before_it_is_kept_that_something_was_given_up(
    *, is_being_kept: bool
) -> None:
    target = given_up_first(log_of("ada", "bob", "ada"))
    note = target.order.note(Health()) if is_being_kept else None
    while target.start():
        target.take(0)
    sent_before = [revision for _, revision, _ in target.sent]
    note = note or target.order.note(Health())

    assert [one.revision for one in note.dead] == [1]
    assert target.order.kept()
    target.drain()
    assert (sent_before, [revision for _, revision, _ in target.sent]) == ([2], [2, 3])
    assert not target.order.kept()


def test_a_late_lane_waits_too_until_it_is_kept() -> None:
    target = Target(log_of("ada", "ada"))
    target.read(10)
    target.start()
    target.fail(0)
    target.now += 5
    target.start()
    target.fail(0, for_good=True)

    assert not target.start()
    target.note()
    assert target.start()
    assert [change.revision for _, change in target.under_way] == [2]


def test_another_key_of_the_person_waits_too_until_it_is_kept() -> None:
    log = log_of("ada")
    log.move("ada", "ada'")
    target = given_up_first(log, read=1)
    target.read(10)

    assert target.order.read.revision == 1
    target.note()
    target.read(10)
    assert target.order.read.revision == 2


def test_a_lane_behind_a_late_one_waits_too_until_it_is_kept() -> None:
    log = log_of("ada")
    log.move("ada", "ada'")
    target = Target(log)
    target.read(1)
    target.start()
    target.fail(0)
    target.read(10)
    target.now += 5
    target.start()
    target.fail(0, for_good=True)

    assert not target.start()
    target.note()
    assert target.start()
    assert [change.revision for _, change in target.under_way] == [2]


def test_a_dead_letter_is_not_sent_again_from_a_position_before_it() -> None:
    """Nor by a lane that is late from before it: after a crash, it would come after the rest."""
    log = log_of("bob", "ada", "ada", "ada")
    target = Target(log)
    target.read(10)
    target.start()  # bob's, so that the position stays before all
    target.start()
    target.take(1)
    target.start()
    target.fail(1, for_good=True)
    target.note()
    target.crash()
    target.read(10)
    target.start()
    target.start()
    target.fail(1)  # what was taken before, so that the lane is late from before the dead letter
    target.take(0)
    target.note()
    target.crash()
    target.drain()

    assert [revision for _, revision, _ in target.sent] == [2, 1, 2, 4]
    assert set(target.kept.dead) == {"3"}


def test_the_window_is_bounded() -> None:
    target = Target(log_of(*(f"p{number}" for number in range(WINDOW_CHANGES_MAX + 50))))
    target.read(10_000)

    assert target.order.read.revision == WINDOW_CHANGES_MAX


def test_what_is_not_told_takes_no_room_and_moves_the_position() -> None:
    log = MemoryLog()
    for _ in range(WINDOW_CHANGES_MAX + 50):
        log.opt_out("ada", effect=Effect.SUPERSEDED)
    target = Target(log)
    target.read(10_000)

    assert target.order.position.revision == WINDOW_CHANGES_MAX + 50


def test_a_notice_is_sent_once_and_is_of_nobodys_order() -> None:
    target = Target(log_of("ada"))
    notice = LateLane(
        lane=Lane(b"notice-1"), revision=Revision(1), notice='{"type":"webhook.test"}'
    )
    target.order.add_notice(notice)
    target.order.add_notice(notice)
    sending = target.order.next_late(Instant(1))

    assert sending is not None
    assert event_of_notice(sending.late or notice).body == b'{"type":"webhook.test"}'
    assert target.order.next_late(Instant(1)) is None
    target.order.delivered(sending, Revision(1))
    assert target.order.late_count == 0


@pytest.mark.parametrize("for_good", [True, False])
def test_an_event_under_way_is_not_overtaken_by_its_own_replay(*, for_good: bool) -> None:
    target = Target(log_of("ada", "ada", "ada"))
    target.read(10)
    target.start()
    target.fail(0, for_good=True)
    target.note()
    target.start()  # revision 2 is under way
    target.order.replay(
        DeadLetter(
            letter_id="1",
            lane=Lane(SubjectKey(key_of("ada"))),
            revision=Revision(1),
            event="preference.changed",
            dead_time=Instant(0),
            first_time=Instant(0),
            attempts=1,
            failure="",
            replay=0,
        ),
        (),
    )

    assert not target.start()
    if for_good:
        target.fail(0, for_good=True)
    else:
        target.take(0)
    target.drain()
    assert [revision for _, revision, _ in target.sent][-3:] == [1, 2, 3]
