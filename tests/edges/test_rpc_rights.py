"""Who may do what: every method against every right, in the caller's own tenant and in another.

The table below is written again on purpose: it is what the comments of the contract say, and the
server's own table is held to it.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from google.protobuf.message import Message

from heed.errors import (
    ErrorReason,
    HeedError,
    RightRequiredError,
    UnauthenticatedError,
)
from heed_proto.v1 import admin_service_pb2 as admin
from heed_server.auth.policy import Right
from heed_server.rpc import calls
from heed_server.rpc import server as rpc_server
from heed_server.service.rights import RIGHT_OF_METHOD
from tests.support import requests as ask
from tests.support.api_keys import Keys
from tests.support.identities import bearing
from tests.support.in_process import AbortedError, Context
from tests.support.rights import comments_of_methods
from tests.support.servers import METHODS, Running, running_server

RIGHTS: Mapping[str, str] = {
    "CheckSuppression": "check",
    "BatchCheckSuppression": "check",
    "StreamCheckSuppression": "check",
    "SetPreference": "write",
    "BatchSetPreferences": "write",
    "GetPreferences": "write",
    "MakeLinks": "write",
    "MakePageLinks": "consent",
    "Explain": "audit",
    "GetHistory": "audit",
    "CreateTenant": "admin",
    "ListTenants": "admin",
    "DeclareTopic": "admin",
    "LoosenTopic": "admin",
    "RetireTopic": "admin",
    "ListTopics": "check",
    "PlaceHold": "operate",
    "LiftHold": "operate",
    "ListHolds": "operate",
    "AddSuppressions": "suppress",
    "ReleaseSuppression": "suppress",
    "ExportSubject": "export",
    "EraseSubject": "admin",
    "ListSuppressions": "export",
    "ImportRecords": "suppress",
    "ExportRecords": "export",
    "RevertBatch": "admin",
    "ReleaseSuppressions": "suppress",
    "ListApprovals": "admin",
    "ListBatches": "audit",
    "GrantApproval": "admin",
    "RejectApproval": "admin",
    "WatchChanges": "watch",
    "ReportApplied": "watch",
    "OfferRecords": "watch",
    "GetCheckpoint": "audit",
    "GetReceipt": "write",
    "GetInclusionProof": "audit",
    "GetConsistencyProof": "audit",
    "GetTile": "audit",
    "GetPropagation": "operate",
    "GetDeadlines": "operate",
    "ListWebhookTargets": "operate",
    "ListDeadLetters": "operate",
    "ReplayDeadLetters": "operate",
    "DiscardDeadLetters": "operate",
    "DeclareSubscriber": "operate",
    "WithdrawSubscriber": "operate",
}


NEEDS_A_TARGET = ("ListDeadLetters", "ReplayDeadLetters", "DiscardDeadLetters")
NEEDS_A_CHECKPOINT = (
    "GetCheckpoint",
    "GetReceipt",
    "GetInclusionProof",
    "GetConsistencyProof",
    "GetTile",
)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[tuple[Running, Keys]]:
    """A server that asks for keys, with the tenants `default` and `other`."""
    keys = Keys()
    async with running_server(tmp_path, authenticator=keys) as running:
        await running.store.create_tenant("other", bytes(32))
        await running.tenants.learn(await running.store.tenants())
        await keys.refresh()
        yield running, keys


def request(name: str, tenant: str = "default") -> Message:
    """A valid request, of that tenant where it names one."""
    asked = ask.VALID[name]()
    if "tenant" in asked.DESCRIPTOR.fields_by_name:
        setattr(asked, "tenant", tenant)  # noqa: B010 - not every message has it
    return asked


def test_every_method_of_the_contract_has_a_row() -> None:
    assert METHODS.keys() == RIGHTS.keys() == ask.VALID.keys()
    assert {name: right.value for name, right in RIGHT_OF_METHOD.items()} == RIGHTS


def test_the_contract_says_which_right_each_method_needs() -> None:
    """Every comment names its right; read from the protos, since descriptors carry no comments."""
    said = comments_of_methods()

    assert said.keys() == RIGHTS.keys()
    for name, comment in said.items():
        assert f"`{RIGHTS[name]}`" in comment or "same rights" in comment, name


def test_a_method_without_a_row_keeps_the_server_from_being_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = {name: right for name, right in RIGHT_OF_METHOD.items() if name != "Explain"}
    monkeypatch.setattr(rpc_server, "RIGHT_OF_METHOD", rows)

    with pytest.raises(RuntimeError, match="Explain"):
        rpc_server._require_rows()


async def reason_of(
    server: Running, name: str, key: str, tenant: str = "default"
) -> tuple[ErrorReason | None, dict[str, str], str]:
    """Why a call was refused, if it was."""
    try:
        await server.call(name, request(name, tenant), key=key)
    except HeedError as error:
        return error.reason, error.metadata, error.message
    return None, {}, ""


async def test_a_method_needs_its_right(guarded: tuple[Running, Keys]) -> None:
    server, keys = guarded
    before = await server.heads()

    lacking = {
        name: await reason_of(server, name, await keys.of(*({*Right} - {needed})))
        for name, needed in RIGHTS.items()
    }

    assert {name: (reason, why) for name, (reason, why, _) in lacking.items()} == {
        name: (ErrorReason.RIGHT_REQUIRED, {"right": needed}) for name, needed in RIGHTS.items()
    }
    assert await server.heads() == before


async def test_a_method_needs_no_other_right(guarded: tuple[Running, Keys]) -> None:
    server, keys = guarded
    besides = {"ImportRecords": ["write"], "MakePageLinks": ["write"]}

    reasons = {
        name: (await reason_of(server, name, await keys.of(needed, *besides.get(name, ()))))[0]
        for name, needed in RIGHTS.items()
    }

    # Nothing was signed. What is loosened, retired, lifted and released was made by the rows before; there is no stream.
    assert {name: reason for name, reason in reasons.items() if reason is not None} == {
        "ReportApplied": ErrorReason.STREAM_UNKNOWN,
        "OfferRecords": ErrorReason.OFFERS_CLOSED,
        **dict.fromkeys(NEEDS_A_CHECKPOINT, ErrorReason.CHECKPOINT_UNKNOWN),
        "RevertBatch": ErrorReason.BATCH_UNKNOWN,
        "GrantApproval": ErrorReason.APPROVAL_UNKNOWN,
        "RejectApproval": ErrorReason.APPROVAL_UNKNOWN,
        **dict.fromkeys(NEEDS_A_TARGET, ErrorReason.WEBHOOK_TARGET_UNKNOWN),
    }


@pytest.mark.parametrize(
    "key", ["", "heed_nonsense", "heed_" + "0" * 12 + "_" + "a" * 43 + "_000000"]
)
async def test_without_a_good_key_nothing_is_answered(
    guarded: tuple[Running, Keys], key: str
) -> None:
    server, _ = guarded

    reasons = {name: (await reason_of(server, name, key))[0] for name in RIGHTS}

    assert set(reasons.values()) == {ErrorReason.CREDENTIAL_INVALID}


async def test_another_tenant_answers_like_one_that_is_not_there(
    guarded: tuple[Running, Keys],
) -> None:
    server, keys = guarded
    key = await keys.of(*Right, tenant="default")

    for name in sorted(set(RIGHTS) - {"CreateTenant", "ListTenants"}):
        reason, metadata, said = await reason_of(server, name, key, "other")
        _, _, said_of_nowhere = await reason_of(server, name, key, "nowhere")

        assert (reason, metadata) == (ErrorReason.TENANT_UNKNOWN, {"tenant": "other"}), name
        assert said.replace("other", "nowhere") == said_of_nowhere
    assert await server.heads() == {"default": 0, "other": 0}


async def test_a_key_of_a_tenant_needs_not_name_it(guarded: tuple[Running, Keys]) -> None:
    server, keys = guarded

    answer = await server.call(
        "SetPreference", request("SetPreference", ""), key=await keys.of("write", tenant="other")
    )

    assert answer.position.revision == 1
    assert await server.heads() == {"default": 0, "other": 1}


async def test_a_key_of_a_tenant_creates_none_and_sees_its_own(
    guarded: tuple[Running, Keys],
) -> None:
    server, keys = guarded
    key = await keys.of("admin", tenant="other")

    with pytest.raises(RightRequiredError):
        await server.call("CreateTenant", request("CreateTenant"), key=key)
    listed = await server.call("ListTenants", admin.ListTenantsRequest(), key=key)

    assert [one.name for one in listed.tenants] == ["other"]


@pytest.mark.parametrize("name", ["SetPreference", "BatchSetPreferences"])
async def test_an_opt_in_needs_consent_besides(guarded: tuple[Running, Keys], name: str) -> None:
    server, keys = guarded
    one = ask.set_preference(ask.opt_in())
    batch = ask.batch_set_preferences(1)
    batch.people[0].choices[0].CopyFrom(ask.opt_in())
    batch.origin.CopyFrom(ask.origin(decided=True))
    one.tenant = batch.tenant = "default"
    asked: Message = one if name == "SetPreference" else batch

    with pytest.raises(RightRequiredError) as refused:
        await server.call(name, asked, key=await keys.of("write"))
    answer = await server.call(name, asked, key=await keys.of("write", "consent"))

    assert refused.value.metadata == {"right": "consent"}
    assert answer.position.revision == 1


async def test_a_verifiable_stream_needs_audit_besides(guarded: tuple[Running, Keys]) -> None:
    """What it tells of each change is what a receipt does."""
    server, keys = guarded
    asked = ask.watch_changes()
    asked.tenant, asked.verifiable = "default", True

    for lacking, rights in (("audit", ["watch"]), ("watch", ["audit"])):
        with pytest.raises(RightRequiredError) as refused:
            await server.call("WatchChanges", asked, key=await keys.of(*rights))
        assert refused.value.metadata == {"right": lacking}
    await server.call("WatchChanges", asked, key=await keys.of("watch", "audit"))


async def test_importing_opt_outs_needs_write_besides(guarded: tuple[Running, Keys]) -> None:
    server, keys = guarded
    key = await keys.of("suppress")
    bounces = ask.import_records(1)
    bounces.tenant = "default"

    with pytest.raises(RightRequiredError) as refused:
        await server.call("ImportRecords", request("ImportRecords"), key=key)
    answer = await server.call("ImportRecords", bounces, key=key)

    assert refused.value.metadata == {"right": "write"}
    assert answer.added == 1


async def test_a_caller_is_told_to_whoever_counts_calls(guarded: tuple[Running, Keys]) -> None:
    server, keys = guarded
    key = await keys.of("write")

    await server.call("SetPreference", request("SetPreference"), key=key)
    with pytest.raises(RightRequiredError):
        await server.call("Explain", request("Explain"), key=key)
    with pytest.raises(UnauthenticatedError):
        await server.call("Explain", request("Explain"))

    assert [await server.next_end() for _ in range(3)] == [
        ("SetPreference", "OK", "", "key 1"),
        ("Explain", "PERMISSION_DENIED", "RIGHT_REQUIRED", "key 1"),
        ("Explain", "UNAUTHENTICATED", "CREDENTIAL_INVALID", ""),
    ]


async def test_an_export_ends_once_its_key_may_export_no_more(
    guarded: tuple[Running, Keys], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lasts as long as its reader takes; each message stands for the seconds in between."""
    server, keys = guarded
    key, key_id = await keys.make("export", tenant="default")
    told: list[bytes] = []

    async def messages(*_: object) -> AsyncGenerator[bytes]:
        yield b"1"
        yield b"2"
        await keys.revoke(key_id)
        yield b"3"

    monkeypatch.setattr(calls, "CREDENTIAL_SECONDS", 0)
    handler = calls.streamed(
        "ExportRecords",
        messages,
        server.service,
        keys.authenticator,
        rpc_server.unheard,
        streams_max=1,
        write_seconds_max=10,
    )
    context = Context(tuple(bearing(key)), None, [b""], takes=9, written=told)

    with pytest.raises(AbortedError) as ended:
        await handler(b"", cast("Any", context))

    assert isinstance(ended.value.error, UnauthenticatedError)
    assert told == [b"1", b"2"]
