"""What somebody tries by what the dashboard writes: its pages' words, its files, and their making."""

import asyncio
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from heed.model import Revision, TenantId
from heed.task_group import TaskGroup
from heed_proto.v1 import types_pb2 as pb
from heed_server.auth.policy import Right
from heed_server.web.dashboard import app as app_module
from heed_server.web.dashboard.exporting import Exported
from heed_server.web.dashboard.views import VIEWS
from tests.support import requests as asks
from tests.support.api_keys import Keys
from tests.support.dashboard import Person, app_of
from tests.support.servers import Running, running_server

ALL_RIGHTS = tuple(right.value for right in Right)
CANARY = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>"""
FORMULA = "=HYPERLINK(1)"


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def server(tmp_path: Path, keys: Keys) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "server", authenticator=keys) as running:
        yield running


async def signed_in(app: Any, keys: Keys, *rights: str) -> Person:
    person = Person(app)
    answer = await person.sign_in(await keys.of(*(rights or ("operate",))))
    assert answer.code == 303, answer.body.decode()
    return person


async def test_what_strangers_wrote_is_text_on_every_page_and_no_formula_in_any_file(
    server: Running, keys: Keys
) -> None:
    everything = await keys.of(*ALL_RIGHTS)
    hold = asks.place_hold(key="k1")
    hold.hold.reason, hold.hold.campaign = CANARY, FORMULA
    hold.origin.source, hold.origin.actor = CANARY, CANARY
    await server.call("PlaceHold", hold, key=everything)
    choice = asks.set_preference(asks.opt_out("news"), key="k2")
    choice.origin.source, choice.origin.actor, choice.origin.reference = CANARY, CANARY, FORMULA
    await server.call("SetPreference", choice, key=everything)
    topic = asks.declare_topic("login", "k3", pb.TOPIC_CLASS_MANDATORY)
    topic.topic.title, topic.origin.source = CANARY, CANARY
    await server.call("DeclareTopic", topic, key=everything)
    for number, name in enumerate((CANARY, FORMULA)):
        server.service.registry.open(
            TenantId(1), name, f"s{number}", instance="1", max_staleness_seconds=60,
            applied=Revision(0),
        )  # fmt: skip
    person = await signed_in(app_of(server, keys), keys, *ALL_RIGHTS)

    seen = 0
    for view in (one for one in VIEWS if one.form is None):
        for suffix in ("", ".part"):
            body = (await person.get(f"/{view.name}{suffix}?x={CANARY}")).body.decode()
            assert "<script>alert" not in body
            assert "<img src=x" not in body
            seen += "&lt;script&gt;alert(1)" in body
        told = await person.get(f"/{view.name}.json")
        assert told.headers["content-type"] == "application/json"
        assert told.headers["content-disposition"].startswith("attachment")
        assert (await person.get(f"/{view.name}.pdf")).code == 200
    listed = (await person.get("/propagation.csv?table=subscribers")).body.decode()
    assert seen >= 4
    assert f"'{FORMULA}" in listed
    assert f"\n{FORMULA}" not in listed


async def test_what_an_address_says_ends_in_no_header_and_no_file_name(
    server: Running, keys: Keys
) -> None:
    person = await signed_in(app_of(server, keys), keys)

    answer = await person.get("/propagation.csv?table=subscribers%22%0d%0aset-cookie:x=1")
    named = await person.get("/propagation.json?x=%0d%0aset-cookie:x=1")

    assert answer.code == 404
    assert set(named.headers["content-disposition"]) & {"\r", "\n"} == set()
    assert "set-cookie" not in {*answer.headers, *named.headers}


@pytest.mark.parametrize("site", ["same-site", "cross-site"])
async def test_a_page_of_elsewhere_has_no_file_made_in_its_reader_s_name(
    server: Running, keys: Keys, site: str
) -> None:
    person = await signed_in(app_of(server, keys), keys)

    with capture_logs() as logs:
        for suffix in (".csv", ".json", ".pdf", ".part"):
            asked = await person.get(f"/now{suffix}", {"sec-fetch-site": site})
            assert asked.code == 403

    assert not logs
    assert (await person.get("/now.csv", {"sec-fetch-site": "same-origin"})).code == 200
    assert (await person.get("/now.csv", {"sec-fetch-site": "none"})).code == 200


async def test_nobody_has_all_others_wait_for_their_pdfs(
    server: Running, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    printing = asyncio.Semaphore(0)

    async def export_slowly(suffix: str, *_: Any, **__: Any) -> Exported:
        if suffix == "pdf":
            await printing.acquire()
        return Exported(name="n", content=b"", content_type="", rows=0, is_cut=False)

    monkeypatch.setattr(app_module, "export", export_slowly)
    app = app_of(server, keys)
    person, other = await signed_in(app, keys), await signed_in(app, keys, "audit", "operate")
    async with TaskGroup() as group:
        asked = [group.create_task(person.get("/now.pdf")) for _ in range(4)]
        refused = [await one for one in islice(asyncio.as_completed(asked), 2)]
        others = group.create_task(other.get("/now.pdf"))
        csv = await person.get("/now.csv")
        for _ in range(3):
            printing.release()

    assert sorted(one.result().code for one in asked) == [200, 200, 429, 429]
    assert {(one.code, one.headers["retry-after"]) for one in refused} == {(429, "5")}
    assert (csv.code, others.result().code) == (200, 200)
