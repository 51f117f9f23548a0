"""Links over the lives of keys: of the key that seals them, and of what subjects stand under."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import heed
from heed.model import Channel, Scope, Subject, SubjectType, TenantId
from heed.wire.asked import LinkTarget
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_server.links import PATH, seal_link
from heed_server.primary import rotations as rotations_module
from heed_server.primary.lookup_keys import move_subjects, replace_lookup_key
from heed_server.primary.rotations import Rotations
from heed_server.secrets.errors import SecretsError
from heed_server.secrets.sealing import KEYS_MAX, SealingKeyset
from tests.support import requests as asks
from tests.support.served import run_command
from tests.support.servers import Running, running_server
from tests.support.web import (
    WebServed,
    app_of,
    ask,
    choose,
    link_for,
    page_for,
    path_of,
    press,
    press_at,
)

ADA, BOB, CY = "ada@example.com", "bob@example.com", "cy@example.com"
ONLY = TenantId(1)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as server:
        yield server


async def learn(server: Running) -> None:
    """The node looks for keys, as it does every two seconds."""
    await server.tenants.learn(await server.store.tenants())


async def rotate(server: Running) -> None:
    await server.store.rotation.add_link_key(ONLY)
    await server.store.rotation.seal_by_last_link_key(ONLY)
    await learn(server)


async def is_suppressed(server: Running, email: str = ADA) -> bool:
    request = preference.CheckSuppressionRequest(query=asks.query(email, "news"))
    answer = await server.call("CheckSuppression", request)
    return bool(answer.decision.verdict == pb.VERDICT_SUPPRESSED)


async def opt_in(server: Running, key: str) -> None:
    request = asks.set_preference(asks.opt_in("news"), key=key)
    request.origin.decided_time.GetCurrentTime()
    await server.call("SetPreference", request)


async def test_a_link_of_before_a_rotation_stops_and_is_one_with_itself(running: Running) -> None:
    """It has the same name by whichever key seals now, so that pressed twice it is one change."""
    app, before = app_of(running.service), await link_for(running)
    name = running.service.open_link(before.removeprefix(PATH))
    await rotate(running)
    again = running.service.open_link(before.removeprefix(PATH))

    answers = [await press(app, before) for _ in range(2)]

    assert name is not None
    assert again is not None
    assert again.link.use == name.link.use
    assert [answer.code for answer in answers] == [200, 200]
    assert await is_suppressed(running)
    assert await running.head() == 1


async def test_links_of_two_keys_stop_the_same_person(running: Running) -> None:
    app, old = app_of(running.service), await link_for(running)
    await rotate(running)
    new = await link_for(running)

    await press(app, new)
    await press(app, old)
    await opt_in(running, "in")
    await press(app, old)

    assert old != new
    assert await is_suppressed(running)
    assert await running.head() == 3


async def test_a_new_key_opens_before_it_seals(running: Running) -> None:
    """Another node seals by it as soon as it may; this one knows of it only that it waits."""
    before = await link_for(running)
    await running.store.rotation.add_link_key(ONLY)
    await learn(running)
    waiting = await link_for(running)
    await running.store.rotation.add_link_key(ONLY)  # asked for again, after a crash, say
    await running.store.rotation.seal_by_last_link_key(ONLY)
    (tenant,) = await running.store.tenants()
    keyset = SealingKeyset(tenant.link_keyset)
    subject = Subject(type=SubjectType.EMAIL, value=ADA)
    target = LinkTarget(subject=subject, scope=Scope(channel=Channel.EMAIL, topic="news"))
    new = PATH + seal_link(keyset, ONLY, target)

    answer = await press(app_of(running.service), new)

    assert waiting == before != new
    assert len(keyset.key_ids) == 2
    assert answer.code == 200
    assert await is_suppressed(running)


async def test_a_page_link_of_a_key_that_was_replaced_can_only_stop(running: Running) -> None:
    """Whoever stole the key makes no page that opts anybody in, whatever time it says."""
    app, path = app_of(running.service), await page_for(running)
    open_before = await ask(app, "GET", path)
    await rotate(running)

    shown = await ask(app, "GET", path)
    paused = await choose(app, path, act="pause", scope="any/", until="2099-01-01")
    stopped = await choose(app, path, act="stop", scope="any/")
    anew = await ask(app, "GET", await page_for(running))

    assert b"This page has closed" not in open_before.body
    assert b"This page has closed" in shown.body
    assert (paused.code, stopped.code) == (403, 200)
    assert b"This page has closed" not in anew.body


async def test_a_link_of_before_its_lookup_key_was_replaced_stops_as_before(
    running: Running,
) -> None:
    """Somebody who had opted out, somebody who was erased since, and somebody never known."""
    app = app_of(running.service)
    links = {email: await link_for(running, email) for email in (ADA, BOB, CY)}
    await press(app, links[ADA])
    await press(app, links[BOB])
    erasure = admin.EraseSubjectRequest(
        idempotency_key="erase",
        subjects=[asks.subject(BOB)],
        reason="they asked",
        origin=asks.origin(),
    )
    await running.call("EraseSubject", erasure)
    await replace_lookup_key(running.store, ONLY, "laptop stolen")
    await move_subjects(running.store, ONLY)
    await learn(running)
    head = await running.head()

    codes = {email: (await press(app, path)).code for email, path in links.items()}

    assert set(codes.values()) == {200}
    assert all([await is_suppressed(running, email) for email in links])
    assert await running.head() == head + 1  # of the one who was never known


async def test_after_a_replaced_lookup_key_an_old_link_stops_again_who_opted_in(
    running: Running,
) -> None:
    app, path = app_of(running.service), await link_for(running)
    await press(app, path)
    await replace_lookup_key(running.store, ONLY, "laptop stolen")
    await opt_in(running, "in")
    allowed = not await is_suppressed(running)

    answers = [await press(app, path) for _ in range(2)]

    assert allowed
    assert [answer.code for answer in answers] == [200, 200]
    assert await is_suppressed(running)


async def test_a_rotation_that_was_cut_off_is_gone_on_with(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotations_module, "LINK_KEY_WAITS_SECONDS", 0)
    rotations = Rotations(running.store)
    await running.store.rotation.add_link_key(ONLY)
    (before,) = await rotations.link_key_state()

    names = await rotations.rotate_links("")

    (after,) = await rotations.link_key_state()
    assert list(names) == [before.tenant]
    assert before.key_ids == after.key_ids
    assert before.primary_id == before.key_ids[0]
    assert after.primary_id == after.key_ids[1]


def test_a_keyset_has_so_many_keys_and_drops_none() -> None:
    keyset = SealingKeyset.generate()
    sealed = keyset.seal(b"x", b"")
    first = keyset.primary_id
    for _ in range(KEYS_MAX - 1):
        keyset = keyset.with_new_key().with_last_as_primary()

    assert len(set(keyset.key_ids)) == KEYS_MAX
    assert keyset.open(first, sealed, b"") == b"x"
    with pytest.raises(SecretsError, match="none can be dropped"):
        keyset.with_new_key()


@pytest.mark.slow
def test_an_operator_rotates_the_keys_of_links_while_the_server_runs(tmp_path: Path) -> None:
    variables = {
        "HEED_WEB_ADDRESS": "127.0.0.1:0",
        "HEED_WEB_PUBLIC_URL": "https://news.example.com",
    }
    with WebServed(tmp_path, variables=variables) as server, server.client() as client:

        def link(email: str) -> str:
            return path_of(client.make_link(heed.email(email), channel="email").url)

        old = link(ADA)
        told = run_command("keys", "links", "rotate", cwd=tmp_path)
        server.wait_for("link_keys_rotated")
        shown = run_command("keys", "links", "show", "--json", cwd=tmp_path)
        unknown = run_command("keys", "links", "rotate", "--tenant", "none", cwd=tmp_path)
        presses = [press_at(server.edges["public"], path) for path in (old, link(BOB))]
        answers = [client.check(email=email, channel="email") for email in (ADA, BOB)]

    assert "Take a backup" in told.stdout
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [row["state"] for row in rows] == ["opens", "seals"]
    assert [answer.code for answer in presses] == [200, 200]
    assert not any(answer.allowed for answer in answers)
    assert unknown.returncode != 0
    assert "no tenant 'none'" in unknown.stderr
