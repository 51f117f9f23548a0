"""Links, in this process: what presses one, what does not, and what an old one is worth."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from unittest import mock

import pytest

from heed.errors import ConflictError, ErrorReason, HeedError, NotFoundError, RightRequiredError
from heed.model import Channel, Scope, Subject, SubjectType, TenantId
from heed.wire.asked import LinkTarget
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_server.auth.policy import Principal, Right
from heed_server.links import PATH, open_link, seal_link
from heed_server.seals import SealOpener
from heed_server.secrets.sealing import SealingKeyset
from heed_server.service import Service
from heed_server.web.limits import BODY_BYTES_MAX
from tests.support import requests as asks
from tests.support.servers import PUBLIC_URL, Running, running_server
from tests.support.web import PRESS, URLENCODED, app_of, ask, link_for, press

ADA = "ada@example.com"


ONE_PART = (
    b'--b\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--b--\r\n'
)
MULTIPART = "multipart/form-data; boundary=b"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as server:
        yield server


async def verdict_of(server: Running, email: str = ADA, topic: str = "news") -> str:
    query = pb.Query(subjects=[asks.subject(email)], channel=pb.CHANNEL_EMAIL, topic=topic)
    answer = await server.call("CheckSuppression", preference.CheckSuppressionRequest(query=query))
    return pb.Verdict.Name(answer.decision.verdict).removeprefix("VERDICT_")


def told(body: bytes) -> str:
    """What a page says, but for when it was asked and by which link."""
    return re.sub(r"\d\d:\d\d UTC|<code>[0-9a-f]{16}</code>", "…", body.decode())


async def opt_in(server: Running, key: str) -> None:
    """The person opts in to news by mail, now."""
    request = asks.set_preference(asks.opt_in("news"), key=key)
    request.origin.decided_time.GetCurrentTime()
    await server.call("SetPreference", request)


async def test_pressing_a_link_stops_what_it_says_and_nothing_else(running: Running) -> None:
    path = await link_for(running)

    answer = await press(app_of(running.service), path)

    assert answer.code == 200
    assert await verdict_of(running) == "SUPPRESSED"
    assert await verdict_of(running, topic="offers") == "ALLOWED"
    assert await verdict_of(running, "bob@example.com") == "ALLOWED"


async def test_a_press_is_recorded_as_one_click_by_the_person(running: Running) -> None:
    await press(app_of(running.service), await link_for(running))

    asked = preference.GetPreferencesRequest(subjects=[asks.subject(ADA)])
    (record,) = (await running.call("GetPreferences", asked)).records

    assert record.origin.method == pb.METHOD_ONE_CLICK
    assert (record.origin.source, record.origin.actor) == ("link", "person")
    assert record.reach == pb.REACH_PROMOTIONAL


async def test_a_press_replayed_three_times_is_one_change_and_three_times_200(
    running: Running,
) -> None:
    app, path = app_of(running.service), await link_for(running)

    answers = [await press(app, path) for _ in range(3)]

    assert [answer.code for answer in answers] == [200, 200, 200]
    assert len({told(answer.body) for answer in answers}) == 1
    assert await running.head() == 1


async def test_many_presses_at_once_are_one_change(running: Running) -> None:
    app, path = app_of(running.service), await link_for(running)

    answers = await asyncio.gather(*(press(app, path) for _ in range(20)))

    assert {answer.code for answer in answers} == {200}
    assert await running.head() == 1


async def test_an_old_link_stops_again_after_the_person_opted_in(running: Running) -> None:
    app, path = app_of(running.service), await link_for(running)
    verdicts: list[str] = []

    for again in range(3):
        assert (await press(app, path)).code == 200
        verdicts.append(await verdict_of(running))
        await opt_in(running, f"in-{again}")
        verdicts.append(await verdict_of(running))
    await press(app, path)

    assert verdicts == ["SUPPRESSED", "ALLOWED"] * 3
    assert await verdict_of(running) == "SUPPRESSED"
    assert await running.head() == 7


async def test_an_opt_in_between_two_looks_of_a_press_is_not_hidden_by_an_earlier_answer(
    running: Running,
) -> None:
    """The press that finds its key used looks again, and stops what was let through meanwhile."""
    app, path = app_of(running.service), await link_for(running)
    standing = running.store.standing
    before = await standing(TenantId(1), [])
    await press(app, path)
    await opt_in(running, "in")
    stale = [before]

    async def late(*said: object) -> object:
        # What a press saw that read before the others wrote.
        return stale.pop() if stale else await standing(*said)  # type: ignore[arg-type]

    with mock.patch.object(running.store, "standing", late):
        answer = await press(app, path)

    assert answer.code == 200
    assert not stale
    assert await verdict_of(running) == "SUPPRESSED"


async def test_the_answer_does_not_say_whether_the_person_is_known(running: Running) -> None:
    app = app_of(running.service)
    known, unknown = await link_for(running), await link_for(running, "never@example.com")
    await press(app, known)

    answers = [await press(app, path) for path in (known, unknown)]
    pages = [await ask(app, "GET", path) for path in (known, unknown)]

    assert len({told(answer.body) for answer in answers}) == 1
    assert pages[0] == pages[1]
    assert ADA.encode() not in answers[0].body + pages[0].body


@pytest.mark.parametrize("topic", ["retired", "never.declared", ""])
async def test_a_link_works_for_topics_retired_undeclared_and_all(
    running: Running, topic: str
) -> None:
    app, path = app_of(running.service), await link_for(running, topic=topic)
    declared = pb.Topic(name="retired", topic_class=pb.TOPIC_CLASS_PROMOTIONAL)
    for name, request in (
        ("DeclareTopic", admin.DeclareTopicRequest(topic=declared)),
        ("RetireTopic", admin.RetireTopicRequest(name="retired", reason="it is over")),
    ):
        request.idempotency_key = name
        request.origin.CopyFrom(asks.origin())
        await running.call(name, request)

    answer = await press(app, path)

    assert answer.code == 200
    assert await verdict_of(running, topic=topic or "anything") == "SUPPRESSED"


async def test_a_link_stops_somebody_who_was_erased(running: Running) -> None:
    app, path = app_of(running.service), await link_for(running)
    await running.call(
        "EraseSubject",
        admin.EraseSubjectRequest(
            idempotency_key="erase",
            subjects=[asks.subject(ADA)],
            reason="they asked",
            origin=asks.origin(),
        ),
    )

    answer = await press(app, path)

    assert answer.code == 200
    assert await verdict_of(running) == "SUPPRESSED"


async def test_a_link_lives_on_when_the_server_is_started_anew(tmp_path: Path) -> None:
    async with running_server(tmp_path) as first:
        path = await link_for(first)

    async with running_server(tmp_path) as second:
        answer = await press(app_of(second.service), path)

        assert answer.code == 200
        assert await verdict_of(second) == "SUPPRESSED"


async def test_a_node_that_knew_no_key_for_links_takes_the_one_that_another_node_added(
    running: Running,
) -> None:
    """As where an earlier heed made the tenant, and a later one was started since."""
    (tenant,) = await running.store.tenants()
    (context,) = running.tenants.all()
    path = await link_for(running)
    context.link_keyset = b""
    with pytest.raises(HeedError) as refused:
        await link_for(running)

    await running.tenants.learn([tenant])

    assert refused.value.reason is ErrorReason.STORE_UNAVAILABLE
    assert await link_for(running) == path
    assert (await press(app_of(running.service), path)).code == 200


async def test_a_target_has_one_link_in_which_nothing_of_it_can_be_read(running: Running) -> None:
    path = await link_for(running)

    assert path == await link_for(running)
    assert path != await link_for(running, "bob@example.com")
    sealed = path.rpartition(".")[2]
    raw = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
    assert b"ada" not in raw
    assert b"news" not in raw


async def test_a_link_of_another_tenant_stops_nobody_here(running: Running) -> None:
    """Neither a link moved to another tenant's key, nor one whose tenant is not served."""
    await running.call("CreateTenant", admin.CreateTenantRequest(name="shop"))
    of_shop = await link_for(running, tenant="shop")
    of_default = await link_for(running, tenant="default")
    (_, default_key, _), (_, shop_key, shop_sealed) = of_default.split("."), of_shop.split(".")

    moved = await press(app_of(running.service), f"{PATH}v1.{default_key}.{shop_sealed}")
    pressed = await press(app_of(running.service), of_shop)

    assert default_key != shop_key
    assert (moved.code, pressed.code) == (404, 200)
    assert await running.heads() == {"default": 0, "shop": 1}


def test_what_is_sealed_for_one_tenant_opens_for_no_other_even_under_the_same_key() -> None:
    keyset = SealingKeyset.generate()
    sealed = keyset.seal(b"\x01\x02\x00ada@example.com", b"heed link 1\0" + (1).to_bytes(8))
    text = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
    token = f"v1.{keyset.primary_id:08x}.{text}"

    assert open_link(SealOpener([(TenantId(2), keyset)]), token) is None
    assert open_link(SealOpener([(TenantId(1), keyset)]), token) is not None


def test_an_older_key_of_a_keyset_opens_what_it_sealed() -> None:
    old, new = SealingKeyset.generate(), SealingKeyset.generate()
    target = LinkTarget(
        subject=Subject(type=SubjectType.EMAIL, value=ADA), scope=Scope(channel=Channel.EMAIL)
    )
    token = seal_link(old, TenantId(1), target)
    # Of two keysets of Tink's, one after the other, the last primary holds and all keys stay.
    both = SealingKeyset(old.to_bytes() + new.to_bytes())

    opened = open_link(SealOpener([(TenantId(1), both)]), token)

    assert both.primary_id == new.primary_id != old.primary_id
    assert opened is not None
    assert opened.target == target
    assert seal_link(both, TenantId(1), target) != token


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (URLENCODED, b""),
        (URLENCODED, b"List-Unsubscribe=one-click"),
        (URLENCODED, b"list-unsubscribe=One-Click"),
        (URLENCODED, PRESS + b"\r\n"),
        (URLENCODED, PRESS + b"&a=b"),
        (URLENCODED, b"a=b&" + PRESS),
        ("", PRESS),
        ("text/plain", PRESS),
        ("application/json", b'{"List-Unsubscribe": "One-Click"}'),
        (MULTIPART, PRESS),
        (MULTIPART, ONE_PART.replace(b"One-Click", b"Two-Clicks")),
        (MULTIPART, ONE_PART.replace(b"List-Unsubscribe", b"List")),
        (MULTIPART, ONE_PART.replace(b"form-data", b"attachment")),
        (MULTIPART, ONE_PART.removesuffix(b"--\r\n") + b"\r\n" + ONE_PART),
        ("multipart/form-data", ONE_PART),
        ("multipart/mixed; boundary=b", ONE_PART),
    ],
)
async def test_any_other_body_is_400_and_changes_nothing(
    running: Running, content_type: str, body: bytes
) -> None:
    path = await link_for(running)

    answer = await ask(app_of(running.service), "POST", path, body, content_type=content_type)

    assert answer.code == 400
    assert await running.head() == 0


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (URLENCODED, PRESS),
        ("Application/X-WWW-Form-URLEncoded; charset=UTF-8", PRESS),
        (MULTIPART, ONE_PART),
        ('multipart/form-data; boundary="b"', ONE_PART.removesuffix(b"\r\n")),
    ],
)
async def test_both_forms_of_the_one_click_body_press(
    running: Running, content_type: str, body: bytes
) -> None:
    path = await link_for(running)

    answer = await ask(app_of(running.service), "POST", path, body, content_type=content_type)

    assert answer.code == 200
    assert await running.head() == 1


async def test_a_body_that_is_too_large_is_413_and_changes_nothing(running: Running) -> None:
    path = await link_for(running)

    answer = await ask(
        app_of(running.service), "POST", path, b"x" * (BODY_BYTES_MAX + 1), content_type=URLENCODED
    )

    assert answer.code == 413
    assert await running.head() == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
async def test_no_method_but_post_presses_even_with_the_body_of_a_press(
    running: Running, method: str
) -> None:
    path = await link_for(running)

    answer = await ask(app_of(running.service), method, path, PRESS, content_type=URLENCODED)

    assert answer.code == {"GET": 200, "HEAD": 200, "OPTIONS": 204}.get(method, 405)
    assert ("allow" in answer.headers) is (method not in {"GET", "HEAD"})
    assert await running.head() == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_answer_redirects_wherever_a_slash_is_or_whatever_host_is_asked_for(
    running: Running, method: str
) -> None:
    path = await link_for(running)
    host = {"host": "evil.example.org"}
    asked = [path + "/", path.replace(PATH, "/u"), path.replace(PATH, "//u/"), PATH, "/u", "//"]

    answers = [
        await ask(
            app_of(running.service), method, one, PRESS, content_type=URLENCODED, headers=host
        )
        for one in asked
    ]

    assert {answer.code for answer in answers} == {404}
    assert not any("location" in answer.headers for answer in answers)
    assert not any(b"evil" in answer.body for answer in answers)


async def test_every_answer_is_kept_by_nobody_and_has_no_script(running: Running) -> None:
    app, path = app_of(running.service), await link_for(running)
    answers = [
        await press(app, path),
        *[await ask(app, method, path) for method in ("GET", "HEAD", "OPTIONS", "PUT", "POST")],
        *[await ask(app, "GET", other) for other in (PATH + "v1.0", "/", "/u/", "/favicon.ico")],
    ]

    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "form-action 'self'" in policy
        assert not {"set-cookie", "location", "www-authenticate"} & set(answer.headers)
        assert b"<script" not in answer.body
    assert b'method="post"' in answers[1].body


@pytest.mark.parametrize("error", [HeedError("it is away"), TimeoutError(), ValueError("a fault")])
async def test_what_is_not_known_to_be_committed_is_503_with_retry_after(
    running: Running, error: Exception
) -> None:
    path = await link_for(running)

    with mock.patch.object(Service, "set_preference", side_effect=error):
        answer = await press(app_of(running.service), path)

    assert answer.code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert await running.head() == 0


async def test_a_press_has_room_when_every_place_is_taken(running: Running) -> None:
    path = await link_for(running)
    calls = running.service.admission.calls
    somebody = ("", "somebody")
    while calls.has_room(somebody):
        calls.take(somebody)

    answer = await press(app_of(running.service), path)

    assert answer.code == 200


async def test_links_are_made_in_the_order_asked_for_a_thousand_at_once(running: Running) -> None:
    emails = [f"u{at}@example.com" for at in range(1_000)]

    answer = await running.call("MakeLinks", asks.make_links(*emails))

    assert len({link.url for link in answer.links}) == 1_000
    assert all(link.url.startswith(PUBLIC_URL + PATH) for link in answer.links)
    opened = [running.service.open_link(link.url.rpartition("/")[2]) for link in answer.links]
    assert [one and one.link.target.subject.value for one in opened] == emails


async def test_more_links_or_none_or_of_nobody_are_refused(running: Running) -> None:
    with pytest.raises(HeedError) as too_many:
        await running.call("MakeLinks", asks.make_links(*["a@example.com"] * 1_001))
    with pytest.raises(HeedError) as none:
        await running.call("MakeLinks", preference.MakeLinksRequest())
    with pytest.raises(HeedError) as nobody:
        await running.call(
            "MakeLinks", preference.MakeLinksRequest(targets=[preference.LinkTarget()])
        )

    assert too_many.value.reason is ErrorReason.BATCH_TOO_LARGE
    assert none.value.reason is nobody.value.reason is ErrorReason.INVALID_FIELD


async def test_a_server_that_was_not_told_where_links_are_served_makes_none(tmp_path: Path) -> None:
    async with running_server(tmp_path, public_url="") as server:
        with pytest.raises(ConflictError) as refused:
            await server.call("MakeLinks", asks.make_links())

    assert refused.value.reason is ErrorReason.LINKS_NOT_SERVED


async def test_a_link_can_make_no_opt_in_and_its_principal_neither(running: Running) -> None:
    pressed = running.service.open_link((await link_for(running)).removeprefix(PATH))
    assert pressed is not None

    with mock.patch.object(Service, "set_preference") as recorded:
        recorded.return_value.replayed = False
        await running.service.press_link(pressed)
    principal = recorded.call_args.args[0]

    assert principal == Principal(
        name="link", rights=frozenset({Right.WRITE}), tenant=pressed.context.name
    )
    with pytest.raises(RightRequiredError):
        running.service.enter("Explain", principal, "")
    with pytest.raises(NotFoundError):
        running.service.enter("SetPreference", principal, "shop")
