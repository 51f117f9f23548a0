"""Who is believed on the inbound edge: each provider's signature, with one thing of it changed."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from heed.errors import InvalidArgumentError
from heed.model import Instant
from heed_server.web.inbound.mailgun import SIGNED_AGE_SECONDS_MAX, SIGNED_AHEAD_SECONDS_MAX
from heed_server.web.inbound.opening import Sources
from heed_server.web.inbound.sns import is_subscribe_url
from heed_server.web.inbound.sns_certificates import SigningCertificates
from heed_server.web.limits import InboundLimits
from tests.support.inbound import (
    CERTIFICATE_URL,
    SUBSCRIBE_URL,
    TOPIC,
    Edge,
    basic,
    certificate_pem,
    ec_key,
    edge_of,
    mailgun_body,
    sendgrid_headers,
    sns_envelope,
    source,
    write_sources,
)
from tests.support.servers import Running, running_server

ADA: Final = "ada@example.com"
COMPLAINT: Final = json.dumps(
    {
        "notificationType": "Complaint",
        "complaint": {
            "complainedRecipients": [{"emailAddress": ADA}],
            "timestamp": "2026-11-27T09:00:00Z",
        },
    }
)
SPAM_REPORT: Final = json.dumps(
    [{"email": ADA, "timestamp": 1_795_770_000, "event": "spamreport", "sg_event_id": "e1"}]
).encode()
COMPLAINED: Final = {"event": "complained", "recipient": ADA, "timestamp": 1_795_770_000}
RAW: Final = {
    "X-Amz-Sns-Rawdelivery": "true",
    "X-Amz-Sns-Message-Type": "Notification",
    "X-Amz-Sns-Message-Id": "m-1",
    "X-Amz-Sns-Topic-Arn": TOPIC,
}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_server(tmp_path) as server:
        yield server


@pytest.fixture
def open_edge(running: Running, tmp_path: Path) -> Callable[..., Edge]:
    def opened(provider: str, **other: Any) -> Edge:
        file = write_sources(tmp_path / "inbound", source(provider, **other))
        return edge_of(running, file)

    return opened


def not_verified(edge: Edge, provider: str, why: str) -> float:
    return edge.counted("heed_inbound_not_verified_total", source=provider, why=why)


@pytest.mark.parametrize("version", ["1", "2"])
async def test_both_signatures_of_sns_are_believed_and_the_certificate_is_fetched_once(
    running: Running, open_edge: Callable[..., Edge], version: str
) -> None:
    edge = open_edge("ses")
    envelopes = [
        sns_envelope(COMPLAINT, version=version, MessageId=f"m-{at}", Subject="SES")
        for at in range(8)
    ]

    answers = await asyncio.gather(*(edge.post("ses", one) for one in envelopes))

    assert {answer.code for answer in answers} == {200}
    assert edge.sns.asked == [CERTIFICATE_URL]
    assert await running.head() == 1


async def test_a_source_may_take_signatures_of_sha_256_alone(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("ses", signature_versions=[2])

    of_sha_1 = await edge.post("ses", sns_envelope(COMPLAINT, version="1"))
    of_sha_256 = await edge.post("ses", sns_envelope(COMPLAINT, version="2"))

    assert (of_sha_1.code, of_sha_256.code) == (403, 200)
    assert not_verified(edge, "ses", "version") == 1
    assert await running.head() == 1


CHANGES: Final[list[tuple[Mapping[str, Any], str]]] = [
    ({"Message": COMPLAINT.replace("ada", "bob")}, "signature"),
    ({"MessageId": "another"}, "signature"),
    ({"Timestamp": "2026-11-27T10:00:00.001Z"}, "signature"),
    ({"Subject": "added"}, "signature"),
    ({"SignatureVersion": "1"}, "signature"),
    ({"SignatureVersion": "3"}, "malformed"),
    ({"Signature": ""}, "absent"),
    ({"Signature": "AAAA"}, "signature"),
    ({"Signature": "!"}, "malformed"),
    ({"Type": "SubscriptionConfirmation"}, "malformed"),
    ({"Type": "Else"}, "absent"),
    ({"Message": 17}, "malformed"),
    ({"MessageId": "m\nTimestamp\n2026"}, "malformed"),
    ({"TopicArn": TOPIC + "x"}, "topic"),
    ({"TopicArn": None}, "topic"),
]


async def test_an_envelope_with_one_thing_changed_is_refused(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("ses")
    for changed, why in CHANGES:
        before = not_verified(edge, "ses", why)

        answer = await edge.post("ses", {**sns_envelope(COMPLAINT), **changed})

        assert answer.code == 403, changed
        assert not_verified(edge, "ses", why) == before + 1, changed
    assert await running.head() == 0
    assert (await edge.post("ses", sns_envelope(COMPLAINT))).code == 200


ELSEWHERE: Final = [
    "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
    "https://sns.eu-west-1.amazonaws.com.example.com/SimpleNotificationService-0.pem",
    "https://sns.eu-west-1.amazonaws.com@example.com/SimpleNotificationService-0.pem",
    "https://example.com/sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
    "https://example.com\\@sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
    "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-0.pem",
    "https://sns.eu-west-1.amazonaws.com/../SimpleNotificationService-0.pem",
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem?x=.pem",
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem#",
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem\n",
    "https://sns.eu-west-1.amazonaws.com/other.pem",
    "https://s3.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
    "https://snsxeu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
    "https://sns.eu-west-1xamazonaws.com/SimpleNotificationService-0.pem",
    "https://sns.amazonaws.com/SimpleNotificationService-0.pem",
    "https://SNS.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem",
    "",
]


async def test_a_certificate_from_elsewhere_is_not_even_fetched(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("ses")
    for url in ELSEWHERE:
        edge.sns.pages[url] = certificate_pem()

        answer = await edge.post("ses", sns_envelope(COMPLAINT, SigningCertURL=url))

        assert answer.code == 403, url
    assert not_verified(edge, "ses", "certificate") == len(ELSEWHERE)
    assert edge.sns.asked == []
    assert await running.head() == 0


async def test_every_region_of_sns_is_one(open_edge: Callable[..., Edge]) -> None:
    edge = open_edge("ses")
    for host in (
        "us-gov-west-1.amazonaws.com",
        "cn-north-1.amazonaws.com.cn",
        "mx-central-1.amazonaws.com",
    ):
        url = f"https://sns.{host}/SimpleNotificationService-0123456789abcdef.pem"
        edge.sns.pages[url] = certificate_pem()

        answer = await edge.post("ses", sns_envelope(COMPLAINT, SigningCertURL=url))

        assert answer.code == 200, host


async def test_a_topic_that_is_not_named_has_nothing_fetched(
    open_edge: Callable[..., Edge],
) -> None:
    edge = open_edge("ses")
    other = TOPIC.replace("123456789012", "210987654321")

    answer = await edge.post("ses", sns_envelope(COMPLAINT, TopicArn=other))

    assert answer.code == 403
    assert edge.sns.asked == []


async def test_a_certificate_out_of_its_time_is_refused(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    for begins_in_days in (-400, 1):
        edge = open_edge("ses")
        edge.sns.pages[CERTIFICATE_URL] = certificate_pem(begins_in_days=begins_in_days)

        assert (await edge.post("ses", sns_envelope(COMPLAINT))).code == 403
    assert await running.head() == 0


async def test_a_certificate_that_is_none_or_of_a_weak_key_is_refused(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    weak = rsa.generate_private_key(public_exponent=65_537, key_size=1_024)  # noqa: S505 - that is the point
    for page in (b"<html>", certificate_pem(weak)):
        edge = open_edge("ses")
        edge.sns.pages[CERTIFICATE_URL] = page

        assert (await edge.post("ses", sns_envelope(COMPLAINT, key=weak))).code == 403
    assert await running.head() == 0


async def test_while_the_certificate_cannot_be_had_it_comes_again(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("ses")
    page = edge.sns.pages.pop(CERTIFICATE_URL)

    away = await edge.post("ses", sns_envelope(COMPLAINT))
    edge.sns.pages[CERTIFICATE_URL] = page
    back = await edge.post("ses", sns_envelope(COMPLAINT))

    assert (away.code, back.code) == (503, 200)
    assert away.headers["retry-after"]
    assert await running.head() == 1


async def test_strangers_have_certificates_fetched_no_more_than_their_rate(
    running: Running, tmp_path: Path
) -> None:
    limits = InboundLimits(invalid_per_second_max=0.1)  # six at once
    edge = edge_of(running, write_sources(tmp_path / "inbound", source("ses")), limits)
    urls = [CERTIFICATE_URL.replace("0123", f"{at:04}") for at in range(20)]

    codes = [
        (await edge.post("ses", sns_envelope(COMPLAINT, SigningCertURL=url))).code for url in urls
    ]

    assert codes == [503] * 6 + [429] * 14
    assert len(edge.sns.asked) == 6
    other = await edge.post("ses", sns_envelope(COMPLAINT), client="198.51.100.7")
    assert other.code == 200


async def test_pinned_certificates_are_believed_and_nothing_is_fetched(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("ses", certificates_file="sns.pem")
    stranger = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)

    forged = await edge.post("ses", sns_envelope(COMPLAINT, key=stranger))
    signed = await edge.post("ses", sns_envelope(COMPLAINT))

    assert (forged.code, signed.code) == (403, 200)
    assert edge.sns.asked == []
    assert await running.head() == 1


async def test_raw_delivery_is_believed_only_with_the_password(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    without = open_edge("ses")
    unsigned = await without.post("ses", COMPLAINT.encode(), RAW)
    edge = open_edge("ses", user="heed", secret_files=["password"])

    none = await edge.post("ses", COMPLAINT.encode(), RAW)
    wrong = await edge.post("ses", COMPLAINT.encode(), {**RAW, **basic("heed", "no")})
    other_topic = {**RAW, **basic(), "X-Amz-Sns-Topic-Arn": TOPIC + "x"}
    of_other_topic = await edge.post("ses", COMPLAINT.encode(), other_topic)
    head = await running.head()
    right = await edge.post("ses", COMPLAINT.encode(), {**RAW, **basic()})

    assert unsigned.code == 403
    assert (none.code, wrong.code, of_other_topic.code) == (401, 401, 403)
    assert none.headers["www-authenticate"].startswith("Basic ")
    assert head == 0
    assert (right.code, await running.head()) == (200, 1)


async def test_a_source_with_a_password_wants_it_of_what_is_signed_too(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("ses", user="heed", secret_files=["password"])

    without = await edge.post("ses", sns_envelope(COMPLAINT))
    shown = await edge.post("ses", sns_envelope(COMPLAINT), basic())

    assert (without.code, shown.code) == (401, 200)
    assert await running.head() == 1


async def test_a_subscription_is_confirmed_only_where_the_source_says_so(
    open_edge: Callable[..., Edge],
) -> None:
    asks = sns_envelope("You have chosen to subscribe", kind="SubscriptionConfirmation")
    waiting = open_edge("ses")
    waits = await waiting.post("ses", asks)
    confirming = open_edge("ses", confirm=True)
    confirming.sns.pages[SUBSCRIBE_URL] = b"<ConfirmSubscriptionResponse/>"

    confirmed = await confirming.post("ses", asks)

    assert (waits.code, confirmed.code) == (200, 200)
    assert waiting.sns.asked == [CERTIFICATE_URL]
    assert confirming.sns.asked == [CERTIFICATE_URL, SUBSCRIBE_URL]
    name = "heed_inbound_notifications_total"
    assert waiting.counted(name, source="ses", outcome="subscription_waits") == 1
    assert confirming.counted(name, source="ses", outcome="subscription_confirmed") == 1


async def test_a_subscription_that_sns_does_not_confirm_is_asked_for_again(
    open_edge: Callable[..., Edge],
) -> None:
    edge = open_edge("ses", confirm=True)

    answer = await edge.post("ses", sns_envelope("", kind="SubscriptionConfirmation"))

    assert answer.code == 503


async def test_a_forged_confirmation_has_nothing_visited(open_edge: Callable[..., Edge]) -> None:
    edge = open_edge("ses", confirm=True)
    asks = sns_envelope("", kind="SubscriptionConfirmation")
    elsewhere = "https://example.com/?Action=ConfirmSubscription"

    forged = await edge.post("ses", {**asks, "Token": "other"})
    other = sns_envelope("", kind="SubscriptionConfirmation", SubscribeURL=elsewhere)
    signed = await edge.post("ses", other)

    assert (forged.code, signed.code) == (403, 403)
    assert edge.sns.asked == [CERTIFICATE_URL]


async def test_the_end_of_a_subscription_is_told_and_nothing_is_visited(
    open_edge: Callable[..., Edge],
) -> None:
    edge = open_edge("ses", confirm=True)

    answer = await edge.post("ses", sns_envelope("", kind="UnsubscribeConfirmation"))

    assert answer.code == 200
    assert edge.sns.asked == [CERTIFICATE_URL]
    name = "heed_inbound_notifications_total"
    assert edge.counted(name, source="ses", outcome="subscription_ended") == 1


@pytest.mark.parametrize(
    "url",
    [
        SUBSCRIBE_URL.replace("https", "http"),
        SUBSCRIBE_URL.replace(".com/", ".com.example.com/"),
        SUBSCRIBE_URL.replace("https://", "https://x@"),
        SUBSCRIBE_URL.replace("ConfirmSubscription", "DeleteTopic"),
        SUBSCRIBE_URL + "&Action=DeleteTopic",
        SUBSCRIBE_URL + "&Token=2",
        SUBSCRIBE_URL.replace(TOPIC, TOPIC + "x"),
        SUBSCRIBE_URL + "#x",
        SUBSCRIBE_URL.replace("/?", "/x?"),
    ],
)
def test_only_the_confirmation_of_that_topic_at_sns_would_be_visited(url: str) -> None:
    assert is_subscribe_url(SUBSCRIBE_URL, TOPIC)
    assert not is_subscribe_url(url, TOPIC)


async def test_a_batch_of_sendgrid_is_believed_by_its_signature_over_time_and_body(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("sendgrid")
    headers = sendgrid_headers(SPAM_REPORT)
    stranger = ec.generate_private_key(ec.SECP256R1())

    changed = SPAM_REPORT.replace(b"ada", b"bob")
    later = {**headers, "X-Twilio-Email-Event-Webhook-Timestamp": "1795773601"}
    malformed = {**headers, "X-Twilio-Email-Event-Webhook-Signature": "%"}
    codes = [
        (await edge.post("sendgrid", body, said)).code
        for body, said in (
            (changed, headers),
            (SPAM_REPORT + b"\n", headers),
            (SPAM_REPORT, later),
            (SPAM_REPORT, malformed),
            (SPAM_REPORT, {}),
            (SPAM_REPORT, sendgrid_headers(SPAM_REPORT, key=stranger)),
        )
    ]
    head = await running.head()

    assert codes == [401] * 6
    assert head == 0
    assert (await edge.post("sendgrid", SPAM_REPORT, headers)).code == 200
    assert await running.head() == 1


async def test_two_keys_of_sendgrid_are_good_while_one_is_replaced_and_pem_is_read(
    running: Running, open_edge: Callable[..., Edge], tmp_path: Path
) -> None:
    next_key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "inbound").mkdir()
    (tmp_path / "inbound" / "next.pem").write_bytes(
        next_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    edge = open_edge("sendgrid", secret_files=["sendgrid.key", "next.pem"])

    codes = [
        (await edge.post("sendgrid", SPAM_REPORT, sendgrid_headers(SPAM_REPORT, key=key))).code
        for key in (ec_key(), next_key)
    ]

    assert codes == [200, 200]
    assert await running.head() == 1


async def test_what_mailgun_signed_is_believed_once_with_its_words(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("mailgun")
    now = int(time.time())
    body = mailgun_body(COMPLAINED, signed_at=now)
    other = mailgun_body({**COMPLAINED, "recipient": "bob@example.com"}, signed_at=now)

    first, again, reused = [(await edge.post("mailgun", one)).code for one in (body, body, other)]

    assert (first, again, reused) == (200, 200, 401)
    assert not_verified(edge, "mailgun", "reused") == 1
    assert await running.head() == 1


async def test_a_token_of_mailgun_with_other_words_is_refused_after_a_restart_too(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    now = int(time.time())
    body = mailgun_body(COMPLAINED, signed_at=now)
    other = mailgun_body({**COMPLAINED, "recipient": "bob@example.com"}, signed_at=now)
    assert (await open_edge("mailgun").post("mailgun", body)).code == 200
    restarted = open_edge("mailgun")

    reused = await restarted.post("mailgun", other)
    again = await open_edge("mailgun").post("mailgun", body)

    assert (reused.code, again.code) == (401, 200)
    assert not_verified(restarted, "mailgun", "reused") == 1
    assert await running.head() == 1


async def test_a_token_of_which_nothing_was_recorded_is_good_for_those_words_alone(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("mailgun")
    now = int(time.time())

    delivered = {**COMPLAINED, "event": "delivered"}
    codes = [
        (await edge.post("mailgun", mailgun_body(event, signed_at=now))).code
        for event in (delivered, COMPLAINED)
    ]

    assert codes == [200, 401]
    assert await running.head() == 0


async def test_what_mailgun_signed_is_good_for_a_day(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("mailgun")
    for seconds, code in (
        (-SIGNED_AGE_SECONDS_MAX - 5, 401),
        (SIGNED_AHEAD_SECONDS_MAX + 60, 401),
        (-SIGNED_AGE_SECONDS_MAX + 60, 200),
        (SIGNED_AHEAD_SECONDS_MAX - 60, 200),
    ):
        signed_at = int(time.time()) + seconds
        body = mailgun_body(COMPLAINED, signed_at=signed_at, token=f"token{signed_at}")

        assert (await edge.post("mailgun", body)).code == code, seconds
        assert (await running.head() > 0) == (code == 200)
    assert not_verified(edge, "mailgun", "stale") == 2


async def test_a_changed_signature_token_or_time_of_mailgun_is_refused(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("mailgun")
    now = int(time.time())
    right = json.loads(mailgun_body(COMPLAINED, signed_at=now))
    signature = right["signature"]

    changes: list[Any] = [
        {**signature, "token": "b" * 50},
        {**signature, "timestamp": str(now - 1)},
        {**signature, "signature": signature["signature"][:-1] + "x"},
        {**signature, "signature": "é"},
        {**signature, "token": ""},
        {**signature, "timestamp": "1e9"},
        {},
        "signed",
    ]
    codes = [
        (await edge.post("mailgun", {**right, "signature": changed})).code for changed in changes
    ]
    codes.append((await edge.post("mailgun", b"{")).code)
    by_other = mailgun_body(COMPLAINED, signed_at=now, key="another")
    codes.append((await edge.post("mailgun", by_other)).code)

    assert set(codes) == {401}
    assert await running.head() == 0
    assert (await edge.post("mailgun", right)).code == 200


async def test_a_subaccount_of_mailgun_is_believed_by_its_parents_key(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("mailgun")
    now = int(time.time())
    own = json.loads(mailgun_body(COMPLAINED, signed_at=now, key="of the subaccount"))
    parents = json.loads(mailgun_body(COMPLAINED, signed_at=now))

    answer = await edge.post("mailgun", {**own, "parent-signature": parents["signature"]})

    assert answer.code == 200
    assert await running.head() == 1


async def test_postmark_without_the_password_is_refused(
    running: Running, open_edge: Callable[..., Edge]
) -> None:
    edge = open_edge("postmark")
    body = {"RecordType": "SpamComplaint", "Email": ADA}
    headers = ["", "Basic", "Basic !", "Bearer aGVlZDpjb3JyZWN0IGhvcnNl", "Basic aGVlZA=="]
    headers += [basic(user="deed")["Authorization"], basic(password="")["Authorization"]]

    codes = [
        (await edge.post("postmark", body, {"Authorization": header})).code for header in headers
    ]

    assert set(codes) == {401}
    assert await running.head() == 0
    assert (await edge.post("postmark", body, basic())).code == 200


async def test_bytes_at_random_are_never_taken_from_anybody(
    running: Running, tmp_path: Path
) -> None:
    sources = [source(one) for one in ("ses", "sendgrid", "mailgun", "postmark")]
    limits = InboundLimits(invalid_per_second_max=1_000_000)
    edge = edge_of(running, write_sources(tmp_path / "inbound", *sources), limits)
    chosen = random.Random(20_261_127)
    envelope = json.dumps(sns_envelope(COMPLAINT)).encode()
    genuine = {
        "ses": envelope,
        "mailgun": mailgun_body(COMPLAINED, signed_at=int(time.time())),
        "sendgrid": SPAM_REPORT,
        "postmark": b"{}",
    }

    codes = set[int]()
    for name, body in genuine.items():
        for _ in range(100):
            garbled = bytearray(chosen.randbytes(40) if chosen.random() < 0.3 else body)
            if len(garbled) == len(body):
                del garbled[chosen.randrange(len(garbled)) :]
            headers = {
                "Authorization": f"Basic {chosen.randbytes(9).hex()}",
                **sendgrid_headers(bytes(garbled)),
                "X-Twilio-Email-Event-Webhook-Timestamp": str(chosen.randrange(1 << 40)),
            }
            codes.add((await edge.post(name, bytes(garbled), headers)).code)

    assert codes == {401, 403}
    assert await running.head() == 0


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (source("ses", topic_arns=None), "topic_arns"),
        (source("ses", topic_arns=["arn:aws:sqs:eu-west-1:123456789012:x"]), "topic_arns"),
        (source("ses", user="heed"), "both or neither"),
        (source("sendgrid", secret_files=None), "secret_files"),
        (source("sendgrid", secret_files=["mailgun.key"]), "key of no use"),
        (source("sendgrid", secret_files=["away.key"]), "cannot be read"),
        (source("sendgrid", user="heed"), "user"),
        (source("sendgrid", topic_arns=[TOPIC]), "of SES"),
        (source("mailgun", secret_files=[]), "secret_files"),
        (source("postmark", user=None), "user"),
        (source("postmark", user="a:b"), "colon"),
        (source("postmark", name="Post Mark"), "name"),
        (source("postmark", opt_out={"topic": "Not A Topic"}), "topic"),
        (source("postmark", topics={"x": "Not A Topic"}), "topic"),
        (source("postmark", opt_out={"channel": "sms"}), "channel"),
        (source("postmark", opt_out={"reach": "all"}), "reach"),
        (source("postmark", temporary_failure_hours=-1), "temporary_failure_hours"),
        (source("postmark", jurisdiction="Germany"), "jurisdiction"),
        (source("postmark", trust_everybody=True), "trust_everybody"),
        (source("postmark") + source("postmark"), "twice"),
        ('[[source]]\nname = "x"\nprovider = "mailchimp"\ntenant = "default"', "mailchimp"),
        ("[[source", "inbound.toml"),
    ],
)
def test_a_file_of_sources_with_anything_wrong_in_it_is_refused_whole(
    tmp_path: Path, sources: str, said: str
) -> None:
    file = write_sources(tmp_path / "inbound", sources)

    with pytest.raises(InvalidArgumentError) as refused:
        Sources(file, SigningCertificates(now=lambda: Instant(0)))

    assert said in refused.value.message
    assert refused.value.violations[0].field == "inbound.file"
