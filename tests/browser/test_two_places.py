"""One conversation in two tabs, and on two devices, in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page, expect

from tests.browser.conftest import Demo, message_box, open_tool

EXPERIENCE = "An hour with a baker of Ostia"
HISTORY = 1102


def open_conversation(page: Page, demo: Demo, who: str) -> FrameLocator:
    """Open the experience as somebody, and begin it where they have not."""
    desk = open_tool(page, demo, who, HISTORY)
    desk.get_by_role("link", name=EXPERIENCE).click()
    start = desk.get_by_test_id("start").or_(desk.get_by_test_id("message-box"))
    expect(start.first).to_be_visible()
    if desk.get_by_test_id("start").count():
        desk.get_by_test_id("start").click()
    expect(desk.get_by_test_id("message-box")).to_be_visible()
    return desk


def send(desk: FrameLocator, text: str) -> None:
    message_box(desk).fill(text)
    message_box(desk).press("Enter")


@pytest.fixture
def elsewhere(browser: Browser) -> Iterator[Page]:
    """A page on another device."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


def test_two_tabs_show_the_same_and_keep_what_is_typed(
    page: Page, context: BrowserContext, demo: Demo
) -> None:
    demo.model.reply_with([f"word{number} " for number in range(30)], delay=0.1)
    one = open_conversation(page, demo, "fatima.alzahra")
    two = open_conversation(context.new_page(), demo, "fatima.alzahra")
    message_box(two).fill("A thought half")

    send(one, "Is the bread fresh?")
    expect(two.get_by_test_id("message-student").last).to_contain_text("Is the bread fresh?")
    expect(two.get_by_test_id("message-persona").last).to_contain_text("word3")
    expect(two.get_by_test_id("stop")).to_be_visible()  # it grows here too
    expect(two.get_by_test_id("message-persona").last).to_contain_text("word29")
    expect(two.get_by_test_id("message-box")).to_have_value("A thought half")
    for desk in (one, two):
        expect(desk.get_by_test_id("message-student")).to_have_count(1)
        expect(desk.get_by_test_id("message-persona")).to_have_count(2)

    demo.model.reply_with("Indeed.")
    message_box(two).press("Enter")
    expect(one.get_by_test_id("message-persona").last).to_contain_text("Indeed.")
    expect(one.get_by_test_id("message-student").last).to_contain_text("A thought half")

    message_box(two).fill("Too late")
    one.get_by_test_id("finish").click()
    one.get_by_test_id("confirm-finish").click()
    expect(two.get_by_test_id("completed")).to_be_visible()
    expect(two.get_by_test_id("composer-note")).to_contain_text("has ended")
    expect(two.get_by_test_id("message-box")).to_have_value("Too late")
    expect(two.get_by_test_id("send")).to_be_hidden()


def test_another_device_learns_what_was_said(page: Page, elsewhere: Page, demo: Demo) -> None:
    demo.model.reply_with("Fresh as the morning.")
    one = open_conversation(page, demo, "noah.williams")
    two = open_conversation(elsewhere, demo, "noah.williams")
    send(one, "Is the bread fresh?")
    expect(two.get_by_test_id("message-persona").last).to_contain_text("Fresh as the", timeout=20_000)


def test_a_reply_is_stopped_and_answered(page: Page, demo: Demo) -> None:
    demo.model.reply_with([f"word{number} " for number in range(300)], delay=0.1)
    desk = open_conversation(page, demo, "kenji.watanabe")
    send(desk, "Tell me everything!")
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("word3")
    desk.get_by_test_id("stop").click()
    expect(desk.get_by_test_id("failure")).to_contain_text("This reply was stopped")
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("word3")
    expect(desk.get_by_test_id("message-box")).to_be_focused()
    demo.model.reply_with("As you like.")
    send(desk, "That is enough.")
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("As you like.")
    expect(desk.get_by_test_id("retry")).to_be_hidden()
