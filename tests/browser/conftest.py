"""A real browser, for the tests of pages. They are synchronous: its loop takes the module's."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",  # CI is root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Nothing but the test's own servers is asked for anything."""

STEP_MILLISECONDS_MAX = 30_000


def find_chromium() -> str:
    """Where Chromium is. Where there is none, skip; in CI fail."""
    names = (os.environ.get("HEED_TEST_CHROMIUM", ""), *NAMES)
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail("CI has no Chromium: scripts/browser.sh installs it")
    pytest.skip("no Chromium here: apt-get install chromium, or name one in HEED_TEST_CHROMIUM")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for the tests of a module, since it takes a second to start."""
    executable = find_chromium()
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A person's browser, with no cookie yet. Without scripts, as the public pages have to work."""
    opened = browser.new_context(java_script_enabled=False, ignore_https_errors=True)
    opened.set_default_timeout(STEP_MILLISECONDS_MAX)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty page of it."""
    return context.new_page()


@pytest.fixture
def screenshots() -> Path | None:
    """Where docs keep their pictures, if they are to be taken again (HEED_TEST_SCREENSHOTS=1)."""
    if not os.environ.get("HEED_TEST_SCREENSHOTS"):
        return None
    return Path(__file__).parents[2] / "docs" / "pictures"
