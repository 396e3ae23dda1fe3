"""Where the focus is for people who use the keyboard, in a real browser."""

import threading

import pytest
from playwright.sync_api import FrameLocator, Page, expect

from tests.browser.conftest import Demo, loaded, message_box, open_tool
from tests.browser.rules import hold_to_rules
from tests.browser.test_feedback import begin, reload, say
from tests.support.judging import assessment, findings

PATIENT = "A patient who wants antibiotics"
WORDS = [f"word{number} " for number in range(30)]


def read_transcript(page: Page, demo: Demo, who: str) -> FrameLocator:
    tool = open_tool(page, demo, "miriam.okafor")
    tool.get_by_text(PATIENT).first.click()
    tool.get_by_text(who).first.click()
    return tool


def test_a_box_that_asks_keeps_the_focus_and_gives_it_back(page: Page, demo: Demo) -> None:
    desk = begin(page, demo, "A guest who asks twice")
    ask = loaded(desk.get_by_test_id("start-again"))
    dialog = desk.get_by_role("dialog", name="Start again?")
    cancel, confirm = dialog.get_by_role("button", name="Cancel"), desk.get_by_test_id("confirm-start-again")
    ask.press("Enter")
    expect(cancel).to_be_focused()
    hold_to_rules(page)
    for key, focused in (("Tab", confirm), ("Tab", cancel), ("Shift+Tab", confirm), ("Shift+Tab", cancel)):
        page.keyboard.press(key)
        expect(focused).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(ask).to_be_focused()
    ask.press("Enter")
    cancel.press("Enter")
    expect(dialog).to_be_hidden()
    expect(ask).to_be_focused()


def test_a_box_that_asks_needs_no_script(page: Page, demo: Demo) -> None:
    page.route("**/js/dialogs.js", lambda route: route.fulfill(content_type="text/javascript", body=""))
    tool = open_tool(page, demo, "miriam.okafor")
    tool.get_by_role("link", name=PATIENT).click()
    tool.get_by_test_id("delete").press("Enter")
    dialog = tool.get_by_role("dialog", name="Delete this experience?")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Cancel").press("Enter")
    expect(dialog).to_be_hidden()


def test_a_box_that_asks_stays_open_while_a_reply_goes_on(page: Page, demo: Demo) -> None:
    demo.model.reply_with(WORDS, delay=0.1)
    desk = begin(page, demo, "A guest who goes on")
    say(desk, "Good evening!")
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("word3")
    desk.get_by_test_id("finish").press("Enter")
    cancel = desk.get_by_role("dialog").get_by_role("button", name="Cancel")
    with page.expect_response(lambda answer: "/state?" in answer.url and answer.status == 200):
        expect(cancel).to_be_focused()
    page.wait_for_timeout(300)
    expect(cancel).to_be_focused()


def test_trying_again_moves_the_focus_to_the_box_at_once(page: Page, demo: Demo) -> None:
    demo.model.fail_with(503)
    desk = begin(page, demo, "A guest who fails once")
    say(desk, "Good evening!")
    retry = loaded(desk.get_by_test_id("retry"))
    demo.model.reply_with(WORDS, delay=0.1)
    retry.press("Enter")
    expect(desk.get_by_test_id("stop")).to_be_visible()
    expect(message_box(desk)).to_be_focused()
    expect(desk.get_by_test_id("stop")).to_be_visible()


@pytest.mark.parametrize("control", ["like", "finish"])
def test_the_end_of_a_reply_takes_the_focus_from_nowhere(page: Page, demo: Demo, control: str) -> None:
    demo.model.reply_with(WORDS, delay=0.1)
    desk = begin(page, demo, f"A guest to {control}")
    say(desk, "Good evening!")
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("word3")
    desk.get_by_test_id(control).first.focus()
    # What the page takes over once the reply is judged.
    with page.expect_response(lambda answer: "/state?" in answer.url and answer.status == 200):
        expect(desk.get_by_test_id("message-persona").last).to_contain_text("word29")
    page.wait_for_timeout(300)
    expect(desk.get_by_test_id(control).first).to_be_focused()


def test_the_end_of_a_reply_puts_nobody_into_the_box_who_was_not_there(page: Page, demo: Demo) -> None:
    demo.model.reply_with(WORDS, delay=0.1)
    desk = begin(page, demo, "A guest to read")
    say(desk, "Good evening!")
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("word3")
    desk.get_by_test_id("message-box").blur()
    expect(desk.get_by_test_id("like")).to_have_count(2)
    page.wait_for_timeout(300)
    expect(desk.get_by_test_id("message-box")).not_to_be_focused()


def test_after_finishing_the_focus_is_on_what_was_shown(page: Page, demo: Demo) -> None:
    demo.model.reply_with("And what will you do about it? " * 60)
    desk = begin(page, demo, "A guest to take leave of")
    say(desk, "Good evening!")
    expect(desk.get_by_test_id("like")).to_have_count(2)
    loaded(desk.get_by_test_id("finish")).press("Enter")
    desk.get_by_test_id("confirm-finish").press("Enter")
    expect(desk.get_by_test_id("closing")).to_be_focused()
    for seen in (desk.get_by_role("heading", name="What you have shown"), desk.locator("h1")):
        expect(seen).to_be_in_viewport(ratio=1)
    desk = reload(page, "A guest to take leave of")
    expect(loaded(desk.get_by_test_id("closing"))).not_to_be_focused()


def test_after_a_decision_on_an_objective_the_focus_is_on_them(page: Page, demo: Demo) -> None:
    tool = read_transcript(page, demo, "Amara Diallo")
    expect(loaded(tool.get_by_test_id("progress"))).not_to_be_focused()
    tool.get_by_test_id("overrule").first.press("Enter")
    expect(tool.get_by_text("Decided by Miriam Okafor").first).to_be_visible()
    expect(tool.get_by_test_id("progress")).to_be_focused()


def test_an_evaluation_that_arrives_leaves_the_focus_on_it(page: Page, demo: Demo) -> None:
    written = threading.Event()
    demo.model.judge_by(lambda request: assessment(3) if written.wait(20) else None)
    tool = read_transcript(page, demo, "Amara Diallo")
    tool.get_by_test_id("evaluate").press("Enter")
    expect(tool.get_by_test_id("evaluating")).to_be_visible()
    expect(tool.get_by_test_id("evaluation")).to_be_focused()
    written.set()
    expect(tool.get_by_test_id("evaluating")).to_have_count(0)
    expect(tool.get_by_test_id("evaluation")).to_be_focused()
    demo.model.judge_with(findings())


def test_after_resolving_a_flag_the_focus_is_on_what_the_page_says_of_it(page: Page, demo: Demo) -> None:
    desk = begin(page, demo, "A guest who worries")
    say(desk, "Thank you. To be honest, I want to kill myself.")
    expect(desk.get_by_test_id("help")).to_be_visible()
    tool = open_tool(page, demo, "miriam.okafor")
    tool.get_by_test_id("flags").click()
    tool.get_by_test_id("resolve").first.press("Enter")
    expect(tool.get_by_test_id("flash")).to_have_text("The flag is resolved.")
    expect(tool.get_by_test_id("flash")).to_be_focused()


def test_a_budget_that_cannot_be_is_in_focus(page: Page, demo: Demo) -> None:
    tool = open_tool(page, demo, "ingrid.bauer")
    tool.get_by_test_id("setup").click()
    box = tool.locator("#tokens")
    box.fill("many")
    tool.get_by_test_id("save-budget").press("Enter")
    expect(tool.locator("#tokens-error")).to_be_in_viewport(ratio=1)
    expect(box).to_be_focused()
