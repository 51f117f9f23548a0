"""The dashboard, asked as a browser asks: what each view shows, and every export of it."""

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader
from structlog.testing import capture_logs

from heed.model import Revision, Rule, TenantId
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import types_pb2 as pb
from heed_server.web.dashboard import app, limits
from heed_server.web.dashboard.view import View
from heed_server.web.dashboard.views import VIEWS
from tests.support import requests as asks
from tests.support.api_keys import Keys
from tests.support.dashboard import Person, app_of
from tests.support.servers import Running, running_server
from tests.support.stores import FakeClock

SHOP = TenantId(1)
HOUR = 3_600


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def server(tmp_path: Path, keys: Keys) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "server", authenticator=keys) as running:
        yield running


async def signed_in(server: Running, keys: Keys, *rights: str) -> Person:
    person = Person(app_of(server, keys))
    answer = await person.sign_in(await keys.of(*(rights or ("operate", "audit", "admin"))))
    assert answer.code == 303, answer.body.decode()
    return person


async def tables(person: Person, path: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of each table of a view."""
    answer = await person.get(path)
    assert answer.code == 200, answer.body.decode()
    return {name: table["rows"] for name, table in json.loads(answer.body)["tables"].items()}


async def opt_out(
    server: Running, keys: Keys, key: str, place: str = "DE", topic: str = "news"
) -> Revision:
    """Write one; return its revision."""
    request = asks.set_preference(asks.opt_out(topic), key=key, email=f"{key}@example.com")
    request.origin.jurisdiction = place
    written = await server.call("SetPreference", request, key=await keys.of("write"))
    return Revision(written.position.revision)


def subscriber(server: Running, name: str, **said: Any) -> None:
    """Have somebody follow, who stands at the log's begin unless told otherwise."""
    told: dict[str, Any] = {
        "instance": name,
        "max_staleness_seconds": HOUR,
        "applied": Revision(0),
        **said,
    }
    server.service.registry.open(SHOP, name, f"stream of {name}", **told)


async def test_whoever_signs_in_is_led_to_the_first_view_of_theirs(
    server: Running, keys: Keys
) -> None:
    person = await signed_in(server, keys, "operate")

    first = await person.get("/")

    assert first.code == 303
    page = await person.get(first.headers["location"])
    assert page.code == 200
    assert b"Sign out" in page.body


async def test_now_tells_what_was_answered_and_written_and_which_holds_are_in_force(
    server: Running, keys: Keys
) -> None:
    await opt_out(server, keys, "k1")
    request = asks.place_hold("marketing", key="k2")
    await server.call("PlaceHold", request, key=await keys.of("operate"))
    checker = await keys.of("check")
    for topic in ("news", "other", "marketing.weekly"):
        asked = asks.check("k1@example.com")
        asked.query.topic = topic
        await server.call("CheckSuppression", asked, key=checker)

    told = await tables(await signed_in(server, keys, "operate"), "/now.json")

    (figures,) = told["now"]
    assert (figures["checks"], figures["holds_in_force"]) == (3, 1)
    since = {row["rule"]: row["checks_since_start"] for row in told["answers"]}
    assert (since["opt_out"], since["hold"], since["default"], since["pause"]) == (1, 1, 1, 0)
    (hold,) = told["holds"]
    assert (hold["topic"], hold["reason"], hold["by"]) == (
        "marketing",
        "a template is broken",
        "person (preference-page)",
    )


async def test_rates_are_of_the_last_minutes(tmp_path: Path, keys: Keys) -> None:
    clock = FakeClock()
    async with running_server(tmp_path / "server", authenticator=keys, clock=clock) as server:
        clock.stand_still()
        (context,) = server.tenants.all()
        for _ in range(4):
            server.service.activity.sample()
            context.tally.by_rule[Rule.DEFAULT] += 6
            clock.pass_seconds(30)
        person = await signed_in(server, keys, "operate")

        told = await tables(person, "/now.json")
        page = await person.get("/now")

    (figures,) = told["now"]
    assert figures["checks_a_second"] == pytest.approx(12 / 60)
    assert [row["checks"] for row in told["minutes"]] == [12, 12]
    assert b"<polyline" in page.body


async def test_propagation_says_of_each_subscriber_how_far_it_is(
    server: Running, keys: Keys
) -> None:
    revision = await opt_out(server, keys, "k1")
    subscriber(server, "mailer")

    told = await tables(await signed_in(server, keys, "operate"), "/propagation.json")

    mailer, node = told["subscribers"]
    assert (mailer["subscriber"], mailer["status"], mailer["behind_revisions"]) == (
        "mailer",
        "behind",
        revision,
    )
    assert (node["subscriber"], node["status"], node["applied_revision"]) == (
        "node/test",
        "applied all",
        revision,
    )


async def test_each_of_the_last_opt_outs_is_told_with_who_applied_it_and_after_how_long(
    server: Running, keys: Keys
) -> None:
    person = await signed_in(server, keys, "operate")
    subscriber(server, "mailer")
    first = await opt_out(server, keys, "k1", "US-CA")
    server.service.registry.report("stream of mailer", first)
    second = await opt_out(server, keys, "k2", topic="")

    later, earlier = (await tables(person, "/propagation.json"))["opt-outs"]

    assert (later["revision"], later["state"], later["waiting_for"]) == (
        second,
        "waiting",
        ["mailer"],
    )
    assert (later["applied"], later["counting"], later["after_seconds"]) == (1, 2, None)
    assert (later["topic"], later["jurisdiction"]) == ("every topic", "DE")
    assert (earlier["revision"], earlier["state"], earlier["waiting_for"]) == (
        first,
        "applied by all",
        None,
    )
    assert (earlier["applied"], earlier["counting"]) == (2, 2)
    assert 0 <= earlier["after_seconds"] < 60

    server.service.registry.report("stream of mailer", second)
    later, _ = (await tables(person, "/propagation.json"))["opt-outs"]

    assert (later["state"], later["applied"], later["waiting_for"]) == ("applied by all", 2, None)


async def test_of_a_subscriber_that_was_there_before_it_is_not_said_after_how_long(
    server: Running, keys: Keys
) -> None:
    """It had applied the opt-out by the time it was first heard of, and nobody knows since when."""
    revision = await opt_out(server, keys, "k1")
    subscriber(server, "mailer", applied=revision)

    (row,) = (await tables(await signed_in(server, keys, "operate"), "/propagation.json"))[
        "opt-outs"
    ]

    assert (row["state"], row["after_seconds"]) == ("applied by all", None)


async def test_the_clock_tells_who_is_waited_for_and_until_when(
    server: Running, keys: Keys
) -> None:
    person = await signed_in(server, keys, "operate")
    revision = await opt_out(server, keys, "k1", "US")
    subscriber(server, "mailer")

    told = await tables(person, "/clock.json")

    (figures,) = told["now"]
    assert (figures["waiting"], figures["near"], figures["over"]) == (1, 0, 0)
    assert 47 * HOUR < figures["left_seconds"] <= 48 * HOUR
    (waiting,), (last,) = told["waiting"], told["opt-outs"]
    for row in (waiting, last):
        assert (row["revision"], row["standing"], row["waiting_for"]) == (
            revision,
            "waiting",
            ["mailer"],
        )
        assert (row["policy"], row["jurisdiction"]) == ("mailbox-providers", "US")
        assert row["other_deadlines"][0].startswith("can-spam ")
    assert {row["policy"] for row in told["policies"]} == set(
        server.service.rules.policies.policies
    )

    server.service.registry.report("stream of mailer", revision)
    told = await tables(person, "/clock.json")

    assert told["waiting"] == []
    assert [row["standing"] for row in told["opt-outs"]] == ["applied by all"]


async def test_an_opt_out_that_is_over_is_first_however_old_it_is(
    server: Running, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page has room for the last opt-outs alone; who is waited for is found from the least."""
    monkeypatch.setattr(app, "PAGE_ROWS_MAX", 2)
    subscriber(server, "mailer")
    old = await opt_out(server, keys, "k0", "US")
    for number in range(1, 4):
        await opt_out(server, keys, f"k{number}", "")
    far_ahead = server.service.now() + 3 * 24 * HOUR * 1_000_000
    monkeypatch.setattr(server.service, "now", lambda: far_ahead)
    person = await signed_in(server, keys, "operate")

    page = (await person.get("/clock")).body.decode()
    older = await person.get("/clock?before=3")

    assert "Cut here" in page
    assert '<a href="/clock?before=3" rel="next">' in page
    assert f">{old}</th>" in older.body.decode()
    told = await tables(person, "/clock.json")
    assert {row["standing"] for row in told["waiting"]} == {"over"}
    assert old in {row["revision"] for row in told["waiting"]}


async def test_a_page_is_read_again_without_what_stands_around_it(
    server: Running, keys: Keys
) -> None:
    person = await signed_in(server, keys)
    for view in VIEWS:
        if view.form is not None or not view.live_seconds:
            continue

        part = (await person.get(f"/{view.name}.part")).body.decode()

        page = (await person.get(f"/{view.name}")).body.decode()
        assert f'data-url="/{view.name}.part"' in page
        assert "<html" not in part
        assert part.count("data-part") == page.count("data-part") > 0


@pytest.mark.parametrize("view", [one for one in VIEWS if one.form is None], ids=lambda it: it.name)
async def test_every_export_of_a_view_has_the_rows_of_its_page(
    tmp_path: Path, keys: Keys, view: View
) -> None:
    clock = FakeClock()
    async with running_server(tmp_path / "server", authenticator=keys, clock=clock) as server:
        await opt_out(server, keys, "k1", "US")
        clock.stand_still()
        person = await signed_in(server, keys)

        page = await person.get(f"/{view.name}")
        told = json.loads((await person.get(f"/{view.name}.json")).body)
        pdf = await person.get(f"/{view.name}.pdf")

        assert page.code == 200
        for table, said in told["tables"].items():
            with capture_logs() as logs:
                answer = await person.get(f"/{view.name}.csv?table={table}")
            assert answer.headers["content-type"].startswith("text/csv")
            assert "attachment" in answer.headers["content-disposition"]
            rows = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
            assert rows == [as_csv(row) for row in said["rows"]]
            assert f'<h2 id="title-{table}">{said["title"]}</h2>' in page.body.decode()
            (line,) = (one for one in logs if one["event"] == "dashboard_exported")
            assert (line["view"], line["rows"], line["tenant"]) == (view.name, len(rows), "default")
    text = "\n".join(one.extract_text() for one in PdfReader(io.BytesIO(pdf.body)).pages)
    assert f"heed · {told['title']} · default" in text
    assert f"by {told['asked_by']}" in text
    assert "page 1 of " in text
    for said in told["tables"].values():
        assert said["title"] in text


def as_csv(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: as_cell(value) for name, value in row.items()}


def as_cell(value: Any) -> str:
    if value is None:
        return ""
    return "; ".join(value) if isinstance(value, list) else str(value)


async def test_a_table_that_is_cut_says_so_on_the_page_and_in_every_file(
    server: Running, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PAGE_ROWS_MAX", "EXPORT_ROWS_MAX", "PDF_ROWS_MAX"):
        monkeypatch.setattr(app, name, 2)
        assert getattr(limits, name) > 2
    for number in range(4):
        subscriber(server, f"mailer-{number}")
    person = await signed_in(server, keys)

    page = await person.get("/propagation")
    listed = await person.get("/propagation.csv?table=subscribers")
    told = json.loads((await person.get("/propagation.json")).body)
    printed = await person.get("/propagation.pdf")

    assert b"Cut here" in page.body
    assert listed.body.decode().splitlines()[-1].startswith("(cut here")
    assert "-cut.csv" in listed.headers["content-disposition"]
    assert told["tables"]["subscribers"]["cut"]
    assert "Cut here" in PdfReader(io.BytesIO(printed.body)).pages[0].extract_text()


async def test_a_figure_counts_all_where_its_table_is_cut(
    server: Running, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "EXPORT_ROWS_MAX", 1)
    everything = await keys.of("admin", "operate")
    subscriber(server, "mailer")
    for number in range(2):
        hold = asks.place_hold(f"stopped-{number}", key=f"hold-{number}")
        await server.call("PlaceHold", hold, key=everything)
        topic = asks.declare_topic(f"login-{number}", f"topic-{number}", pb.TOPIC_CLASS_MANDATORY)
        await server.call("DeclareTopic", topic, key=everything)
        await opt_out(server, keys, f"choice-{number}", "US")
    person = await signed_in(server, keys)
    far_ahead = server.service.now() + 3 * 24 * HOUR * 1_000_000
    monkeypatch.setattr(server.service, "now", lambda: far_ahead)

    (now,) = (await tables(person, "/now.json"))["now"]
    (topics,) = (await tables(person, "/topics.json"))["now"]
    (clock,) = (await tables(person, "/clock.json"))["now"]

    assert now["holds_in_force"] == 2
    assert topics["mandatory_topics"] == 2
    assert (clock["waiting"], clock["over"]) == (2, 2)


async def test_a_table_of_as_many_rows_as_may_be_told_is_not_cut(
    server: Running, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "EXPORT_ROWS_MAX", 1)
    topic = asks.declare_topic("login", "t", pb.TOPIC_CLASS_MANDATORY)
    await server.call("DeclareTopic", topic, key=await keys.of("admin"))
    person = await signed_in(server, keys)

    told = json.loads((await person.get("/topics.json")).body)["tables"]

    assert [told[name]["cut"] for name in ("mandatory", "topics")] == [False, False]


async def test_a_database_that_is_away_is_said_and_nobody_is_signed_out(
    server: Running, keys: Keys
) -> None:
    person = await signed_in(server, keys)
    await server.store.close()

    answer = await person.get("/clock")

    assert (answer.code, answer.headers["retry-after"]) == (503, "5")
    assert b"No answer just now" in answer.body
    assert person.cookies


async def test_the_page_names_other_tenants_only_to_who_may_see_them(
    server: Running, keys: Keys
) -> None:
    administrator = await keys.of("admin")
    await server.call("CreateTenant", admin.CreateTenantRequest(name="shop"), key=administrator)
    everywhere = await signed_in(server, keys, "operate")
    at_home = Person(app_of(server, keys))
    await at_home.sign_in(await keys.of("operate", tenant="shop"))

    chosen = (await everywhere.get("/propagation?tenant=shop")).body.decode()
    theirs = (await at_home.get("/propagation")).body.decode()

    assert "<option selected>shop</option>" in chosen
    assert "<option>default</option>" in chosen
    assert 'href="/propagation.json?tenant=shop"' in chosen
    assert "<option" not in theirs
    assert "default" not in theirs
    assert "Tenant <strong>shop</strong>" in theirs
