"""Progress and evaluations in a real browser: they come by themselves, and take nothing away that is being typed."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import Demo, message_box, open_tool
from tests.browser.rules import hold_to_rules
from tests.support.fake_model import ReceivedRequest
from tests.support.judging import assessment, finding, findings

CULTURE = "What is killing the cell culture?"
LOOKS = "What does the medium look like, how does it smell, and what shows the microscope?"
NAMES = "No threads, so no fungus, and mycoplasma is slower: I say bacteria, because of the rods that move."
STEP = "Close the flasks, autoclave them, and open no other incubator before the tray is clean."


@pytest.fixture
def evaluated(demo: Demo) -> Iterator[threading.Event]:
    """A judge who credits what is said in these words, and an evaluator who waits for the event."""
    go_on = threading.Event()

    def judge(request: ReceivedRequest) -> dict[str, Any]:
        if "You evaluate" in request.instructions:
            go_on.wait(20)
            return assessment(4, key_moments=[{"objective": 4, "message": 6, "quote": "autoclave them"}])
        quotes = {(1, 2, LOOKS), (2, 4, NAMES), (3, 4, NAMES), (4, 6, STEP)}
        return findings(*(finding(*each) for each in quotes if each[2] in request.prompt))

    demo.model.judge_by(judge)
    yield go_on
    demo.model.judge_with(findings())


def test_progress_shows_by_itself_and_the_teacher_has_the_last_word(
    page: Page, context: BrowserContext, demo: Demo, evaluated: threading.Event
) -> None:
    demo.model.reply_with("Tiny rods that move between the cells.")
    desk = open_tool(page, demo, "jonas.lindqvist")
    desk.get_by_role("link", name=CULTURE).click()
    desk.get_by_test_id("start").click()
    expect(desk.get_by_test_id("progress-count")).to_contain_text("0 of 4 objectives shown")
    box = message_box(desk)
    for number, (text, shown) in enumerate(((LOOKS, 1), (NAMES, 3), (STEP, 4)), 1):
        box.fill(text)
        box.press("Enter")
        expect(desk.get_by_test_id("message-persona")).to_have_count(number + 1)
        box.press_sequentially("half a thought")
        count = desk.get_by_test_id("progress-count")
        expect(count).to_contain_text(f"{shown} of 4 objectives shown")
        expect(box).to_have_value("half a thought")
        box.fill("")
    closing = desk.get_by_test_id("closing")
    expect(closing).to_contain_text("You have shown everything that this asks for")
    expect(closing.get_by_test_id("proof")).to_have_count(4)
    closing.get_by_test_id("proof").first.click()
    expect(desk.locator(".message:target")).to_contain_text(LOOKS)
    expect(desk.locator(".message:target")).to_be_in_viewport()
    hold_to_rules(page)

    other = context.new_page()
    tool = open_tool(other, demo, "miriam.okafor")
    tool.get_by_role("link", name=CULTURE).click()
    tool.get_by_test_id("student-row").filter(has_text="Jonas Lindqvist").get_by_role("link").click()
    marks = tool.get_by_test_id("progress").get_by_test_id("objective")
    marks.nth(1).get_by_test_id("overrule").click()
    expect(marks.nth(1)).to_contain_text("Decided by Miriam Okafor")
    expect(tool.get_by_test_id("progress")).to_contain_text("3 of 4 covered")
    page.bring_to_front()
    expect(desk.get_by_test_id("progress-count")).to_contain_text("3 of 4 objectives shown", timeout=40_000)
    expect(desk.get_by_test_id("progress")).to_contain_text("Your teacher has marked this as not shown yet.")
    other.bring_to_front()

    tool.get_by_test_id("evaluate").click()
    expect(tool.get_by_test_id("evaluating")).to_be_visible()
    tool.get_by_label("Comment").press_sequentially("A comment half")
    evaluated.set()
    expect(tool.get_by_test_id("overall-score")).to_have_text("81 of 100")
    expect(tool.get_by_label("Comment")).to_have_value("A comment half")
    tool.get_by_test_id("key-moment").get_by_test_id("proof").click()
    expect(tool.locator(".message:target")).to_contain_text(STEP)
    hold_to_rules(other)
