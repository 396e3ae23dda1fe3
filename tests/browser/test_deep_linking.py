"""A teacher makes an assignment from the tool, and a student works on it; a copied course brings its own along."""

import re

from playwright.sync_api import BrowserContext, FrameLocator, Page, expect

from tests.browser.conftest import Demo, open_tool
from tests.browser.rules import hold_to_rules
from tests.browser.test_accessibility import PATIENT

COPY = 1103


def course_page(demo: Demo, page: str, who: str) -> str:
    return f"{demo.sandbox_url}/courses/1101/{page}?as={who}"


def tool_in(page: Page) -> FrameLocator:
    frame = page.frame_locator("[data-testid=tool-frame]")
    expect(frame.locator("h1")).to_be_visible()
    return frame


def test_an_assignment_made_from_the_tool_opens_its_conversation(
    page: Page, context: BrowserContext, demo: Demo
) -> None:
    page.goto(course_page(demo, "assignments", "miriam.okafor"))
    page.get_by_test_id("add-assignment").first.click()
    tool = tool_in(page)
    expect(tool.get_by_role("radio", name=PATIENT)).to_have_accessible_description(re.compile("Published"))
    tool.get_by_test_id("add").click()
    expect(tool.get_by_test_id("form-errors")).to_contain_text("Choose an experience.")
    expect(tool.get_by_test_id("form-errors")).to_be_focused()
    hold_to_rules(page)
    tool.get_by_test_id("new-experience").click()
    tool.get_by_label("Title").fill("A lost parcel")
    tool.get_by_label("Learning objective 1").fill("Stay friendly")
    tool.get_by_label("Pedagogical guidance").fill("You wait for a parcel.")
    tool.get_by_label("Opening line").fill("Where is my parcel?")
    tool.get_by_test_id("save").click()
    expect(tool.get_by_role("radio", name="A lost parcel")).to_be_checked()
    tool.get_by_role("checkbox", name="Publish").press("Space")
    expect(tool.get_by_role("checkbox", name="Graded")).to_be_checked()
    tool.get_by_label("Points possible").fill("12,5")
    hold_to_rules(page)
    tool.get_by_label("Points possible").press("Enter")
    entry = page.get_by_test_id("assignments").locator("li", has_text="A lost parcel")
    expect(entry).to_contain_text("12.5 points")

    other = context.new_page()
    other.goto(course_page(demo, "assignments", "amara.diallo"))
    other.get_by_role("link", name="A lost parcel").click()
    desk = tool_in(other)
    desk.get_by_test_id("start").click()
    expect(desk.get_by_test_id("message-persona")).to_contain_text("Where is my parcel?")


def test_several_are_put_into_a_module_and_cancelling_puts_nothing(page: Page, demo: Demo) -> None:
    page.goto(course_page(demo, "modules", "miriam.okafor"))
    page.get_by_test_id("module-menu").first.click()
    tool_in(page).get_by_test_id("cancel").click()
    expect(page.frame_locator("[data-testid=tool-frame]").locator("h1")).to_have_text("Nothing added")
    page.goto(course_page(demo, "modules", "miriam.okafor"))
    page.get_by_test_id("add-item").first.click()
    tool = tool_in(page)
    for box in tool.get_by_role("checkbox", name=re.compile("^(?!Publish)")).all():
        box.check()
    chosen = tool.locator("[name=experience]:checked").count()
    tool.get_by_test_id("add").click()
    expect(page.get_by_test_id("module-items").locator("li")).to_have_count(chosen)


def test_a_copied_course_imports_its_experiences(page: Page, demo: Demo) -> None:
    tool = open_tool(page, demo, "miriam.okafor", COPY)
    expect(tool.get_by_test_id("import-offer")).to_contain_text("Introduction to Cell Biology")
    hold_to_rules(page)
    tool.get_by_test_id("import").click()
    expect(tool.get_by_role("link", name=PATIENT)).to_be_visible()
    expect(tool.get_by_test_id("import-offer")).to_have_count(0)
