"""Every page holds WCAG 2.2 AA as far as axe can tell, and fits a phone."""

from urllib.parse import urlencode

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from app.sandbox import SandboxConfig
from tests.browser.conftest import Demo, open_tool

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PATIENT = "A patient who wants antibiotics"
PAGES = {
    "desk": ("miriam.okafor", []),
    "form": ("miriam.okafor", ["[data-testid=new-experience]"]),
    "form with mistakes": ("miriam.okafor", ["[data-testid=new-experience]", "[data-testid=save]"]),
    "experience": ("miriam.okafor", [f"text={PATIENT}"]),
    "transcript": ("miriam.okafor", [f"text={PATIENT}", "text=Amara Diallo"]),
    "grade with mistakes": (
        "miriam.okafor",
        [f"text={PATIENT}", "text=Amara Diallo", "[data-testid=send-grade]"],
    ),
    "all transcripts": ("miriam.okafor", [f"text={PATIENT}", "[data-testid=print-all]"]),
    "set-up for teachers": ("miriam.okafor", ["[data-testid=setup]"]),
    "set-up for administrators": ("ingrid.bauer", ["[data-testid=setup]"]),
    "shelf": ("amara.diallo", []),
    "finished chat": ("amara.diallo", [f"text={PATIENT}"]),
    "running chat": ("mai.nguyen", [f"text={PATIENT}"]),
    "start": ("sofia.hernandez", [f"text={PATIENT}"]),
}


def go_to(page: Page, demo: Demo, who: str, clicks: list[str]) -> None:
    """Go to a page of the tool in its frame."""
    frame = open_tool(page, demo, who)
    for click in clicks:
        frame.locator(click).first.click()
        page.wait_for_load_state("networkidle")
    expect(frame.locator("h1")).to_be_visible()


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(page: Page, demo: Demo, name: str) -> None:
    who, clicks = PAGES[name]
    go_to(page, demo, who, clicks)
    frame = next(frame for frame in page.frames if "/launches/" in frame.url)
    results = Axe().run(frame, options=RULES)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("name", PAGES)
def test_pages_fit_320_pixels(page: Page, demo: Demo, name: str) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    who, clicks = PAGES[name]
    go_to(page, demo, who, clicks)
    frame = next(frame for frame in page.frames if "/launches/" in frame.url)
    overflow = frame.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0


@pytest.mark.parametrize(
    ("query", "heading"),
    [
        ({"lti_deployment_id": "9001:" + "ab" * 100}, "AI Experiences is not approved here yet"),
        ({"iss": "https://lms.example/" + "ab" * 100}, "The launch did not work"),
    ],
    ids=["deployment not approved", "platform unknown"],
)
def test_refusals_hold_the_same(page: Page, demo: Demo, query: dict[str, str], heading: str) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    sandbox = SandboxConfig(url=demo.sandbox_url)
    login = {"iss": sandbox.issuer, "client_id": sandbox.client_id, "login_hint": "x"}
    page.goto(f"{demo.url}/lti/login?{urlencode(login | query)}")
    expect(page.locator("h1")).to_have_text(heading)
    results = Axe().run(page, options=RULES)
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
