"""Every page holds WCAG 2.2 AA as far as axe can tell, and fits a phone."""

from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from app.sandbox import SandboxConfig
from tests.browser.conftest import Demo, open_tool
from tests.browser.rules import hold_to_rules

PATIENT = "A patient who wants antibiotics"
# Who looks, what they click on, and what only the page has that they come to.
PAGES: dict[str, tuple[str, list[str], str]] = {
    "desk": ("miriam.okafor", [], "[data-testid=new-experience]"),
    "form": ("miriam.okafor", ["[data-testid=new-experience]"], "[data-testid=save]"),
    "form with mistakes": (
        "miriam.okafor",
        ["[data-testid=new-experience]", "[data-testid=save]"],
        "[data-testid=form-errors]",
    ),
    "experience": ("miriam.okafor", [f"text={PATIENT}"], "[data-testid=edit]"),
    "transcript": ("miriam.okafor", [f"text={PATIENT}", "text=Amara Diallo"], "[data-testid=send-grade]"),
    "grade with mistakes": (
        "miriam.okafor",
        [f"text={PATIENT}", "text=Amara Diallo", "[data-testid=send-grade]"],
        "[data-testid=form-errors]",
    ),
    "all transcripts": (
        "miriam.okafor",
        [f"text={PATIENT}", "[data-testid=print-all]"],
        "[data-testid=transcript]",
    ),
    "set-up for teachers": ("miriam.okafor", ["[data-testid=setup]"], "[data-testid^=feature-]"),
    "set-up for administrators": ("ingrid.bauer", ["[data-testid=setup]"], "[data-testid=claim]"),
    "shelf": ("amara.diallo", [], "[data-testid=experience]"),
    "finished chat": ("amara.diallo", [f"text={PATIENT}"], "[data-testid=message-persona]"),
    "running chat": ("mai.nguyen", [f"text={PATIENT}"], "[data-testid=message-box]"),
    "start": ("sofia.hernandez", [f"text={PATIENT}"], "[data-testid=start]"),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_hold_to_the_rules(page: Page, demo: Demo, name: str) -> None:
    who, clicks, there = PAGES[name]
    frame = open_tool(page, demo, who)
    for click in clicks:
        frame.locator(click).first.click()
    expect(frame.locator(there).first).to_be_attached()
    hold_to_rules(page)


@pytest.mark.parametrize(
    ("query", "heading"),
    [
        ({"lti_deployment_id": "9001:" + "ab" * 100}, "AI Experiences is not approved here yet"),
        ({"iss": "https://lms.example/" + "ab" * 100}, "The launch did not work"),
    ],
    ids=["deployment not approved", "platform unknown"],
)
def test_refusals_hold_the_same(page: Page, demo: Demo, query: dict[str, str], heading: str) -> None:
    sandbox = SandboxConfig(url=demo.sandbox_url)
    login = {"iss": sandbox.issuer, "client_id": sandbox.client_id, "login_hint": "x"}
    page.goto(f"{demo.url}/lti/login?{urlencode(login | query)}")
    expect(page.locator("h1")).to_have_text(heading)
    hold_to_rules(page)


def test_the_privacy_page_holds_the_same(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.url}/privacy")
    expect(page.locator("h1")).to_have_text("Privacy")
    hold_to_rules(page)
