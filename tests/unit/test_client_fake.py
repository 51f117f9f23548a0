"""The fake that users test their own code with: it has to refuse and allow as a server does.

That it agrees with a real one is held by tests/edges/test_client_parity.py.
"""

from datetime import UTC, datetime, timedelta

import pytest

import heed
from heed.testing import FakeClient, FakeService, FakeSyncClient

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
ORIGIN = heed.Origin(source="tests")
ADA = "ada@example.com"
EVIDENCE = heed.Evidence(notice="newsletter", notice_version="1", act="pressed Save", language="en")


@pytest.fixture
def client() -> FakeSyncClient:
    client = FakeSyncClient()
    client.clock.freeze(START)
    return client


def allowed(client: FakeSyncClient, topic: str = "news", channel: str = "email") -> bool:
    return client.check(email=ADA, channel=channel, topic=topic).allowed


def opt_in(client: FakeSyncClient, topic: str, decided_time: datetime | None = None) -> None:
    client.opt_in(
        email=ADA,
        channel="email",
        topic=topic,
        evidence=EVIDENCE,
        method="web_form",
        source="tests",
        decided_time=decided_time or client.clock.now(),
    )


def test_an_opt_out_stops_what_it_covers_and_nothing_else(client: FakeSyncClient) -> None:
    client.opt_out(email="Ada@Example.com", topic="news", source="tests")

    assert not allowed(client, "news")
    assert not allowed(client, "news.weekly")
    assert allowed(client, "offers")


def test_a_later_opt_in_lifts_an_opt_out_and_an_earlier_one_does_not(
    client: FakeSyncClient,
) -> None:
    client.opt_out(email=ADA, source="tests")

    opt_in(client, "news", START - timedelta(days=1))
    assert not allowed(client)

    client.clock.advance(timedelta(seconds=1))
    opt_in(client, "news")
    assert allowed(client)
    assert not allowed(client, "offers")


def test_an_opt_in_ahead_of_the_clock_is_refused_and_a_stop_is_cut_to_it(
    client: FakeSyncClient,
) -> None:
    with pytest.raises(heed.InvalidArgumentError):
        opt_in(client, "news", START + timedelta(days=1))

    answer = client.opt_out(email=ADA, source="tests", decided_time=START + timedelta(days=1))
    assert answer.stored[0].record.decided_time == START


def test_what_lets_messages_through_needs_an_act_of_the_person(client: FakeSyncClient) -> None:
    with pytest.raises(heed.ConflictError) as caught:
        client.set_preference(
            email=ADA,
            choices=[heed.OptIn(channel="email", topic="news", evidence=EVIDENCE)],
            origin=heed.Origin(source="t", method=heed.Method.OPERATOR, decided_time=START),
        )

    assert caught.value.reason is heed.ErrorReason.CONSENT_REQUIRED
    assert client.get_preferences(email=ADA).records == ()


def test_a_pause_ends_by_its_time_and_by_the_person(client: FakeSyncClient) -> None:
    client.pause(email=ADA, end_time=START + timedelta(days=7), source="tests")
    assert client.check(email=ADA, channel="email").rule is heed.Rule.PAUSE

    client.clock.advance(timedelta(days=7))
    assert allowed(client)

    client.pause(email=ADA, end_time=START + timedelta(days=30), source="tests")
    client.end_pause(email=ADA, method="web_form", source="tests")
    assert allowed(client)


def test_a_shorter_pause_needs_the_person(client: FakeSyncClient) -> None:
    client.pause(email=ADA, end_time=START + timedelta(days=7), source="tests")
    client.clock.advance(timedelta(seconds=1))

    with pytest.raises(heed.ConflictError):
        client.pause(email=ADA, end_time=START + timedelta(days=1), source="tests")


def test_quiet_hours_stop_at_night_until_the_person_ends_them(client: FakeSyncClient) -> None:
    """The clock begins at nine in the morning, UTC; it is ten in Vienna."""
    client.quiet_hours(
        email=ADA, time_zone="Europe/Vienna", periods=["22:00-08:00"], source="tests"
    )
    assert allowed(client)

    client.clock.advance(timedelta(hours=13))
    answer = client.check(email=ADA, channel="email")
    assert answer.rule is heed.Rule.QUIET_HOURS
    assert answer.reasons[0].until_time == START + timedelta(hours=22)
    assert client.explain(email=ADA, channel="email").reasons[0].rule is heed.Rule.QUIET_HOURS
    (record,) = client.get_preferences(email=ADA).records
    assert record.kind is heed.RecordKind.QUIET_HOURS
    assert str(record.quiet_hours) == "Europe/Vienna: 22:00-08:00"

    client.end_quiet_hours(email=ADA, method="web_form", source="tests")
    assert allowed(client)
    assert [one.active for one in client.get_preferences(email=ADA).records] == [False]


def test_less_quiet_needs_the_person(client: FakeSyncClient) -> None:
    night = heed.QuietHours(
        time_zone="Europe/Vienna", periods=[heed.QuietPeriod(start_minute=1320, end_minute=480)]
    )
    client.set_preference(choices=[night], email=ADA, origin=ORIGIN)
    client.clock.advance(timedelta(seconds=1))

    for zone, period in (("Europe/Vienna", "23:00-08:00"), ("Europe/London", "21:00-09:00")):
        with pytest.raises(heed.ConflictError) as refused:
            client.quiet_hours(email=ADA, time_zone=zone, periods=[period], source="tests")
        assert refused.value.reason is heed.ErrorReason.CONSENT_REQUIRED

    client.quiet_hours(
        email=ADA, time_zone="Europe/Vienna", periods=["21:00-09:00"], source="tests"
    )
    client.quiet_hours(
        email=ADA,
        time_zone="Europe/London",
        periods=["23:00-08:00"],
        method="web_form",
        source="tests",
    )


def test_until_when_not_to_ask_is_kept_beside_an_opt_out_and_never_made_earlier(
    client: FakeSyncClient,
) -> None:
    year = START + timedelta(days=365)
    client.opt_out(email=ADA, no_ask_until=year, source="tests")
    client.clock.advance(timedelta(days=1))

    answer = client.opt_out(email=ADA, no_ask_until=START + timedelta(days=30), source="tests")

    assert [one.no_ask_until for one in answer.standing] == [year]
    assert client.check(email=ADA, channel="email").reasons[0].until_time is None
    (record,) = client.get_preferences(email=ADA).records
    assert (record.no_ask_until, record.active, record.end_time) == (year, True, None)


def test_a_hold_stops_what_it_names_until_it_is_lifted(client: FakeSyncClient) -> None:
    placed = client.place_hold(topic="news", reason="wrong template", origin=ORIGIN)
    assert client.check(email=ADA, channel="email", topic="news").rule is heed.Rule.HOLD
    assert allowed(client, "offers")
    assert [hold.hold_id for hold in client.list_holds()] == [placed.hold.hold_id]

    client.lift_hold(placed.hold.hold_id, reason="mended", origin=ORIGIN)
    assert allowed(client, "news")

    with pytest.raises(heed.NotFoundError) as caught:
        client.lift_hold(placed.hold.hold_id, reason="mended", origin=ORIGIN)
    assert caught.value.reason is heed.ErrorReason.HOLD_UNKNOWN


def test_a_bounce_stops_everything_until_it_is_released(client: FakeSyncClient) -> None:
    bounce = heed.Suppression(subject=heed.email(ADA), cause="bounce", reason="550")
    client.opt_out(email=ADA, topic="offers", source="tests")
    client.add_suppressions([bounce], origin=ORIGIN)
    assert client.check(email=ADA, channel="email").rule is heed.Rule.SUPPRESSION
    assert [one.subject for one in client.list_suppressions(cause="bounce")] == [heed.email(ADA)]
    assert list(client.list_suppressions(cause="complaint")) == []

    client.clock.advance(timedelta(seconds=1))
    answer = client.release_suppression(
        subject=heed.email(ADA), cause="bounce", reason="our fault", origin=ORIGIN
    )

    assert [one.kind for one in answer.standing] == [heed.RecordKind.OPT_OUT]
    assert allowed(client)
    assert not allowed(client, "offers")


def test_an_erased_person_is_still_suppressed_and_an_old_opt_in_does_nothing(
    client: FakeSyncClient,
) -> None:
    client.opt_out(email=ADA, source="tests")
    client.add_suppressions(
        [heed.Suppression(subject=heed.email(ADA), cause="legal", reason="a letter")], origin=ORIGIN
    )
    client.clock.advance(timedelta(seconds=1))
    consented = client.clock.now()
    opt_in(client, "news", consented)
    client.clock.advance(timedelta(seconds=1))

    erased = client.erase_subject([heed.email("ADA@example.com")], reason="asked", origin=ORIGIN)
    again = client.erase_subject([heed.email(ADA)], reason="asked", origin=ORIGIN)
    nobody = client.erase_subject([heed.user("nobody")], reason="asked", origin=ORIGIN)

    opt_in(client, "news", consented)
    assert not allowed(client)
    assert (again.erasures, again.standing) == (erased.erasures, erased.standing)
    assert (erased.erasures[0].changes_erased, len(erased.standing)) == (3, 2)
    assert (nobody.erasures, nobody.standing) == ((), ())
    shown = client.get_preferences(email=ADA).records
    assert [(one.erased, one.origin, one.reason) for one in shown] == [(True, None, "")] * 2
    assert [one.subject for one in client.list_suppressions()] == [None]


def test_all_that_is_known_of_a_person_is_told(client: FakeSyncClient) -> None:
    for at in range(3):
        client.opt_out(email=ADA, topic=f"t{at}", source="tests")
        client.clock.advance(timedelta(seconds=1))
    opt_in(client, "news")

    known = client.export_subject([heed.email(ADA), heed.phone("+436601234567")])

    assert [one.subject for one in known.subjects] == [heed.email(ADA), None]
    assert [one.erase_time for one in known.subjects] == [None, None]
    assert (len(known.standing), len(known.changes), known.revision) == (4, 4, 4)
    assert known.changes[-1].evidence == EVIDENCE
    assert [one.channel for one in known.decisions] == list(heed.Channel)[1:]
    assert all(one.answer.allowed for one in known.decisions)


def test_a_person_who_opts_in_after_their_erasure_begins_anew(client: FakeSyncClient) -> None:
    client.opt_out(email=ADA, source="tests")
    client.erase_subject([heed.email(ADA)], reason="asked", origin=ORIGIN)
    client.clock.advance(timedelta(seconds=1))

    opt_in(client, "news")

    assert allowed(client)
    assert {one.subject for one in client.export_records()} == {heed.email(ADA)}


def test_a_suppression_dated_before_its_release_does_nothing(client: FakeSyncClient) -> None:
    bounce = heed.Suppression(subject=heed.email(ADA), cause="bounce")
    client.add_suppressions([bounce], origin=ORIGIN)
    client.clock.advance(timedelta(seconds=1))
    client.release_suppression(
        subject=heed.email(ADA), cause="bounce", reason="ours", origin=ORIGIN
    )

    late = client.add_suppressions([bounce], origin=heed.Origin(source="t", decided_time=START))

    assert late.stored[0].effect is heed.Effect.SUPERSEDED
    assert allowed(client)


def test_a_topic_can_be_tightened_but_loosened_only_with_a_reason(client: FakeSyncClient) -> None:
    client.declare_topic(
        "news", topic_class="promotional", requires_opt_in=True, title="News", origin=ORIGIN
    )
    assert client.check(email=ADA, channel="email", topic="news").rule is heed.Rule.NO_CONSENT

    with pytest.raises(heed.ConflictError) as caught:
        client.declare_topic("news", topic_class="promotional", origin=ORIGIN)
    assert caught.value.reason is heed.ErrorReason.TOPIC_WOULD_LOOSEN

    client.loosen_topic("news", topic_class="promotional", reason="agreed", origin=ORIGIN)
    assert allowed(client)

    client.retire_topic("news", reason="over", origin=ORIGIN)
    (topic,) = client.list_topics()
    assert topic.retired
    with pytest.raises(heed.ConflictError) as caught:
        client.declare_topic("news", topic_class="promotional", origin=ORIGIN)
    assert caught.value.reason is heed.ErrorReason.TOPIC_RETIRED


def test_a_mandatory_topic_passes_what_does_not_reach_it(client: FakeSyncClient) -> None:
    client.declare_topic(
        "account.reset", topic_class="mandatory", mandatory_channels=["email"], origin=ORIGIN
    )

    answer = client.opt_out(email=ADA, source="tests")

    assert answer.still_sent == (heed.TopicClass.TRANSACTIONAL, heed.TopicClass.MANDATORY)
    assert answer.still_sent_mandatory_topics == ("account.reset",)
    assert allowed(client, "account.reset")
    answer = client.opt_out(email=ADA, reach="all", source="tests")
    assert answer.still_sent == ()
    assert answer.still_sent_mandatory_topics == ()
    assert not allowed(client, "account.reset")


def test_the_same_key_gives_the_first_answer_and_another_payload_is_refused(
    client: FakeSyncClient,
) -> None:
    first = client.opt_out(email=ADA, source="tests", idempotency_key="k")
    again = client.opt_out(email=ADA, source="tests", idempotency_key="k")

    assert again.replayed
    assert again.revision == first.revision
    with pytest.raises(heed.ConflictError) as caught:
        client.opt_out(email="other@example.com", source="tests", idempotency_key="k")
    assert caught.value.reason is heed.ErrorReason.IDEMPOTENCY_KEY_REUSED


def test_a_refused_write_leaves_no_trace(client: FakeSyncClient) -> None:
    people = [
        heed.PersonChoices(email=ADA, choices=[heed.OptOut()]),
        heed.PersonChoices(
            email="b@example.com",
            choices=[heed.OptIn(channel="email", topic="news", evidence=EVIDENCE)],
        ),
    ]

    with pytest.raises(heed.HeedError):
        client.set_preferences(
            people, origin=heed.Origin(source="t", method=heed.Method.IMPORT, decided_time=START)
        )

    assert client.get_preferences(email=ADA).records == ()
    assert client.get_preferences(email=ADA).revision == 0


def test_several_people_are_written_at_once(client: FakeSyncClient) -> None:
    people = [
        heed.PersonChoices(
            email=f"{name}@example.com", choices=[heed.OptOut(), heed.OptOut(topic="x")]
        )
        for name in "abc"
    ]

    answer = client.set_preferences(people, origin=ORIGIN)

    assert [len(one) for one in answer.people] == [2, 2, 2]
    answers = client.check_many(
        [heed.Query(channel="email", email=f"{name}@example.com") for name in "abcd"]
    )
    assert [one.allowed for one in answers] == [False, False, False, True]
    assert {one.revision for one in answers} == {answer.revision}


def test_a_dry_run_changes_nothing_and_takes_no_key(client: FakeSyncClient) -> None:
    rows = [
        heed.ImportRow(row=1, protection=heed.ImportedOptOut(subject=heed.email(ADA))),
        heed.ImportRow(row=2, protection=heed.ImportedOptOut(subject=heed.email("nonsense"))),
    ]

    dry = client.import_records(
        rows, batch_id="b", origin=ORIGIN, dry_run=True, idempotency_key="b/1"
    )
    assert (dry.added, [one.row for one in dry.rejected]) == (1, [2])
    assert allowed(client)

    real = client.import_records(rows, batch_id="b", origin=ORIGIN, idempotency_key="b/1")
    assert (real.added, real.replayed) == (1, False)
    assert not allowed(client)

    again = client.import_records(rows, batch_id="b", origin=ORIGIN, idempotency_key="b/2")
    assert (again.added, again.strengthened, again.unchanged) == (0, 1, 0)


def test_a_row_of_a_list_may_be_a_suppression(client: FakeSyncClient) -> None:
    bounce = heed.Suppression(subject=heed.email(ADA), cause="bounce")

    client.import_records(
        [heed.ImportRow(row=1, protection=bounce, decided_time=START)],
        batch_id="b",
        origin=ORIGIN,
    )

    assert client.check(email=ADA, channel="email").rule is heed.Rule.SUPPRESSION


def test_what_a_person_was_shown_is_told_with_what_stands(client: FakeSyncClient) -> None:
    opt_in(client, "news")

    (told,) = client.get_preferences(email=ADA).records

    assert told.evidence == EVIDENCE
    assert told.origin is not None
    assert told.origin.method is heed.Method.WEB_FORM


def test_an_export_is_everything_that_stands(client: FakeSyncClient) -> None:
    for at in range(700):
        client.opt_out(user=f"u-{at}", source="tests")
    client.opt_out(email=ADA, topic="news", source="tests")

    export = client.export_records()
    everybody = [one.subject for one in export]
    only_news = client.export_records(topic="news", channel="any")

    assert len(set(everybody)) == export.count == 701
    assert export.revision == 701
    assert [one.subject for one in only_news] == [heed.email(ADA)]


def test_pages_join_into_the_whole_list(client: FakeSyncClient) -> None:
    names = [f"t{at:04}" for at in range(1_050)]
    for name in names:
        client.declare_topic(name, topic_class="promotional", origin=ORIGIN)

    assert [topic.name for topic in client.list_topics()] == names


def test_a_token_of_a_revision_ahead_or_of_another_tenant_is_not_answered(
    client: FakeSyncClient,
) -> None:
    client.create_tenant("other")
    other = FakeSyncClient(client.service, tenant="other")
    token = other.opt_out(email=ADA, source="tests").token
    mine = FakeSyncClient(client.service, tenant="default")

    assert not other.check(email=ADA, channel="email", token=token).allowed
    with pytest.raises(heed.ConflictError) as caught:
        mine.check(email=ADA, channel="email", token=token)
    assert caught.value.reason is heed.ErrorReason.STORE_MISMATCH
    with pytest.raises(heed.InvalidArgumentError) as malformed:
        mine.check(email=ADA, channel="email", token="nonsense")
    assert malformed.value.reason is heed.ErrorReason.BAD_TOKEN


def test_several_tenants_have_to_be_named(client: FakeSyncClient) -> None:
    client.create_tenant("other")

    assert [tenant.name for tenant in client.list_tenants()] == ["default", "other"]
    with pytest.raises(heed.InvalidArgumentError) as caught:
        allowed(client)
    assert caught.value.reason is heed.ErrorReason.TENANT_REQUIRED
    with pytest.raises(heed.NotFoundError):
        client.check(email=ADA, channel="email", tenant="third")
    with pytest.raises(heed.ConflictError):
        client.create_tenant("other")


def test_a_fake_that_is_away_answers_like_a_server_that_is(client: FakeSyncClient) -> None:
    client.service.is_reachable = False

    with pytest.raises(heed.UnavailableError, match=r"suppress: do not send"):
        allowed(client)
    with pytest.raises(heed.OutcomeUnknownError) as caught:
        client.opt_out(email=ADA, source="tests")
    with pytest.raises(heed.UnavailableError):
        list(client.export_records())

    client.service.is_reachable = True
    key = caught.value.metadata["idempotency_key"]
    assert not client.opt_out(email=ADA, source="tests", idempotency_key=key).replayed


def test_explain_says_who_said_so(client: FakeSyncClient) -> None:
    client.opt_out(email=ADA, source="preference-page", actor="person", method="one_click")
    client.place_hold(topic="news", reason="wrong template", origin=ORIGIN)

    answer = client.explain(email=ADA, channel="email", topic="news")

    assert [reason.rule for reason in answer.reasons] == [heed.Rule.HOLD, heed.Rule.OPT_OUT]
    hold, opt_out = answer.reasons
    assert hold.hold is not None
    assert hold.hold.origin == ORIGIN
    assert opt_out.record is not None
    assert opt_out.record.origin == heed.Origin(
        source="preference-page", actor="person", method=heed.Method.ONE_CLICK
    )


async def test_the_asynchronous_fake_is_the_same_and_can_share_a_heed() -> None:
    service = FakeService()
    FakeSyncClient(service).opt_out(email=ADA, source="tests")

    async with FakeClient(service) as client:
        answer = await client.check(email=ADA, channel="email")
        topics = [topic async for topic in client.list_topics()]
        export = client.export_records()
        records = [one async for one in export]

    assert not answer.allowed
    assert topics == []
    assert len(records) == export.count == 1


def test_a_fake_stands_in_for_the_client_in_typed_code(client: FakeSyncClient) -> None:
    assert isinstance(client, heed.SyncClient)
    assert isinstance(FakeClient(), heed.Client)


def test_a_declared_subscriber_is_missing_from_the_fake_and_a_write_waits_in_vain() -> None:
    with FakeSyncClient() as client:
        client.declare_subscriber("billing")

        answer = client.opt_out(email="ada@example.com", source="test", wait_propagated=0.0)

        assert (answer.propagated, answer.waiting_for) == (False, ("billing",))
        assert not client.get_propagation(revision=answer.revision).propagated
        client.withdraw_subscriber("billing")
        assert client.get_propagation(revision=answer.revision).propagated
