"""What the log says stood, is what stood: at its head and at every revision before."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heed.acts import Act, EraseSubjects, RevertBatch
from heed.decide import Facts
from heed.errors import HeedError, UnavailableError
from heed.model import (
    Cause,
    Change,
    ChangeKind,
    Channel,
    Effect,
    Instant,
    Method,
    Record,
    RecordKind,
    Revision,
    Scope,
    SubjectKey,
    TenantId,
    Topic,
    TopicClass,
)
from heed.past import Past
from heed.records import in_order
from heed.testing.memory import Memory
from tests.support.scenarios import Pick, drawn, seeded
from tests.support.stores import (
    NOW,
    SECOND,
    adds,
    chooses,
    declares,
    end_pause,
    erases,
    imports,
    keyed,
    lifts,
    opt_in,
    opt_out,
    origin,
    pause,
    places,
    protection,
    releases,
    retires,
)

NAMES = ("ada", "bob")
TOPICS = ("", "news", "news.weekly")
AGO = (None, 1, 5, 50)
AHEAD = (2, 20, 200)
SCRIPTS_MAX = 200


def an_act(pick: Pick, now: int, made: int) -> Act:
    """One act of a world so small that acts meet."""
    name = pick(NAMES)
    scope = Scope(channel=pick((Channel.EMAIL, Channel.ANY)), topic=pick(TOPICS))
    ago, end = pick(AGO), now + pick(AHEAD) * SECOND
    decided = None if ago is None else now - ago * SECOND
    by = origin(decided=decided)
    cause = pick((Cause.BOUNCE, Cause.COMPLAINT, Cause.NONE))
    fault = Scope(channel=Channel.EMAIL)
    stop = protection(name, cause, scope=fault, decided=decided, end=pick((None, end)))
    if cause is Cause.NONE:
        stop = stop._replace(end_time=None)
    acts: tuple[Callable[[], Act], ...] = (
        lambda: chooses(name, choices=[opt_out(scope)], by=by),
        lambda: chooses(*NAMES, choices=[opt_out(scope)], by=by),
        lambda: chooses(name, choices=[opt_in(scope)], by=origin(decided=decided or now)),
        lambda: chooses(name, choices=[pause(end, scope)], by=by),
        lambda: chooses(name, choices=[end_pause(scope)], by=by),
        lambda: adds(protection(name, scope=fault, decided=decided, end=pick((None, end)))),
        lambda: adds(protection(name, scope=fault, decided=now - 50 * SECOND)),
        lambda: imports(stop),
        lambda: releases(name, Cause.BOUNCE, (fault,)),
        lambda: releases(name, Cause.BOUNCE, (fault,)),
        lambda: declares(
            Topic(name=pick(TOPICS), topic_class=pick((TopicClass.PROMOTIONAL, *TopicClass))),
            loosens=pick((False, True)),
        ),
        lambda: erases(*pick(((name,), NAMES))),
        lambda: retires(pick(TOPICS)),
        lambda: places(f"hold-{made}", topic=pick(TOPICS), end=pick((None, end))),
        lambda: lifts(f"hold-{pick(range(made + 1))}"),
    )
    return pick(acts)()


def played(pick: Pick) -> tuple[Memory, list[Facts]]:
    """A log that was written act by act, and what stood after each of its changes."""
    memory = Memory(tenant_id=TenantId(1), name="shop", create_time=Instant(NOW))
    stood = [facts_of(memory)]
    now: int = NOW
    for made in range(pick(range(2, 25))):
        now += pick((1, SECOND, 30 * SECOND))
        act = undoing(memory) if pick(range(12)) == 0 else an_act(pick, now, made)
        try:
            memory.append(act, Instant(now))
        except HeedError:
            continue
        if isinstance(act, EraseSubjects):
            stood = without_opt_ins(stood, act.keys)
        # Between the changes of one act nobody sees the ledger; what is asked about is its end.
        unseen = memory.revision - len(stood)
        stood += [stood[0]] * unseen + [facts_of(memory)] if memory.revision >= len(stood) else []
    return memory, stood


def without_opt_ins(stood: list[Facts], erased: Sequence[SubjectKey]) -> list[Facts]:
    """What the log can still tell of then once these were erased: every stop, and no opt-in."""
    told = {
        id(one): replace(
            one,
            records=tuple(
                tuple(record for record in records if record.kind is not RecordKind.OPT_IN)
                if key in erased
                else records
                for key, records in zip(KEYS, one.records, strict=True)
            ),
        )
        for one in stood
    }
    return [told[id(one)] for one in stood]


def undoing(memory: Memory) -> RevertBatch:
    """Undo the list that `imports` adds to, as far as it has come."""
    batch = memory.ledger.batches.get("list-1")
    return RevertBatch(
        batch_id="list-1",
        keys=tuple(KEYS),
        through=Revision(0) if batch is None else batch.last,
        reason="the wrong file",
        origin=origin(Method.OPERATOR),
    )


KEYS = [keyed(name).key for name in NAMES]


def facts_of(memory: Memory) -> Facts:
    return facts(
        [memory.standing(key) for key in KEYS],
        memory,
    )


def facts(records: Sequence[Sequence[Record]], memory: Memory) -> Facts:
    return Facts(
        records=tuple(in_order(one) for one in records),
        holds=tuple(memory.ledger.holds.values()),
        topics=memory.topics,
    )


def plain(one: Facts) -> object:
    return one.records, one.holds, one.topics.declared


def folded(memory: Memory, through: int) -> Facts:
    past = Past()
    past.take(memory.changes(Revision(through)))
    return past.facts(KEYS)


@settings(max_examples=SCRIPTS_MAX)
@given(script=drawn(played))
def test_the_log_up_to_each_revision_leaves_what_stood_then(
    script: tuple[Memory, list[Facts]],
) -> None:
    memory, stood = script

    for revision, then in enumerate(stood):
        if revision and then is stood[0]:
            continue  # in the midst of an act
        assert plain(folded(memory, revision)) == plain(then)


@settings(max_examples=50)
@given(script=drawn(played), parts=st.integers(1, 7))
def test_a_log_is_folded_in_parts_as_in_one(script: tuple[Memory, list[Facts]], parts: int) -> None:
    memory, _ = script
    changes = memory.changes(memory.revision)
    past = Past()

    for start in range(0, len(changes), parts):
        past.take(changes[start : start + parts])

    assert plain(past.facts(KEYS)) == plain(folded(memory, len(changes)))


def test_the_scripts_hold_every_kind_of_change_and_effect() -> None:
    """Else the properties above would hold of nothing."""
    seen: set[tuple[ChangeKind, Effect]] = set()
    for seed in range(SCRIPTS_MAX):
        memory, _ = played(seeded(seed))
        seen |= {(one.kind, one.effect) for one in memory.changes(memory.revision)}

    # The fake has one lookup key for ever; moved subjects are tests/contract/test_lookup_keys.py's.
    told = set(ChangeKind) - {ChangeKind.REKEY}
    assert seen >= {(kind, Effect.APPLIED) for kind in told}
    assert (ChangeKind.CHOICE, Effect.SUPERSEDED) in seen
    assert (ChangeKind.SUPPRESSION, Effect.SUPERSEDED) in seen


@pytest.mark.parametrize(
    "forget",
    [
        lambda one: one.kind is ChangeKind.RELEASE,
        lambda one: one.kind is ChangeKind.LIFT,
        lambda one: one.kind is ChangeKind.TOPIC,
    ],
    ids=["releases", "lifts", "topics"],
)
def test_a_fold_that_forgets_something_is_found_out(forget: Callable[[Change], bool]) -> None:
    assert differs(lambda changes: [one for one in changes if not forget(one)])


def test_a_fold_that_takes_what_was_superseded_is_found_out() -> None:
    assert differs(
        lambda changes: [
            one if one.is_erased else replace(one, effect=Effect.APPLIED) for one in changes
        ]
    )


def differs(change: Callable[[list[Change]], list[Change]]) -> bool:
    """Whether some script tells a fold of changed changes from what stood."""
    for seed in range(SCRIPTS_MAX):
        memory, stood = played(seeded(seed))
        past = Past()
        past.take(change(memory.changes(memory.revision)))
        if plain(past.facts(KEYS)) != plain(stood[-1]):
            return True
    return False


def test_what_stands_is_told_with_the_change_that_set_it() -> None:
    """A bounce that is reported again stands by its first report."""
    memory = Memory(tenant_id=TenantId(1), name="shop", create_time=Instant(NOW))
    memory.append(adds(protection("ada", decided=NOW - 9, reason="first")), Instant(NOW))
    memory.append(adds(protection("ada", decided=NOW - 9, reason="second")), Instant(NOW + 5))
    past = Past()

    past.take(memory.changes(memory.revision))

    (found,) = past.records[keyed("ada").key].values()
    assert found.by.reason == "first"
    assert found.by.revision == found.record.revision == 1


def test_a_hold_is_told_with_the_change_that_placed_it() -> None:
    memory = Memory(tenant_id=TenantId(1), name="shop", create_time=Instant(NOW))
    memory.append(places("hold-1"), Instant(NOW))
    past = Past()

    past.take(memory.changes(memory.revision))

    assert past.holds["hold-1"].origin == origin(Method.OPERATOR)


def test_a_change_that_lacks_what_its_kind_must_carry_raises() -> None:
    memory = Memory(tenant_id=TenantId(1), name="shop", create_time=Instant(NOW))
    memory.append(chooses("ada"), Instant(NOW))
    (change,) = memory.changes(Revision(1))

    with pytest.raises(UnavailableError, match=r"change 1 \(choice\) lacks"):
        Past().take([replace(change, record=None)])
