"""Choices over REST: recorded once, confirmed exactly, and never said before they are committed."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.rest import ADA, Rest, a_check
from tests.support.servers import Running, running_server

ORIGIN = {"source": "preference-page", "method": "web_form"}
EVIDENCE = {
    "notice": "newsletter-consent",
    "notice_version": "2026-03",
    "act": "ticked the box and pressed Save",
    "language": "de-AT",
}
KEY = {"idempotency-key": "key-1"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def rest(server: Running) -> Rest:
    return Rest(server.service)


def an_opt_out(**said: object) -> dict[str, object]:
    return {"subjects": [{"email": ADA}], "origin": ORIGIN, **said}


async def test_an_opt_out_is_201_with_its_scopes_and_since_when_and_stops(
    server: Running, rest: Rest
) -> None:
    scopes = [{"channel": "email", "topic": "marketing"}, {"channel": "sms", "topic": ""}]

    answer = await rest.post("/v1/opt-outs", an_opt_out(scopes=scopes), KEY)
    check = await rest.post("/v1/checks", a_check(token=answer.body["position"]["token"]))

    assert answer.code == 201
    assert answer.body["scopes"] == scopes
    assert answer.body["effective_time"] == answer.body["position"]["now"]
    assert [one["effect"] for one in answer.body["stored"]] == ["applied", "applied"]
    assert [one["revision"] for one in answer.body["standing"]] == [2, 1]
    assert answer.body["still_sent"] == ["transactional", "mandatory"]
    assert answer.body["receipt_claim"].startswith("heed.dev/log/")
    assert check.body["verdict"] == "suppressed"
    assert await server.head() == 2


async def test_the_same_key_is_the_same_answer_and_with_another_body_422(
    server: Running, rest: Rest
) -> None:
    first = await rest.post("/v1/opt-outs", an_opt_out(), KEY)
    again = await rest.post("/v1/opt-outs", an_opt_out(), {"idempotency-key": '"key-1"'})
    other = await rest.post("/v1/opt-outs", an_opt_out(reach="all"), KEY)

    assert (first.code, again.code, other.code) == (201, 200, 422)
    assert again.body == {**first.body, "replayed": True}
    assert other.reason == "IDEMPOTENCY_KEY_REUSED"
    assert await server.head() == 1


@pytest.mark.parametrize("key", [None, "", '"half', "ümlaut", "x" * 129])
async def test_a_write_without_a_good_key_is_400_and_changes_nothing(
    server: Running, rest: Rest, key: str | None
) -> None:
    headers = {} if key is None else {"idempotency-key": key}

    answer = await rest.post("/v1/opt-outs", an_opt_out(), headers)

    assert answer.code == 400
    assert await server.head() == 0


async def test_what_stands_is_looked_up_with_who_said_so(rest: Rest) -> None:
    await rest.post("/v1/opt-outs", an_opt_out(reach="all"), KEY)

    answer = await rest.post("/v1/preferences/lookup", {"subjects": [{"email": ADA}]})

    (record,) = answer.body["records"]
    assert answer.code == 200
    assert record["kind"] == "opt_out"
    assert record["scope"] == {"channel": "any", "topic": ""}
    assert record["reach"] == "all"
    assert record["origin"] == ORIGIN


async def test_an_opt_in_lifts_an_opt_out_and_says_what_still_stands(rest: Rest) -> None:
    scopes = [{"channel": "email", "topic": "marketing"}]
    decided = {**ORIGIN, "decided_time": "2026-03-01T12:00:00Z"}
    wider = await rest.post(
        "/v1/opt-outs", an_opt_out(origin={**decided, "decided_time": "2026-02-01T12:00:00Z"}),
        {"idempotency-key": "key-0"},
    )  # fmt: skip
    answer = await rest.post(
        "/v1/opt-ins",
        {**an_opt_out(scopes=scopes), "origin": decided, "evidence": EVIDENCE},
        KEY,
    )
    check = await rest.post("/v1/checks", a_check())

    assert (wider.code, answer.code) == (201, 201)
    assert [one["kind"] for one in answer.body["standing"]] == ["opt_out", "opt_in"]
    assert answer.body["effective_time"] == "2026-03-01T12:00:00Z"
    assert check.body["verdict"] == "allowed"


async def test_a_pause_stops_until_it_is_ended(rest: Rest) -> None:
    until = "2099-01-01T00:00:00Z"
    paused = await rest.post("/v1/pauses", an_opt_out(end_time=until), KEY)
    during = await rest.post("/v1/checks", a_check())
    ended = await rest.post("/v1/pauses/end", an_opt_out(), {"idempotency-key": "key-2"})
    after = await rest.post("/v1/checks", a_check())

    assert (paused.code, ended.code) == (201, 201)
    assert during.body["reasons"][0]["rule"] == "pause"
    assert during.body["reasons"][0]["until_time"] == until
    assert after.body["verdict"] == "allowed"


async def test_quiet_hours_stop_by_the_clock_of_the_person_and_until_they_are_ended(
    rest: Rest,
) -> None:
    always = [{"start": "00:00", "end": "00:00"}]
    nights = [{"start": "22:00", "end": "08:00", "days": ["monday", "sunday"]}]
    said = an_opt_out(time_zone="Europe/Vienna", periods=always)
    quiet = await rest.post("/v1/quiet-hours", said, KEY)
    during = await rest.post("/v1/checks", a_check())
    ended = await rest.post("/v1/quiet-hours/end", an_opt_out(), {"idempotency-key": "key-2"})
    after = await rest.post("/v1/checks", a_check())
    stored = await rest.post(
        "/v1/quiet-hours", {**said, "periods": nights}, {"idempotency-key": "key-3"}
    )

    assert (quiet.code, ended.code) == (201, 201)
    assert during.body["reasons"][0]["rule"] == "quiet_hours"
    assert after.body["verdict"] == "allowed"
    assert stored.body["stored"][0]["record"]["quiet_hours"] == {
        "time_zone": "Europe/Vienna",
        "periods": nights,
    }


async def test_until_when_not_to_ask_again_is_kept_beside_an_opt_out(rest: Rest) -> None:
    until = "2099-01-01T00:00:00Z"

    answer = await rest.post("/v1/opt-outs", an_opt_out(no_ask_until=until), KEY)

    assert answer.body["standing"][0]["no_ask_until"] == until


@pytest.mark.parametrize(
    ("path", "said", "pointers"),
    [
        ("/v1/opt-outs", {"scopes": []}, ["/scopes"]),
        ("/v1/opt-outs", {"scopes": [{"topic": "A"}]}, ["/scopes/0/topic"]),
        ("/v1/opt-outs", {"scopes": [{}, {}]}, ["/scopes/1"]),
        ("/v1/opt-outs", {"scopes": [{"chanel": "sms"}]}, ["/scopes/0/chanel"]),
        ("/v1/opt-outs", {"reach": "everything"}, ["/reach"]),
        ("/v1/opt-outs", {"origin": {"source": ""}}, ["/origin/source"]),
        ("/v1/opt-outs", {"origin": {}}, ["/origin/source"]),
        ("/v1/opt-outs", {"wait_propagated_seconds": 31}, ["/wait_propagated_seconds"]),
        ("/v1/opt-outs", {"wait_propagated_seconds": -1e300}, ["/wait_propagated_seconds"]),
        ("/v1/opt-outs", {"origin": {**ORIGIN, "decided_time": "yesterday"}}, ["/origin/decided_time"]),
        ("/v1/opt-outs", {"origin": {**ORIGIN, "decided_time": "1960-01-01T00:00:00Z"}}, ["/origin/decided_time"]),
        ("/v1/pauses", {"end_time": "2026-01-01T00:00:00"}, ["/end_time"]),
        ("/v1/pauses", {"end_time": "2099-01-01T00:00:00Z", "reach": "all"}, ["/reach"]),
        ("/v1/pauses/end", {"origin": {"source": "crm", "method": "operator"}}, ["/origin/method"]),
        ("/v1/quiet-hours", {"time_zone": "Mars", "periods": []}, ["/time_zone", "/periods"]),
        (
            "/v1/quiet-hours",
            {"time_zone": "UTC", "periods": [{"start": "24:00", "end": "8", "days": ["mon"]}]},
            ["/periods/0/start", "/periods/0/end", "/periods/0/days/0"],
        ),
        (
            "/v1/quiet-hours",
            {"time_zone": "UTC", "periods": [{"start": "22:00", "end": "08:00", "days": ["monday"] * 2}]},
            ["/periods/0/days"],
        ),
        ("/v1/opt-ins", {"evidence": EVIDENCE}, ["/origin/decided_time"]),
        (
            "/v1/opt-ins",
            {
                "scopes": [{"topic": "a"}, {"topic": "b"}],
                "origin": {**ORIGIN, "decided_time": "2026-03-01T12:00:00Z"},
                "evidence": {**EVIDENCE, "act": "", "truncated_ip": "192.0.2.7/32"},
                "end_time": "2026-02-01T12:00:00Z",
            },
            ["/end_time", "/evidence/act", "/evidence/truncated_ip"],
        ),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_choice_is_named_and_changes_nothing(
    server: Running, rest: Rest, path: str, said: dict[str, object], pointers: list[str]
) -> None:
    answer = await rest.post(path, an_opt_out(**said), KEY)

    assert (answer.code, answer.reason) == (422, "INVALID_FIELD")
    assert answer.pointers == pointers
    assert await server.head() == 0
