"""Liking and disliking replies, and the end of a conversation's messages, in a real browser."""

from playwright.sync_api import FrameLocator, Locator, Page, Route, expect

from tests.browser.conftest import Demo, loaded, message_box, open_tool
from tests.browser.rules import hold_to_rules


def begin(page: Page, demo: Demo, title: str, **fields: str) -> FrameLocator:
    """Write and publish an experience as a teacher, then begin it as a student."""
    tool = open_tool(page, demo, "miriam.okafor")
    tool.get_by_test_id("new-experience").click()
    tool.get_by_label("Title").fill(title)
    tool.get_by_label("Learning objective 1").fill("Listen")
    tool.get_by_label("Pedagogical guidance").fill("You are an angry guest.")
    tool.get_by_label("Opening line").fill("Is anybody here?")
    for label, value in fields.items():
        tool.get_by_label(label).fill(value)
    tool.get_by_test_id("save").click()
    tool.get_by_test_id("publish").click()
    expect(tool.get_by_test_id("flash")).to_contain_text("Published")
    desk = open_tool(page, demo, "amara.diallo")
    desk.get_by_role("link", name=title).click()
    desk.get_by_test_id("start").click()
    expect(desk.get_by_test_id("message-persona")).to_contain_text("Is anybody here?")
    return desk


def say(desk: FrameLocator, text: str) -> None:
    message_box(desk).fill(text)
    desk.get_by_test_id("send").click()


def reload(page: Page, title: str) -> FrameLocator:
    page.reload()
    desk = page.frame_locator("iframe[title='AI Experiences']")
    desk.get_by_role("link", name=title).click()
    return desk


def button(reply: Locator, name: str) -> Locator:
    return loaded(reply).get_by_role("button", name=name, exact=True)


def test_a_reply_is_disliked_with_a_reason_and_liked_after_all(page: Page, demo: Demo) -> None:
    demo.model.reply_with("What do you want? " * 100)
    desk = begin(page, demo, "A guest to rate")
    say(desk, "Good evening!")
    reply = desk.get_by_test_id("message-persona").last
    dislike = button(reply, "Dislike this reply")
    dislike.click()
    expect(dislike).to_have_attribute("aria-pressed", "true")
    expect(dislike).to_be_focused()
    expect(reply.get_by_test_id("save-reason")).to_be_in_viewport(ratio=1)
    reply.get_by_test_id("reason").fill("Too rude.")
    reply.get_by_test_id("save-reason").click()
    expect(reply).to_contain_text("Saved.")
    hold_to_rules(page)

    desk = reload(page, "A guest to rate")
    reply = desk.get_by_test_id("message-persona").last
    expect(reply.get_by_test_id("reason")).to_have_value("Too rude.")
    button(reply, "Like this reply").press("Enter")
    expect(button(reply, "Like this reply")).to_have_attribute("aria-pressed", "true")
    expect(reply.get_by_test_id("reason")).to_have_count(0)
    button(reply, "Like this reply").click()
    expect(button(reply, "Like this reply")).to_have_attribute("aria-pressed", "false")
    expect(desk.get_by_test_id("message-persona")).to_have_count(2)


def test_feedback_that_does_not_arrive_says_so_and_keeps_the_reason(page: Page, demo: Demo) -> None:
    desk = begin(page, demo, "A guest out of reach")
    reply = desk.get_by_test_id("message-persona")
    button(reply, "Dislike this reply").click()
    reply.get_by_test_id("reason").fill("Too rude.")
    page.route("**/feedback", lambda route: route.fulfill(status=408, body="Your proxy had enough."))
    reply.get_by_test_id("save-reason").click()
    expect(reply.get_by_role("alert")).to_contain_text("cannot be reached")
    expect(reply.get_by_test_id("reason")).to_have_value("Too rude.")


def test_the_last_messages_are_counted_down_and_the_conversation_ends(page: Page, demo: Demo) -> None:
    demo.model.reply_with("And?")
    desk = begin(page, demo, "A guest in a hurry", **{"Messages a student may send": "2"})
    left = desk.get_by_test_id("turns-left")
    expect(left).to_have_text("Messages left: 2")
    say(desk, "Good evening!")
    expect(left).to_have_text("Messages left: 1")
    expect(desk.get_by_test_id("message-persona")).to_have_count(2)
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("And?")
    expect(desk.get_by_test_id("stop")).to_have_count(0)
    say(desk, "What can I do for you?")
    expect(left).to_contain_text("That was the last message")
    expect(desk.get_by_test_id("message-box")).to_be_hidden()
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("And?")
    desk = reload(page, "A guest in a hurry")
    expect(desk.get_by_test_id("turns-left")).to_contain_text("You have sent all the messages")
    desk.get_by_test_id("finish").click()
    desk.get_by_test_id("confirm-finish").click()
    expect(desk.get_by_test_id("completed")).to_be_visible()


def test_a_message_that_is_one_too_many_stays_in_its_box(page: Page, demo: Demo) -> None:
    desk = begin(page, demo, "A guest who waits")
    sentence = "You have sent as many messages as fit into one day. Send this one later."

    def refuse(route: Route) -> None:
        body = {"error": sentence, "code": "rate_limited", "retryable": True, "reference_id": "0"}
        route.fulfill(status=429, headers={"Retry-After": "60"}, json=body)

    page.route("**/messages", refuse)
    say(desk, "One too many")
    expect(desk.get_by_test_id("composer-note")).to_have_text(sentence)
    expect(desk.get_by_test_id("message-box")).to_have_value("One too many")
    expect(desk.get_by_test_id("message-student")).to_have_count(0)
