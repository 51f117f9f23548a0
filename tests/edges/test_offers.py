"""OfferRecords as any caller meets it: the hold, the cap, the replay, and what an operator sees."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from heed.acts import PlaceHold
from heed.errors import ConflictError, ErrorReason, InvalidArgumentError, UnavailableError
from heed.model import Hold, Method
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as types
from heed_proto.v1 import watch_service_pb2 as pb
from heed_server.primary.lookup_keys import move_subjects, replace_lookup_key
from heed_server.service.caps import CapLimits, Caps
from tests.support import requests as ask
from tests.support.api_keys import Keys
from tests.support.servers import Running, running_server
from tests.support.stores import Shop, origin

HOLD = Hold(hold_id="hold-epoch-1", reason="restored", spares_mandatory=True)
OTHER = types.Hold(hold_id="hold-7", reason="a leak", campaign="spring")


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def server(tmp_path: Path, keys: Keys) -> AsyncGenerator[Running]:
    """A server under the hold of a restore."""
    caps = Caps(CapLimits(bulk_people_per_hour_max=3))
    async with running_server(tmp_path, authenticator=keys, caps=caps) as running:
        (tenant,) = await running.store.tenants()
        held = PlaceHold(hold=HOLD, origin=origin(Method.OPERATOR))
        await Shop(running.store, tenant.tenant_id).ask(held)
        yield running


def offer(
    *people: int, key: str = "offer-1", holds: tuple[types.Hold, ...] = ()
) -> pb.OfferRecordsRequest:
    return ask.offer_records(*people, key=key, holds=holds)


async def test_what_is_lacking_is_taken_and_said(server: Running, keys: Keys) -> None:
    mailer, _ = await keys.make("watch")

    with capture_logs() as logs:
        first = await server.call("OfferRecords", offer(1, 2), key=mailer)
        replayed = await server.call("OfferRecords", offer(1, 2), key=mailer)

    assert (first.added, first.replayed) == (2, False)
    assert first.position.revision == await server.head() == 3
    assert (replayed.added, replayed.replayed) == (2, True)
    (said,) = [one for one in logs if one["event"] == "offer_taken"]
    assert (said["subscriber"], said["added"], said["holds_placed"]) == ("mailer-1", 2, 0)


async def test_a_hold_is_placed_again_once_a_second_person_approved_it(
    server: Running, keys: Keys
) -> None:
    """It stops everybody, and the right `watch` is none to place one."""
    mailer, _ = await keys.make("watch")
    second, _ = await keys.make("watch", "admin")
    head = await server.head()

    with pytest.raises(ConflictError) as error:
        await server.call("OfferRecords", offer(1, holds=(OTHER,)), key=mailer)
    assert error.value.reason is ErrorReason.APPROVAL_REQUIRED
    assert await server.head() == head
    asked = error.value.metadata["approval_id"]
    await server.call("GrantApproval", admin.GrantApprovalRequest(approval_id=asked), key=second)
    taken = await server.call("OfferRecords", offer(1, holds=(OTHER,)), key=mailer)

    assert (taken.added, taken.holds_placed) == (1, 1)


async def test_what_the_index_has_is_not_asked_of_the_log(server: Running, keys: Keys) -> None:
    mailer, _ = await keys.make("watch")
    await server.call("OfferRecords", offer(1, 2), key=mailer)
    head = await server.head()

    again = await server.call("OfferRecords", offer(1, 2, key="offer-2"), key=mailer)
    rest = await server.call("OfferRecords", offer(1, 2, 3, key="offer-3"), key=mailer)

    assert (again.added, again.unchanged) == (0, 2)
    assert (rest.added, rest.unchanged) == (1, 2)
    assert await server.head() == head + 1


async def test_a_hold_that_was_lifted_is_not_placed_again(server: Running, keys: Keys) -> None:
    mailer, _ = await keys.make("watch")
    operator, _ = await keys.make("operate")
    asked = types.Hold(reason="a leak", campaign="spring")
    placed = await server.call(
        "PlaceHold",
        admin.PlaceHoldRequest(idempotency_key="place", hold=asked, origin=ask.origin()),
        key=operator,
    )
    lifted = admin.LiftHoldRequest(
        idempotency_key="lift", hold_id=placed.hold.hold_id, reason="seen", origin=ask.origin()
    )
    await server.call("LiftHold", lifted, key=operator)

    again = await server.call("OfferRecords", offer(1, holds=(placed.hold,)), key=mailer)

    assert again.holds_placed == 0


async def test_nothing_is_taken_until_people_are_moved_under_the_newest_lookup_key(
    server: Running, keys: Keys
) -> None:
    """Else who was moved in the window that was lost would stand under two keys from then on."""
    both, _ = await keys.make("watch", "write")
    await server.call("SetPreference", ask.set_preference(key="before"), key=both)
    (tenant,) = await server.store.tenants()
    await replace_lookup_key(server.store, tenant.tenant_id, "a leak")
    # Whoever writes has met the key.
    await server.call("SetPreference", ask.set_preference(key="after"), key=both)

    with pytest.raises(UnavailableError) as error:
        await server.call("OfferRecords", offer(1), key=both)
    assert error.value.reason is ErrorReason.NODE_BEHIND
    await move_subjects(server.store, tenant.tenant_id)

    assert (await server.call("OfferRecords", offer(1), key=both)).added == 1


async def test_after_the_hold_was_lifted_nothing_is_taken(server: Running, keys: Keys) -> None:
    mailer, _ = await keys.make("watch", "operate")
    await server.call("OfferRecords", offer(1), key=mailer)
    lifted = admin.LiftHoldRequest(
        idempotency_key="lift", hold_id=HOLD.hold_id, reason="seen", origin=ask.origin()
    )
    await server.call("LiftHold", lifted, key=mailer)

    for people in ((1,), (1, 2)):  # what stands already, and what does not
        with pytest.raises(ConflictError) as error:
            await server.call("OfferRecords", offer(*people, key="offer-2"), key=mailer)
        assert error.value.reason is ErrorReason.OFFERS_CLOSED


async def test_above_the_cap_a_second_person_approves_the_offers_of_an_epoch_once(
    server: Running, keys: Keys
) -> None:
    """A stolen key with `watch` cannot silence more people than any other."""
    mailer, _ = await keys.make("watch")
    second, _ = await keys.make("watch", "admin")
    await server.call("OfferRecords", offer(1, 2), key=mailer)
    head = await server.head()

    asked: list[str] = []
    for at in (1, 2):
        page = offer(10 * at, 10 * at + 1, key=f"page-{at}")
        with pytest.raises(ConflictError) as error:
            await server.call("OfferRecords", page, key=mailer)
        assert error.value.reason is ErrorReason.APPROVAL_REQUIRED
        asked.append(error.value.metadata["approval_id"])
    assert await server.head() == head
    granted = admin.GrantApprovalRequest(approval_id=asked[0])
    await server.call("GrantApproval", granted, key=second)
    for at in (1, 2):
        page = offer(10 * at, 10 * at + 1, key=f"page-{at}")
        await server.call("OfferRecords", page, key=mailer)

    assert asked[0] == asked[1]
    assert await server.head() == head + 4


def with_kind(kind: "types.RecordKind.ValueType") -> pb.OfferRecordsRequest:
    request = offer(1)
    request.subjects[0].records[0].kind = kind
    return request


@pytest.mark.parametrize("kind", [types.RECORD_KIND_OPT_IN, types.RECORD_KIND_UNSPECIFIED])
async def test_an_opt_in_is_refused_whole(
    server: Running, keys: Keys, kind: "types.RecordKind.ValueType"
) -> None:
    mailer, _ = await keys.make("watch")
    head = await server.head()

    with pytest.raises(InvalidArgumentError) as error:
        await server.call("OfferRecords", with_kind(kind), key=mailer)

    assert error.value.violations[0].field == "subjects[0].records[0].kind"
    assert await server.head() == head


async def test_nobody_says_by_an_origin_that_it_was_offered(server: Running, keys: Keys) -> None:
    writer, _ = await keys.make("write")
    request = ask.set_preference()
    request.origin.method = types.METHOD_OFFERED

    with pytest.raises(InvalidArgumentError) as error:
        await server.call("SetPreference", request, key=writer)

    assert error.value.violations[0].field == "origin.method"


async def test_a_stream_tells_of_earlier_epochs_while_the_hold_stands(
    server: Running, keys: Keys
) -> None:
    mailer, _ = await keys.make("watch", "operate")
    told = await server.call("WatchChanges", ask.watch_changes(), key=mailer)
    lifted = admin.LiftHoldRequest(
        idempotency_key="lift", hold_id=HOLD.hold_id, reason="seen", origin=ask.origin()
    )
    await server.call("LiftHold", lifted, key=mailer)
    after = await server.call("WatchChanges", ask.watch_changes(), key=mailer)

    assert told[0].opened.HasField("offers_taken")
    assert not after[0].opened.HasField("offers_taken")
