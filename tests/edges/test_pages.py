"""The preference page, in this process: what it shows, what is chosen on it, and what is refused."""

import asyncio
import html
import re
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from pathlib import Path
from unittest import mock

import pytest

from heed.errors import HeedError
from heed.model import Instant
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_server import links, page_links
from heed_server.service import Service
from heed_server.service.caps import CapLimits, Caps
from heed_server.web.limits import BODY_BYTES_MAX, PageLimits
from heed_server.web.public.looks import looks_of
from tests.support import requests as asks
from tests.support.api_keys import Keys
from tests.support.servers import Running, running_server
from tests.support.web import (
    PRESS,
    URLENCODED,
    Answered,
    app_of,
    ask,
    choose,
    link_for,
    page_for,
    path_of,
    press,
)

ADA = "ada@example.com"
HOUR = 3_600_000_000
SIGNAL = {"sec-gpc": "1"}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as server:
        for name, title in (("news", "Weekly letter"), ("offers", "Offers & <deals>")):
            await declare(server, name, title)
        yield server


async def declare(
    server: Running,
    name: str,
    title: str = "",
    *,
    topic_class: pb.TopicClass.ValueType = pb.TOPIC_CLASS_PROMOTIONAL,
    requires_opt_in: bool = False,
) -> None:
    """Declare a topic."""
    mandatory = [pb.CHANNEL_EMAIL] if topic_class == pb.TOPIC_CLASS_MANDATORY else []
    request = admin.DeclareTopicRequest(
        idempotency_key=f"topic-{name}",
        origin=asks.origin(),
        topic=pb.Topic(
            name=name,
            title=title,
            topic_class=topic_class,
            mandatory_channels=mandatory,
            requires_opt_in=requires_opt_in,
        ),
    )
    await server.call("DeclareTopic", request)


async def is_allowed(
    server: Running,
    topic: str = "news",
    email: str = ADA,
    channel: pb.Channel.ValueType = pb.CHANNEL_EMAIL,
) -> bool:
    """Whether a message may be sent."""
    query = pb.Query(subjects=[asks.subject(email)], channel=channel, topic=topic)
    answer = await server.call("CheckSuppression", preference.CheckSuppressionRequest(query=query))
    return bool(answer.decision.verdict == pb.VERDICT_ALLOWED)


async def records_of(server: Running, email: str = ADA) -> list[pb.Record]:
    """What stands for somebody, with who said so."""
    asked = preference.GetPreferencesRequest(subjects=[asks.subject(email)])
    return list((await server.call("GetPreferences", asked)).records)


def text_of(answer: Answered) -> str:
    """What a page says."""
    main = answer.body.decode().partition("<main")[2]
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", "<main" + main)))


def field_of(answer: Answered, name: str) -> str:
    """What a hidden field of a page holds."""
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.body.decode())
    assert found is not None, name
    return html.unescape(found[1])


async def consent_to(server: Running, path: str, scope: str) -> dict[str, str]:
    """The fields of the form by which somebody opts in at a scope, as its page has them."""
    page = await ask(app_of(server.service), "GET", f"{path}?start={scope}")
    assert page.code == 200
    names = ("act", "scope", "stood", "version")
    return {name: field_of(page, name) for name in names} | {"agreed": "yes"}


def later(server: Running, by: int) -> AbstractContextManager[object]:
    """The server's clock stands so many microseconds ahead of now."""
    then = Instant(server.service.now() + by)
    return mock.patch.object(server.service, "now", return_value=then)


async def test_a_page_shows_each_topic_by_its_title_and_what_stands(running: Running) -> None:
    app, path = app_of(running.service), await page_for(running)
    before = text_of(await ask(app, "GET", path))
    await choose(app, path, act="stop", scope="email/news")

    after = text_of(await ask(app, "GET", path))

    assert "Weekly letter (Offers and news) Email: You get this. Stop" in before
    assert "You have not chosen anything yet." in before
    assert "Weekly letter (Offers and news) Email: Stopped since" in after
    assert "Offers & <deals> (Offers and news) Email: You get this." in after
    assert "Stopped since" in after.partition("What stands for you")[2]
    assert "“Weekly letter” by email" in after.partition("What stands for you")[2]


async def test_stopping_a_topic_stops_it_there_and_nothing_else(running: Running) -> None:
    answer = await choose(
        app_of(running.service), await page_for(running), act="stop", scope="email/news"
    )

    said = text_of(answer)
    (record,) = await records_of(running)
    assert answer.code == 200
    assert not await is_allowed(running)
    assert await is_allowed(running, "offers")
    assert "Unsubscribed What stops “Weekly letter” by email Where Only by email." in said
    assert re.search(r"Since when \d+ \w+ \d{4}, \d\d:\d\d UTC", said)
    assert "This is entry 3 of a log" in said
    assert "/1 3+1 " in said
    assert (record.origin.source, record.origin.actor) == ("page", "person")
    assert record.origin.method == pb.METHOD_WEB_FORM
    assert record.origin.jurisdiction == "US-CA"
    assert re.fullmatch(r"[0-9a-f]{16}", record.origin.reference)


async def test_everything_is_stopped_by_one_button(running: Running) -> None:
    await declare(running, "receipts", topic_class=pb.TOPIC_CLASS_TRANSACTIONAL)
    app, path = app_of(running.service), await page_for(running)

    answer = await choose(app, path, act="stop", scope="any/")

    said = text_of(answer)
    assert not await is_allowed(running, "news")
    assert not await is_allowed(running, "never.declared", channel=pb.CHANNEL_SMS)
    assert await is_allowed(running, "receipts")
    assert "Everywhere: by email, text message" in said
    assert "What you will still get Messages about something you did" in said
    page = text_of(await ask(app, "GET", path))
    assert "Stopped since" in page.partition("Everything")[2]
    assert "with: all promotional messages." in page


async def test_what_was_chosen_stands_under_each_identifier_of_the_person(
    running: Running,
) -> None:
    path = await page_for(running, ADA, "ada@work.example", user="u-1")

    await choose(app_of(running.service), path, act="stop", scope="any/news")

    assert not await is_allowed(running, email=ADA)
    assert not await is_allowed(running, email="ada@work.example")
    page = text_of(await ask(app_of(running.service), "GET", path))
    assert "This page is for a…@example.com and a…@work.example." in page
    assert page.count("Stopped since") == 2  # at its topic, and once in the list of all


async def test_a_form_that_is_sent_again_is_one_change(running: Running) -> None:
    app, path = app_of(running.service), await page_for(running)
    head = await running.head()

    answers = [await choose(app, path, act="stop", scope="email/news") for _ in range(3)]
    at_once = await asyncio.gather(
        *(choose(app, path, act="stop", scope="email/offers") for _ in range(20))
    )

    assert {answer.code for answer in (*answers, *at_once)} == {200}
    assert await running.head() == head + 2


async def test_opting_in_needs_the_box_and_records_what_was_shown(running: Running) -> None:
    app, path = app_of(running.service), await page_for(running)
    await choose(app, path, act="stop", scope="email/news")
    asked = await consent_to(running, path, "email/news")
    unticked = await choose(app, path, {**asked, "agreed": ""})
    stopped = await is_allowed(running)

    answer = await choose(app, path, asked, client="203.0.113.77")

    (given,) = [one for one in await records_of(running) if one.kind == pb.RECORD_KIND_OPT_IN]
    assert unticked.code == 400
    assert "tick the box" in text_of(unticked)
    assert not stopped
    assert answer.code == 200
    assert await is_allowed(running)
    assert "You get this What you agreed to “Weekly letter” by email" in text_of(answer)
    assert "This is entry 4 of a log" in text_of(answer)
    assert given.evidence.notice == "Yes, send me “Weekly letter” by email."
    assert given.evidence.notice_version == asked["version"]
    assert given.evidence.act.startswith("ticked the box")
    assert given.evidence.language == "en"
    assert given.evidence.truncated_ip == "203.0.113.0/24"
    assert given.origin.HasField("decided_time")


async def test_an_opt_in_lifts_what_it_names_and_the_page_says_what_still_stands(
    running: Running,
) -> None:
    app, path = app_of(running.service), await page_for(running)
    await choose(app, path, act="stop", scope="any/")
    await choose(app, path, act="stop", scope="email/offers")

    answer = await choose(app, path, await consent_to(running, path, "email/news"))

    assert await is_allowed(running, "news")
    assert not await is_allowed(running, "offers")
    assert not await is_allowed(running, "other")
    still = text_of(answer).partition("What still stands")[2]
    assert "“Offers & <deals>” by email" in still
    assert "all promotional messages" in still


async def test_an_opt_in_that_cannot_lift_a_suppression_says_so(running: Running) -> None:
    request = asks.add_suppressions(ADA)
    await running.call("AddSuppressions", request)
    app, path = app_of(running.service), await page_for(running)
    await choose(app, path, act="stop", scope="email/news")
    page = text_of(await ask(app, "GET", path))

    shown = await ask(app, "GET", f"{path}?start=email/news")
    answer = await choose(
        app,
        path,
        act="start",
        scope="email/news",
        agreed="yes",
        stood=field_of(shown, "stood"),
        version=field_of(shown, "version"),
    )

    assert "Not sent. Messages to you came back." in page
    assert answer.code == 200
    assert "As it is now Not sent. Messages to you came back." in text_of(answer)
    assert not await is_allowed(running)


async def test_nobody_opts_in_to_everything_nor_to_what_the_page_does_not_show(
    running: Running,
) -> None:
    app, path = app_of(running.service), await page_for(running)
    head = await running.head()

    for scope in ("any/", "email/", "processing/", "email/undeclared", "sms/news"):
        shown = await ask(app, "GET", f"{path}?start={scope}")
        answer = await choose(
            app, path, act="start", scope=scope, agreed="yes", stood="0", version="0" * 64
        )

        assert "Do you want this?" not in text_of(shown), scope
        assert answer.code == 400, scope
    assert await running.head() == head


async def test_a_form_of_an_opt_in_that_is_sent_again_undoes_no_later_stop(
    running: Running,
) -> None:
    """As by a reload, or out of a history, after the person pressed the link of a mail."""
    app, path = app_of(running.service), await page_for(running)
    await choose(app, path, act="stop", scope="email/news")
    asked = await consent_to(running, path, "email/news")
    await choose(app, path, asked)
    await press(app, await link_for(running))
    head = await running.head()

    answer = await choose(app, path, asked)
    without = await choose(app, path, {**asked, "stood": ""})

    assert answer.code == 409
    assert "something else was recorded since" in text_of(answer)
    assert without.code == 400
    assert not await is_allowed(running)
    assert await running.head() == head


async def test_a_reload_of_an_opt_in_is_one_change(running: Running) -> None:
    app = app_of(running.service, page_limits=PageLimits(choices_per_minute_max=100))
    path = await page_for(running)
    await choose(app, path, act="stop", scope="email/news")
    asked = await consent_to(running, path, "email/news")
    head = await running.head()

    answers = await asyncio.gather(*(choose(app, path, asked) for _ in range(10)))
    again = await choose(app, path, asked)

    assert {answer.code for answer in (*answers, again)} == {200}
    assert await running.head() == head + 1


async def test_an_opt_in_without_the_words_of_its_page_is_shown_them_anew(
    running: Running,
) -> None:
    app, path = app_of(running.service), await page_for(running)
    await choose(app, path, act="stop", scope="email/news")
    asked = await consent_to(running, path, "email/news")

    answer = await choose(app, f"{path}?lang=de", asked)

    assert answer.code == 409
    assert "Der Text dieser Seite hat sich inzwischen geändert" in text_of(answer)
    assert field_of(answer, "version") != asked["version"]
    assert not await is_allowed(running)


async def test_a_pause_ends_by_itself_and_by_the_person(running: Running) -> None:
    app, path = app_of(running.service), await page_for(running)
    page = await ask(app, "GET", path)
    day = re.findall(r'name="until" value="([0-9-]+)"', page.body.decode())[1]

    answer = await choose(app, path, act="pause", scope="any/", until=day, stood="0")
    paused = await is_allowed(running)
    shown = await ask(app, "GET", path)
    ended = await choose(app, path, act="end-pause", scope="any/", stood=field_of(shown, "stood"))

    assert answer.code == 200
    assert "Paused What is paused all promotional messages" in text_of(answer)
    assert "00:00 UTC" in text_of(answer).partition("Until when")[2]
    assert not paused
    assert "Paused until" in text_of(shown)
    assert ended.code == 200
    assert "The pause has ended" in text_of(ended)
    assert await is_allowed(running)


async def test_a_pause_to_a_day_of_ones_own(running: Running) -> None:
    app, path = app_of(running.service), await page_for(running)
    page = await ask(app, "GET", path)
    day = re.findall(r'name="until" value="([0-9-]+)"', page.body.decode())[2]

    answer = await choose(
        app, path, act="pause", scope="any/news", until="other", day=day, stood="0"
    )

    assert answer.code == 200
    assert not await is_allowed(running)
    assert await is_allowed(running, "offers")


async def test_a_day_that_no_pause_can_end_on_is_said_and_changes_nothing(
    running: Running,
) -> None:
    app, path = app_of(running.service), await page_for(running)
    head = await running.head()

    for day in ("", "tomorrow", "2020-01-01", "9999-12-31", "2026-02-30"):
        answer = await choose(app, path, act="pause", scope="any/", until="other", day=day)

        assert answer.code == 400, day
        assert "choose a day that is still to come" in text_of(answer)
        assert b'role="alert"' in answer.body
    assert await running.head() == head


async def test_an_old_form_neither_ends_nor_shortens_a_pause(running: Running) -> None:
    app, path = app_of(running.service), await page_for(running)
    page = await ask(app, "GET", path)
    days = re.findall(r'name="until" value="([0-9-]+)"', page.body.decode())
    await choose(app, path, act="pause", scope="any/", until=days[2], stood="0")
    head = await running.head()

    shorter = await choose(app, path, act="pause", scope="any/", until=days[0], stood="0")
    ended = await choose(app, path, act="end-pause", scope="any/", stood="0")
    again = await choose(app, path, act="pause", scope="any/", until=days[2], stood="0")

    assert (shorter.code, ended.code, again.code) == (409, 409, 200)
    assert await running.head() == head


ALL_DAY = {"act": "quiet", "scope": "any/", "begin": "00:00", "end": "00:00"}
VIENNA = {**ALL_DAY, "zone": "Europe/Vienna"}


async def test_quiet_hours_are_kept_until_the_person_ends_them(running: Running) -> None:
    await declare(running, "security", topic_class=pb.TOPIC_CLASS_MANDATORY)
    app, path = app_of(running.service), await page_for(running)

    answer = await choose(app, path, VIENNA, stood="0")
    quiet, mandatory = await is_allowed(running), await is_allowed(running, "security")
    shown = await ask(app, "GET", path)
    ended = await choose(app, path, act="end-quiet", scope="any/", stood=field_of(shown, "stood"))

    said = "When 00:00 to 00:00 (every day), by the clock of Europe/Vienna"
    assert (answer.code, ended.code) == (200, 200)
    assert "What is kept quiet all promotional messages Where Everywhere" in text_of(answer)
    assert said in text_of(answer)
    assert "still get at other hours Offers and news that you have not stopped" in text_of(answer)
    assert (quiet, mandatory) == (False, True)
    assert "Quiet 00:00 to 00:00 (every day)" in text_of(shown)
    assert "Weekly letter (Offers and news) Email: You get this." in text_of(shown)
    assert "The quiet hours have ended" in text_of(ended)
    assert await is_allowed(running)


async def test_quiet_hours_are_of_some_days(running: Running) -> None:
    app, path = app_of(running.service), await page_for(running)

    answer = await choose(
        app, path, {**VIENNA, "begin": "22:00", "end": "10:30", "d6": "yes", "d7": "yes"}
    )

    (record,) = await records_of(running)
    (period,) = record.quiet_hours.periods
    assert answer.code == 200
    assert "22:00 to 10:30 (Saturday and Sunday)" in text_of(answer)
    assert (period.start_minute, period.end_minute) == (1320, 630)
    assert list(period.days) == [pb.DAY_OF_WEEK_SATURDAY, pb.DAY_OF_WEEK_SUNDAY]


async def test_quiet_hours_that_cannot_be_are_said_and_change_nothing(running: Running) -> None:
    app, path = app_of(running.service), await page_for(running)
    head = await running.head()

    for wrong in (
        {"zone": "Europe/Atlantis"},
        {"zone": ""},
        {"begin": "24:00"},
        {"end": "8"},
        {"end": ""},
    ):
        answer = await choose(app, path, {**VIENNA, **wrong})

        assert answer.code == 400, wrong
        assert "No quiet hours were set" in text_of(answer)
    assert await running.head() == head


async def test_an_old_form_leaves_no_hour_free_that_is_quiet(running: Running) -> None:
    app, path = app_of(running.service), await page_for(running)
    await choose(app, path, VIENNA, stood="0")
    head = await running.head()

    shorter = await choose(app, path, {**VIENNA, "begin": "22:00"}, stood="0")
    ended = await choose(app, path, act="end-quiet", scope="any/", stood="0")
    again = await choose(app, path, VIENNA, stood="0")

    assert (shorter.code, ended.code, again.code) == (409, 409, 200)
    assert await running.head() == head


async def test_who_wants_not_to_be_asked_again_is_not_but_finds_the_way(running: Running) -> None:
    request = asks.set_preference(asks.opt_out("news"))
    request.choices[0].opt_out.no_ask_until.FromJsonString("2099-01-01T00:00:00Z")
    await running.call("SetPreference", request)
    app, path = app_of(running.service), await page_for(running)

    page = await ask(app, "GET", path)
    again = await ask(app, "GET", f"{path}?again=1")
    started = await choose(app, path, await consent_to(running, path, "email/news"))

    assert "Email: Stopped since" in text_of(page)
    assert b"?start=" not in page.body
    assert "I want to start something again that I have stopped" in text_of(page)
    assert b"?start=email/news" in again.body
    assert "I want to start something again" not in text_of(again)
    assert started.code == 200
    assert await is_allowed(running)


async def test_an_old_page_link_shows_nothing_that_stands_and_still_stops(
    running: Running,
) -> None:
    app, path = app_of(running.service), await page_for(running)
    await choose(app, path, act="stop", scope="email/news")
    asked = await consent_to(running, path, "email/news")

    with later(running, 24 * HOUR):
        page = await ask(app, "GET", path)
        receipt = await ask(app, "GET", f"{path}?receipt=3")
        opted_in = await choose(app, path, asked)
        paused = await choose(app, path, act="pause", scope="any/", until="2099-01-01")
        ended = await choose(app, path, act="end-pause", scope="any/", stood="3")
        again = await choose(app, path, act="stop", scope="email/news")
        stopped = await choose(app, path, act="stop", scope="any/")

    assert page.code == receipt.code == 200
    for shown in (page, receipt):
        assert "This page has closed" in text_of(shown)
        assert "Weekly" not in text_of(shown)
        assert "a…@" not in text_of(shown)
    assert (opted_in.code, paused.code, ended.code) == (403, 403, 403)
    assert (again.code, stopped.code) == (200, 200)
    assert "This is entry" not in text_of(again) + text_of(stopped)
    assert not await is_allowed(running, "offers")


async def test_a_page_link_is_good_for_less_than_its_hours_by_each_clock(
    running: Running,
) -> None:
    service = running.service
    path = await page_for(running)
    page = service.open_page(path.removeprefix(page_links.PATH))
    assert page is not None

    with later(running, 24 * HOUR - 1_000_000):
        nearly = service.is_good(page)
    with later(running, -3_000_000):
        a_little_before = service.is_good(page)
    with later(running, -60_000_000):
        long_before = service.is_good(page)
    # The wall clock was set back a day; the boot clock tells.
    then = Instant(service.now() + 25 * HOUR)
    with mock.patch.object(service, "_now_by_boot", return_value=then):
        set_back = service.is_good(page)

    assert (nearly, a_little_before) == (True, True)
    assert (long_before, set_back) == (False, False)


async def test_neither_kind_of_link_opens_as_the_other(running: Running) -> None:
    app, head = app_of(running.service), await running.head()
    link = (await link_for(running)).removeprefix(links.PATH)
    page = (await page_for(running)).removeprefix(page_links.PATH)

    answers = [
        await ask(app, "GET", page_links.PATH + link),
        await choose(app, page_links.PATH + link, act="stop", scope="any/"),
        await ask(app, "GET", links.PATH + page),
        await press(app, links.PATH + page),
    ]

    assert {answer.code for answer in answers} == {404}
    assert await running.head() == head


async def test_a_page_of_another_tenant_changes_nothing_here(running: Running) -> None:
    await running.call("CreateTenant", admin.CreateTenantRequest(name="shop"))
    of_shop = await page_for(running, tenant="shop")
    of_default = await page_for(running, tenant="default")
    (_, default_key, _), (_, _, shop_sealed) = of_default.split("."), of_shop.split(".")
    before = await running.heads()

    moved = await choose(
        app_of(running.service),
        f"{page_links.PATH}v1.{default_key}.{shop_sealed}",
        act="stop",
        scope="any/",
    )
    chosen = await choose(app_of(running.service), of_shop, act="stop", scope="any/")

    assert (moved.code, chosen.code) == (404, 200)
    assert await running.heads() == {**before, "shop": 1}


NO_FORMS = (
    (URLENCODED, b""),
    (URLENCODED, PRESS),
    (URLENCODED, b"act=stop-everything"),
    (URLENCODED, b"act=stop"),
    (URLENCODED, b"act=stop&scope=news"),
    (URLENCODED, b"act=stop&scope=smoke/news"),
    (URLENCODED, b"act=stop&scope=email/No Topic"),
    (URLENCODED, b"act=erase&scope=email/news"),
    (URLENCODED, b"act=stop&scope=email/news&scope=any/"),
    (URLENCODED, b"act=stop&scope=email/news&more=1"),
    (URLENCODED, b"act=stop&scope=email/news&stood=-1"),
    (URLENCODED, b"act=stop&scope=email/news&stood=999999999999999999"),
    (URLENCODED, b"act=stop&scope=email/\xff"),
    (URLENCODED, b"act=stop&scope=email/%ff"),
    (URLENCODED, b"act=stop&scope=email/news" + b"&act=stop" * 20),
    ("text/plain", b"act=stop&scope=email/news"),
    ("", b"act=stop&scope=email/news"),
    ("application/json", b'{"act": "stop", "scope": "email/news"}'),
)


async def test_what_is_no_form_of_the_page_is_400_and_changes_nothing(running: Running) -> None:
    app, path, head = app_of(running.service), await page_for(running), await running.head()

    for content_type, body in NO_FORMS:
        answer = await ask(app, "POST", path, body, content_type=content_type)

        assert answer.code == 400, body
    assert await running.head() == head


async def test_a_form_about_what_there_is_not_is_400(running: Running) -> None:
    """So nobody fills the log by one page link; what there was, retired since, can be stopped."""
    retire = admin.RetireTopicRequest(name="offers", reason="it is over")
    retire.idempotency_key = "retire"
    retire.origin.CopyFrom(asks.origin())
    await running.call("RetireTopic", retire)
    app, path, head = app_of(running.service), await page_for(running), await running.head()

    refused = [
        (await choose(app, path, act="stop", scope=scope)).code
        for scope in ("email/none", "any/news.none", "email/", "push/")
    ]
    retired = await choose(app, path, act="stop", scope="email/offers")

    assert (refused, retired.code) == ([400] * 4, 200)
    assert await running.head() == head + 1


async def test_no_stop_is_refused_while_it_is_not_known_what_topics_there_are(
    running: Running,
) -> None:
    app, path = app_of(running.service), await page_for(running)
    away = mock.patch.object(Service, "declared_topics", return_value=None)

    with away:
        answer = await choose(app, path, act="stop", scope="email/news")
        link = await ask(app, "GET", await link_for(running))

    assert (answer.code, link.code) == (200, 200)
    assert not await is_allowed(running)


async def test_a_person_has_a_rate_for_all_but_stops_however_many_page_links(
    running: Running,
) -> None:
    limits = PageLimits(choices_per_minute_max=4, opt_ins_per_hour_max=2)
    app, codes = app_of(running.service, page_limits=limits), list[int]()
    paths = [await page_for(running) for _ in range(3)]

    for path in paths:
        stopped = await choose(app, path, act="stop", scope="email/news")
        started = await choose(app, path, await consent_to(running, path, "email/news"))
        codes += [stopped.code, started.code]
    path = paths[0]
    quiet = await choose(app, path, VIENNA)
    paused = await choose(app, path, act="pause", scope="any/", until="never")
    over = await choose(app, path, act="end-quiet", scope="any/", stood="0")
    stopped = await choose(app, path, act="stop", scope="any/")
    other = await page_for(running, "bob@example.com")

    assert codes == [200, 200, 200, 200, 200, 429]
    assert quiet.code == 200
    assert paused.code == 400
    assert over.code == 429
    assert int(over.headers["retry-after"]) >= 1
    assert stopped.code == 200
    assert (await choose(app, other, VIENNA)).code == 200


async def test_a_form_that_is_too_large_is_413(running: Running) -> None:
    path, head = await page_for(running), await running.head()

    answer = await ask(
        app_of(running.service), "POST", path, b"x" * (BODY_BYTES_MAX + 1), content_type=URLENCODED
    )

    assert answer.code == 413
    assert await running.head() == head


async def test_a_form_that_another_site_sent_is_403(running: Running) -> None:
    app, path, head = app_of(running.service), await page_for(running), await running.head()
    of_others = (
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "https://news.example.com.evil.example", "sec-fetch-site": "same-origin"},
    )
    ours = {"origin": "null", "sec-fetch-site": "same-origin"}

    refused = [
        (await choose(app, path, headers=sent, act="stop", scope="email/news")).code
        for sent in of_others
    ]
    taken = await choose(app, path, headers=ours, act="stop", scope="email/news")

    assert (refused, taken.code) == ([403] * 4, 200)
    assert await running.head() == head + 1


async def test_no_method_but_post_chooses(running: Running) -> None:
    path, head = await page_for(running), await running.head()

    codes = [
        (
            await ask(
                app_of(running.service),
                method,
                path,
                b"act=stop&scope=email/news",
                content_type=URLENCODED,
            )
        ).code
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE")
    ]

    assert codes == [200, 200, 204, 405, 405, 405, 405]
    assert await running.head() == head


async def test_a_signal_is_recorded_with_what_is_chosen_and_by_no_reading(
    running: Running,
) -> None:
    app, path = app_of(running.service), await page_for(running)
    waiting = await ask(app, "GET", path, headers=SIGNAL)
    before = await is_allowed(running, "profile", channel=pb.CHANNEL_PROCESSING)

    answer = await choose(app, path, headers=SIGNAL, act="stop", scope="email/news")
    again = await choose(app, path, headers=SIGNAL, act="stop", scope="email/news")
    shown = await ask(app, "GET", path, headers=SIGNAL)

    records = await records_of(running)
    assert "It will be recorded with the next button" in text_of(waiting)
    assert before
    assert not await is_allowed(running, "profile", channel=pb.CHANNEL_PROCESSING)
    assert "Global Privacy Control signal. It is honoured and recorded" in text_of(answer)
    assert again.code == 200
    assert "It is honoured" in text_of(shown)
    assert "Stopped since" in text_of(shown).partition("Global Privacy Control")[2]
    assert len(records) == 2
    assert {one.origin.reference[16:] for one in records} == {"; Sec-GPC: 1"}


async def test_who_stopped_all_of_the_processing_is_told_to_ask_for_it_again(
    running: Running,
) -> None:
    """There is no way back on the page, and none is asked about who wants not to be asked."""
    app, path = app_of(running.service), await page_for(running)
    before = text_of(await ask(app, "GET", path))

    await choose(app, path, act="stop", scope="processing/")
    stopped = text_of(await ask(app, "GET", path))
    german = text_of(await ask(app, "GET", f"{path}?lang=de"))
    request = asks.set_preference(
        asks.opt_out("", channel=pb.CHANNEL_PROCESSING), email="bob@example.com"
    )
    request.choices[0].opt_out.no_ask_until.FromJsonString("2099-01-01T00:00:00Z")
    await running.call("SetPreference", request)
    left_alone = text_of(await ask(app, "GET", await page_for(running, "bob@example.com")))

    said = "If you want to allow all of it again, ask us"
    assert said not in before
    assert said in stopped
    assert "wieder erlauben möchten, fragen Sie uns" in german
    assert said not in left_alone


async def test_an_opt_in_to_the_processing_is_worth_more_than_the_signal_beside_it(
    running: Running, tmp_path: Path
) -> None:
    file = tmp_path / "pages.toml"
    file.write_text(
        "[[tenants.default.topics]]\ntopic = 'news'\nchannels = ['email', 'processing']\n",
        encoding="utf-8",
    )
    app, path = app_of(running.service, looks=looks_of(file)), await page_for(running)
    await choose(app, path, headers=SIGNAL, act="stop", scope="email/news")
    stopped = await is_allowed(running, channel=pb.CHANNEL_PROCESSING)
    shown = await ask(app, "GET", f"{path}?start=processing/news", headers=SIGNAL)
    fields = {name: field_of(shown, name) for name in ("act", "scope", "stood", "version")}

    answer = await choose(app, path, {**fields, "agreed": "yes"}, headers=SIGNAL)
    agreed = await is_allowed(running, channel=pb.CHANNEL_PROCESSING)
    later_on = await choose(app, path, headers=SIGNAL, act="stop", scope="email/offers")

    assert (stopped, agreed) == (False, True)
    assert answer.code == later_on.code == 200
    assert "What you agree to here goes before it" in text_of(shown)
    assert "What you agree to here goes before it" in text_of(answer)
    assert "It is honoured and recorded" in text_of(later_on)
    assert not await is_allowed(running, channel=pb.CHANNEL_PROCESSING)


async def test_somebody_who_was_erased_still_has_a_page_and_can_stop(running: Running) -> None:
    app, path = app_of(running.service), await page_for(running)
    await choose(app, path, act="stop", scope="email/news")
    erase = admin.EraseSubjectRequest(
        idempotency_key="erase",
        subjects=[asks.subject(ADA)],
        reason="they asked",
        origin=asks.origin(),
    )
    await running.call("EraseSubject", erase)

    page = await ask(app, "GET", path)
    answer = await choose(app, path, act="stop", scope="any/")

    assert "Email: Stopped since" in text_of(page)
    assert answer.code == 200
    assert not await is_allowed(running, "offers")


async def test_a_link_records_the_signal_too(running: Running) -> None:
    app, path = app_of(running.service), await link_for(running)
    asked = await ask(app, "GET", path, headers=SIGNAL)

    answer = await ask(app, "POST", path, PRESS, content_type=URLENCODED, headers=SIGNAL)

    assert "with the next button that you press it is recorded" in text_of(asked)
    assert "It is honoured and recorded" in text_of(answer)
    assert not await is_allowed(running, "profile", channel=pb.CHANNEL_PROCESSING)
    assert not await is_allowed(running)


async def test_a_link_stops_everything_if_its_page_is_asked_to(running: Running) -> None:
    app, path = app_of(running.service), await link_for(running)
    head = await running.head()

    asked = await ask(app, "GET", path)
    answers = [
        await ask(app, "POST", path, b"act=stop-everything", content_type=URLENCODED)
        for _ in range(3)
    ]

    assert b'value="stop-everything"' in asked.body
    assert {answer.code for answer in answers} == {200}
    assert "all promotional messages" in text_of(answers[0])
    assert not await is_allowed(running, "offers", channel=pb.CHANNEL_SMS)
    assert await running.head() == head + 1


async def test_opt_ins_are_under_the_cap_of_whoever_had_the_page_links_made(
    tmp_path: Path,
) -> None:
    keys, emails = Keys(), [f"u{at}@example.com" for at in range(3)]
    caps = Caps(CapLimits(consents_per_hour_max=2))
    async with running_server(tmp_path, authenticator=keys, caps=caps) as server:
        key = await keys.of("write", "consent", "admin")
        topic = admin.DeclareTopicRequest(
            idempotency_key="topic",
            origin=asks.origin(),
            topic=pb.Topic(name="news", topic_class=pb.TOPIC_CLASS_PROMOTIONAL),
        )
        await server.call("DeclareTopic", topic, key=key)
        made = (await server.call("MakePageLinks", asks.make_page_links(*emails), key=key)).links
        codes: list[int] = []
        for link in made:
            asked = await consent_to(server, path_of(link.url), "email/news")
            codes.append((await choose(app_of(server.service), path_of(link.url), asked)).code)
        stopped = await choose(
            app_of(server.service), path_of(made[2].url), act="stop", scope="any/"
        )
        standing = await server.call(
            "GetPreferences",
            preference.GetPreferencesRequest(subjects=[asks.subject(emails[0])]),
            key=key,
        )

    assert codes == [200, 200, 503]
    assert stopped.code == 200
    assert standing.records[0].origin.reference.endswith("; made by key 1")


async def test_a_user_without_channels_of_their_own_chooses_by_topic(running: Running) -> None:
    path = await page_for(running, user="u-1")
    app = app_of(running.service)

    answer = await choose(app, path, act="stop", scope="any/news")
    page = text_of(await ask(app, "GET", path))

    assert answer.code == 200
    assert "This page is for a…@example.com." in page
    assert "Weekly letter (Offers and news) Email: Stopped since" in page


async def test_a_receipt_is_given_of_what_the_person_chose_and_of_nothing_else(
    running: Running,
) -> None:
    app, path = app_of(running.service), await page_for(running)
    await choose(app, path, act="stop", scope="email/news")
    proven = mock.AsyncMock()
    proven.return_value.text = "c2sp.org/tlog-proof@v1\n"

    with mock.patch.object(running.service.prover, "receipt", proven):
        own = await ask(app, "GET", f"{path}?receipt=3")
        others = [await ask(app, "GET", f"{path}?receipt={said}") for said in ("1", "4", "x", "")]
        of_somebody = await ask(
            app, "GET", f"{await page_for(running, 'bob@example.com')}?receipt=3"
        )

    assert own.code == 200
    assert own.headers["content-disposition"] == 'attachment; filename="receipt-3.txt"'
    assert own.headers["content-type"].startswith("text/plain")
    assert own.body.startswith(b"c2sp.org/tlog-proof@v1")
    assert {answer.code for answer in (*others, of_somebody)} == {404}
    proven.assert_awaited_once()


@pytest.mark.parametrize("error", [HeedError("it is away"), TimeoutError(), ValueError("a fault")])
async def test_what_is_not_known_to_be_committed_is_503(running: Running, error: Exception) -> None:
    path, head = await page_for(running), await running.head()

    with mock.patch.object(Service, "record_choices", side_effect=error):
        answer = await choose(app_of(running.service), path, act="stop", scope="email/news")

    assert answer.code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert await running.head() == head


async def test_a_page_that_cannot_be_read_is_503(running: Running) -> None:
    path = await page_for(running)

    with mock.patch.object(running.store, "standing", side_effect=HeedError("it is away")):
        answer = await ask(app_of(running.service), "GET", path)

    assert answer.code == 503
    assert "Nothing was changed" in text_of(answer)


async def test_a_page_speaks_the_language_of_the_browser_or_the_one_that_is_chosen(
    running: Running,
) -> None:
    app, path = app_of(running.service), await page_for(running)

    german = await ask(app, "GET", path, headers={"accept-language": "fr;q=0.9, de-AT;q=0.8"})
    english = await ask(
        app, "GET", f"{path}?lang=en", headers={"accept-language": "de-AT, de;q=0.8"}
    )
    unknown = await ask(app, "GET", f"{path}?lang=<script>", headers={"accept-language": "tlh"})

    assert b'<html lang="de">' in german.body
    assert "Ihre Einstellungen" in text_of(german)
    assert german.headers["content-language"] == "de"
    assert "Your choices" in text_of(english)
    assert b'action="?lang=en"' in english.body
    assert "Your choices" in text_of(unknown)
    assert b"<script" not in unknown.body


async def test_every_answer_is_kept_by_nobody_has_no_script_and_escapes(
    running: Running,
) -> None:
    await declare(running, "canary", '"><script>alert(1)</script>{{7919*7919}}')
    app, path = app_of(running.service), await page_for(running)
    await choose(app, path, act="stop", scope="email/canary")
    asked = await consent_to(running, path, "email/canary")
    answers = [
        await ask(app, "GET", path),
        await ask(app, "HEAD", path),
        await ask(app, "GET", f"{path}?start=email/canary"),
        await choose(app, path, act="stop", scope="email/canary"),
        await choose(app, path, asked),
        await choose(app, path, act="pause", scope="any/", until="never"),
        await ask(app, "GET", page_links.PATH + "v1.0"),
    ]

    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "script-src" not in policy
        assert not {"set-cookie", "location", "www-authenticate"} & set(answer.headers)
        assert b"<script" not in answer.body
        assert b"62710561" not in answer.body
        assert b"ada@" not in answer.body


async def test_the_page_of_somebody_unknown_looks_like_that_of_somebody_known(
    running: Running,
) -> None:
    app = app_of(running.service)
    known, unknown = await page_for(running, ADA), await page_for(running, "abe@example.com")
    await choose(app, known, act="pause", scope="any/news", until="never")

    pages = [await ask(app, "GET", path) for path in (known, unknown)]

    assert pages[0].body == pages[1].body
