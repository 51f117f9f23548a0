"""What the dashboard's views of topics, batches and histories show, and to whom."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog

import heed
from heed.model import Change, Instant, Revision
from heed_proto.v1 import types_pb2 as pb
from heed_server.webhook_store import DeadLetter, Lane, Note, Place, Position
from tests.support import requests as asks
from tests.support.api_keys import Keys
from tests.support.dashboard import Person, app_of, form_token
from tests.support.servers import CHECKPOINT_KEY, Running, running_server
from tests.support.signed import signer_of

ADA = "ada@example.com"
CANARY = "<script>alert(1)</script>"
ORIGIN = heed.Origin(source="tests", actor=CANARY)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def server(tmp_path: Path, keys: Keys) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "server", authenticator=keys) as running:
        yield running


async def signed_in(server: Running, keys: Keys, *rights: str) -> Person:
    person = Person(app_of(server, keys))
    await person.sign_in(await keys.of(*rights))
    return person


async def rows_of(person: Person, view: str, table: str) -> list[dict[str, Any]]:
    told = json.loads((await person.get(f"/{view}.json")).body)
    rows: list[dict[str, Any]] = told["tables"][table]["rows"]
    return rows


async def test_topics_tell_what_is_sent_over_a_choice_and_by_whose_word(
    server: Running, keys: Keys
) -> None:
    admin = await keys.of("admin", "write", "check")
    await server.call(
        "DeclareTopic", asks.declare_topic("login", "t", pb.TOPIC_CLASS_MANDATORY), key=admin
    )
    await server.call("SetPreference", asks.set_preference(asks.opt_out()), key=admin)
    opted_out, anybody = asks.check(), asks.check("nobody@example.com")
    opted_out.query.topic = anybody.query.topic = "login"
    for asked in (opted_out, anybody):
        await server.call("CheckSuppression", asked, key=admin)
    person = await signed_in(server, keys, "operate")

    (mandatory,) = await rows_of(person, "topics", "mandatory")
    (volume,) = await rows_of(person, "topics", "overrides")

    assert (mandatory["topic"], mandatory["messages"], mandatory["overriding"]) == ("login", 2, 1)
    assert mandatory["source"] == "preference-page"
    assert (volume["channel"], volume["overriding_share"]) == ("email", 0.5)


async def test_each_mandatory_topic_is_told_with_its_own_change_whatever_stands_between(
    server: Running, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await keys.of("admin", "operate")
    for number in range(9):
        declared = asks.declare_topic(f"t{number}", f"t-{number}", pb.TOPIC_CLASS_MANDATORY)
        declared.origin.source = f"source of t{number}"
        await server.call("DeclareTopic", declared, key=admin)
        for again in range(number % 3):
            hold = asks.place_hold(key=f"h-{number}-{again}")
            await server.call("PlaceHold", hold, key=admin)
    read, reads = server.store.changes_of_tenant, 0

    async def counted(*said: Any, **more: Any) -> Sequence[Change]:
        nonlocal reads
        reads += 1
        return await read(*said, **more)

    monkeypatch.setattr(server.store, "changes_of_tenant", counted)
    person = await signed_in(server, keys, "operate")

    rows = await rows_of(person, "topics", "mandatory")

    assert len(rows) == 9
    assert all(row["source"] == f"source of {row['topic']}" for row in rows)
    assert reads < 5


async def test_imports_tell_who_brought_a_list_who_undid_it_and_what_waits(
    server: Running, keys: Keys
) -> None:
    row = heed.ImportRow(
        row=1,
        protection=heed.ImportedOptOut(subject=heed.email(ADA)),
        decided_time=asks.DECIDED,
    )
    jane = await keys.of("admin", "suppress", "write")
    async with heed.Client(server.address, api_key=jane) as client:
        await client.import_records(batch_id="spring", rows=[row], origin=ORIGIN)
        with pytest.raises(heed.ConflictError):
            await client.revert_batch("spring", reason=CANARY, origin=ORIGIN)
    person = await signed_in(server, keys, "audit")

    (batch,) = await rows_of(person, "batches", "batches")
    (approval,) = await rows_of(person, "batches", "approvals")
    page = await person.get("/batches")

    assert (batch["batch"], batch["state"], batch["source"]) == ("spring", "stands", "tests")
    assert (approval["state"], approval["call"]) == ("waits", "RevertBatch")
    assert approval["would_do"] == ["newly allowed 1", "records 1", "released 1", "restored 0"]
    assert CANARY.encode() not in page.body
    assert b"&lt;script&gt;" in page.body


async def test_a_history_is_asked_for_by_a_form_and_looking_is_noted(
    server: Running, keys: Keys
) -> None:
    writer = await keys.of("write")
    await server.call("SetPreference", asks.set_preference(asks.opt_out()), key=writer)
    person = await signed_in(server, keys, "audit")

    with structlog.testing.capture_logs() as lines:
        page = await person.send("/history", {"type": "email", "identifier": " ADA@Example.com "})
        told = await person.send("/history.json", {"type": "email", "identifier": ADA})

    assert page.code == 200
    (change,) = json.loads(told.body)["tables"]["changes"]["rows"]
    assert (change["what"], change["channel"], change["state"]) == ("opt-out", "email", "applied")
    looked = [line for line in lines if line["event"] == "history_read"]
    assert [len(line["subjects"]) for line in looked] == [1, 1]
    assert ADA not in str(lines)


@pytest.mark.parametrize(
    "form",
    [
        {"type": "email", "identifier": "no address"},
        {"type": "email", "identifier": ""},
        {"type": "shoe", "identifier": ADA},
        {"identifier": ADA},
    ],
)
async def test_a_history_of_nobody_says_what_is_wrong(
    server: Running, keys: Keys, form: dict[str, str]
) -> None:
    person = await signed_in(server, keys, "audit")

    page = await person.send("/history", form)

    assert page.code == 400
    assert b'role="alert"' in page.body


async def test_a_history_takes_the_right_to_audit(server: Running, keys: Keys) -> None:
    operator = await signed_in(server, keys, "operate")

    form = await operator.get("/history")
    token = form_token(await operator.get("/topics"))
    told = await operator.post(
        "/history.json", {"form_token": token, "type": "email", "identifier": ADA}
    )

    assert (form.code, told.code) == (403, 403)


async def test_checkpoints_are_shown_and_verified_at_a_press(server: Running, keys: Keys) -> None:
    await server.call("SetPreference", asks.set_preference(), key=await keys.of("write"))
    (context,) = server.tenants.all()
    signer = signer_of(server.store, key=CHECKPOINT_KEY)
    await signer.sign(context.tenant_id)
    person = await signed_in(server, keys, "audit")

    page = await person.get("/checkpoints")
    told = await person.send("/checkpoints.json", {"verify": "day"})

    assert b"Kept checkpoints" in page.body
    assert b"Verified just now" not in page.body
    tables = json.loads(told.body)["tables"]
    (verified,) = tables["verified"]["rows"]
    assert (verified["checkpoints"], verified["broken"]) == (1, 0)
    assert [row["state"] for row in tables["links"]["rows"]] == ["signed"]
    assert tables["chain"]["rows"][0]["size"] == 1


async def test_webhooks_tell_where_a_target_stands_and_what_was_given_up(
    server: Running, keys: Keys
) -> None:
    (context,) = server.tenants.all()
    place = Place(context.tenant_id, "billing")
    begin = Position(server.store.epoch, Revision(0), bytes(32))
    opened = await server.store.webhooks.open_target(place, begin)
    given_up = DeadLetter(
        letter_id="letter-1",
        lane=Lane(bytes(16)),
        revision=Revision(1),
        event="preference.changed",
        dead_time=Instant(2),
        first_time=Instant(1),
        attempts=9,
        failure="it answered 500",
        replay=0,
    )
    await server.store.webhooks.note(place, opened.version, Note(position=begin, dead=(given_up,)))
    person = await signed_in(server, keys, "operate")

    (target,) = await rows_of(person, "webhooks", "targets")
    (letter,) = await rows_of(person, "webhooks", "letters")

    assert (target["target"], target["dead_letters"]) == ("billing", 1)
    assert (letter["letter"], letter["target"], letter["attempts"]) == ("letter-1", "billing", 9)
