"""Webhooks over the wire: requests to values, and the way of both through a client and back."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from google.protobuf.message import Message

import heed
from heed.testing import FakeSyncClient
from heed.wire import ask_webhooks, limits, parse_webhooks, read_webhooks
from heed.wire.asked import LettersAsked
from heed.wire.parse_admin import page_token
from heed_proto.v1 import admin_service_pb2 as admin
from tests.support.requests import violations_of

LETTERS = [
    (parse_webhooks.replay_dead_letters, ask_webhooks.replay_dead_letters),
    (parse_webhooks.discard_dead_letters, ask_webhooks.discard_dead_letters),
]


def test_targets_are_asked_of_a_tenant() -> None:
    asked = ask_webhooks.list_webhook_targets("shop")

    assert parse_webhooks.list_webhook_targets(asked.SerializeToString()).tenant == "shop"


def test_dead_letters_are_asked_page_by_page_of_one_target() -> None:
    token = page_token(parse_webhooks.letters_list("crm"), "7/id-1")
    asked = ask_webhooks.list_dead_letters("shop", "crm", token)

    read = parse_webhooks.list_dead_letters(asked.SerializeToString())

    assert (read.target, read.tenant, read.cursor) == ("crm", "shop", "7/id-1")
    other = admin.ListDeadLettersRequest(target="pager", page_token=token)
    assert violations_of(parse_webhooks.list_dead_letters, other).keys() == {"page_token"}
    wrong = admin.ListDeadLettersRequest(page_size=-1)
    assert violations_of(parse_webhooks.list_dead_letters, wrong).keys() == {"target", "page_size"}


@pytest.mark.parametrize(("parse", "ask"), LETTERS)
def test_letters_are_named_or_all_are_meant(
    parse: Callable[[bytes], LettersAsked],
    ask: Callable[[str, str, list[str] | None], Message],
) -> None:
    named = parse(ask("shop", "crm", ["id-1", "id-2"]).SerializeToString())
    every = parse(ask("shop", "crm", None).SerializeToString())

    assert (named.tenant, named.target, named.letter_ids) == ("shop", "crm", ("id-1", "id-2"))
    assert every.letter_ids is None
    assert violations_of(parse, ask("shop", "crm", [])).keys() == {"letters.letter_ids"}
    many = ask("shop", "crm", ["id"] * (limits.DEAD_LETTERS_NAMED_MAX + 1))
    assert violations_of(parse, many).keys() == {"letters.letter_ids"}
    wrong = ask("shop", "c" * (limits.TARGET_CHARACTERS_MAX + 1), ["id-1", "", "id\n3"])
    assert violations_of(parse, wrong).keys() == {
        "target",
        "letters.letter_ids[1]",
        "letters.letter_ids[2]",
    }


def test_neither_letters_nor_all_is_refused() -> None:
    for parse, request in (
        (parse_webhooks.replay_dead_letters, admin.ReplayDeadLettersRequest(target="crm")),
        (parse_webhooks.discard_dead_letters, admin.DiscardDeadLettersRequest(target="crm")),
    ):
        assert violations_of(parse, request).keys() == {"which"}


def test_a_target_is_read_with_what_it_lacks() -> None:
    answer = admin.ListWebhookTargetsResponse(
        targets=[
            admin.WebhookTarget(name="crm", revision=7, late_lanes=1, dead_letters=2),
            admin.WebhookTarget(name="pager", revision=12, failure="HTTP 503"),
        ],
        head_revision=10,
    )
    answer.targets[1].delivered_time.FromSeconds(1)
    answer.targets[1].failing_since.FromSeconds(2)

    crm, pager = read_webhooks.webhook_targets(answer)

    assert (crm.name, crm.lag, crm.late_lanes, crm.dead_letters) == ("crm", 3, 1, 2)
    assert (crm.delivered_time, crm.failing_since, crm.failure) == (None, None, "")
    assert (pager.lag, pager.failure) == (0, "HTTP 503")
    assert pager.delivered_time == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert pager.failing_since == datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)


def test_a_dead_letter_is_read_as_it_is() -> None:
    value = admin.DeadLetter(
        letter_id="id-1", event="hold.placed", revision=7, attempts=3, failure="HTTP 410", replays=1
    )
    value.first_time.FromSeconds(1)
    value.dead_time.FromSeconds(2)

    read = read_webhooks.dead_letter(value)

    assert (read.letter_id, read.event, read.revision) == ("id-1", "hold.placed", 7)
    assert (read.attempts, read.failure, read.replays) == (3, "HTTP 410", 1)
    assert read.dead_time > read.first_time


def test_a_fake_has_no_targets() -> None:
    client = FakeSyncClient()

    assert client.list_webhook_targets() == ()
    for call in (
        lambda: list(client.list_dead_letters("crm")),
        lambda: client.replay_dead_letters("crm", None),
        lambda: client.discard_dead_letters("crm", ["id-1"]),
    ):
        with pytest.raises(heed.NotFoundError) as refused:
            call()
        assert refused.value.reason is heed.ErrorReason.WEBHOOK_TARGET_UNKNOWN
