"""Writing messages, in a real browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.browser.conftest import Demo, message_box, open_tool
from tests.browser.rules import PHONE
from tests.browser.test_feedback import begin, reload, say


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    yield context.new_page()
    context.close()


def test_who_has_begun_can_write_at_once(page: Page, demo: Demo) -> None:
    desk = begin(page, demo, "A guest to greet")
    expect(desk.get_by_test_id("message-box")).to_be_focused()
    demo.model.reply_with("Good evening.")
    say(desk, "Good evening!")
    expect(desk.get_by_test_id("message-persona")).to_have_count(2)
    desk = reload(page, "A guest to greet")
    expect(desk.get_by_test_id("message-persona")).to_have_count(2)
    expect(desk.get_by_test_id("message-box")).not_to_be_focused()


def test_on_a_phone_enter_makes_a_line_and_the_button_sends(phone: Page, demo: Demo) -> None:
    desk = begin(phone, demo, "A guest on the phone")
    box = message_box(desk)
    box.fill("Good evening!")
    box.press("Enter")
    box.press_sequentially("How are you?")
    expect(box).to_have_value("Good evening!\nHow are you?")
    desk.get_by_test_id("send").click()
    expect(desk.get_by_test_id("message-student")).to_contain_text("How are you?")


def test_a_note_to_wait_for_the_reply_goes_when_it_is_there(page: Page, demo: Demo) -> None:
    demo.model.reply_with([f"word{number} " for number in range(30)], delay=0.1)
    desk = begin(page, demo, "A guest to wait for")
    say(desk, "Good evening!")
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("word3")
    say(desk, "Are you there?")
    expect(desk.get_by_test_id("composer-note")).to_contain_text("A reply is still on its way")
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("word29")
    expect(desk.get_by_test_id("composer-note")).to_be_empty()
    expect(desk.get_by_test_id("message-box")).to_have_value("Are you there?")


def test_another_tab_offers_no_second_try_of_what_is_over(
    page: Page, context: BrowserContext, demo: Demo
) -> None:
    demo.model.fail_with(401)
    desk = begin(page, demo, "A guest who does not answer")
    say(desk, "Good evening!")
    expect(desk.get_by_test_id("failure")).to_contain_text("please tell your teacher")
    other = open_tool(context.new_page(), demo, "amara.diallo")
    other.get_by_role("link", name="A guest who does not answer").click()
    expect(other.get_by_test_id("retry")).to_be_visible()
    desk.get_by_test_id("finish").click()
    desk.get_by_test_id("confirm-finish").click()
    expect(other.get_by_test_id("completed")).to_be_visible()
    expect(other.get_by_test_id("retry")).to_be_hidden()
    expect(other.get_by_text("please tell your teacher")).to_be_hidden()
    expect(other.get_by_text("The AI was not set up correctly.")).to_be_visible()
    demo.model.reply_with("Good evening.")


def test_a_note_that_a_message_was_not_sent_goes_when_a_later_one_gets_through(
    page: Page, demo: Demo
) -> None:
    desk = begin(page, demo, "A guest on a bad line")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/messages", hold)
    for text in ("Good evening!", "Are you there?"):
        with page.expect_request("**/messages"):
            say(desk, text)
    note = desk.get_by_test_id("composer-note")
    held[0].fulfill(status=408, body="Your proxy had enough.")
    expect(note).to_contain_text("could not be sent")
    held[1].continue_()
    expect(note).to_be_empty()
    expect(desk.get_by_test_id("message-box")).to_have_value("Good evening!")


def test_a_message_whose_answer_was_lost_leaves_its_box(page: Page, demo: Demo) -> None:
    demo.model.reply_with("Good evening to you.")
    desk = begin(page, demo, "A guest on a worse line")

    def lose_answer(route: Route) -> None:
        route.fetch()
        route.fulfill(status=408, body="Your proxy had enough.")

    page.route("**/messages", lose_answer)
    say(desk, "Good evening!")
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("Good evening to you.")
    expect(desk.get_by_test_id("message-student")).to_have_count(1)
    expect(desk.get_by_test_id("message-box")).to_have_value("")
    expect(desk.get_by_test_id("composer-note")).to_be_empty()
