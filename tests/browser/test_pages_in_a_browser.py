"""The preference page in a real browser: each button, by mouse and by keyboard, and by axe."""

import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

import heed
from heed import SyncClient
from tests.browser.accessibility import looked_at, violations_of
from tests.support.served import WAIT_SECONDS_MAX, run_command
from tests.support.web import WebServed, path_of

pytestmark = pytest.mark.slow  # each module starts a server and a browser

PAGES = """
[tenants.default]
name = "Example Shop"
logo_file = "logo.png"
home = "https://shop.example/account"

[[tenants.default.topics]]
topic = "news"
channels = ["email", "sms"]
title = { en = "Weekly letter", de = "Wochenbrief" }
description = { en = "One letter each Friday: what is new, and why.", de = "Ein Brief jeden Freitag: was neu ist, und warum." }

[[tenants.default.topics]]
topic = "offers"
title = { en = "Offers", de = "Angebote" }
description = { en = "What is cheaper this week, up to twice a week.", de = "Was diese Woche günstiger ist, bis zu zweimal die Woche." }
"""

PICTURES = {
    ("link", False),
    ("page", False),
    ("page-stopped", False),
    ("page-consent", False),
    ("page", True),
}
"""What docs show: the states, and whether in the dark, on a phone."""

ORIGIN = heed.Origin(source="tests")


def picture() -> bytes:
    """A PNG: a bar of one colour."""
    width, height = 120, 36
    rows = b"".join(b"\0" + b"\x1a\x4f\xa0" * width for _ in range(height))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def declare_topics(client: SyncClient) -> None:
    declare = client.declare_topic
    declare("news", topic_class="promotional", origin=ORIGIN)
    declare("offers", topic_class="promotional", requires_opt_in=True, origin=ORIGIN)
    declare("receipts", topic_class="transactional", title="Receipts", origin=ORIGIN)
    declare(
        "security",
        topic_class="mandatory",
        mandatory_channels=["email"],
        title="Security",
        origin=ORIGIN,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServed]:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "logo.png").write_bytes(picture())
    (folder / "pages.toml").write_text(PAGES, encoding="utf-8")
    variables = {
        "HEED_WEB_ADDRESS": "127.0.0.1:0",
        "HEED_WEB_PUBLIC_URL": "https://news.example.com",
        "HEED_PAGES_FILE": str(folder / "pages.toml"),
    }
    with WebServed(folder, variables=variables) as running:
        with running.client() as client:
            declare_topics(client)
        yield running


@pytest.fixture
def client(server: WebServed) -> Iterator[SyncClient]:
    with server.client() as opened:
        yield opened


def address_of(server: WebServed, client: SyncClient, email: str) -> str:
    """Where somebody's page is."""
    link = client.make_page_link(email=email)
    return f"http://{server.edges['public']}{path_of(link.url)}"


def is_allowed(client: SyncClient, email: str, topic: str = "news", channel: str = "email") -> bool:
    return client.check(email=email, channel=channel, topic=topic).allowed


def heading(page: Page) -> str:
    return page.get_by_role("heading", level=1).inner_text()


def test_a_person_stops_one_topic_and_keeps_the_receipt(
    server: WebServed, client: SyncClient, page: Page
) -> None:
    email = "ada@example.com"
    page.goto(address_of(server, client, email))

    page.get_by_role("button", name="Stop “Weekly letter” by email").click()
    with page.expect_download() as downloaded:
        page.get_by_role("link", name="Download the proof").click()
    page.get_by_role("link", name="Back to all your choices").click()

    receipt = Path(downloaded.value.path()).read_text(encoding="utf-8")
    assert not is_allowed(client, email)
    assert is_allowed(client, email, "receipts")
    assert receipt.startswith("c2sp.org/tlog-proof@v1\n")
    letter = page.get_by_role("region", name="Weekly letter")
    expect(letter).to_contain_text("Email: Stopped since")
    expect(letter).to_contain_text("Text message: You get this.")


def test_a_person_stops_everything_by_keyboard_alone(
    server: WebServed, client: SyncClient, page: Page
) -> None:
    email = "bea@example.com"
    page.goto(address_of(server, client, email))
    page.keyboard.press("Tab")
    first = page.locator(":focus").inner_text()

    while "Unsubscribe from everything" not in page.locator(":focus").inner_text():
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    assert first == "Skip to the content"
    expect(page.get_by_role("heading", level=1)).to_have_text("Unsubscribed")
    assert not is_allowed(client, email, "other", "sms")
    assert is_allowed(client, email, "receipts")


def test_a_person_pauses_and_ends_the_pause(
    server: WebServed, client: SyncClient, page: Page
) -> None:
    email = "cyd@example.com"
    address = address_of(server, client, email)
    page.goto(address)

    page.get_by_label("What to pause").select_option(label="“Weekly letter” by any channel")
    page.get_by_label("For a month").check()
    page.get_by_role("button", name="Pause", exact=True).click()
    paused = heading(page), is_allowed(client, email)
    page.goto(address)
    page.get_by_role("button", name="End this pause").click()

    assert paused == ("Paused", False)
    assert heading(page) == "The pause has ended"
    assert is_allowed(client, email)


def test_a_person_keeps_some_hours_quiet_and_ends_that(
    server: WebServed, client: SyncClient, page: Page
) -> None:
    email = "gus@example.com"
    address = address_of(server, client, email)
    page.goto(address)

    page.get_by_label("From").fill("00:00")
    page.get_by_label("To", exact=True).fill("00:00")
    page.get_by_label("By the clock of").fill("Pacific/Auckland")
    page.get_by_role("button", name="Keep quiet").click()
    quiet = heading(page), is_allowed(client, email)
    page.goto(address)
    page.get_by_role("button", name="End these quiet hours").click()

    assert quiet == ("Quiet hours", False)
    assert heading(page) == "The quiet hours have ended"
    assert is_allowed(client, email)


def test_a_person_starts_again_with_a_box_and_a_button_by_keyboard(
    server: WebServed, client: SyncClient, page: Page
) -> None:
    email = "dot@example.com"
    page.goto(address_of(server, client, email))
    page.get_by_role("link", name="Start “Offers” by email").click()
    shown = page.get_by_role("main").inner_text()

    page.get_by_role("button", name="Yes, start").click()  # the box is not ticked yet
    refused = is_allowed(client, email, "offers")
    page.get_by_role("checkbox").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("You get this")

    (given,) = client.get_preferences(email=email).records
    assert not refused
    assert is_allowed(client, email, "offers")
    assert given.evidence is not None
    assert given.evidence.notice in shown
    assert given.evidence.notice == "Yes, send me “Offers” by email."


def test_a_person_reads_another_language_and_stops_other_uses_of_their_data(
    server: WebServed, client: SyncClient, page: Page
) -> None:
    email = "eve@example.com"
    page.goto(address_of(server, client, email))

    page.get_by_role("link", name="Deutsch").click()
    page.get_by_role("button", name="Das beenden").click()

    assert heading(page) == "Festgehalten"
    assert page.locator("html").get_attribute("lang") == "de"
    assert not is_allowed(client, email, "profile", "processing")


def test_a_browser_with_the_signal_is_told_that_it_is_honoured(
    server: WebServed, client: SyncClient, context: BrowserContext
) -> None:
    email = "fay@example.com"
    context.set_extra_http_headers({"Sec-GPC": "1"})
    page = context.new_page()
    address = address_of(server, client, email)
    page.goto(address)
    waiting = is_allowed(client, email, "profile", "processing")

    page.get_by_role("button", name="Stop “Weekly letter” by text message").click()
    page.goto(address)

    assert waiting
    assert not is_allowed(client, email, "profile", "processing")
    expect(page.get_by_role("main")).to_contain_text(
        "Your browser sends a Global Privacy Control signal. It is honoured"
    )


@pytest.mark.parametrize(
    ("dark", "width", "language"), [(False, 800, "en-GB"), (True, 390, "de-DE")]
)
def test_nothing_keeps_anybody_from_any_state_of_the_pages(
    server: WebServed,
    client: SyncClient,
    browser: Browser,
    screenshots: Path | None,
    *,
    dark: bool,
    width: int,
    language: str,
) -> None:
    """By axe-core: in light and in dark, on a desktop and on a phone, in both languages."""
    email = f"{language}@example.com".lower()
    link = client.make_link(heed.email(email), channel="email", topic="news")
    edge = f"http://{server.edges['public']}"
    found: dict[str, list[str]] = {}
    context = looked_at(browser, dark=dark, width=width, language=language)
    context.set_extra_http_headers({"Sec-GPC": "1"})
    page = context.new_page()
    tag = language[:2]

    def look(state: str) -> None:
        found[state] = violations_of(page)
        if screenshots is not None and (state, dark) in PICTURES:
            name = f"{state}-{'dark' if dark else 'light'}.png"
            page.screenshot(path=screenshots / name)
        assert page.locator("html").get_attribute("lang") == tag
        wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        assert not wide, state

    def press(act: str, scope: str) -> None:
        form = f'form:has(input[value="{act}"]):has(input[value="{scope}"])'
        page.locator(f"{form} button").click()

    address = address_of(server, client, email)
    page.goto(edge + path_of(link.url))
    look("link")
    page.locator("main button").first.click()
    look("link-done")
    page.goto(edge + "/u/v1.0")
    look("link-invalid")
    page.goto(address)
    look("page")
    page.locator("form:has(#pause-scope) button").click()
    look("page-paused")
    page.goto(address)
    page.locator("form:has(#quiet-scope) button").click()
    look("page-quiet")
    page.goto(address)
    press("stop", "any/")
    look("page-stopped")
    page.goto(address)
    look("page-afterwards")
    page.goto(f"{address}?start=email/news")
    look("page-consent")
    page.evaluate("document.querySelector('input[name=agreed]').required = false")
    page.locator("main button").click()
    look("page-consent-refused")
    page.get_by_role("checkbox").check()
    page.locator("main button").click()
    look("page-started")
    page.goto(address)
    page.locator('input[value="other"]').check()
    page.locator("form:has(#pause-scope) button").click()
    look("page-problem")
    context.close()

    assert {state: said for state, said in found.items() if said} == {}


def test_nothing_keeps_anybody_from_a_page_that_has_closed(
    server: WebServed, client: SyncClient, browser: Browser
) -> None:
    """Likewise: what it shows, and what its one button is answered by."""
    address = address_of(server, client, "closed@example.com")
    run_command("keys", "links", "rotate", cwd=server.folder)
    server.wait_for("link_keys_rotated")
    found: list[str] = []

    for dark, width, language in ((False, 800, "en-GB"), (True, 390, "de-DE")):
        context = looked_at(browser, dark=dark, width=width, language=language)
        page = context.new_page()
        page.goto(address)
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while page.get_by_role("heading", level=2).count() != 1:  # until the server learns of it
            assert time.monotonic() < deadline
            page.wait_for_timeout(100)
            page.reload()
        found += violations_of(page)
        page.locator("main button").click()
        found += violations_of(page)
        context.close()

    assert found == []
    assert not is_allowed(client, "closed@example.com")
