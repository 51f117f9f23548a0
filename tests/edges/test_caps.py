"""Above a cap a write is not made before a second person approved it."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from heed.errors import ConflictError, ErrorReason
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_server.service.caps import CapLimits, Caps
from tests.support import requests as ask
from tests.support.api_keys import Keys
from tests.support.servers import Running, running_server
from tests.support.stores import FakeClock

SEEN = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = CapLimits(bulk_people_per_hour_max=4, consents_per_hour_max=2, releases_per_hour_max=2)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def server(tmp_path: Path, keys: Keys) -> AsyncGenerator[Running]:
    async with running_server(tmp_path, authenticator=keys, caps=Caps(LIMITS)) as running:
        yield running


def imported(chunk: int, rows: int = 3, batch: str = "list-1") -> admin.ImportRecordsRequest:
    request = admin.ImportRecordsRequest(
        idempotency_key=f"{batch}/{chunk}", batch_id=batch, origin=ask.origin()
    )
    request.origin.method = pb.METHOD_IMPORT
    for row in range(rows):
        request.rows.add(
            row=row + 1, subject=ask.subject(f"{batch}.{chunk}.{row}@example.com")
        ).suppression.cause = pb.CAUSE_BOUNCE
    return request


def people(count: int, key: str = "batch") -> preference.BatchSetPreferencesRequest:
    request = preference.BatchSetPreferencesRequest(idempotency_key=key)
    for at in range(count):
        request.people.add(
            subjects=[ask.subject(f"{key}{at}@example.com")],
            choices=[ask.opt_out()],
            origin=ask.origin(),
        )
    return request


def opt_in(name: str) -> preference.SetPreferenceRequest:
    return ask.set_preference(ask.opt_in(), email=f"{name}@example.com", key=name)


async def needs_approval(server: Running, name: str, request: Any, key: str) -> str:
    """The approval that a call needs, which changed nothing."""
    head = await server.head()
    with pytest.raises(ConflictError) as refused:
        await server.call(name, request, key=key)
    assert refused.value.reason is ErrorReason.APPROVAL_REQUIRED
    assert await server.head() == head
    return refused.value.metadata["approval_id"]


async def grant(server: Running, approval_id: str, key: str) -> None:
    await server.call("GrantApproval", admin.GrantApprovalRequest(approval_id=approval_id), key=key)


async def test_an_import_is_approved_once_by_another_person_and_goes_on(
    server: Running, keys: Keys
) -> None:
    importer, _ = await keys.make("suppress", "admin")
    second, _ = await keys.make("suppress", "admin")
    await server.call("ImportRecords", imported(0), key=importer)

    asked = [await needs_approval(server, "ImportRecords", imported(at), importer) for at in (1, 2)]
    with pytest.raises(ConflictError):
        await grant(server, asked[0], importer)
    await grant(server, asked[0], second)

    assert asked[0] == asked[1]
    for at in (1, 2, 3, 4):
        await server.call("ImportRecords", imported(at), key=importer)
    assert await server.head() == 15
    await needs_approval(server, "ImportRecords", imported(0, batch="list-2"), importer)


async def test_an_approval_of_an_import_is_of_no_use_to_another_caller(
    server: Running, keys: Keys
) -> None:
    importer, _ = await keys.make("suppress", "admin")
    second, _ = await keys.make("suppress", "admin")
    asked = await needs_approval(server, "ImportRecords", imported(0, rows=5), importer)
    await grant(server, asked, second)

    other = await needs_approval(server, "ImportRecords", imported(1, rows=5), second)

    assert other != asked


async def test_a_call_for_several_people_is_approved_as_it_is(server: Running, keys: Keys) -> None:
    writer, _ = await keys.make("write", "admin")
    second, _ = await keys.make("write", "admin")
    asked = await needs_approval(server, "BatchSetPreferences", people(5), writer)
    await grant(server, asked, second)

    await server.call("BatchSetPreferences", people(5), key=writer)

    assert await server.head() == 5
    await needs_approval(server, "BatchSetPreferences", people(5, key="other"), writer)


async def test_consents_are_approved_for_an_hour(server: Running, keys: Keys) -> None:
    page, _ = await keys.make("write", "consent", "admin")
    second, _ = await keys.make("write", "admin")
    for name in ("ada", "bob"):
        await server.call("SetPreference", opt_in(name), key=page)
    asked = await needs_approval(server, "SetPreference", opt_in("cy"), page)
    await grant(server, asked, second)

    for name in ("cy", "dan", "eve"):
        await server.call("SetPreference", opt_in(name), key=page)

    assert await server.head() == 5


async def test_consents_are_approved_once_by_all_nodes_and_for_an_hour_from_the_grant(
    tmp_path: Path, keys: Keys
) -> None:
    clock = FakeClock()
    caps = Caps(CapLimits(consents_per_hour_max=1))
    async with running_server(tmp_path, authenticator=keys, caps=caps, clock=clock) as server:
        page, _ = await keys.make("write", "consent", "admin")
        second, _ = await keys.make("write", "admin")
        await server.call("SetPreference", opt_in("ada"), key=page)
        asked = [await needs_approval(server, "SetPreference", opt_in(n), page) for n in "bc"]
        clock.pass_seconds(50 * 60)  # into another hour of the clock
        await grant(server, asked[0], second)
        clock.pass_seconds(59 * 60)
        await server.call("SetPreference", opt_in("bob"), key=page)
        await server.call("SetPreference", opt_in("cy"), key=page)
        clock.pass_seconds(2 * 60)

        anew = await needs_approval(server, "SetPreference", opt_in("dan"), page)

    assert asked[0] == asked[1] != anew


async def bounced(server: Running, key: str, *names: str) -> None:
    request = admin.AddSuppressionsRequest(
        idempotency_key=f"bounces of {names[0]}", origin=ask.origin()
    )
    request.origin.decided_time.FromDatetime(SEEN)
    for name in names:
        request.suppressions.add(
            subject=ask.subject(f"{name}@example.com")
        ).suppression.cause = pb.CAUSE_BOUNCE
    await server.call("AddSuppressions", request, key=key)


def release_of(name: str) -> admin.ReleaseSuppressionRequest:
    return admin.ReleaseSuppressionRequest(
        idempotency_key=f"release {name}",
        subject=ask.subject(f"{name}@example.com"),
        cause=pb.CAUSE_BOUNCE,
        reason="our own fault",
        origin=ask.origin(),
    )


def release_all(key: str = "all") -> admin.ReleaseSuppressionsRequest:
    request = admin.ReleaseSuppressionsRequest(
        idempotency_key=key, cause=pb.CAUSE_BOUNCE, reason="our own fault", origin=ask.origin()
    )
    request.from_time.FromDatetime(SEEN)
    request.before_time.FromDatetime(SEEN + timedelta(hours=1))
    return request


async def test_releases_one_by_one_and_in_bulk_are_under_one_cap(
    server: Running, keys: Keys
) -> None:
    desk, _ = await keys.make("suppress", "admin")
    second, _ = await keys.make("suppress", "admin")
    await bounced(server, desk, "ada", "bob", "cy", "dan")
    await server.call("ReleaseSuppression", release_of("ada"), key=desk)

    of_bulk = await needs_approval(server, "ReleaseSuppressions", release_all(), desk)
    await server.call("ReleaseSuppression", release_of("bob"), key=desk)
    of_one = await needs_approval(server, "ReleaseSuppression", release_of("cy"), desk)
    await server.call("ReleaseSuppression", release_of("dan"), key=second)
    await grant(server, of_one, second)
    await server.call("ReleaseSuppression", release_of("cy"), key=desk)

    assert of_bulk != of_one
    assert await server.head() == 8
    assert server.service.caps.met["releases"] >= 2


async def test_a_cap_of_releases_of_zero_is_none(tmp_path: Path, keys: Keys) -> None:
    caps = Caps(CapLimits(releases_per_hour_max=0))
    async with running_server(tmp_path, authenticator=keys, caps=caps) as server:
        desk, _ = await keys.make("suppress")
        names = [f"n{at}" for at in range(101)]
        await bounced(server, desk, *names)

        await server.call("ReleaseSuppressions", release_all(), key=desk)

        assert await server.head() == 202


async def test_a_server_without_credentials_releases_no_more_than_one_person_may(
    tmp_path: Path,
) -> None:
    async with running_server(tmp_path, caps=Caps(LIMITS)) as server:
        await bounced(server, "", "ada", "bob", "cy")

        with pytest.raises(ConflictError) as refused:
            await server.call("ReleaseSuppressions", release_all())

        assert refused.value.reason is ErrorReason.APPROVAL_REQUIRED
        assert await server.head() == 3


async def test_consents_that_were_approved_let_nobody_stop_more_people(
    server: Running, keys: Keys
) -> None:
    page, _ = await keys.make("write", "consent", "admin")
    second, _ = await keys.make("write", "admin")
    for name in ("ada", "bob"):
        await server.call("SetPreference", opt_in(name), key=page)
    mixed = people(5, key="mixed")
    mixed.people.add(
        subjects=[ask.subject("cy@example.com")], choices=[ask.opt_in()], origin=ask.origin()
    )
    mixed.people[-1].origin.CopyFrom(opt_in("cy").origin)
    await grant(server, await needs_approval(server, "BatchSetPreferences", mixed, page), second)

    of_bulk = await needs_approval(server, "BatchSetPreferences", mixed, page)
    await grant(server, of_bulk, second)
    await server.call("BatchSetPreferences", mixed, key=page)

    assert await server.head() == 8


async def test_single_opt_outs_go_on_above_every_cap(server: Running, keys: Keys) -> None:
    writer, _ = await keys.make("write", "consent")
    for name in ("ada", "bob"):
        await server.call("SetPreference", opt_in(name), key=writer)
    await needs_approval(server, "SetPreference", opt_in("cy"), writer)

    for at in range(10):
        request = ask.set_preference(ask.opt_out(), email=f"o{at}@example.com", key=f"o{at}")
        await server.call("SetPreference", request, key=writer)

    assert await server.head() == 2 + 10


async def test_a_cap_that_is_met_raises_an_alarm_that_names_nobody(
    server: Running, keys: Keys
) -> None:
    writer, _ = await keys.make("write")

    with capture_logs() as lines:
        await needs_approval(server, "BatchSetPreferences", people(5), writer)

    (line,) = [line for line in lines if line["event"] == "cap_met"]
    assert (line["principal"], line["cap"], line["amount"]) == ("key 1", "bulk", "5")
    assert "@" not in str(line)
    assert server.service.caps.met == {"bulk": 1, "consents": 0, "releases": 0}


async def test_a_server_without_credentials_has_no_caps_and_says_so(tmp_path: Path) -> None:
    async with running_server(tmp_path, caps=Caps(LIMITS)) as server:
        with capture_logs() as lines:
            await server.call("BatchSetPreferences", people(50))
            await server.call("BatchSetPreferences", people(50, key="more"))

    assert [line["event"] for line in lines if line["event"].startswith("cap")] == [
        "caps_not_in_force"
    ]


async def test_a_large_tenant_has_a_larger_cap(tmp_path: Path, keys: Keys) -> None:
    limits = CapLimits(bulk_people_per_hour_max=4, bulk_percent_per_hour_max=50)
    async with running_server(tmp_path, authenticator=keys, caps=Caps(limits)) as server:
        writer, _ = await keys.make("write", "admin")
        for at in range(20):
            request = ask.set_preference(ask.opt_out(), email=f"o{at}@example.com", key=f"o{at}")
            await server.call("SetPreference", request, key=writer)

        await server.call("BatchSetPreferences", people(10), key=writer)
        await needs_approval(server, "BatchSetPreferences", people(6, key="more"), writer)

        assert await server.head() == 20 + 10
