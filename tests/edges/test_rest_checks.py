"""REST in this process: what is asked of it, who may ask, and how it refuses."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from heed_server.web.limits import RestLimits
from tests.support import requests as asks
from tests.support.api_keys import Keys
from tests.support.rest import PROBLEM, Rest, a_check
from tests.support.servers import Running, running_server


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def rest(server: Running) -> Rest:
    return Rest(server.service)


async def test_a_check_says_what_the_same_check_over_grpc_says(server: Running, rest: Rest) -> None:
    await server.call("SetPreference", asks.set_preference())

    over_rest = await rest.post("/v1/checks", a_check())
    over_grpc = await server.call("CheckSuppression", asks.check())

    assert over_rest.code == 200
    assert over_rest.body["verdict"] == "suppressed"
    assert over_rest.body["reasons"][0]["rule"] == "opt_out"
    assert over_rest.body["position"]["token"] == over_grpc.position.token
    assert over_rest.headers["cache-control"] == "no-store"


async def test_a_batch_is_answered_in_its_order_at_one_revision(
    server: Running, rest: Rest
) -> None:
    await server.call("SetPreference", asks.set_preference())

    answer = await rest.post(
        "/v1/checks/batch", {"queries": [a_check("bob@example.com"), a_check()]}
    )

    assert [one["verdict"] for one in answer.body["decisions"]] == ["allowed", "suppressed"]
    assert answer.body["position"]["revision"] == 1


async def test_a_token_of_later_than_this_node_knows_is_not_answered(rest: Rest) -> None:
    answer = await rest.post("/v1/checks", a_check(token="none"))

    assert (answer.code, answer.reason, answer.pointers) == (422, "BAD_TOKEN", ["/token"])


@pytest.mark.parametrize(
    ("body", "code", "pointers"),
    [
        ({}, 422, ["/subjects", "/channel"]),
        (a_check(chanel="sms"), 422, ["/chanel"]),
        (a_check(channel=7), 422, ["/channel"]),
        (a_check(channel="Email"), 422, ["/channel"]),
        (a_check(channel="any"), 422, ["/channel"]),
        (a_check(topic=None), 422, ["/topic"]),
        (a_check(subjects=[]), 422, ["/subjects"]),
        (a_check(subjects=[{}]), 422, ["/subjects/0"]),
        (a_check(subjects=[{"email": "a@b.c", "user": "u"}]), 422, ["/subjects/0"]),
        (a_check("nobody", topic="A B"), 422, ["/subjects/0/email", "/topic"]),
        ([], 422, [""]),
        ({"a/b~": 1, **a_check()}, 422, ["/a~1b~0"]),
    ],
)
async def test_what_is_wrong_is_named_by_its_place(
    rest: Rest, body: object, code: int, pointers: list[str]
) -> None:
    answer = await rest.post("/v1/checks", body)

    assert (answer.code, answer.reason) == (code, "INVALID_FIELD")
    assert answer.pointers == pointers


async def test_what_is_wrong_with_one_of_a_batch_is_named_by_its_place(rest: Rest) -> None:
    answer = await rest.post(
        "/v1/checks/batch", {"queries": [a_check(), a_check("nobody"), a_check(topic="A B")]}
    )

    assert answer.code == 422
    assert answer.pointers == ["/queries/1/subjects/0/email", "/queries/2/topic"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'"\xff"', b"[" * 100_000, b'{"a":"\\ud800"}']
)
async def test_what_is_no_json_is_400(rest: Rest, body: bytes) -> None:
    answer = await rest.post("/v1/checks", body)

    assert (answer.code, answer.reason) == (400, "MALFORMED_MESSAGE")


async def test_http_is_refused_by_its_own_status(rest: Rest) -> None:
    nowhere = await rest.ask("GET", "/v1/check")
    method = await rest.ask("GET", "/v1/checks")
    options = await rest.ask("OPTIONS", "/v1/checks")
    kind = await rest.ask("POST", "/v1/checks", b"{}", {"content-type": "text/plain"})
    accept = await rest.post("/v1/checks", a_check(), {"accept": "text/html"})

    assert [nowhere.code, method.code, options.code, kind.code, accept.code] == [
        404, 405, 204, 415, 406,
    ]  # fmt: skip
    assert method.headers["allow"] == options.headers["allow"] == "POST, OPTIONS"
    assert kind.headers["accept-post"] == "application/json"
    assert accept.body["type"] == "about:blank"


async def test_what_a_query_says_is_not_passed_over(server: Running, rest: Rest) -> None:
    """Who names a tenant there would be told, and would write, of another one."""
    opt_out = {"subjects": [{"email": "ada@example.com"}], "origin": {"source": "crm"}}

    check = await rest.post("/v1/checks?tenant=other", a_check())
    write = await rest.post(
        "/v1/opt-outs?tenant=other", opt_out, {"idempotency-key": "of-another-tenant"}
    )

    assert [check.code, write.code] == [400, 400]
    assert await server.head() == 0


@pytest.mark.parametrize(
    ("coding", "code"), [("gzip", 415), ("identity, br", 415), ("Identity", 200)]
)
async def test_a_body_in_a_coding_is_415(rest: Rest, coding: str, code: int) -> None:
    answer = await rest.post("/v1/checks", a_check(), {"content-encoding": coding})

    assert answer.code == code
    assert answer.headers.get("accept-encoding") == ("identity" if code == 415 else None)


async def test_a_body_that_is_too_large_is_413_before_it_is_read(server: Running) -> None:
    rest = Rest(server.service, limits=RestLimits(body_bytes_max=100))

    answer = await rest.post("/v1/checks/batch", b" " * 101)

    assert answer.code == 413
    assert answer.headers["content-type"] == PROBLEM


async def test_a_caller_needs_a_credential_with_the_right(tmp_path: Path) -> None:
    keys = Keys()
    async with running_server(tmp_path, authenticator=keys) as server:
        rest = Rest(server.service, keys.authenticator)
        checker = await keys.of("check")
        writer = await keys.of("write")

        nobody = await rest.post("/v1/checks", a_check())
        wrong = await rest.post("/v1/checks", a_check(), key="heed_none")
        other = await rest.post("/v1/checks", a_check(), key=writer)
        right = await rest.post("/v1/checks", a_check(), key=checker)

    assert [nobody.code, wrong.code, other.code, right.code] == [401, 401, 403, 200]
    assert nobody.headers["www-authenticate"].startswith("Bearer")
    assert nobody.body == wrong.body
    assert other.reason == "RIGHT_REQUIRED"
    assert other.body["metadata"] == {"right": "check"}
