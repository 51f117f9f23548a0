"""What each provider's events become, by cases as data; and that nothing else becomes a stop."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heed.formats import ImportedRow
from heed.model import Cause, Channel, Instant, Reach
from heed.names import word_of
from heed_server.web.inbound.mailgun import read_mailgun
from heed_server.web.inbound.notification import (
    EVENTS_MAX,
    RECIPIENTS_MAX,
    Event,
    NotReadableError,
    object_of,
)
from heed_server.web.inbound.postmark import read_postmark
from heed_server.web.inbound.recording import recording_of
from heed_server.web.inbound.sendgrid import read_sendgrid
from heed_server.web.inbound.ses import read_ses
from heed_server.web.inbound.sources import Reading, Source
from tests.docs.pages import DOCS
from tests.support.inbound import cases

NOW: Final = Instant(1_795_780_800_000_000)
"""2026-11-27T12:00:00Z"""

READERS: Final[Mapping[str, Callable[[bytes, Reading], tuple[Event, ...]]]] = {
    "ses": lambda body, reading: read_ses(body.decode(), reading),
    "sendgrid": lambda body, reading: read_sendgrid(body, reading).events,
    "mailgun": lambda body, reading: (read_mailgun(object_of(body), reading),),
    "postmark": lambda body, reading: read_postmark(object_of(body), reading).events,
}
CASES: Final = [
    pytest.param(provider, case, id=f"{provider}: {case['name']}")
    for provider in READERS
    for case in cases(provider)
]


def reading_of(provider: str, **other: Any) -> Reading:
    said = {"name": provider, "provider": provider, "tenant": "default", **other}
    return Reading(source=msgspec.convert(said, Source), now=NOW)


def shown(row: ImportedRow) -> dict[str, Any]:
    """A row as the cases have it: what goes without saying is left out."""
    said: dict[str, Any] = {"became": row.word, "address": row.address, "decided": None}
    if row.decided_time is not None:
        said["decided"] = _time(row.decided_time)
    if row.end_time is not None:
        said["end"] = _time(row.end_time)
    if row.cause is Cause.NONE:
        assert row.channel is not None
        assert row.reach is not None
        said["reach"] = word_of(row.reach)
        if row.channel is not Channel.EMAIL:
            said["channel"] = word_of(row.channel)
    if row.topic:
        said["topic"] = row.topic
    if row.reason:
        said["reason"] = row.reason
    return said


def _time(instant: Instant) -> str:
    at = datetime.fromtimestamp(instant // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    milliseconds = instant // 1_000 % 1_000
    return f"{at}.{milliseconds:03}Z" if milliseconds else f"{at}Z"


@pytest.mark.parametrize(("provider", "case"), CASES)
def test_an_event_becomes_what_the_cases_say(provider: str, case: dict[str, Any]) -> None:
    body = json.dumps(case["said"]).encode()

    events = READERS[provider](body, reading_of(provider, **case.get("source", {})))

    assert [
        [event.word, event.unreadable.field]
        if event.unreadable is not None
        else [event.word, [] if event.row is None else [shown(event.row)]]
        for event in events
    ] == case["events"]


@pytest.mark.parametrize(("provider", "case"), CASES)
def test_the_page_names_every_event(provider: str, case: dict[str, Any]) -> None:
    page = (DOCS / "inbound.md").read_text(encoding="utf-8")

    for word, _ in case["events"]:
        kind = word.partition("/")[0] if word.endswith("/other") else word
        assert f"`{kind}" in page, f"{provider}: {word}"


def test_what_every_event_becomes_is_recorded_as_the_service_takes_it() -> None:
    said = [
        {"email": "a@example.com", "timestamp": 1_795_770_000, "event": "bounce"},
        {"email": "b@example.com", "timestamp": 1_795_770_000, "event": "unsubscribe"},
        {"email": "not an email address", "event": "dropped", "reason": "Invalid"},
        {"event": "spamreport"},
        {"email": "c@example.com", "event": "delivered"},
    ]
    reading = reading_of("sendgrid", jurisdiction="DE")
    notification = read_sendgrid(json.dumps(said).encode(), reading)

    recording = recording_of(notification, reading.source)

    assert recording.became == ("bounce", "opt_out", "unaddressable", "unreadable", "nothing")
    (call,) = recording.calls
    bounce, opt_out = call.protections
    assert (bounce.cause, bounce.reach) == (Cause.BOUNCE, Reach.ALL)
    assert (opt_out.cause, opt_out.reach) == (Cause.NONE, Reach.TRANSACTIONAL)
    assert (call.origin.source, call.origin.jurisdiction) == ("inbound/sendgrid", "DE")


def test_a_long_batch_is_recorded_in_as_few_calls_as_can_be_each_known_by_what_it_says() -> None:
    said = [
        {"email": f"u{at}@example.com", "timestamp": 1_795_770_000, "event": "bounce"}
        for at in range(2_500)
    ]
    reading = reading_of("sendgrid")
    body = json.dumps(said).encode()

    first, again = (
        recording_of(read_sendgrid(body, reading), reading.source).calls for _ in range(2)
    )

    assert [len(call.protections) for call in first] == [1_000, 1_000, 500]
    assert len({call.payload_hash for call in first}) == 3
    assert first == again


def test_what_is_read_differently_is_another_report() -> None:
    body = json.dumps([{"email": "a@example.com", "event": "unsubscribe", "timestamp": 1}]).encode()

    said = set[bytes]()
    for topic in ("news", "offers"):
        reading = reading_of("sendgrid", opt_out={"topic": topic})
        (call,) = recording_of(read_sendgrid(body, reading), reading.source).calls
        said.add(call.payload_hash)

    assert len(said) == 2


@pytest.mark.parametrize("body", [b"", b"{}", b"[", b"\xff", b"[" * 100_000, b'"x"', b"null"])
def test_what_is_no_batch_is_unreadable(body: bytes) -> None:
    with pytest.raises(NotReadableError):
        read_sendgrid(body, reading_of("sendgrid"))


def test_too_many_events_and_recipients_are_unreadable() -> None:
    events = json.dumps([{"event": "open"}] * (EVENTS_MAX + 1)).encode()
    recipients = [{"emailAddress": "a@example.com"}] * (RECIPIENTS_MAX + 1)
    bounce = {"bounceType": "Permanent", "bouncedRecipients": recipients}

    with pytest.raises(NotReadableError):
        read_sendgrid(events, reading_of("sendgrid"))
    (event,) = read_ses(
        json.dumps({"notificationType": "Bounce", "bounce": bounce}), reading_of("ses")
    )
    assert event.unreadable is not None


_WORDS = st.sampled_from(
    [
        "event", "eventType", "notificationType", "RecordType", "Type", "Bounce", "bounce",
        "Complaint", "complaint", "bouncedRecipients", "complainedRecipients", "emailAddress",
        "email", "Email", "recipient", "Recipient", "Permanent", "HardBounce", "spamreport",
        "failed", "permanent", "severity", "reason", "timestamp", "unsubscribe", "Subscription",
        "subscription", "newTopicPreferences", "topicSubscriptionStatus", "SubscriptionChange",
        "SuppressSending", "Inactive", "mail", "destination", "a@example.com", "dropped",
    ]
)  # fmt: skip
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), _WORDS, st.text(max_size=12)
)
_JSON = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=6),
    max_leaves=30,
)


@pytest.mark.parametrize("provider", READERS)
@given(said=_JSON)
@example(said={"eventType": "Subscription", "subscription": {"newTopicPreferences": {"a": 1}}})
def test_whatever_is_said_is_read_or_unreadable_and_never_weakens(
    provider: str, said: object
) -> None:
    reading = reading_of(provider, deferral_hours=1)
    try:
        events = READERS[provider](json.dumps(said).encode(), reading)
    except NotReadableError:
        return

    for event in events:
        row = event.row
        if row is None:
            continue
        assert row.cause in Cause
        assert row.address
        assert "@example.com" not in row.reason
        if row.end_time is not None:
            assert row.cause is Cause.TEMPORARY_FAILURE
            assert row.end_time <= NOW + 3_600_000_000 * 24


@pytest.mark.parametrize("provider", READERS)
@given(body=st.binary(max_size=200))
def test_bytes_that_are_no_notification_stop_nobody(provider: str, body: bytes) -> None:
    try:
        events = READERS[provider](body, reading_of(provider))
    except (NotReadableError, UnicodeDecodeError):
        return

    assert all(event.row is None for event in events)
