"""The dashboard in a real browser: signed in, seen to move without a reload, exported, read aloud."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from pypdf import PdfReader

import heed
from heed_server.web.dashboard.view import View
from heed_server.web.dashboard.views import VIEWS
from tests.browser.accessibility import violations_of
from tests.browser.conftest import STEP_MILLISECONDS_MAX
from tests.support.served import run_command
from tests.support.web import WebServed

ADA = "ada@example.com"
SCREEN = ViewportSize(width=1280, height=800)

pytestmark = pytest.mark.slow  # the module starts a server and a browser


class Dashboard:
    """A server with a dashboard, and a key to sign in with."""

    def __init__(self, server: WebServed, key: str) -> None:
        self.server = server
        self.key = key
        self.url = f"http://{server.edges['dashboard']}"

    def opt_out(self, email: str) -> int:
        """Write a change; return its revision."""
        with self.server.client(api_key=self.key) as client:
            written = client.set_preference(
                email=email,
                choices=[heed.OptOut(channel="email", topic="news")],
                origin=heed.Origin(source="tests", jurisdiction="DE"),
            )
        return written.revision


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("dashboard")
    rights = ("operate", "audit", "admin", "write", "check", "suppress", "consent")
    asked = [word for right in rights for word in ("--right", right)]
    made = run_command("keys", "create", "jane", *asked, "--json", cwd=folder)
    assert made.returncode == 0, made.stderr
    variables = {"HEED_DASHBOARD_ADDRESS": "127.0.0.1:0"}
    with WebServed(folder, variables=variables) as server:
        yield Dashboard(server, json.loads(made.stdout)["key"])


@pytest.fixture
def page(browser: Browser, dashboard: Dashboard) -> Iterator[Page]:
    """A signed-in browser with scripts."""
    context = browser.new_context(viewport=SCREEN, color_scheme="light")
    context.set_default_timeout(STEP_MILLISECONDS_MAX)
    opened = context.new_page()
    sign_in(opened, dashboard)
    yield opened
    context.close()


def sign_in(page: Page, dashboard: Dashboard) -> None:
    page.goto(dashboard.url)
    page.get_by_label("API key, or JWT").fill(dashboard.key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def test_a_write_is_seen_without_a_reload(dashboard: Dashboard, page: Page) -> None:
    page.goto(f"{dashboard.url}/propagation")
    page.evaluate("window.isSame = true")

    revision = dashboard.opt_out("live@example.com")

    row = page.get_by_role("row").filter(has_text="node/")
    expect(row.get_by_role("cell").nth(1)).to_have_text(f"{revision:,}")
    assert page.evaluate("window.isSame")


def test_how_far_an_opt_out_has_spread_is_seen_as_it_does(dashboard: Dashboard, page: Page) -> None:
    page.goto(f"{dashboard.url}/propagation")

    revision = dashboard.opt_out("spread@example.com")

    row = page.locator("#table-opt-outs tbody tr").filter(has_text=f"{revision:,}").first
    expect(row).to_contain_text("applied by all")
    expect(row).to_contain_text(re.compile(r"\d ms|\d s"))


def test_a_page_that_is_paused_stays_as_it_is_until_it_goes_on(
    dashboard: Dashboard, page: Page
) -> None:
    page.clock.install()
    page.goto(f"{dashboard.url}/propagation")
    row = page.get_by_role("row").filter(has_text="node/")
    applied = row.get_by_role("cell").nth(1)
    asked: list[str] = []
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#live")).to_contain_text("Paused")
    before = applied.inner_text()
    page.on("request", lambda request: asked.append(request.url))
    revision = dashboard.opt_out("paused@example.com")
    page.clock.run_for(60_000)

    assert (applied.inner_text(), asked) == (before, [])
    page.get_by_role("button", name="Go on").click()
    page.clock.run_for(1_000)
    expect(applied).to_have_text(f"{revision:,}")


def test_without_scripts_a_page_says_the_same_and_is_loaded_again(
    dashboard: Dashboard, browser: Browser
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, dashboard)
    page.goto(f"{dashboard.url}/propagation")

    revision = dashboard.opt_out("reload@example.com")
    page.get_by_role("link", name="Reload").click()

    row = page.get_by_role("row").filter(has_text="node/")
    expect(row.get_by_role("cell").nth(1)).to_have_text(f"{revision:,}")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    context.close()


def test_what_is_no_key_of_this_server_is_not_taken(dashboard: Dashboard, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(dashboard.url)

    page.get_by_label("API key, or JWT").fill("heed_wrong")
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("alert")).to_have_text("This credential is not taken here.")
    assert not context.cookies()
    assert violations_of(page) == []
    context.close()


@pytest.mark.parametrize("view", VIEWS, ids=lambda it: it.name)
def test_every_view_can_be_read_by_everybody(
    dashboard: Dashboard, page: Page, view: View, screenshots: Path | None
) -> None:
    name = view.name
    page.goto(f"{dashboard.url}/{name}")

    looks: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 1280), ("dark", 360))
    for scheme, width in looks:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        assert violations_of(page) == []
        overflow = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not page.evaluate(overflow), f"{name} at {width}"
        if screenshots is not None:
            page.screenshot(path=screenshots / f"dashboard-{name}-{scheme}.png")


def test_what_is_exported_is_downloaded(dashboard: Dashboard, page: Page) -> None:
    page.goto(f"{dashboard.url}/propagation")

    with page.expect_download() as told:
        page.get_by_role("link", name="JSON of this view").click()
    with page.expect_download() as listed:
        page.get_by_role("link", name="CSV of Subscribers").click()
    with page.expect_download() as printed:
        page.get_by_role("link", name="PDF of this view").click()

    rows = json.loads(Path(told.value.path()).read_text())["tables"]["subscribers"]["rows"]
    listing = Path(listed.value.path()).read_text()
    assert [row["subscriber"] for row in csv.DictReader(io.StringIO(listing))] == [
        row["subscriber"] for row in rows
    ]
    assert "Propagation" in PdfReader(Path(printed.value.path())).pages[0].extract_text()


def test_who_signs_out_is_out(dashboard: Dashboard, page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(f"{dashboard.url}/propagation")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
