"""What somebody tries at the dashboard who is not to see it, or to have others do something there."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from heed_proto.v1 import admin_service_pb2 as admin
from heed_server.auth.policy import Right
from heed_server.web.dashboard import sessions
from heed_server.web.dashboard.limits import DashboardLimits
from heed_server.web.dashboard.view import View
from heed_server.web.dashboard.views import VIEWS
from tests.support.api_keys import Keys
from tests.support.dashboard import HOST, ORIGIN, Person, app_of, form_token
from tests.support.servers import Running, running_server
from tests.support.stores import FakeClock

ALL_RIGHTS = tuple(right.value for right in Right)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
async def server(tmp_path: Path, keys: Keys) -> AsyncIterator[Running]:
    async with running_server(tmp_path / "server", authenticator=keys) as running:
        yield running


async def signed_in(app: Any, keys: Keys, *rights: str, tenant: str = "", **said: Any) -> Person:
    person = Person(app, **said)
    answer = await person.sign_in(await keys.of(*(rights or ("operate",)), tenant=tenant))
    assert answer.code == 303, answer.body.decode()
    return person


async def test_without_a_session_a_page_leads_to_the_form_and_all_else_is_refused(
    server: Running, keys: Keys
) -> None:
    person = Person(app_of(server, keys))

    for view in VIEWS:
        page = await person.get(f"/{view.name}")
        assert (page.code, page.headers["location"], page.body) == (303, "/sign-in", b"")
        assert (await person.post(f"/{view.name}")).code == 401
        for suffix in ("part", "csv", "json", "pdf"):
            assert (await person.get(f"/{view.name}.{suffix}")).code == 401
    assert (await person.get("/")).headers["location"] == "/sign-in"
    assert (await person.post("/sign-out")).code == 401


@pytest.mark.parametrize(
    "credential", ["", " ", "heed_x", "x" * 10_000, "Bearer x", "a.b.c", "\x00"]
)
async def test_what_is_no_credential_begins_no_session(
    server: Running, keys: Keys, credential: str
) -> None:
    await keys.of("operate")
    person = Person(app_of(server, keys))

    answer = await person.sign_in(credential)

    assert answer.code in {401, 413}
    assert not person.cookies


async def test_a_key_that_may_neither_audit_nor_operate_does_not_come_in(
    server: Running, keys: Keys
) -> None:
    others = [right for right in ALL_RIGHTS if right not in {"audit", "operate"}]
    person = Person(app_of(server, keys))

    answer = await person.sign_in(await keys.of(*others))

    assert answer.code == 403
    assert b"audit" in answer.body
    assert not person.cookies


@pytest.mark.parametrize("view", VIEWS, ids=lambda it: it.name)
async def test_a_view_is_shown_by_its_right_and_by_no_other(
    server: Running, keys: Keys, view: View
) -> None:
    app = app_of(server, keys)
    needed = {right.value for right in view.rights}
    others = set(ALL_RIGHTS) - needed
    suffixes = ("",) if view.form else ("", ".part", ".json", ".csv", ".pdf")

    for right in needed:
        person = await signed_in(app, keys, right)
        for suffix in suffixes:
            assert (await person.get(f"/{view.name}{suffix}")).code == 200
        assert f'href="/{view.name}"'.encode() in (await person.get(f"/{view.name}")).body

    if needed >= {"audit", "operate"}:
        return  # without either nobody comes in
    person = await signed_in(app, keys, *others)
    for suffix in ("", ".part", ".json", ".csv", ".pdf"):
        assert (await person.get(f"/{view.name}{suffix}")).code in {403, 404, 405}
    first = await person.get((await person.get("/")).headers["location"])
    form = {"form_token": form_token(first), "type": "email", "identifier": "a@example.com"}
    assert (await person.post(f"/{view.name}", form)).code in {403, 405}
    assert f'href="/{view.name}"'.encode() not in first.body


async def test_a_revoked_key_ends_its_session_at_once(server: Running, keys: Keys) -> None:
    text, key_id = await keys.make("operate")
    person = Person(app_of(server, keys))
    await person.sign_in(text)
    assert (await person.get("/propagation")).code == 200

    await keys.revoke(key_id)

    assert (await person.get("/propagation.part")).code == 401
    assert (await person.get("/propagation")).headers["location"] == "/sign-in"


async def test_an_id_that_was_not_given_out_is_never_a_session(server: Running, keys: Keys) -> None:
    """Fixation: an id that somebody else put into the browser stays worthless after signing in."""
    app = app_of(server, keys)
    chosen = "A" * 43
    person = Person(app)
    person.cookies["__Host-heed"] = chosen

    await person.sign_in(await keys.of("operate"))

    assert person.cookies["__Host-heed"] != chosen
    attacker = Person(app)
    attacker.cookies["__Host-heed"] = chosen
    assert (await attacker.get("/propagation")).code == 303


async def test_signing_in_again_ends_the_session_before(server: Running, keys: Keys) -> None:
    app = app_of(server, keys)
    person = await signed_in(app, keys)
    before = dict(person.cookies)

    await person.sign_in(await keys.of("operate"))

    earlier = Person(app)
    earlier.cookies |= before
    assert (await earlier.get("/propagation")).code == 303
    assert (await person.get("/propagation")).code == 200


async def test_who_signs_out_is_out_wherever_the_id_is_kept(server: Running, keys: Keys) -> None:
    app = app_of(server, keys)
    person = await signed_in(app, keys)
    kept = dict(person.cookies)

    left = await person.send("/sign-out", page="/propagation")

    assert left.headers["location"] == "/sign-in"
    page = Person(app)
    page.cookies |= kept
    assert (await page.get("/propagation")).code == 303
    assert not person.cookies


async def test_a_session_ends_by_itself_used_or_not(tmp_path: Path, keys: Keys) -> None:
    clock = FakeClock(runs=True)
    async with running_server(tmp_path / "server", authenticator=keys) as server:
        app = app_of(server, keys, DashboardLimits(session_minutes=10), boot_seconds=clock)
        person = await signed_in(app, keys)
        clock.pass_seconds(599)
        assert (await person.get("/propagation")).code == 200

        clock.pass_seconds(1)

        assert (await person.get("/propagation")).code == 303


async def test_sessions_are_bounded_and_nobody_takes_all_of_them(
    server: Running, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SESSIONS_MAX", 5)
    monkeypatch.setattr(sessions, "SESSIONS_OF_PRINCIPAL_MAX", 2)
    app = app_of(server, keys)
    other = await signed_in(app, keys, "audit", "operate")
    first, second, third = [await signed_in(app, keys) for _ in range(3)]

    codes = [(await one.get("/propagation")).code for one in (other, first, second, third)]

    assert codes == [200, 303, 200, 200]


async def test_guessing_is_refused_by_address_and_then_even_what_is_right(
    server: Running, keys: Keys
) -> None:
    app = app_of(server, keys, DashboardLimits(sign_ins_per_second_max=0.05))
    guessing = Person(app, client="192.0.2.66")

    codes = [(await guessing.sign_in(f"heed_guess_{number}")).code for number in range(7)]
    right = await guessing.sign_in(await keys.of("operate"))

    assert codes == [401] * 5 + [429] * 2
    assert right.code == 429
    assert int(right.headers["retry-after"]) > 0
    assert (await signed_in(app, keys, client="192.0.2.67")).cookies


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": f"http://{HOST}"},
        {"origin": f"{ORIGIN}.evil.example"},
        {"origin": f"{ORIGIN}:8443"},
    ],
    ids=lambda it: it.get("origin", "none"),
)
async def test_a_form_from_elsewhere_does_nothing(
    server: Running, keys: Keys, said: dict[str, str]
) -> None:
    person = await signed_in(app_of(server, keys), keys)
    token = form_token(await person.get("/propagation"))
    before = dict(person.cookies)
    headers = {"origin": "", **said}

    left = await person.post("/sign-out", {"form_token": token}, headers)
    entered = await person.post("/sign-in", {"credential": await keys.of("operate")}, headers)

    assert (left.code, entered.code) == (403, 403)
    assert person.cookies == before
    assert (await person.get("/propagation")).code == 200


async def test_a_form_needs_what_only_the_pages_of_its_session_know(
    server: Running, keys: Keys
) -> None:
    app = app_of(server, keys)
    person, other = await signed_in(app, keys), await signed_in(app, keys)
    foreign = form_token(await other.get("/propagation"))

    for token in ("", "x", foreign, foreign[:-1]):
        assert (await person.post("/sign-out", {"form_token": token})).code == 403

    assert (await person.get("/propagation")).code == 200


async def test_reading_changes_nothing_and_a_page_is_not_sent_to(
    server: Running, keys: Keys
) -> None:
    person = await signed_in(app_of(server, keys), keys)
    token = form_token(await person.get("/propagation"))

    assert (await person.get("/sign-out")).code == 405
    assert (await person.post("/propagation", {"form_token": token})).code == 405
    assert (await person.get("/propagation")).code == 200


async def test_the_cookie_is_for_this_server_alone(server: Running, keys: Keys) -> None:
    person = Person(app_of(server, keys))
    plain = Person(app_of(server, keys, is_secure=False), origin=f"http://{HOST}")

    secure = (await person.sign_in(await keys.of("operate"))).headers["set-cookie"]
    insecure = (await plain.sign_in(await keys.of("operate"))).headers["set-cookie"]

    name, *attributes = secure.split("; ")
    assert name.startswith("__Host-heed=")
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"}
    name, *attributes = insecure.split("; ")
    assert name.startswith("heed=")
    assert set(attributes) == {"Path=/", "HttpOnly", "SameSite=Strict"}


async def test_every_answer_forbids_what_a_page_does_not_need(server: Running, keys: Keys) -> None:
    app = app_of(server, keys)
    person, stranger = await signed_in(app, keys), Person(app)
    answers = [
        await stranger.get("/sign-in"),
        await stranger.get("/assets/live.js"),
        await stranger.get("/assets/../app.py"),
        await person.get("/propagation"),
        await person.get("/propagation.json"),
        await person.get("/nothing"),
        await person.post("/sign-out"),
    ]

    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
    assert answers[1].headers["cache-control"].startswith("public")
    assert {answer.headers["cache-control"] for answer in answers[2:]} == {"no-store"}
    assert [answer.code for answer in answers] == [200, 200, 404, 200, 200, 404, 403]


async def test_another_tenant_is_as_one_that_there_is_not(server: Running, keys: Keys) -> None:
    administrator = await keys.of("admin")
    for name in ("shop", "other"):
        request = admin.CreateTenantRequest(name=name)
        await server.call("CreateTenant", request, key=administrator)
    person = await signed_in(app_of(server, keys), keys, *ALL_RIGHTS, tenant="shop")

    for view in (one for one in VIEWS if one.form is None):
        for suffix in ("", ".part", ".json", ".csv", ".pdf"):
            crossed = await person.get(f"/{view.name}{suffix}?tenant=other")
            absent = await person.get(f"/{view.name}{suffix}?tenant=nobody")
            assert (crossed.code, absent.code) == (404, 404)
            assert crossed.body.replace(b"other", b"") == absent.body.replace(b"nobody", b"")
        assert (await person.get(f"/{view.name}")).code == 200


@pytest.mark.parametrize("view", [one for one in VIEWS if one.form], ids=lambda it: it.name)
async def test_a_form_too_names_no_tenant_that_is_another_s(
    server: Running, keys: Keys, view: View
) -> None:
    administrator = await keys.of("admin")
    for name in ("shop", "other"):
        request = admin.CreateTenantRequest(name=name)
        await server.call("CreateTenant", request, key=administrator)
    person = await signed_in(app_of(server, keys), keys, *ALL_RIGHTS, tenant="shop")

    for path in (f"/{view.name}", "/"):
        crossed = await person.get(f"{path}?tenant=other")
        absent = await person.get(f"{path}?tenant=nobody")
        assert (crossed.code, absent.code) == (404, 404)
        assert crossed.body.replace(b"other", b"") == absent.body.replace(b"nobody", b"")
    assert (await person.send(f"/{view.name}?tenant=other", page=f"/{view.name}")).code == 404


@pytest.mark.parametrize("view", [one for one in VIEWS if one.form], ids=lambda it: it.name)
async def test_what_a_form_asked_for_has_no_tables_to_be_read_again(
    server: Running, keys: Keys, view: View
) -> None:
    person = await signed_in(app_of(server, keys), keys, *ALL_RIGHTS)
    asked = {"type": "email", "identifier": "a@example.com", "verify": "day"}

    with capture_logs() as logs:
        sent = await person.send(f"/{view.name}.part", asked)

    assert (sent.code, (await person.get(f"/{view.name}.part")).code) == (404, 404)
    assert not logs


class TestAnOpenServer:
    """One without keys, which lets its own host in."""

    async def app(self, server: Running, keys: Keys, *, takes_nothing: bool = True) -> Any:
        authenticator = keys.authenticator
        assert authenticator is not None
        authenticator._is_required = False
        return app_of(server, keys, is_secure=False, takes_nothing=takes_nothing)

    @pytest.mark.parametrize("host", ["localhost:8082", "127.0.0.1:8082", "[::1]:8082"])
    async def test_is_entered_by_a_name_of_its_host(
        self, server: Running, keys: Keys, host: str
    ) -> None:
        person = Person(await self.app(server, keys), host=host, origin=f"http://{host}")

        entered = await person.post("/sign-in", {"open": "yes"})

        assert entered.code == 303
        assert (await person.get("/propagation")).code == 200

    @pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[", "@"])
    async def test_is_not_entered_by_another_name(
        self, server: Running, keys: Keys, host: str
    ) -> None:
        """DNS rebinding: a page from elsewhere has its own name lead to this host."""
        person = Person(await self.app(server, keys), host=host, origin=f"http://{host}")

        assert (await person.get("/sign-in")).code == 403
        assert (await person.post("/sign-in", {"open": "yes"})).code == 403
        assert not person.cookies

    async def test_lets_nobody_in_any_more_once_there_is_a_key(
        self, server: Running, keys: Keys
    ) -> None:
        person = Person(await self.app(server, keys), host="localhost", origin="http://localhost")
        await person.post("/sign-in", {"open": "yes"})
        assert (await person.get("/propagation")).code == 200

        assert keys.authenticator is not None
        keys.authenticator._is_required = True

        assert (await person.get("/propagation")).code == 303
        assert (await person.post("/sign-in", {"open": "yes"})).code == 401

    async def test_that_others_reach_asks_for_a_credential_all_the_same(
        self, server: Running, keys: Keys
    ) -> None:
        person = Person(await self.app(server, keys, takes_nothing=False), origin=f"http://{HOST}")

        assert (await person.post("/sign-in", {"open": "yes"})).code == 401
        assert b"Go on without one" not in (await person.get("/sign-in")).body


async def test_no_line_of_the_log_holds_what_somebody_signed_in_with(
    server: Running, keys: Keys
) -> None:
    key = await keys.of("operate")
    person = Person(app_of(server, keys))

    with capture_logs() as logs:
        await person.sign_in(key)
        await person.get("/propagation.csv")
        await person.send("/sign-out", page="/propagation")

    assert [one["event"] for one in logs][:2] == ["dashboard_signed_in", "dashboard_exported"]
    assert key not in str(logs)
    assert next(iter(person.cookies.values()), "none") not in str(logs)
