"""The dashboard in a real browser: signed in, seen to move without a reload, exported, read aloud."""

import csv
import io
import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
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
from tests.support.receiver import target_file
from tests.support.served import WAIT_SECONDS_MAX, run_command
from tests.support.web import WebServed

ADA = "ada@example.com"
ORIGIN = heed.Origin(source="tests", actor="jane")
PICTURES = {
    ("now", "light"),
    ("now", "dark"),
    ("propagation", "light"),
    ("clock", "light"),
    ("topics", "light"),
    ("batches", "light"),
    ("webhooks", "light"),
}
"""What docs/dashboard.md shows of them; of a history and of the checkpoints, what was asked for."""
LISTED = 12
"""People of the list that is imported."""
SCREEN = ViewportSize(width=1280, height=800)

pytestmark = pytest.mark.slow  # the module starts a server and a browser


def rows_of_a_list() -> list[heed.ImportRow]:
    return [
        heed.ImportRow(
            row=at,
            protection=heed.ImportedOptOut(subject=heed.email(f"listed{at}@example.com")),
            decided_time=datetime(2024, 3, 1, tzinfo=UTC),
        )
        for at in range(1, LISTED + 1)
    ]


class Dashboard:
    """A server with a dashboard, and a key to sign in with."""

    def __init__(self, server: WebServed, key: str) -> None:
        self.server = server
        self.key = key
        self.url = f"http://{server.edges['dashboard']}"

    def fill(self) -> None:
        """Have something in the tables of every view."""
        with self.server.client(api_key=self.key) as client:
            for name, topic_class, channels in (
                ("news", "promotional", ()),
                ("orders", "transactional", ()),
                ("security", "mandatory", ("email",)),
            ):
                client.declare_topic(
                    name,
                    topic_class=topic_class,
                    mandatory_channels=channels,
                    title=f"About {name}",
                    origin=ORIGIN,
                )
            client.import_records(batch_id="newsletter-2024", rows=rows_of_a_list(), origin=ORIGIN)
            with pytest.raises(heed.ConflictError, match="second person"):
                client.revert_batch("newsletter-2024", reason="the wrong list", origin=ORIGIN)
            client.place_hold(
                reason="wrong prices", channel="email", campaign="autumn", origin=ORIGIN
            )
            for jurisdiction in ("DE", "US", "GB"):
                client.set_preference(
                    email=f"{jurisdiction}@example.com",
                    choices=[heed.OptOut(channel="email")],
                    origin=heed.Origin(source="preference-page", jurisdiction=jurisdiction),
                )
            for topic in ("news", "orders", "security"):
                client.check(email="de@example.com", channel="email", topic=topic)

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
    flags = [word for right in rights for word in ("--right", right)]
    made = run_command("keys", "create", "jane", *flags, "--all-tenants", "--json", cwd=folder)
    assert made.returncode == 0, made.stderr
    variables = {
        "HEED_DASHBOARD_ADDRESS": "127.0.0.1:0",
        "HEED_WEBHOOKS_TARGETS_FILE": str(target_file(folder, "http://127.0.0.1:9/changes")),
        "HEED_WEBHOOKS_PRIVATE_NETWORKS": "127.0.0.0/8",
    }
    with WebServed(folder, variables=variables) as server:
        dashboard = Dashboard(server, json.loads(made.stdout)["key"])
        dashboard.fill()
        yield dashboard


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


def picture(page: Page, screenshots: Path | None, name: str) -> None:
    if screenshots is not None:
        page.screenshot(path=screenshots / f"{name}.png")


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
        if screenshots is not None and (name, scheme) in PICTURES:
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


def test_the_history_of_a_person_is_asked_for_and_taken_along(
    dashboard: Dashboard, page: Page, screenshots: Path | None
) -> None:
    revision = dashboard.opt_out("history@example.com")
    page.goto(f"{dashboard.url}/history")

    page.get_by_label("Kind").select_option("email")
    page.get_by_label("Identifier").fill("History@Example.com")
    page.get_by_role("button", name="Show the history").click()

    row = page.locator("#table-changes tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text(f"{revision:,}")
    expect(row).to_contain_text("opt-out")
    assert violations_of(page) == []
    picture(page, screenshots, "dashboard-history-light")
    with page.expect_download() as listed:
        page.get_by_role("button", name="CSV of Changes").click()
    with page.expect_download() as printed:
        page.get_by_role("button", name="PDF of this view").click()
    listing = Path(listed.value.path()).read_text()
    (told,) = csv.DictReader(io.StringIO(listing))
    assert told["what"] == "opt-out"
    assert "opt-out" in PdfReader(Path(printed.value.path())).pages[0].extract_text()


def test_the_chain_of_checkpoints_is_verified_by_a_button(
    dashboard: Dashboard, page: Page, screenshots: Path | None
) -> None:
    dashboard.opt_out("signed@example.com")
    page.goto(f"{dashboard.url}/checkpoints")
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while page.get_by_text("No checkpoint was signed yet.").count():
        assert time.monotonic() < deadline
        page.reload()

    page.get_by_label("Verify the last").select_option("720 checkpoints")
    page.get_by_role("button", name="Verify").click()

    expect(page.locator("#table-verified")).to_contain_text("all is well")
    expect(page.locator("#table-links tbody tr")).not_to_have_count(0)
    expect(page.get_by_label("Verify the last")).to_have_value("month")
    assert violations_of(page) == []
    picture(page, screenshots, "dashboard-checkpoints-light")


def test_another_tenant_is_shown_by_its_name(dashboard: Dashboard, page: Page) -> None:
    with dashboard.server.client(api_key=dashboard.key) as client:
        client.create_tenant("shop")
    page.goto(f"{dashboard.url}/topics")

    page.get_by_label("Tenant").select_option("shop")
    page.get_by_role("button", name="Show", exact=True).click()

    expect(page.get_by_label("Tenant")).to_have_value("shop")
    expect(page.get_by_role("link", name="Propagation")).to_have_attribute(
        "href", re.compile("tenant=shop")
    )


def test_who_signs_out_is_out(dashboard: Dashboard, page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(f"{dashboard.url}/propagation")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
