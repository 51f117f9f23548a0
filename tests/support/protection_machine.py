"""Every path that writes, as rules of a state machine on a real store, for the tests alone.

Beside it goes a model that shares no code with it. After each step what the tables hold is what the
model says stands, what the log folds to, and what an index that took each change has; and no step
lets through what was stopped but those that may.
"""

import asyncio
import contextlib
import itertools
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

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
from heed.decide import Facts, decide
from heed.errors import ErrorReason, HeedError
from heed.hours import NO_HOURS, Hours
from heed.index import Index, IndexBuilder
from heed.judge import slot_key
from heed.model import (
    ACTS_OF_THE_PERSON,
    Cause,
    Choice,
    ChoiceKind,
    Instant,
    Method,
    Reach,
    Record,
    Revision,
    Scope,
    Topic,
    TopicClass,
    Verdict,
)
from heed.past import Past
from heed.proof import EMPTY_LOG_HASH
from heed.records import of_people
from heed.topics import TopicTable
from heed_server.backup.file import BackupReader
from heed_server.backup.restoring import restore_backup
from heed_server.backup.taking import take_backup
from heed_server.erasures import Erased
from heed_server.storage import SqlStore
from tests.support.backed_up import LIMITS
from tests.support.naive_decision import Scenario, verdict
from tests.support.postgres import Postgres
from tests.support.protection_keys import LOOKUP_KEYS_MAX, PeopleKeys
from tests.support.protection_model import Kept, Model, protects, slot_of, told
from tests.support.protection_words import (
    BATCHES,
    FUTURE,
    MANDATORY,
    NAMES,
    QUERIES,
    REFUSALS,
    RESTORES_MAX,
    SECURITY,
    all_hours,
    batches,
    causes,
    choices_in,
    decided_times,
    ends,
    methods,
    names,
    scopes,
)
from tests.support.roots import root_file_for
from tests.support.stores import (
    DAY,
    EVIDENCE,
    Asked,
    Database,
    FakeClock,
    Shop,
    adds,
    declares,
    erases,
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


class Protection(RuleBasedStateMachine):
    """One tenant of a store of its own, two people, and what was said of them."""

    kind: ClassVar[str] = "sqlite"
    postgres: ClassVar[Postgres | None] = None

    def __init__(self) -> None:
        super().__init__()
        self._exits = contextlib.ExitStack()
        self._runner = self._exits.enter_context(asyncio.Runner())
        self._folder = Path(self._exits.enter_context(TemporaryDirectory()))
        self._numbers = itertools.count()
        self._databases = contextlib.AsyncExitStack()
        self._exits.callback(lambda: self._run(self._databases.aclose()))
        self._database = self._run(self._new_database(is_migrated=True))
        self._root_file = root_file_for(self._database.url) or self._folder / "0" / "heed.db.root"
        self.clock = FakeClock(runs=self.kind == "postgres")
        self.store: SqlStore = self._run(self._database.open(clock=self.clock))
        self.shop: Shop = self._run(new_shop(self.store))
        self.people = PeopleKeys(self.shop)
        self._run(self.people.learn())
        self.model = Model()
        self.asked: list[tuple[Act, str]] = []
        self.kept: Kept | None = None
        """The one backup."""
        self.ledger: set[Erased] = set()
        """Who was erased, ever, in the file that no restore puts back."""
        self.restores = 0
        self.restore_hold = ""
        """The hold that a restore opened and nobody has lifted."""
        self.revision: Revision
        self.past: Past
        self.index: Index
        self._follow_anew()
        self._ask(declares(SECURITY), may_weaken=True)

    def teardown(self) -> None:
        self.index.abandon()
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
        hours=all_hours,
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
        hours: Hours = NO_HOURS,
    ) -> None:
        """By any method: also late, and by those that are no act of the person."""
        no_ask_until = end if kind is ChoiceKind.OPT_OUT else None
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
            quiet_hours=hours if kind is ChoiceKind.QUIET_HOURS else None,
            no_ask_until=None if no_ask_until is None else Instant(no_ask_until),
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
            self.model.release(name, record, self._run(self.people.release_time(record, name)))

    @rule(cause=st.sampled_from([Cause.BOUNCE, Cause.MANUAL]))
    def release_many(self, cause: Cause) -> None:
        """Of everybody, as they were found; choices are not found by it."""
        found = tuple(
            Found(one.key, slot_key(one.record), one.record.revision)
            for one in self._seen().records
            if one.record.cause is cause
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
            if hold_id == self.restore_hold:
                self.restore_hold = ""

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

    @precondition(lambda self: any(self.model.said.values()))
    @rule(name=names)
    def erase(self, name: str) -> None:
        """Every stop stands on, and every opt-in ends."""
        before = self._seen()
        outcome = self._ask(replace(erases(name), keys=self.people.of(name)))
        if outcome is not None and self._seen().head != before.head:
            self.model.erase(name, outcome.commit_time)
            self._fold_anew()
        self.ledger |= set(self._run(self.store.erasures()))

    @precondition(lambda self: self.kept is None or len(self.kept.asked) < len(self.asked))
    @rule()
    def back_up(self) -> None:
        """Of the database as it is, while it goes on."""
        path = self._folder / f"{next(self._numbers)}.backup"
        taken = take_backup(self._database.url, path, now=self.clock.now(), limits=LIMITS)
        self._run(taken)
        self.kept = Kept(path, deepcopy(self.model), list(self.asked))

    @precondition(lambda self: self.kept is not None and self.restores < RESTORES_MAX)
    @rule(erased=st.sampled_from(["", *NAMES]))
    def restore(self, erased: str = "") -> None:
        """What was acknowledged since is lost, and held; who was erased since is erased again."""
        assert self.kept is not None
        if erased:
            self.erase(erased)
        before = self._verdicts(self._seen())
        head = self._seen().head
        self._run(self.store.close())
        self._database = self._run(self._new_database(is_migrated=False))
        back = self._run(
            restore_backup(
                self._database.url,
                BackupReader(self.kept.path),
                erased=sorted(self.ledger),
                sets_aside=False,
                now=self.clock.now(),
                limits=LIMITS,
            )
        )
        opened = self._database.open(clock=self.clock, root_file=self._root_file)
        self.store = self.shop.store = self._run(opened)
        self.model, self.asked = deepcopy(self.kept.model), list(self.kept.asked)
        for _, key, erase_time in sorted(self.ledger):
            name = self.people.owner(key)
            if self.model.erasures.get(name, -1) < erase_time:
                self.model.erase(name, self._run(self.people.erase_time(name)))
        self._run(self.people.learn())
        self.restores += 1
        self.restore_hold = back.restored.begun.hold_id
        self.index.abandon()
        self._follow_anew()
        assert self._seen().head.epoch != head.epoch
        self._require_not_weakened(before, self._verdicts(self._seen()), "restore")

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

    @precondition(lambda self: self.people.lookup.count < LOOKUP_KEYS_MAX)
    @rule()
    def replace_the_lookup_key(self) -> None:
        """It leaked; everybody is looked up under both from then on."""
        before = self._verdicts(self._seen())
        self._run(self.people.replace())
        self._require_not_weakened(before, self._verdicts(self._seen()), "another lookup key")

    @precondition(lambda self: self.people.lookup.count > 1)
    @rule(limit=st.integers(1, len(NAMES)))
    def move(self, limit: int) -> None:
        """Under the newest lookup key, one of them or all."""
        before = self._verdicts(self._seen())
        self._run(self.people.move(limit))
        self._require_not_weakened(before, self._verdicts(self._seen()), "a move")

    @rule(at=st.integers(0, 50))
    def replay(self, at: int) -> None:
        """It says what it said, or that its batch was undone, and changes nothing."""
        if not self.asked:
            return
        act, key = self.asked[at % len(self.asked)]
        before = self._seen()
        with contextlib.suppress(HeedError):
            assert self._run(self.people.append(act, key)).appended.replayed
        assert self._seen() == before

    @invariant()
    def tables_hold_what_was_acknowledged(self) -> None:
        for name in NAMES:
            stands = self.model.stands(name)
            held = {slot_of(one): told(one) for one in self._records(name)}
            for slot in stands.keys() | held.keys():
                if self.model.undone and len(self.model.batches_at(name, slot)) > 1:
                    # What several lists asked for without a change is kept as one: never less.
                    assert protects(held.get(slot), stands.get(slot)), (name, slot)
                else:
                    assert held.get(slot) == stands.get(slot), (name, slot)

    @invariant()
    def the_log_and_the_index_say_the_same(self) -> None:
        changes = self._run(self.store.read_changes(self.shop.tenant_id, self.revision, 1_000))
        self.past.take(changes)
        self.index.apply(changes)
        if changes:
            self.revision = changes[-1].revision
        keys, each = self.people.of_all(), self.people.lookup.count
        tables = [tuple(self._records(name)) for name in NAMES]
        folded = of_people(self.past.facts(keys).records, each)
        indexed = self.index.facts(keys)
        by_key = of_people(indexed.records, each)
        for records, by_log, by_index in zip(tables, folded, by_key, strict=True):
            assert set(records) == set(by_log) == set(by_index)
        assert {one.hold_id for one in indexed.holds} == set(self.past.holds)

    @invariant()
    def nothing_but_mandatory_passes_until_the_hold_of_a_restore_is_lifted(self) -> None:
        if not self.restore_hold:
            return
        standing = self._seen()
        holds = tuple(one.hold for one in standing.holds)
        topics, now = TopicTable(standing.topics), Instant(standing.head.commit_time)
        nobody = Facts(records=((),), holds=holds, topics=topics)
        for name in NAMES:
            facts = replace(nobody, records=(tuple(self._records(name)),))
            for query in QUERIES:
                assert decide(facts, query, now).verdict is Verdict.SUPPRESSED, query
                assert decide(nobody, query, now).verdict is Verdict.SUPPRESSED, query
        assert decide(nobody, MANDATORY, now).verdict is Verdict.ALLOWED

    def _ask(self, act: Act, *, may_weaken: bool = False) -> Outcome | None:
        """Write, and return what came of it; None: it was refused, and changed nothing."""
        before = self._seen()
        key = f"Test:{len(self.asked)}"
        refused: ErrorReason | None = None
        asked: Asked | None = None
        try:
            asked = self._run(self.people.append(act, key))
        except HeedError as refusal:
            refused = refusal.reason
        if asked is None:
            assert refused in REFUSALS
            assert self._seen() == before
            return None
        self.asked.append((act, key))
        after = self._seen()
        if not may_weaken:
            self._require_not_weakened(self._verdicts(before), self._verdicts(after), act)
        if isinstance(act, ReleaseSuppression | LiftHold | DeclareTopic):
            assert choices_in(before) == choices_in(after)
        return asked.outcome

    def _seen(self) -> Any:
        return self._run(self.store.standing(self.shop.tenant_id, self.people.of_all()))

    def _records(self, name: str) -> list[Record]:
        return [one.record for one in self._seen().records if self.people.owner(one.key) == name]

    def _verdicts(self, standing: Any) -> list[Verdict]:
        now = max(self.clock.now(), standing.head.commit_time)
        by_name = [
            tuple(one.record for one in standing.records if self.people.owner(one.key) == name)
            for name in NAMES
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

    def _require_not_weakened(
        self, before: list[Verdict], after: list[Verdict], by: object
    ) -> None:
        for old, new in zip(before, after, strict=True):
            assert not (old is Verdict.SUPPRESSED and new is Verdict.ALLOWED), by

    async def _new_database(self, *, is_migrated: bool) -> Database:
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        made = new_database(self.kind, folder, self.postgres, is_migrated=is_migrated)
        return await self._databases.enter_async_context(made)

    def _follow_anew(self) -> None:
        """By an index and a fold that begin with an empty log."""
        head = self._seen().head
        nothing = replace(head, revision=Revision(0), running_hash=EMPTY_LOG_HASH)
        self.revision = Revision(0)
        self.past = Past()
        path, tenant_id = self._folder / f"index-{head.epoch.hex()}", self.shop.tenant_id
        index = IndexBuilder(path, tenant_id=tenant_id, head=nothing, topics=(), holds=())
        self.index = index.finish()

    def _fold_anew(self) -> None:
        """What an erasure left of the log folds to what stands, from its first change on."""
        past = Past()
        past.take(self._run(self.store.read_changes(self.shop.tenant_id, Revision(0), 1_000)))
        by_key = past.facts(self.people.of_all()).records
        for name, folded in zip(NAMES, of_people(by_key, self.people.lookup.count), strict=True):
            assert set(folded) == set(self._records(name)), name

    def _note_releases(self) -> None:
        """Each release of the changes that the invariants have not taken yet."""
        changes = self._run(self.store.read_changes(self.shop.tenant_id, self.revision, 1_000))
        for one in changes:
            if one.record is not None and one.kind.name == "RELEASE":
                self.model.release(self.people.owner(one.subject), one.record, one.commit_time)

    def _run(self, waited: Any) -> Any:
        return self._runner.run(waited)
