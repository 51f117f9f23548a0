"""The inbound edge, in this process: what is recorded, what is not, and what is said of it."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from unittest import mock

import pytest

from heed.errors import ErrorReason, OutcomeUnknownError, UnavailableError
from heed.keys import LookupKey, LookupKeys
from heed_proto.v1 import admin_service_pb2 as admin
from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from heed_server.web import bodies
from heed_server.web.bodies import BoundedBodies
from heed_server.web.limits import InboundLimits
from heed_server.writes import Appended, Write
from tests.support import requests as asks
from tests.support.inbound import (
    Edge,
    basic,
    cases,
    edge_of,
    mailgun_body,
    sendgrid_headers,
    sns_envelope,
    source,
    write_sources,
)
from tests.support.servers import Running, running_server
from tests.support.web import Answered, ask

ADA: Final = "ada@example.com"
SEEN: Final = 1_795_770_000
"""2026-11-27T09:00:00Z"""

BOUNCE: Final[dict[str, Any]] = cases("ses")[0]["said"]
COMPLAINT: Final = {
    "RecordType": "SpamComplaint",
    "ID": 42,
    "Email": ADA,
    "BouncedAt": "2026-11-27T09:00:00Z",
}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as server:
        yield server


@pytest.fixture
def edge(running: Running, tmp_path: Path) -> Edge:
    sources = (source("ses"), source("sendgrid"), source("mailgun"), source("postmark"))
    return edge_of(running, write_sources(tmp_path / "inbound", *sources))


async def records_of(server: Running, email: str = ADA) -> list[Any]:
    asked = preference.GetPreferencesRequest(subjects=[asks.subject(email)])
    return list((await server.call("GetPreferences", asked)).records)


async def is_allowed(server: Running, topic: str = "news", email: str = ADA) -> bool:
    answer = await server.call(
        "CheckSuppression", preference.CheckSuppressionRequest(query=asks.query(email, topic))
    )
    return bool(answer.decision.verdict == pb.VERDICT_ALLOWED)


async def batch(edge: Edge, *events: dict[str, Any]) -> Answered:
    """What SendGrid posts of these events."""
    body = json.dumps([{"timestamp": SEEN, **event} for event in events]).encode()
    return await edge.post("sendgrid", body, sendgrid_headers(body))


async def test_a_permanent_bounce_of_ses_suppresses_each_address_for_good(
    running: Running, edge: Edge
) -> None:
    answer = await edge.post("ses", sns_envelope(json.dumps(BOUNCE)))

    assert answer.code == 200
    for email in ("Ada@EXAMPLE.com", "bob@example.com"):
        (record,) = await records_of(running, email)
        assert (record.cause, record.reach) == (pb.CAUSE_BOUNCE, pb.REACH_ALL)
        assert record.scope.channel == pb.CHANNEL_EMAIL
        assert record.decided_time.ToJsonString() == "2026-11-27T09:00:00.500Z"
        assert (record.origin.source, record.origin.method) == ("inbound/ses", pb.METHOD_API)
        assert record.origin.reference == "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"
    assert not await is_allowed(running)


async def test_each_provider_stops_somebody(running: Running, edge: Edge) -> None:
    complained = {"event": "complained", "recipient": "m@example.com", "timestamp": SEEN}
    answers = [
        await edge.post("ses", sns_envelope(json.dumps(BOUNCE))),
        await batch(edge, {"email": "s@example.com", "event": "spamreport"}),
        await edge.post("mailgun", mailgun_body(complained, signed_at=int(time.time()))),
        await edge.post("postmark", {**COMPLAINT, "Email": "p@example.com"}, basic()),
    ]

    assert [answer.code for answer in answers] == [200] * 4
    for name in ("ada", "s", "m", "p"):
        assert not await is_allowed(running, email=f"{name}@example.com")


async def test_an_unsubscribe_is_an_opt_out_of_the_person_where_the_source_says(
    running: Running, tmp_path: Path
) -> None:
    said = source("sendgrid", opt_out={"topic": "news"}, topics={"7": "offers"}, jurisdiction="DE")
    edge = edge_of(running, write_sources(tmp_path / "inbound", said))

    await batch(
        edge,
        {"email": ADA, "event": "unsubscribe"},
        {"email": ADA, "event": "group_unsubscribe", "asm_group_id": 7},
    )

    records = {record.scope.topic: record for record in await records_of(running)}
    assert {record.kind for record in records.values()} == {pb.RECORD_KIND_OPT_OUT}
    assert records["news"].reach == pb.REACH_TRANSACTIONAL
    assert records["offers"].reach == pb.REACH_PROMOTIONAL
    assert records["offers"].origin.jurisdiction == "DE"
    assert not await is_allowed(running)
    assert await is_allowed(running, topic="receipts")


async def test_the_same_notification_again_changes_nothing_and_is_200(
    running: Running, edge: Edge
) -> None:
    envelope = sns_envelope(json.dumps(BOUNCE))

    answers = [await edge.post("ses", envelope) for _ in range(3)]
    at_once = await asyncio.gather(*(edge.post("ses", envelope) for _ in range(10)))

    assert {answer.code for answer in (*answers, *at_once)} == {200}
    assert await running.head() == 2


async def test_an_event_that_comes_again_in_another_batch_stands_as_it_stood(
    running: Running, edge: Edge
) -> None:
    bounce = {"email": ADA, "event": "bounce", "type": "bounce", "sg_event_id": "e1"}
    await batch(edge, bounce)
    before = await records_of(running)

    answer = await batch(edge, {"email": "bob@example.com", "event": "spamreport"}, bounce)

    assert answer.code == 200
    after = await records_of(running)
    assert [one.decided_time for one in after] == [one.decided_time for one in before]


async def test_out_of_order_the_latest_counts(running: Running, edge: Edge) -> None:
    later = {"email": ADA, "event": "bounce", "timestamp": SEEN + 60}
    await batch(edge, later)

    await batch(edge, {"email": ADA, "event": "bounce"})

    (record,) = await records_of(running)
    assert record.decided_time.seconds == SEEN + 60


async def test_what_is_delivered_resubscribed_or_no_spam_lifts_nothing(
    running: Running, edge: Edge
) -> None:
    await edge.post("ses", sns_envelope(json.dumps(BOUNCE)))
    await edge.post("postmark", COMPLAINT, basic())
    await batch(edge, {"email": ADA, "event": "unsubscribe"})
    before, head = await records_of(running), await running.head()
    back = {"RecordType": "SubscriptionChange", "Recipient": ADA, "SuppressSending": False}
    not_spam = {
        "notificationType": "Complaint",
        "complaint": {
            "complaintFeedbackType": "not-spam",
            "complainedRecipients": [{"emailAddress": ADA}],
        },
    }

    answers = [
        await edge.post("postmark", back, basic()),
        await edge.post("ses", sns_envelope(json.dumps(not_spam))),
        await edge.post("ses", sns_envelope(json.dumps({"eventType": "Delivery"}))),
        await batch(edge, {"email": ADA, "event": "group_resubscribe"}),
        await batch(edge, {"email": ADA, "event": "delivered"}),
    ]

    assert {answer.code for answer in answers} == {200}
    assert await records_of(running) == before
    assert await running.head() == head


async def test_a_suppression_of_before_its_release_does_nothing(
    running: Running, edge: Edge
) -> None:
    await batch(edge, {"email": ADA, "event": "bounce"})
    await running.call(
        "ReleaseSuppression",
        admin.ReleaseSuppressionRequest(
            idempotency_key="release",
            subject=asks.subject(ADA),
            cause=pb.CAUSE_BOUNCE,
            reason="they have a mailbox again",
            origin=asks.origin(),
        ),
    )

    late = await batch(edge, {"email": ADA, "event": "bounce", "timestamp": SEEN + 60})
    released = await is_allowed(running)
    new = await batch(edge, {"email": ADA, "event": "bounce", "timestamp": int(time.time()) + 5})

    assert (late.code, new.code) == (200, 200)
    assert released
    assert not await is_allowed(running)


async def test_an_unsubscribe_of_before_an_opt_in_leaves_it_and_a_later_one_does_not(
    running: Running, edge: Edge
) -> None:
    request = asks.set_preference(asks.opt_in("news"), key="in")
    request.origin.decided_time.GetCurrentTime()
    await running.call("SetPreference", request)

    await batch(edge, {"email": ADA, "event": "unsubscribe"})
    opted_in = await is_allowed(running)
    await batch(edge, {"email": ADA, "event": "unsubscribe", "timestamp": int(time.time()) + 60})

    assert opted_in
    assert not await is_allowed(running)


async def test_what_is_not_committed_is_503_and_its_retry_is_recorded(
    running: Running, edge: Edge
) -> None:
    envelope = sns_envelope(json.dumps(BOUNCE))
    away = UnavailableError("the database does not answer")

    with mock.patch.object(running.store, "append", side_effect=away):
        lost = await edge.post("ses", envelope)
    head = await running.head()
    again = await edge.post("ses", envelope)

    assert (lost.code, again.code) == (503, 200)
    assert int(lost.headers["retry-after"]) >= 1
    assert (head, await running.head()) == (0, 2)


async def test_what_is_committed_and_not_known_to_be_is_503_and_its_retry_finds_it_done(
    running: Running, edge: Edge
) -> None:
    envelope = sns_envelope(json.dumps(BOUNCE))
    append = running.store.append

    async def append_and_forget(write: Write) -> Appended:
        await append(write)
        raise OutcomeUnknownError("the connection broke")

    with mock.patch.object(running.store, "append", append_and_forget):
        lost = await edge.post("ses", envelope)
    again = await edge.post("ses", envelope)

    assert (lost.code, again.code) == (503, 200)
    assert await running.head() == 2


async def test_a_long_batch_that_breaks_off_is_recorded_whole_and_once_by_its_retry(
    running: Running, edge: Edge
) -> None:
    events = [{"email": f"u{at}@example.com", "event": "bounce"} for at in range(1_500)]
    append, calls = running.store.append, list[str]()

    async def append_once(write: Write) -> Appended:
        calls.append(write.idempotency_key)
        if len(calls) > 1:
            raise UnavailableError("the database does not answer")
        return await append(write)

    with mock.patch.object(running.store, "append", append_once):
        lost = await batch(edge, *events)
    head = await running.head()
    again = await batch(edge, *events)

    assert (lost.code, again.code) == (503, 200)
    assert (head, await running.head()) == (1_000, 1_500)
    assert not await is_allowed(running, email="u1499@example.com")


async def test_a_mistake_of_ours_is_503(running: Running, edge: Edge) -> None:
    with mock.patch.object(running.service, "record_report", side_effect=ZeroDivisionError):
        answer = await edge.post("ses", sns_envelope(json.dumps(BOUNCE)))

    assert answer.code == 503


async def test_no_cap_and_no_rate_keeps_a_verified_notification_out(
    running: Running, edge: Edge
) -> None:
    events = [{"email": f"u{at}@example.com", "event": "bounce"} for at in range(3_000)]

    answer = await batch(edge, *events)

    assert answer.code == 200  # three times what one person may stop in an hour
    assert await running.head() == 3_000


async def test_of_a_batch_what_can_be_read_is_recorded_and_the_rest_is_told(
    running: Running, edge: Edge
) -> None:
    answer = await batch(
        edge,
        {"event": "bounce"},
        {"email": ADA, "event": "spamreport"},
        {"email": "not an email address", "event": "dropped", "reason": "Invalid"},
    )

    assert answer.code == 422
    assert not await is_allowed(running)
    name = "heed_inbound_events_total"
    assert edge.counted(name, source="sendgrid", event="bounce", became="unreadable") == 1
    assert edge.counted(name, source="sendgrid", event="spamreport", became="complaint") == 1
    assert edge.counted(name, source="sendgrid", event="dropped", became="unaddressable") == 1
    notifications = "heed_inbound_notifications_total"
    assert edge.counted(notifications, source="sendgrid", outcome="unreadable") == 1


async def test_an_address_that_nobody_can_ask_about_is_no_loss(
    running: Running, edge: Edge
) -> None:
    said = {"email": "not an email address", "event": "dropped", "reason": "Invalid"}

    assert (await batch(edge, said)).code == 200
    assert await running.head() == 0


async def test_words_that_nobody_knows_are_one_label(edge: Edge) -> None:
    for at in range(20):
        assert (await batch(edge, {"email": ADA, "event": f"event-{at}"})).code == 200

    name = "heed_inbound_events_total"
    assert edge.counted(name, source="sendgrid", event="other", became="nothing") == 20
    labels = {
        sample.labels["event"]
        for metric in edge.registry.collect()
        for sample in metric.samples
        if sample.name == name
    }
    assert labels == {"other"}


async def test_of_a_tenant_that_is_not_there_yet_it_comes_again(
    running: Running, tmp_path: Path
) -> None:
    file = write_sources(tmp_path / "inbound", source("postmark", tenant="shop"))
    edge = edge_of(running, file)

    early = await edge.post("postmark", COMPLAINT, basic())
    await running.call("CreateTenant", admin.CreateTenantRequest(name="shop"))
    late = await edge.post("postmark", COMPLAINT, basic())

    assert (early.code, late.code) == (503, 200)
    assert await running.heads() == {"default": 0, "shop": 1}


async def test_nobody_can_test_by_the_stored_key_of_a_report_whom_it_was_about(
    running: Running, edge: Edge
) -> None:
    """It is keyed by the tenant's lookup key: by another, the same words have another name."""
    (context,) = running.tenants.all()
    names = list[str]()
    for key in (b"a" * 32, b"a" * 32, b"b" * 32):
        context.lookup = LookupKeys([LookupKey(1, key)])
        away = UnavailableError("the database does not answer")
        with mock.patch.object(running.store, "append", side_effect=away) as append:
            await edge.post("postmark", COMPLAINT, basic())
        names.append(append.call_args.args[0].idempotency_key)

    first, again, other = names
    assert first == again != other
    assert first.startswith("RecordReport:inbound/postmark:")


async def test_what_is_too_large_is_told(running: Running, tmp_path: Path) -> None:
    file = write_sources(tmp_path / "inbound", source("postmark"))
    edge = edge_of(running, file, InboundLimits(body_bytes_max=1_000))

    answer = await edge.post("postmark", {**COMPLAINT, "Content": "x" * 1_000}, basic())

    assert answer.code == 413
    name = "heed_inbound_notifications_total"
    assert edge.counted(name, source="postmark", outcome="too_large") == 1
    assert (await edge.post("postmark", COMPLAINT, basic())).code == 200


async def test_what_has_no_room_beside_others_comes_again(
    running: Running, edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SNS would not, after 4xx."""
    monkeypatch.setattr(bodies, "BODY_BYTES_FREE", 0)
    monkeypatch.setattr(bodies, "BODIES_BYTES_MAX", 10)
    body = json.dumps(COMPLAINT).encode()

    answer = await ask(BoundedBodies(edge.app), "POST", "/inbound/postmark", body, headers=basic())

    assert (answer.code, "retry-after" in answer.headers) == (503, True)
    assert await running.head() == 0


async def test_what_is_not_verified_has_a_rate_by_address_and_what_is_has_none(
    running: Running, tmp_path: Path
) -> None:
    file = write_sources(tmp_path / "inbound", source("postmark"))
    edge = edge_of(running, file, InboundLimits(invalid_per_second_max=0.1))  # six at once

    codes = [(await edge.post("postmark", COMPLAINT)).code for _ in range(10)]
    elsewhere = await edge.post("postmark", COMPLAINT, client="198.51.100.7")
    unknown = await edge.post("nobody", COMPLAINT, client="198.51.100.7")
    verified = [(await edge.post("postmark", COMPLAINT, basic())).code for _ in range(20)]

    assert codes == [401] * 6 + [429] * 4
    assert (elsewhere.code, unknown.code) == (401, 404)
    assert set(verified) == {200}
    assert await running.head() == 1


async def test_behind_a_proxy_who_asks_is_whom_it_names(running: Running, tmp_path: Path) -> None:
    file = write_sources(tmp_path / "inbound", source("postmark"))
    limits = InboundLimits(invalid_per_second_max=0.02)  # one at once
    edge = edge_of(running, file, limits, behind_proxy=True)

    codes = [
        (await edge.post("postmark", COMPLAINT, {"X-Forwarded-For": f"10.0.0.9, {who}"})).code
        for who in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2")
    ]

    assert codes == [401, 429, 401, 401, 401]


async def test_only_a_post_to_a_source_is_answered(edge: Edge) -> None:
    codes = {
        (method, path): (await ask(edge.app, method, path)).code
        for method, path in (
            ("GET", "/inbound/ses"),
            ("HEAD", "/inbound/ses"),
            ("PUT", "/inbound/ses"),
            ("POST", "/inbound/"),
            ("POST", "/inbound/ses/x"),
            ("POST", "/inbound/SES"),
            ("GET", "/"),
        )
    }

    assert list(codes.values()) == [405, 405, 405, 404, 404, 404, 404]


async def test_the_file_and_its_keys_are_taken_when_they_change_and_are_good(
    running: Running, tmp_path: Path
) -> None:
    file = write_sources(tmp_path / "inbound", source("postmark"))
    edge = edge_of(running, file)
    password = file.parent / "password"

    password.write_text("another")
    edge.sources.refresh()
    old = await edge.post("postmark", COMPLAINT, basic())
    new = await edge.post("postmark", COMPLAINT, basic(password="another"))
    file.write_text("[[source")
    edge.sources.refresh()
    in_force = edge.counted("heed_inbound_sources_in_force")
    kept = await edge.post("postmark", COMPLAINT, basic(password="another"))
    password.unlink()
    file.write_text(source("postmark", name="other"))
    edge.sources.refresh()
    still_kept = await edge.post("postmark", COMPLAINT, basic(password="another"))
    password.write_text("third")
    edge.sources.refresh()
    renamed = await edge.post("other", COMPLAINT, basic(password="third"))

    assert (old.code, new.code) == (401, 200)
    assert in_force == 0
    assert (kept.code, still_kept.code, renamed.code) == (200, 200, 200)
    assert edge.counted("heed_inbound_sources_in_force") == 1
    assert edge.sources.names == ["other"]


async def test_a_source_that_stays_remembers_what_it_knew(running: Running, tmp_path: Path) -> None:
    file = write_sources(tmp_path / "inbound", source("mailgun"))
    edge = edge_of(running, file)
    before = edge.sources.find("mailgun")

    file.write_text(source("mailgun") + source("postmark"))
    edge.sources.refresh()

    assert edge.sources.find("mailgun") is before
    assert edge.sources.names == ["mailgun", "postmark"]


async def test_whatever_a_provider_signs_is_200_only_when_all_of_it_is_committed(
    running: Running, edge: Edge
) -> None:
    """Batches put together at random of what is good, malformed and unknown."""
    seed = 20_261_127
    chosen = random.Random(seed)
    for round_ in range(60):
        events: list[Any] = []
        stopped: list[str] = []
        is_malformed = False
        for at in range(chosen.randrange(1, 6)):
            email = f"r{round_}-{at}@example.com"
            kind = chosen.choice(
                ("bounce", "unsubscribe", "delivered", "broken", "junk", "unknown")
            )
            is_malformed = is_malformed or kind in {"broken", "junk"}
            if kind in {"bounce", "unsubscribe"}:
                stopped.append(email)
            events.append(
                {
                    "broken": {"event": "bounce", "email": chosen.choice((None, 7, "", [email]))},
                    "junk": chosen.choice((None, 7, "x", [], [email])),
                    "unknown": {"event": chosen.choice(("BOUNCE", "", "resurrected"))},
                }.get(kind, {"event": kind, "email": email, "timestamp": SEEN})
            )
        body = json.dumps(events).encode()

        answer = await edge.post("sendgrid", body, sendgrid_headers(body))

        assert answer.code == (422 if is_malformed else 200), (seed, events)
        for email in stopped:
            assert not await is_allowed(running, email=email), (seed, events)
        assert await is_allowed(running, email=f"r{round_}-never@example.com")


async def test_a_source_may_stop_people_and_nothing_else(running: Running, edge: Edge) -> None:
    """The principal of a source has no right to opt anybody in, or to release."""
    with mock.patch.object(running.service, "record_report", autospec=True) as recorded:
        await edge.post("postmark", COMPLAINT, basic())

    principal = recorded.call_args.args[0]
    assert principal.name == "inbound/postmark"
    assert {right.value for right in principal.rights} == {"suppress", "write"}
    assert principal.tenant == "default"


async def test_no_answer_of_a_failure_is_taken_for_done(running: Running, edge: Edge) -> None:
    """Every reason for which the store may refuse is 503."""
    for reason in ErrorReason:
        error = UnavailableError("as it may be", reason=reason)
        with mock.patch.object(running.store, "append", side_effect=error):
            answer = await edge.post("postmark", COMPLAINT, basic())

        assert answer.code == 503, reason
