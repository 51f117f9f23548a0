"""What people choose, what it becomes, and what would weaken them without an act of theirs."""

import asyncio

import pytest

from heed.acts import PersonChoices, SetPreferences
from heed.errors import ConflictError, ErrorReason, InvalidArgumentError
from heed.model import (
    Cause,
    ChangeKind,
    Channel,
    Choice,
    Effect,
    Instant,
    Method,
    Reach,
    Record,
    RecordKind,
    Revision,
    Scope,
)
from tests.support.stores import (
    ANYTHING,
    EMAIL_NEWS,
    EVIDENCE,
    FakeClock,
    Shop,
    adds,
    chooses,
    end_pause,
    imports,
    keyed,
    opt_in,
    opt_out,
    origin,
    pause,
    protection,
)

NOT_ACTS_OF_THE_PERSON = [Method.UNSPECIFIED, Method.OPERATOR, Method.IMPORT]


async def standing(shop: Shop, *names: str) -> list[Record]:
    found = await shop.store.standing(shop.tenant_id, [keyed(name).key for name in names])
    return [one.record for one in found.records]


async def test_an_opt_out_without_a_time_takes_its_commit_time(shop: Shop) -> None:
    asked = await shop.ask(chooses("ada"))

    (record,) = await standing(shop, "ada")
    assert record == Record(
        RecordKind.OPT_OUT,
        Cause.NONE,
        Reach.PROMOTIONAL,
        Channel.EMAIL,
        "news",
        asked.outcome.commit_time,
        None,
        Revision(1),
    )


async def test_a_stop_ahead_of_the_commit_is_cut_to_it_and_not_refused(
    shop: Shop, clock: FakeClock
) -> None:
    by = origin(decided=clock.ahead(3600))
    choices = [opt_out(), pause(clock.ahead(7200))]

    asked = await shop.ask(chooses("ada", choices=choices, by=by))

    changes = await shop.store.read_changes(shop.tenant_id, Revision(0), 10)
    assert [one.record.decided_time for one in asked.outcome.stored] == [
        change.commit_time for change in changes
    ]


async def test_a_choice_counts_by_its_own_time(shop: Shop, clock: FakeClock) -> None:
    long_ago = clock.ago(1000)

    await shop.ask(chooses("ada", by=origin(decided=long_ago)))

    assert [record.decided_time for record in await standing(shop, "ada")] == [long_ago]


async def test_a_late_arrival_is_logged_and_replaces_nothing(shop: Shop, clock: FakeClock) -> None:
    newer, older = clock.ago(10), clock.ago(20)
    await shop.ask(chooses("ada", by=origin(decided=newer)))

    asked = await shop.ask(chooses("ada", by=origin(decided=older)))

    (stored,) = asked.outcome.stored
    assert stored.effect is Effect.SUPERSEDED
    assert stored.record.decided_time == older
    assert [record.revision for record in await standing(shop, "ada")] == [1]
    last = (await shop.store.read_changes(shop.tenant_id, Revision(1), 1))[0]
    assert (last.effect, last.record) == (Effect.SUPERSEDED, stored.record)


async def test_the_order_of_arrival_does_not_matter(shop: Shop, clock: FakeClock) -> None:
    early, late = origin(decided=clock.ago(20)), origin(decided=clock.ago(10))
    choices = [opt_in(end=clock.ahead(100)), opt_out()]
    await shop.ask(chooses("ada", choices=choices, by=early))
    await shop.ask(chooses("ada", choices=[opt_in()], by=late))
    await shop.ask(chooses("bob", choices=[opt_in()], by=late))
    await shop.ask(chooses("bob", choices=choices, by=early))

    ada, bob = await standing(shop, "ada"), await standing(shop, "bob")

    def said(records: list[Record]) -> list[tuple[RecordKind, Instant, Instant | None]]:
        return [(one.kind, one.decided_time, one.end_time) for one in records]

    assert said(ada) == said(bob)
    assert said(ada)[1] == (RecordKind.OPT_IN, late.decided_time, None)


async def test_a_narrow_stop_does_not_replace_a_wide_one(shop: Shop, clock: FakeClock) -> None:
    await shop.ask(chooses("ada", choices=[opt_out(reach=Reach.ALL)]))
    await shop.ask(chooses("ada", choices=[opt_out(reach=Reach.PROMOTIONAL)]))

    assert [one.reach for one in await standing(shop, "ada")] == [Reach.PROMOTIONAL, Reach.ALL]


async def test_an_opt_in_keeps_its_evidence_and_the_opt_out_that_it_lifts(
    shop: Shop, clock: FakeClock
) -> None:
    await shop.ask(chooses("ada", by=origin(decided=clock.ago(20))))

    by = origin(decided=clock.ago(10), source="shop")

    asked = await shop.ask(chooses("ada", choices=[opt_in()], by=by))

    found = await shop.store.standing(shop.tenant_id, [keyed("ada").key])
    assert [one.record.kind for one in found.records] == [RecordKind.OPT_OUT, RecordKind.OPT_IN]
    assert found.records[1].evidence == EVIDENCE
    assert found.records[1].origin == by
    assert [record for _, _, record in asked.outcome.standing] == [
        one.record for one in found.records
    ]


@pytest.mark.parametrize("method", NOT_ACTS_OF_THE_PERSON)
async def test_nobody_but_the_person_opts_in(shop: Shop, clock: FakeClock, method: Method) -> None:
    by = origin(method, decided=clock.ago(10))

    with pytest.raises(ConflictError) as refused:
        await shop.ask(chooses("ada", choices=[opt_out(ANYTHING), opt_in()], by=by))

    assert refused.value.reason is ErrorReason.CONSENT_REQUIRED
    assert refused.value.metadata == {"method": method.name.lower()}
    assert (await shop.store.head(shop.tenant_id)).revision == 0


async def test_an_opt_in_ahead_of_the_commit_is_refused(shop: Shop, clock: FakeClock) -> None:
    by = origin(decided=clock.ahead(60))

    with pytest.raises(InvalidArgumentError) as refused:
        await shop.ask(chooses("ada", choices=[opt_out(ANYTHING), opt_in()], by=by))

    (violation,) = refused.value.violations
    assert violation.field == "origin.decided_time"
    assert "choices[1]" in violation.description


async def test_an_opt_in_without_a_time_is_refused(shop: Shop) -> None:
    with pytest.raises(InvalidArgumentError):
        await shop.ask(chooses("ada", choices=[opt_in()], by=origin()))


async def test_in_a_batch_the_person_is_named_whose_opt_in_is_refused(
    shop: Shop, clock: FakeClock
) -> None:
    def person(name: str, choice: Choice, decided: Instant) -> PersonChoices:
        return PersonChoices(
            subjects=(keyed(name),), choices=(choice,), origin=origin(decided=decided)
        )

    people = (
        person("ada", opt_out(), clock.ago(1)),
        person("bob", opt_in(), clock.ahead(60)),
    )

    with pytest.raises(InvalidArgumentError) as refused:
        await shop.ask(SetPreferences(people=people))

    assert refused.value.violations[0].field == "people[1].origin.decided_time"
    assert (await shop.store.head(shop.tenant_id)).revision == 0
    assert await standing(shop, "ada") == []


async def test_a_batch_names_what_each_record_became_by_person_and_subject(shop: Shop) -> None:
    people = tuple(
        PersonChoices(
            subjects=tuple(keyed(name) for name in names), choices=(opt_out(),), origin=origin()
        )
        for names in (("ada", "ada.home"), ("bob",))
    )

    asked = await shop.ask(SetPreferences(people=people))

    assert [(one.item, one.subject_index) for one in asked.outcome.stored] == [
        (0, 0),
        (0, 1),
        (1, 0),
    ]
    assert asked.outcome.standing == ()


async def test_the_person_ends_their_own_pause(shop: Shop, clock: FakeClock) -> None:
    await shop.ask(chooses("ada", choices=[pause(clock.ahead(3600))]))
    clock.pass_seconds(1)

    await shop.ask(chooses("ada", choices=[end_pause()], by=origin(decided=clock.now())))

    (record,) = await standing(shop, "ada")
    assert record.kind is RecordKind.PAUSE
    assert record.end_time == record.decided_time


async def test_the_end_of_a_pause_is_recorded_where_none_stands(
    shop: Shop, clock: FakeClock
) -> None:
    late_pause, ended = clock.ago(20), clock.ago(10)
    await shop.ask(chooses("ada", choices=[end_pause()], by=origin(decided=ended)))

    asked = await shop.ask(
        chooses("ada", choices=[pause(clock.ahead(3600))], by=origin(decided=late_pause))
    )

    assert asked.outcome.stored[0].effect is Effect.SUPERSEDED
    (record,) = await standing(shop, "ada")
    assert not record.is_active(clock.now())


@pytest.mark.parametrize("method", NOT_ACTS_OF_THE_PERSON)
async def test_nobody_but_the_person_ends_a_pause(
    shop: Shop, clock: FakeClock, method: Method
) -> None:
    with pytest.raises(ConflictError) as refused:
        await shop.ask(chooses("ada", choices=[end_pause()], by=origin(method)))

    assert refused.value.reason is ErrorReason.CONSENT_REQUIRED


async def test_the_end_of_a_pause_ahead_of_the_commit_is_refused(
    shop: Shop, clock: FakeClock
) -> None:
    with pytest.raises(InvalidArgumentError):
        await shop.ask(chooses("ada", choices=[end_pause()], by=origin(decided=clock.ahead(60))))


@pytest.mark.parametrize("what", ["sooner", "narrower"])
async def test_a_pause_that_weakens_an_active_one_needs_the_person(
    shop: Shop, clock: FakeClock, what: str
) -> None:
    end = clock.ahead(3600)
    await shop.ask(chooses("ada", choices=[pause(end, reach=Reach.TRANSACTIONAL)]))
    weaker = (
        pause(end - 1_000_000, reach=Reach.TRANSACTIONAL)
        if what == "sooner"
        else pause(end, reach=Reach.PROMOTIONAL)
    )

    with pytest.raises(ConflictError) as refused:
        await shop.ask(chooses("ada", choices=[weaker], by=origin(Method.OPERATOR)))
    await shop.ask(chooses("ada", choices=[weaker], by=origin(Method.REPLY)))

    assert refused.value.reason is ErrorReason.CONSENT_REQUIRED
    (record,) = await standing(shop, "ada")
    assert (record.end_time, record.reach) == (weaker.end_time, weaker.reach)


async def test_an_operator_may_pause_for_longer(shop: Shop, clock: FakeClock) -> None:
    end = clock.ahead(3600)
    await shop.ask(chooses("ada", choices=[pause(end)]))

    await shop.ask(chooses("ada", choices=[pause(end + 1)], by=origin(Method.OPERATOR)))

    assert [one.end_time for one in await standing(shop, "ada")] == [end + 1]


async def test_a_pause_that_is_over_binds_nobody(shop: Shop, clock: FakeClock) -> None:
    await shop.ask(chooses("ada", choices=[pause(clock.ahead(1))], by=origin(decided=clock.ago(5))))
    clock.pass_seconds(3)

    shorter = pause(clock.ahead(0.5), reach=Reach.PROMOTIONAL)
    asked = await shop.ask(chooses("ada", choices=[shorter], by=origin(Method.OPERATOR)))

    assert asked.outcome.stored[0].effect is Effect.APPLIED


async def test_concurrent_choices_leave_the_later_one_standing(
    shop: Shop, clock: FakeClock
) -> None:
    times = [clock.ago(n) for n in range(50, 0, -1)]

    await asyncio.gather(
        *(shop.ask(chooses("ada", by=origin(decided=time))) for time in (*times[::2], *times[1::2]))
    )

    (record,) = await standing(shop, "ada")
    assert record.decided_time == times[-1]


async def test_no_list_and_no_suppression_takes_an_opt_out_away(
    shop: Shop, clock: FakeClock
) -> None:
    await shop.ask(chooses("ada", choices=[opt_out(EMAIL_NEWS, Reach.ALL)]))
    (before,) = await standing(shop, "ada")

    await shop.ask(
        imports(
            protection("ada", Cause.NONE, scope=EMAIL_NEWS, reach=Reach.ALL, decided=clock.ago(99)),
            protection("ada", Cause.NONE, scope=EMAIL_NEWS, decided=clock.ago(99)),
        )
    )
    await shop.ask(adds(protection("ada", scope=EMAIL_NEWS)))

    assert before in await standing(shop, "ada")


async def test_an_imported_opt_out_that_a_later_opt_in_lifts_is_logged(
    shop: Shop, clock: FakeClock
) -> None:
    await shop.ask(chooses("ada", choices=[opt_in()], by=origin(decided=clock.ago(10))))

    asked = await shop.ask(
        imports(protection("ada", Cause.NONE, scope=EMAIL_NEWS, decided=clock.ago(20)))
    )

    assert asked.outcome.tally.added == 1
    last = (await shop.store.read_changes(shop.tenant_id, Revision(1), 1))[0]
    assert (last.kind, last.effect) == (ChangeKind.CHOICE, Effect.APPLIED)
    assert len(await standing(shop, "ada")) == 2


async def test_choices_are_recorded_under_every_name_of_a_person(shop: Shop) -> None:
    scopes = [EMAIL_NEWS, Scope(channel=Channel.SMS, topic="news")]

    await shop.ask(chooses("ada", "ada.home", choices=[opt_out(scope) for scope in scopes]))

    for name in ("ada", "ada.home"):
        assert {one.channel for one in await standing(shop, name)} == {Channel.EMAIL, Channel.SMS}
