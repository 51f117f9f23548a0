"""What undoes: requests to values, and the way of both through a client and back."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

import heed
from heed.batches import BatchUndoing
from heed.model import Change, ChangeKind, Effect, Instant, Revision
from heed.testing import FakeSyncClient
from heed.wire import format as told_by
from heed.wire import (
    limits,
    parse,
    parse_admin,
    parse_approvals,
    parse_ways_back,
    read_ways_back,
)
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb
from tests.support import requests as ask
from tests.support.requests import violations_of

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
ORIGIN = heed.Origin(source="tests")
ADA = heed.email("ada@example.com")


@pytest.fixture
def client() -> FakeSyncClient:
    client = FakeSyncClient()
    client.clock.freeze(START)
    return client


def test_a_batch_is_named_to_be_undone() -> None:
    asked = parse_ways_back.revert_batch(ask.revert_batch("list-9").SerializeToString())

    assert (asked.batch_id, asked.reason, asked.call.dry_run) == ("list-9", "the wrong file", False)

    for batch_id in ("", "list\t9", "b" * (limits.BATCH_ID_CHARACTERS_MAX + 1)):
        violations = violations_of(parse_ways_back.revert_batch, ask.revert_batch(batch_id))
        assert violations.keys() == {"batch_id"}


def test_suppressions_are_released_in_bulk_within_a_time() -> None:
    request = ask.release_suppressions()
    request.batch_id = "list-9"

    asked = parse_ways_back.release_suppressions(request.SerializeToString())

    assert asked.before_time - asked.from_time == 3_600_000_000
    assert (asked.cause, asked.batch_id) == (heed.Cause.BOUNCE, "list-9")


@pytest.mark.parametrize("cause", [pb.CAUSE_COMPLAINT, pb.CAUSE_LEGAL, pb.CAUSE_UNSPECIFIED])
def test_what_a_person_or_the_law_said_is_not_released_in_bulk(cause: pb.Cause.ValueType) -> None:
    request = ask.release_suppressions()
    request.cause = cause

    assert violations_of(parse_ways_back.release_suppressions, request).keys() == {"cause"}


@pytest.mark.parametrize(
    ("spoilt", "paths"),
    [
        (("from_time",), {"from_time"}),
        (("before_time",), {"before_time"}),
        (("from_time", "before_time"), {"from_time", "before_time"}),
    ],
)
def test_a_bulk_release_without_a_time_is_refused(spoilt: tuple[str, ...], paths: set[str]) -> None:
    request = ask.release_suppressions()
    for name in spoilt:
        request.ClearField(name)  # type: ignore[arg-type] # the names are those of fields

    assert violations_of(parse_ways_back.release_suppressions, request).keys() == paths


def test_a_bulk_release_of_no_time_is_refused() -> None:
    request = ask.release_suppressions()
    request.before_time.CopyFrom(request.from_time)

    assert violations_of(parse_ways_back.release_suppressions, request).keys() == {"before_time"}


def test_an_approval_is_named_to_be_granted_or_rejected() -> None:
    granted = admin.GrantApprovalRequest(tenant="shop", approval_id="approval-9")
    rejected = admin.RejectApprovalRequest(tenant="shop", approval_id="approval-9")

    for asked in (
        parse_approvals.grant_approval(granted.SerializeToString()),
        parse_approvals.reject_approval(rejected.SerializeToString()),
    ):
        assert (asked.tenant, asked.approval_id) == ("shop", "approval-9")
    for nobody in ("", "approval\n"):
        request = admin.GrantApprovalRequest(approval_id=nobody)
        assert violations_of(parse_approvals.grant_approval, request).keys() == {"approval_id"}


def test_a_batch_of_choices_has_an_id_that_can_be_typed() -> None:
    request = ask.batch_set_preferences()
    request.batch_id = "batch\n"

    assert violations_of(parse.batch_set_preferences, request).keys() == {"batch_id"}


def test_nobody_but_a_new_epoch_places_a_hold_that_spares_mandatory_messages() -> None:
    request = ask.place_hold()
    request.hold.spares_mandatory = True

    assert violations_of(parse_admin.place_hold, request).keys() == {"hold.spares_mandatory"}


def test_a_fake_shows_what_undoing_would_do_and_knows_nobody_to_grant_it(
    client: FakeSyncClient,
) -> None:
    choices = [heed.PersonChoices(choices=[heed.OptOut()], subjects=[ADA])]
    client.set_preferences(choices, origin=ORIGIN, batch_id="list-9")

    shown = client.revert_batch("list-9", reason="the wrong file", origin=ORIGIN, dry_run=True)
    with pytest.raises(heed.ConflictError) as refused:
        client.revert_batch("list-9", reason="the wrong file", origin=ORIGIN)

    assert (shown.records, shown.released, shown.newly_allowed, shown.people) == (1, 1, 1, 1)
    assert refused.value.reason is heed.ErrorReason.APPROVAL_REQUIRED
    assert not client.check(subjects=[ADA], channel="email").allowed


def test_suppressions_are_released_in_bulk_through_a_client(client: FakeSyncClient) -> None:
    bounce = heed.Suppression(subject=ADA, cause="bounce", reason="550")
    client.add_suppressions([bounce], origin=ORIGIN)
    client.clock.advance(timedelta(minutes=1))

    done = client.release_suppressions(
        cause="bounce",
        from_time=START - timedelta(minutes=1),
        before_time=START + timedelta(minutes=1),
        reason="our own fault",
        origin=ORIGIN,
    )

    assert (done.released, done.people) == (1, 1)
    assert client.check(subjects=[ADA], channel="email").allowed


def test_a_fake_has_no_second_person(client: FakeSyncClient) -> None:
    assert list(client.list_approvals()) == []

    for answer in (client.grant_approval, client.reject_approval):
        with pytest.raises(heed.NotFoundError) as refused:
            answer("approval-9")
        assert refused.value.reason is heed.ErrorReason.APPROVAL_UNKNOWN


def test_an_approval_in_a_state_of_a_later_version_is_no_grant() -> None:
    at = Timestamp(seconds=1_790_000_000)
    told = admin.Approval(
        approval_id="approval-9",
        state=admin.ApprovalState.ValueType(99),
        ask_time=at,
        expire_time=at,
        shown={"records": 3},
    )

    later = read_ways_back.approval(told)
    told.state, told.decided_by = admin.APPROVAL_STATE_GRANTED, "bob"
    told.decide_time.CopyFrom(at)
    granted = read_ways_back.approval(told)

    assert (later.state, later.decide_time) == (heed.ApprovalState.REJECTED, None)
    assert granted.state is heed.ApprovalState.GRANTED
    assert (granted.decided_by, granted.decide_time) == ("bob", at.ToDatetime(tzinfo=UTC))
    assert granted.shown == {"records": 3}


def test_a_decision_of_then_is_asked_for_by_a_position_or_an_instant(
    client: FakeSyncClient,
) -> None:
    before = client.check(subjects=[ADA], channel="email")
    position = heed.Position(
        revision=before.revision, now=before.now, rule_version=before.rule_version
    )
    client.clock.advance(timedelta(minutes=1))
    client.opt_out(subjects=[ADA], channel="email", source="tests")
    client.clock.advance(timedelta(minutes=1))

    (told,) = client.get_history(subjects=[ADA])
    now = client.explain(subjects=[ADA], channel="email")
    by_position = client.explain(subjects=[ADA], channel="email", as_of=position)
    by_time = client.explain(subjects=[ADA], channel="email", as_of=START)

    assert [now.allowed, by_position.allowed, by_time.allowed] == [False, True, True]
    assert (told.revision, told.origin) == (1, ORIGIN)


def test_batches_are_listed_the_last_first(client: FakeSyncClient) -> None:
    row = heed.ImportRow(
        row=1, protection=heed.ImportedOptOut(subject=ADA), decided_time=START - timedelta(days=1)
    )
    client.import_records(batch_id="first", rows=[row], origin=ORIGIN)
    client.import_records(batch_id="again", rows=[row], origin=ORIGIN)

    again, first = client.list_batches()

    assert (again.batch_id, again.first_time, again.origin) == ("again", None, None)
    assert again.last_revision == again.first_revision - 1
    assert (first.batch_id, first.undoing) == ("first", None)
    assert first.origin is not None
    assert first.origin.source == ORIGIN.source
    assert (first.first_revision, first.last_revision) == (1, 1)
    assert first.first_time == first.last_time == START


def test_a_batch_tells_who_undid_it() -> None:
    undone = Change(
        revision=Revision(7),
        commit_time=Instant(int(START.timestamp() * 1_000_000)),
        kind=ChangeKind.REVERT,
        effect=Effect.APPLIED,
        running_hash=bytes(32),
        subject=None,
        reason="the wrong file",
        asked_by="jane",
        approved_by="joe",
    )

    told = told_by.batch("wrong", Revision(3), Revision(5), first=None, last=None, undone=undone)

    assert read_ways_back.batch(told).undoing == BatchUndoing(
        revision=7,
        begin_time=START,
        reason="the wrong file",
        asked_by="jane",
        approved_by="joe",
    )
