"""A link in a mail, opened and pressed in a real browser without scripts."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

import heed
from tests.support.web import WebServed, path_of

ADA = "ada@example.com"

pytestmark = pytest.mark.slow  # each module starts a server and a browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServed]:
    variables = {
        "HEED_WEB_ADDRESS": "127.0.0.1:0",
        "HEED_WEB_PUBLIC_URL": "https://news.example.com",
    }
    with WebServed(tmp_path_factory.mktemp("web"), variables=variables) as running:
        yield running


def test_a_person_opens_a_link_and_presses_its_button(server: WebServed, page: Page) -> None:
    with server.client() as client:
        link = client.make_link(heed.email(ADA), channel="email", topic="news")
    page.goto(f"http://{server.edges['public']}{path_of(link.url)}")
    with server.client() as client:
        assert client.check(email=ADA, channel="email", topic="news").allowed

    page.get_by_role("button", name="Unsubscribe", exact=True).click()

    assert page.get_by_role("heading").inner_text() == "Unsubscribed"
    with server.client() as client:
        assert not client.check(email=ADA, channel="email", topic="news").allowed
        assert client.check(email=ADA, channel="email", topic="offers").allowed


def test_a_person_opens_a_link_and_stops_everything(server: WebServed, page: Page) -> None:
    bob = "bob@example.com"
    with server.client() as client:
        link = client.make_link(heed.email(bob), channel="email", topic="news")
    page.goto(f"http://{server.edges['public']}{path_of(link.url)}")

    page.get_by_role("button", name="Unsubscribe from everything").click()

    assert page.get_by_role("heading").inner_text() == "Unsubscribed"
    with server.client() as client:
        assert not client.check(email=bob, channel="sms", topic="offers").allowed
