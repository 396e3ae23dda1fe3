"""What every page is held to: WCAG 2.2 AA as far as axe can tell, and the width of a phone."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PHONE = {"width": 320, "height": 640}


def hold_to_rules(page: Page) -> None:
    """Hold the tool's page, in its frame where there is one, to the rules; wait first until it is the one you mean."""
    frame = next((frame for frame in page.frames if "/launches/" in frame.url), page.main_frame)
    results = Axe().run(frame, options=OPTIONS)
    assert results.violations_count == 0, results.generate_report()
    size = page.viewport_size
    page.set_viewport_size(PHONE)
    assert frame.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    page.set_viewport_size(size)
