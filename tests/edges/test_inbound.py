"""The inbound edge, in this process: what is recorded, what is not, and what is said of it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from heed_proto.v1 import preference_service_pb2 as preference
from heed_proto.v1 import types_pb2 as pb
from tests.support import requests as asks
from tests.support.inbound import Edge, basic, edge_of, sns_envelope, source, write_sources
from tests.support.servers import Running, running_server

ADA = "ada@example.com"

BOUNCE: dict[str, Any] = {
    "notificationType": "Bounce",
    "bounce": {
        "bounceType": "Permanent",
        "bounceSubType": "General",
        "bouncedRecipients": [
            {
                "emailAddress": "Ada@Example.com",
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 <ada@example.com> user unknown",
            }
        ],
        "timestamp": "2026-11-27T09:00:00.000Z",
        "feedbackId": "0100",
    },
    "mail": {"destination": ["ada@example.com"], "messageId": "0102"},
}
COMPLAINT: dict[str, Any] = {
    "RecordType": "SpamComplaint",
    "ID": 42,
    "Type": "SpamComplaint",
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


async def test_a_permanent_bounce_of_ses_suppresses_the_address_for_good(
    running: Running, edge: Edge
) -> None:
    answer = await edge.post("ses", sns_envelope(json.dumps(BOUNCE)))

    assert answer.code == 200
    (record,) = await records_of(running)
    assert record.cause == pb.CAUSE_BOUNCE
    assert record.reach == pb.REACH_ALL
    assert record.scope.channel == pb.CHANNEL_EMAIL
    assert record.decided_time.ToJsonString() == "2026-11-27T09:00:00Z"
    assert (record.origin.source, record.origin.method) == ("inbound/ses", pb.METHOD_API)
    assert record.origin.reference == "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"


async def test_a_complaint_of_postmark_suppresses_all_but_mandatory(
    running: Running, edge: Edge
) -> None:
    answer = await edge.post("postmark", COMPLAINT, basic())

    assert answer.code == 200
    (record,) = await records_of(running)
    assert (record.cause, record.reach) == (pb.CAUSE_COMPLAINT, pb.REACH_TRANSACTIONAL)


async def test_the_same_notification_again_changes_nothing_and_is_200(
    running: Running, edge: Edge
) -> None:
    envelope = sns_envelope(json.dumps(BOUNCE))

    answers = [await edge.post("ses", envelope) for _ in range(3)]

    assert [answer.code for answer in answers] == [200, 200, 200]
    assert await running.head() == 1


async def test_a_wrong_password_records_nothing(running: Running, edge: Edge) -> None:
    wrong = await edge.post("postmark", COMPLAINT, basic(password="correct horsf"))
    none = await edge.post("postmark", COMPLAINT)

    assert (wrong.code, none.code) == (401, 401)
    assert wrong.headers["www-authenticate"].startswith("Basic")
    assert await running.head() == 0
    labels = {"source": "postmark", "why": "password"}
    assert edge.counted("heed_inbound_not_verified_total", **labels) == 1


async def test_a_changed_byte_of_an_envelope_records_nothing(running: Running, edge: Edge) -> None:
    envelope = sns_envelope(json.dumps(BOUNCE))
    envelope["Message"] = envelope["Message"].replace("Ada", "Adb")

    answer = await edge.post("ses", envelope)

    assert answer.code == 403
    assert await running.head() == 0
