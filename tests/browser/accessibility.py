"""What keeps people from using a page, as axe-core finds it."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page

AXE = Axe()


def looked_at(
    browser: Browser, *, dark: bool = False, width: int = 1280, language: str = "en-GB"
) -> BrowserContext:
    """A browser in which axe may run: it brings its script along, past the page's policy."""
    return browser.new_context(
        bypass_csp=True,
        color_scheme="dark" if dark else "light",
        viewport={"width": width, "height": 900},
        locale=language,
        reduced_motion="reduce",
        ignore_https_errors=True,
    )


def violations_of(page: Page) -> list[str]:
    """What axe finds on a page, each with where."""
    found = AXE.run(page).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {node['target']} {node.get('failureSummary', '')}"
        for one in found
        for node in one["nodes"]
    ]
