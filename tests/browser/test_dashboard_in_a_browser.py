"""The dashboard in a real browser: signed in, seen to move without a reload, exported, read aloud."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect
from pypdf import PdfReader

import heed
from heed_server.web.dashboard.view import View
from heed_server.web.dashboard.views import VIEWS
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
    opened.goto(dashboard.url)
    opened.get_by_label("API key, or JWT").fill(dashboard.key)
    opened.get_by_role("button", name="Sign in").click()
    expect(opened.get_by_role("button", name="Sign out")).to_be_visible()
    yield opened
    context.close()


def test_a_write_is_seen_without_a_reload(dashboard: Dashboard, page: Page) -> None:
    page.goto(f"{dashboard.url}/propagation")
    page.evaluate("window.isSame = true")

    revision = dashboard.opt_out("live@example.com")

    row = page.get_by_role("row").filter(has_text="node/")
    expect(row.get_by_role("cell").nth(1)).to_have_text(f"{revision:,}")
    assert page.evaluate("window.isSame")


@pytest.mark.parametrize("view", VIEWS, ids=lambda it: it.name)
def test_every_view_can_be_read_by_everybody(
    dashboard: Dashboard, page: Page, view: View, screenshots: Path | None
) -> None:
    name = view.name
    page.goto(f"{dashboard.url}/{name}")

    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for width in (360, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
            overflow = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
            assert not page.evaluate(overflow), f"{name} at {width}"
            if screenshots is not None:
                page.screenshot(path=screenshots / f"dashboard-{name}-{scheme}-{width}.png")


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
