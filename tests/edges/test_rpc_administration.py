"""What AdminService answers, end to end: a real socket, a real database, a real index."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heed.errors import (
    ConflictError,
    ErrorReason,
    InvalidArgumentError,
    NotFoundError,
)
from heed.wire import limits
from heed.wire.parse_admin import page_token
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb
from tests.support import requests as ask
from tests.support.servers import Running, running_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as running:
        yield running


async def test_a_suppression_of_a_phone_is_one_record_a_channel(server: Running) -> None:
    asked = ask.add_suppressions()
    asked.suppressions.add(subject=pb.Subject(phone="+436601234567"), suppression=ask.suppression())

    answer = await server.call("AddSuppressions", asked)

    assert [(one.record.subject_index, one.record.scope.channel) for one in answer.stored] == [
        (0, pb.CHANNEL_EMAIL),
        (1, pb.CHANNEL_SMS),
        (1, pb.CHANNEL_VOICE),
        (1, pb.CHANNEL_WHATSAPP),
    ]


async def test_a_release_restores_what_the_person_chose(server: Running) -> None:
    await server.call("SetPreference", ask.set_preference())
    await server.call("AddSuppressions", ask.add_suppressions())

    answer = await server.call("ReleaseSuppression", ask.release_suppression())

    assert [one.cause for one in answer.released] == [pb.CAUSE_BOUNCE]
    assert [one.kind for one in answer.standing] == [pb.RECORD_KIND_OPT_OUT]
    checked = await server.call("CheckSuppression", ask.check(token=answer.position.token))
    assert checked.decision.reasons[0].rule == pb.RULE_OPT_OUT


async def test_what_does_not_stand_cannot_be_released(server: Running) -> None:
    with pytest.raises(NotFoundError) as refused:
        await server.call("ReleaseSuppression", ask.release_suppression())

    assert refused.value.reason is ErrorReason.SUPPRESSION_UNKNOWN


async def test_an_import_counts_what_it_did_and_names_what_it_could_not(server: Running) -> None:
    asked = ask.import_records(3)
    asked.rows.add(row=4, subject=ask.subject("nobody"), opt_out=pb.OptOut())

    answer = await server.call("ImportRecords", asked)

    assert (answer.added, answer.strengthened, answer.unchanged, answer.superseded) == (3, 0, 0, 0)
    assert [(one.row, one.field) for one in answer.rejected] == [(4, "subject.email")]
    assert answer.position.revision == 3


async def test_importing_a_chunk_again_adds_nothing(server: Running) -> None:
    asked = ask.import_records(3)
    for row in asked.rows:
        row.decided_time.CopyFrom(ask.timestamp())
    first = await server.call("ImportRecords", asked)

    again = await server.call("ImportRecords", asked)
    asked.idempotency_key = "batch/other"
    other_key = await server.call("ImportRecords", asked)

    assert again.replayed
    assert again.added == first.added == 3
    assert (other_key.added, other_key.unchanged) == (0, 3)
    assert await server.head() == 3


async def test_a_dry_run_only_says_what_would_change(server: Running) -> None:
    asked = ask.import_records(3)
    asked.dry_run = True

    dry = await server.call("ImportRecords", asked)
    asked.dry_run = False
    wet = await server.call("ImportRecords", asked)

    assert dry.added == wet.added == 3
    assert not wet.replayed


async def test_an_import_of_malformed_rows_alone_changes_nothing(server: Running) -> None:
    asked = ask.import_records(1)
    asked.rows[0].subject.email = "nobody"

    answer = await server.call("ImportRecords", asked)

    assert answer.added == 0
    assert len(answer.rejected) == 1
    assert await server.head() == 0


async def test_suppressions_are_listed_page_by_page(server: Running) -> None:
    for at in range(5):
        cause = pb.CAUSE_BOUNCE if at % 2 else pb.CAUSE_COMPLAINT
        await server.call(
            "AddSuppressions", ask.add_suppressions(f"user{at}@example.com", f"k{at}", cause)
        )

    found: list[str] = []
    asked = admin.ListSuppressionsRequest(page_size=2)
    while True:
        page = await server.call("ListSuppressions", asked)
        found += [one.subject.email for one in page.suppressions]
        if not page.next_page_token:
            break
        asked.page_token = page.next_page_token

    assert sorted(found) == [f"user{at}@example.com" for at in range(5)]
    bounces = await server.call(
        "ListSuppressions", admin.ListSuppressionsRequest(cause=pb.CAUSE_BOUNCE)
    )
    assert {one.record.cause for one in bounces.suppressions} == {pb.CAUSE_BOUNCE}
    assert len(bounces.suppressions) == 2


async def test_an_export_is_complete_and_says_so_at_its_end(server: Running) -> None:
    await server.call("ImportRecords", ask.import_records(1_201))
    await server.call("SetPreference", ask.set_preference())

    answers = await server.call("ExportRecords", admin.ExportRecordsRequest())

    emails = [one.subject.email for answer in answers for one in answer.records]
    assert len(emails) == len(set(emails)) == answers[-1].total == 1_202
    assert max(len(answer.records) for answer in answers) <= limits.EXPORT_RECORDS_MAX
    assert answers[-1].position.revision == 1_202
    assert [answer.total for answer in answers[:-1]] == [0] * (len(answers) - 1)


async def test_an_export_is_of_what_was_asked_for(server: Running) -> None:
    await server.call("ImportRecords", ask.import_records(10))

    answers = await server.call(
        "ExportRecords", admin.ExportRecordsRequest(kinds=[pb.RECORD_KIND_OPT_OUT])
    )

    assert answers[-1].total == 5
    assert {one.record.kind for answer in answers for one in answer.records} == {
        pb.RECORD_KIND_OPT_OUT
    }


async def test_a_tenant_that_was_created_is_served_at_once(server: Running) -> None:
    answer = await server.call("CreateTenant", admin.CreateTenantRequest(name="shop"))

    assert answer.tenant.name == "shop"
    asked = ask.check()
    asked.tenant = "shop"
    assert (await server.call("CheckSuppression", asked)).decision.verdict == pb.VERDICT_ALLOWED
    listed = await server.call("ListTenants", admin.ListTenantsRequest())
    assert [one.name for one in listed.tenants] == ["default", "shop"]


async def test_tenants_do_not_know_of_each_other(server: Running) -> None:
    await server.call("CreateTenant", admin.CreateTenantRequest(name="shop"))
    asked = ask.set_preference()
    asked.tenant = "shop"
    stored = await server.call("SetPreference", asked)
    check = ask.check()

    check.tenant = "default"
    theirs = await server.call("CheckSuppression", check)
    check.tenant = "shop"
    ours = await server.call("CheckSuppression", check)
    check.tenant = "default"
    check.token = stored.position.token

    assert theirs.decision.verdict == pb.VERDICT_ALLOWED
    assert ours.decision.verdict == pb.VERDICT_SUPPRESSED
    with pytest.raises(ConflictError) as refused:
        await server.call("CheckSuppression", check)
    assert refused.value.reason is ErrorReason.STORE_MISMATCH


async def test_a_tenant_is_created_once(server: Running) -> None:
    with pytest.raises(ConflictError) as refused:
        await server.call("CreateTenant", admin.CreateTenantRequest(name="default"))

    assert refused.value.reason is ErrorReason.TENANT_EXISTS


async def test_of_several_tenants_one_must_be_named(server: Running) -> None:
    await server.call("CreateTenant", admin.CreateTenantRequest(name="shop"))

    with pytest.raises(InvalidArgumentError) as refused:
        await server.call("CheckSuppression", ask.check())

    assert refused.value.reason is ErrorReason.TENANT_REQUIRED


async def test_a_tenant_that_is_not_there_is_not_found(server: Running) -> None:
    asked = ask.check()
    asked.tenant = "nowhere" * 1_000

    with pytest.raises(NotFoundError) as refused:
        await server.call("CheckSuppression", asked)

    assert refused.value.reason is ErrorReason.TENANT_UNKNOWN
    assert len(refused.value.metadata["tenant"]) <= limits.STATUS_VALUE_CHARACTERS_MAX


async def test_a_server_without_tenants_says_so(tmp_path: Path) -> None:
    async with running_server(tmp_path, tenant=None) as server:
        with pytest.raises(NotFoundError, match="create one"):
            await server.call("CheckSuppression", ask.check())


async def test_tenants_made_elsewhere_are_learned(server: Running) -> None:
    await server.store.create_tenant("elsewhere", bytes(32))

    await server.tenants.learn(await server.store.tenants())

    asked = ask.check()
    asked.tenant = "elsewhere"
    assert (await server.call("CheckSuppression", asked)).position.revision == 0


async def test_a_topic_is_declared_tightened_loosened_and_retired(server: Running) -> None:
    declared = await server.call("DeclareTopic", ask.declare_topic("news"))
    with pytest.raises(ConflictError) as refused:
        await server.call(
            "DeclareTopic", ask.declare_topic("news", "b", pb.TOPIC_CLASS_TRANSACTIONAL)
        )
    loosened = await server.call("LoosenTopic", ask.loosen_topic("news"))
    retired = await server.call("RetireTopic", ask.retire_topic("news"))

    assert refused.value.reason is ErrorReason.TOPIC_WOULD_LOOSEN
    assert declared.topic.topic_class == pb.TOPIC_CLASS_PROMOTIONAL
    assert loosened.topic.topic_class == pb.TOPIC_CLASS_TRANSACTIONAL
    assert retired.topic.retired
    assert [declared.topic.revision, loosened.topic.revision, retired.topic.revision] == [1, 2, 3]
    checked = await server.call("CheckSuppression", ask.check())
    assert checked.position.revision == 3


async def test_topics_are_listed_by_name_with_the_root_first(server: Running) -> None:
    for name in ("news", "", "a.b"):
        await server.call("DeclareTopic", ask.declare_topic(name, f"k{name}"))

    found: list[str] = []
    asked = admin.ListTopicsRequest(page_size=1)
    while True:
        page = await server.call("ListTopics", asked)
        found += [one.name for one in page.topics]
        if not page.next_page_token:
            break
        asked.page_token = page.next_page_token

    assert found == ["", "a.b", "news"]


async def test_a_hold_stops_until_it_is_lifted(server: Running) -> None:
    placed = await server.call("PlaceHold", ask.place_hold("marketing"))
    held = await server.call("CheckSuppression", ask.check())

    lifted = await server.call("LiftHold", ask.lift_hold(placed.hold.hold_id))

    assert held.decision.reasons[0].hold.hold_id == placed.hold.hold_id
    assert lifted.hold.hold_id == placed.hold.hold_id
    checked = await server.call("CheckSuppression", ask.check())
    assert checked.decision.verdict == pb.VERDICT_ALLOWED


async def test_a_replayed_hold_has_its_first_id(server: Running) -> None:
    first = await server.call("PlaceHold", ask.place_hold())

    again = await server.call("PlaceHold", ask.place_hold())

    assert again.replayed
    assert again.hold == first.hold


async def test_holds_are_listed_by_revision(server: Running) -> None:
    placed = [await server.call("PlaceHold", ask.place_hold(key=f"k{at}")) for at in range(3)]
    first = await server.call("ListHolds", admin.ListHoldsRequest(page_size=2))

    second = await server.call(
        "ListHolds", admin.ListHoldsRequest(page_size=2, page_token=first.next_page_token)
    )

    listed = [*first.holds, *second.holds]
    assert [one.hold_id for one in listed] == [one.hold.hold_id for one in placed]
    assert listed[0].origin.source == "preference-page"
    assert second.next_page_token == ""


async def test_a_hold_must_end_in_the_future_if_it_ends(server: Running) -> None:
    asked = ask.place_hold()
    asked.hold.end_time.CopyFrom(ask.timestamp())

    with pytest.raises(InvalidArgumentError) as refused:
        await server.call("PlaceHold", asked)

    assert [one.field for one in refused.value.violations] == ["hold.end_time"]


async def test_what_is_not_there_cannot_be_loosened_retired_or_lifted(server: Running) -> None:
    reasons: list[ErrorReason] = []
    for name, asked in (
        ("LoosenTopic", ask.loosen_topic()),
        ("RetireTopic", ask.retire_topic()),
        ("LiftHold", ask.lift_hold()),
    ):
        with pytest.raises(NotFoundError) as refused:
            await server.call(name, asked)
        reasons.append(refused.value.reason)

    assert reasons == [
        ErrorReason.TOPIC_UNKNOWN,
        ErrorReason.TOPIC_UNKNOWN,
        ErrorReason.HOLD_UNKNOWN,
    ]


@pytest.mark.parametrize("cursor", ["x", "²", "=", "\0", "AAAA"])
@pytest.mark.parametrize("name", ["ListHolds", "ListSuppressions"])
async def test_a_forged_page_token_is_refused(server: Running, name: str, cursor: str) -> None:
    list_name = {"ListSuppressions": "suppressions/0", "ListHolds": "holds"}[name]
    token = page_token(list_name, cursor)
    asked = {
        "ListSuppressions": admin.ListSuppressionsRequest(page_token=token),
        "ListHolds": admin.ListHoldsRequest(page_token=token),
    }[name]

    with pytest.raises(InvalidArgumentError) as refused:
        await server.call(name, asked)
    assert [one.field for one in refused.value.violations] == ["page_token"]
