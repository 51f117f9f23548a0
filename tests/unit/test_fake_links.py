"""Links of a fake: made and pressed as a server's are."""

from datetime import timedelta

import pytest

import heed
from heed import NotFoundError
from heed.links import MAIL_LINE_CHARACTERS_MAX, Link
from heed.testing import FakeSyncClient

ADA = heed.email("ada@example.com")


def is_allowed(client: FakeSyncClient) -> bool:
    return client.check(subjects=[ADA], channel="email", topic="news.weekly").allowed


def test_a_press_stops_once_and_again_after_an_opt_in() -> None:
    client = FakeSyncClient()
    link = client.make_link(ADA, channel="email", topic="news")

    for _ in range(3):
        client.service.press(link.url)
    stopped, revision = is_allowed(client), client.get_preferences(subjects=[ADA]).revision
    client.opt_in(
        subjects=[ADA],
        channel="email",
        topic="news",
        evidence=heed.Evidence(notice="n", notice_version="1", act="ticked", language="en"),
        method="web_form",
        decided_time=client.clock.now(),
        source="tests",
    )
    let_through = is_allowed(client)
    client.service.press(link.url)

    assert (stopped, let_through, is_allowed(client)) == (False, True, False)
    assert revision == 1


def test_a_target_has_one_link_and_what_was_never_made_is_none() -> None:
    client = FakeSyncClient()

    assert client.make_link(ADA, topic="news") == client.make_link(ADA, topic="news")
    assert client.make_link(ADA, topic="news") != client.make_link(ADA, topic="offers")
    with pytest.raises(NotFoundError):
        client.service.press("https://heed.invalid/u/v1.00000000.0")


def test_a_fake_makes_page_links_that_say_when_they_end() -> None:
    client = FakeSyncClient()

    before = client.clock.now()
    link = client.make_page_link(email="ada@example.com", user="u-1")

    assert link.url.startswith("https://heed.invalid/p/")
    assert before <= link.expire_time - timedelta(hours=24) <= client.clock.now()


def test_a_link_that_a_mail_cannot_carry_in_one_line_makes_no_header() -> None:
    """Mail servers would cut it, and the button of the mail program would be lost in silence."""
    longest = MAIL_LINE_CHARACTERS_MAX - len("List-Unsubscribe: <>")

    headers = Link(url="u" * longest).headers

    assert headers["List-Unsubscribe"] == f"<{'u' * longest}>"
    with pytest.raises(heed.InvalidArgumentError, match="name a shorter topic"):
        _ = Link(url="u" * (longest + 1)).headers
