"""No write of any kind weakens a person's protection but those of the closed list (design, 3).

A state machine over every path that writes, on a real store, against a model that shares no code
with it. After each step what the tables hold is what the model says stands, what the log folds to,
and what an index that took each change has.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from heed.acts import (
    Act,
    DeclareTopic,
    Found,
    LiftHold,
    Outcome,
    PersonChoices,
    ReleaseSuppression,
    ReleaseSuppressions,
    RevertBatch,
    SetPreferences,
)
from heed.errors import ErrorReason, HeedError
from heed.index import Index, IndexBuilder
from heed.judge import Said, choices, protections, reverting, slot_key
from heed.model import (
    ACTS_OF_THE_PERSON,
    Cause,
    Channel,
    Choice,
    ChoiceKind,
    Instant,
    Method,
    Query,
    Reach,
    Record,
    Revision,
    Scope,
    SubjectKey,
    Topic,
    TopicClass,
    Verdict,
)
from heed.past import Past
from heed_server.storage import SqlStore
from tests.support.naive_decision import Scenario, verdict
from tests.support.postgres import Postgres
from tests.support.protection_model import Model, slot_of, told
from tests.support.stores import (
    DAY,
    EVIDENCE,
    Asked,
    FakeClock,
    Shop,
    adds,
    declares,
    imports,
    keyed,
    lifts,
    new_database,
    new_shop,
    origin,
    places,
    protection,
    releases,
    retires,
)

NAMES = ("ada", "bob")
KEYS = {name: keyed(name).key for name in NAMES}
BATCHES = ("list-1", "list-2")
PAST = 1_700_000_000_000_000
FUTURE = 2_000_000_000_000_000
SCOPES = (Scope(channel=Channel.EMAIL), Scope(channel=Channel.ANY, topic="news"))
QUERIES = tuple(
    Query(channel=channel, topic=topic)
    for channel in (Channel.EMAIL, Channel.SMS)
    for topic in ("", "news", "news.weekly", "receipts")
)
REFUSALS = frozenset(
    {
        ErrorReason.CONSENT_REQUIRED,
        ErrorReason.SUPPRESSION_UNKNOWN,
        ErrorReason.HOLD_UNKNOWN,
        ErrorReason.TOPIC_UNKNOWN,
        ErrorReason.TOPIC_RETIRED,
        ErrorReason.TOPIC_WOULD_LOOSEN,
        ErrorReason.BATCH_UNKNOWN,
        ErrorReason.BATCH_REVERTED,
        ErrorReason.CLOCK_UNTRUSTED,
        ErrorReason.INVALID_FIELD,
    }
)

names = st.sampled_from(NAMES)
scopes = st.sampled_from(SCOPES)
decided_times = st.sampled_from([PAST + day * DAY for day in range(5)])
ends = st.sampled_from([None, PAST + 2 * DAY, FUTURE, FUTURE + DAY])
methods = st.sampled_from([Method.WEB_FORM, Method.OPERATOR, Method.IMPORT, Method.REPLY])
causes = st.sampled_from([Cause.NONE, Cause.BOUNCE, Cause.MANUAL])
batches = st.sampled_from(BATCHES)


class Protection(RuleBasedStateMachine):
    """One tenant of a store of its own, two people, and what was said of them."""

    kind: ClassVar[str] = "sqlite"
    postgres: ClassVar[Postgres | None] = None

    def __init__(self) -> None:
        super().__init__()
        self._exits = contextlib.ExitStack()
        self._runner = self._exits.enter_context(asyncio.Runner())
        folder = Path(self._exits.enter_context(TemporaryDirectory()))
        self._database = new_database(self.kind, folder, self.postgres)
        database = self._run(self._database.__aenter__())
        self.clock = FakeClock(runs=self.kind == "postgres")
        self.store: SqlStore = self._run(database.open(clock=self.clock))
        self.shop: Shop = self._run(new_shop(self.store))
        self.model = Model()
        self.past = Past()
        self.revision = Revision(0)
        self.asked: list[tuple[Act, str]] = []
        head = self._run(self.store.head(self.shop.tenant_id))
        builder = IndexBuilder(
            folder / "index", tenant_id=self.shop.tenant_id, head=head, topics=(), holds=()
        )
        self.index: Index = builder.finish()

    def teardown(self) -> None:
        self.index.abandon()
        self._run(self._database.__aexit__(None, None, None))
        self._exits.close()

    @rule(
        name=names,
        kind=st.sampled_from(ChoiceKind),
        scope=scopes,
        reach=st.sampled_from([Reach.PROMOTIONAL, Reach.TRANSACTIONAL]),
        decided=st.one_of(st.none(), decided_times),
        end=ends,
        method=methods,
        batch=st.sampled_from(["", *BATCHES]),
    )
    def choose(
        self,
        name: str,
        kind: ChoiceKind,
        scope: Scope,
        reach: Reach,
        decided: int | None,
        end: int | None,
        method: Method,
        batch: str,
    ) -> None:
        """By any method: also late, and by those that are no act of the person."""
        if kind is ChoiceKind.PAUSE:
            end = end or FUTURE
        elif kind is not ChoiceKind.OPT_IN:
            end = None
        choice = Choice(
            kind=kind,
            scope=scope,
            reach=reach,
            end_time=None if end is None else Instant(end),
            evidence=EVIDENCE if kind is ChoiceKind.OPT_IN else None,
        )
        by = origin(method, decided=decided)
        person = PersonChoices(subjects=(keyed(name),), choices=(choice,), origin=by)
        is_theirs = method in ACTS_OF_THE_PERSON
        outcome = self._ask(
            SetPreferences(people=(person,), batch_id=batch),
            may_weaken=is_theirs and kind is not ChoiceKind.OPT_OUT,
        )
        if outcome is not None:
            self.model.choose(name, choice, decided, outcome.commit_time, batch)

    @rule(name=names, cause=causes, scope=scopes, decided=decided_times, end=ends)
    def add(self, name: str, cause: Cause, scope: Scope, decided: int, end: int | None) -> None:
        """A suppression, or an opt-out that was found elsewhere, late or not."""
        one = protection(name, cause, scope=scope, decided=decided, end=end)
        outcome = self._ask(adds(one))
        if outcome is not None:
            self.model.protect(name, one, outcome.commit_time)

    @rule(name=names, cause=causes, scope=scopes, decided=decided_times, end=ends, batch=batches)
    def import_row(
        self, name: str, cause: Cause, scope: Scope, decided: int, end: int | None, batch: str
    ) -> None:
        """Whether it changes anything or not, its answer says that it stands."""
        one = protection(name, cause, scope=scope, decided=decided, end=end)
        outcome = self._ask(imports(one, batch=batch))
        if outcome is not None:
            self.model.protect(name, one, outcome.commit_time, batch)

    @rule(name=names, cause=st.sampled_from([Cause.BOUNCE, Cause.MANUAL]), scope=scopes)
    def release(self, name: str, cause: Cause, scope: Scope) -> None:
        outcome = self._ask(releases(name, cause, (scope,)), may_weaken=True)
        for record in outcome.released if outcome is not None else ():
            self.model.release(name, record, self._time_of(record, name))

    @rule(cause=st.sampled_from([Cause.BOUNCE, Cause.MANUAL]))
    def release_many(self, cause: Cause) -> None:
        """Of everybody, as they were found; choices are not found by it."""
        found = tuple(
            Found(KEYS[name], slot_key(record), record.revision)
            for name in NAMES
            for record in self._records(name)
            if record.cause is cause
        )
        outcome = self._ask(
            ReleaseSuppressions(found=found, reason="ours", origin=origin(Method.OPERATOR)),
            may_weaken=True,
        )
        if outcome is not None and outcome.released:
            self._note_releases()

    @rule(number=st.integers(1, 3))
    def place(self, number: int) -> None:
        self._ask(places(f"hold-{number}-{self.revision}", topic="news"))

    @rule()
    def lift(self) -> None:
        """What it stopped is as it was before."""
        for hold_id in list(self.past.holds)[:1]:
            self._ask(lifts(hold_id), may_weaken=True)

    @rule(
        name=st.sampled_from(["news", "receipts"]),
        topic_class=st.sampled_from([TopicClass.PROMOTIONAL, TopicClass.TRANSACTIONAL]),
        requires=st.booleans(),
        loosens=st.booleans(),
    )
    def declare(self, name: str, topic_class: TopicClass, requires: bool, loosens: bool) -> None:
        """What a topic is, is the operator's; loosening is an act of its own."""
        topic = Topic(name=name, topic_class=topic_class, requires_opt_in=requires)
        self._ask(declares(topic, loosens=loosens), may_weaken=True)

    @rule(name=st.sampled_from(["news", "receipts"]))
    def retire(self, name: str) -> None:
        """Its opt-outs stand."""
        self._ask(retires(name))

    @rule(batch=batches)
    def revert(self, batch: str) -> None:
        found = self._run(self.store.find_batch(self.shop.tenant_id, batch))
        if found is None:
            return
        act = RevertBatch(
            batch_id=batch,
            keys=found.keys,
            through=found.last,
            reason="the wrong file",
            origin=origin(Method.OPERATOR),
        )
        if self._ask(act, may_weaken=True) is not None:
            self.model.undone.add(batch)

    @rule(seconds=st.sampled_from([-100.0, 100.0]), name=names, scope=scopes)
    def write_by_a_wrong_clock(self, seconds: float, name: str, scope: Scope) -> None:
        """Off by more than five seconds only stops are taken, until it is set right."""
        if self.kind != "sqlite":
            return
        self.clock.set_off_by(seconds)
        head = self._seen().head
        self.release(name, Cause.BOUNCE, scope)
        self.revert(BATCHES[0])
        assert self._seen().head == head
        by = Method.OPERATOR
        self.choose(name, ChoiceKind.OPT_OUT, scope, Reach.PROMOTIONAL, None, None, by, "")
        assert self._seen().head != head
        self.clock.set_off_by(-seconds)

    @rule(at=st.integers(0, 50))
    def replay(self, at: int) -> None:
        """It says what it said, or that its batch was undone, and changes nothing."""
        if not self.asked:
            return
        act, key = self.asked[at % len(self.asked)]
        before = self._seen()
        with contextlib.suppress(HeedError):
            assert self._run(self.shop.ask(act, key=key)).appended.replayed
        assert self._seen() == before

    @invariant()
    def tables_hold_what_was_acknowledged(self) -> None:
        for name in NAMES:
            stands = self.model.stands(name)
            held = {slot_of(one): told(one) for one in self._records(name)}
            for slot in stands.keys() | held.keys():
                if self.model.undone and len(self.model.batches_at(name, slot)) > 1:
                    # What several lists asked for without a change is kept as one: never less.
                    assert _protects(held.get(slot), stands.get(slot)), (name, slot)
                else:
                    assert held.get(slot) == stands.get(slot), (name, slot)

    @invariant()
    def the_log_and_the_index_say_the_same(self) -> None:
        changes = self._run(self.store.read_changes(self.shop.tenant_id, self.revision, 1_000))
        self.past.take(changes)
        self.index.apply(changes)
        if changes:
            self.revision = changes[-1].revision
        keys = list(KEYS.values())
        tables = [tuple(self._records(name)) for name in NAMES]
        folded = self.past.facts(keys)
        indexed = self.index.facts(keys)
        for records, by_log, by_index in zip(tables, folded.records, indexed.records, strict=True):
            assert set(records) == set(by_log) == set(by_index)
        assert {one.hold_id for one in indexed.holds} == set(self.past.holds)

    def _ask(self, act: Act, *, may_weaken: bool = False) -> Outcome | None:
        """Write, and return what came of it; None: it was refused, and changed nothing."""
        before = self._seen()
        key = f"Test:{len(self.asked)}"
        refused: ErrorReason | None = None
        asked: Asked | None = None
        try:
            asked = self._run(self.shop.ask(act, key=key))
        except HeedError as refusal:
            refused = refusal.reason
        if asked is None:
            assert refused in REFUSALS
            assert self._seen() == before
            return None
        self.asked.append((act, key))
        after = self._seen()
        if not may_weaken:
            for old, new in zip(self._verdicts(before), self._verdicts(after), strict=True):
                assert not (old is Verdict.SUPPRESSED and new is Verdict.ALLOWED), act
        if isinstance(act, ReleaseSuppression | LiftHold | DeclareTopic):
            assert _choices(before) == _choices(after)
        return asked.outcome

    def _seen(self) -> Any:
        return self._run(self.store.standing(self.shop.tenant_id, list(KEYS.values())))

    def _records(self, name: str) -> list[Record]:
        standing = self._seen()
        return [one.record for one in standing.records if one.key == KEYS[name]]

    def _verdicts(self, standing: Any) -> list[Verdict]:
        now = max(self.clock.now(), standing.head.commit_time)
        by_name = [
            tuple(one.record for one in standing.records if one.key == KEYS[name]) for name in NAMES
        ]
        return [
            verdict(
                Scenario(
                    topics=standing.topics,
                    holds=tuple(one.hold for one in standing.holds),
                    subjects=subjects,
                    query=query,
                    now=Instant(at),
                )
            )
            for at in (now, FUTURE + 2 * DAY)
            for query in QUERIES
            for subjects in (tuple(by_name[:1]), tuple(by_name[1:]), tuple(by_name))
        ]

    def _time_of(self, record: Record, name: str) -> int:
        """When the release of a record was committed: the last of its slot in the log."""
        changes = self._run(self.store.changes_of(self.shop.tenant_id, [KEYS[name]], limit=10_000))
        return max(
            int(one.commit_time)
            for one in changes
            if one.record is not None and one.kind.name == "RELEASE" and one.record == record
        )

    def _note_releases(self) -> None:
        """Each release of the changes that the invariants have not taken yet."""
        by_key: dict[SubjectKey | None, str] = {key: name for name, key in KEYS.items()}
        changes = self._run(self.store.read_changes(self.shop.tenant_id, self.revision, 1_000))
        for one in changes:
            if one.record is not None and one.kind.name == "RELEASE":
                self.model.release(by_key[one.subject], one.record, one.commit_time)

    def _run(self, waited: Any) -> Any:
        return self._runner.run(waited)


def _choices(standing: Any) -> list[tuple[SubjectKey, Record]]:
    return [(one.key, one.record) for one in standing.records if one.record.cause is Cause.NONE]


def _protects(held: tuple[int, int, int] | None, least: tuple[int, int, int] | None) -> bool:
    """Whether what is held is at least what is to stand."""
    if least is None:
        return True
    return held is not None and all(one >= other for one, other in zip(held, least, strict=True))


def quick(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        # Its enum has a metaclass that pyright does not see through.
        suppress_health_check=[  # pyright: ignore[reportArgumentType]
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
        ],
        print_blob=False,
    )


def test_no_write_weakens_but_those_of_the_closed_list_on_sqlite() -> None:
    run_state_machine_as_test(Protection, settings=quick(25, 25))


@pytest.mark.postgres
def test_no_write_weakens_but_those_of_the_closed_list_on_postgres(postgres: Postgres) -> None:
    class OnPostgres(Protection):
        kind = "postgres"

    OnPostgres.postgres = postgres
    run_state_machine_as_test(OnPostgres, settings=quick(4, 20))


def newest(_current: Record | None, new: Record) -> Record:
    """A judge by which whatever came last stands."""
    return new


def nothing_kept(*_: object) -> None:
    """A judge that forgets what rows asked for without a change."""


def without_what_others_said(said: list[Said], undone: set[str]) -> Any:
    """An undoing that forgets what was chosen otherwise."""
    return FOLD([one for one in said if one.batch_id], undone)


FOLD = reverting.fold


def told_of_two_lists(machine: Protection) -> None:
    for batch, decided in (("list-1", PAST + DAY), ("list-2", PAST)):
        machine.import_row("ada", Cause.BOUNCE, SCOPES[0], decided, None, batch)
    machine.revert("list-1")


def told_by_a_person_and_a_list(machine: Protection) -> None:
    opted_out(machine, Method.WEB_FORM, PAST)
    machine.import_row("ada", Cause.NONE, SCOPES[0], PAST + DAY, None, "list-1")
    machine.revert("list-1")


def told_by_an_operator(machine: Protection) -> None:
    opted_out(machine, Method.WEB_FORM, PAST)
    kind, reach = ChoiceKind.OPT_IN, Reach.PROMOTIONAL
    machine.choose("ada", kind, SCOPES[0], reach, PAST + DAY, None, Method.OPERATOR, "")


def told_late(machine: Protection) -> None:
    opted_out(machine, Method.WEB_FORM, PAST + DAY)
    opted_out(machine, Method.WEB_FORM, PAST)


def told_twice(machine: Protection) -> None:
    for end in (None, FUTURE):
        machine.add("ada", Cause.MANUAL, SCOPES[0], PAST, end)


def opted_out(machine: Protection, method: Method, decided: int) -> None:
    kind, reach = ChoiceKind.OPT_OUT, Reach.PROMOTIONAL
    machine.choose("ada", kind, SCOPES[0], reach, decided, None, method, "")


@pytest.mark.parametrize(
    ("module", "name", "mutant", "script"),
    [
        (protections, "merge", newest, told_twice),
        (choices, "merge", newest, told_late),
        (protections, "_note_reserve", nothing_kept, told_of_two_lists),
        (reverting, "fold", without_what_others_said, told_by_a_person_and_a_list),
        (choices, "require_act_of_person", nothing_kept, told_by_an_operator),
    ],
    ids=["list", "choice", "unlogged", "undoing", "method"],
)
def test_a_judge_that_weakens_is_found_out(
    module: Any,
    name: str,
    mutant: Callable[..., Any],
    script: Callable[[Protection], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same steps pass by the judge that there is, and fail by one that was broken."""
    play(script)
    monkeypatch.setattr(module, name, mutant)

    with pytest.raises(AssertionError):
        play(script)


def play(script: Callable[[Protection], None]) -> None:
    machine = Protection()
    try:
        script(machine)
        machine.tables_hold_what_was_acknowledged()
        machine.the_log_and_the_index_say_the_same()
    finally:
        machine.teardown()
