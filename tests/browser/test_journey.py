"""The main job in a real browser, in the frame of another site, from launch to transcript."""

import os
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.conftest import Demo, loaded, message_box, open_tool

IMAGES = Path(__file__).parents[2] / "docs" / "images"
REPLY = ["I have been **waiting** ", "for an hour. ", "What will you do about it?"]


def picture(page: Page, name: str) -> None:
    """Renew a picture of the documentation where that is asked for (make screenshots)."""
    if os.environ.get("SCREENSHOTS"):
        IMAGES.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=IMAGES / f"{name}.png")


def test_write_publish_chat_reload_and_read(page: Page, context: BrowserContext, demo: Demo) -> None:
    demo.model.reply_with(REPLY, delay=0.15)

    tool = open_tool(page, demo, "miriam.okafor")
    tool.get_by_test_id("new-experience").click()
    tool.get_by_label("Title").fill("An angry guest")
    tool.get_by_label("Description").fill("A hotel guest complains at the desk. You are on duty.")
    tool.get_by_label("Learning objective 1").fill("Listen and show understanding")
    tool.get_by_role("button", name="Objective").click()
    tool.get_by_label("Learning objective 2").fill("Offer a solution")
    tool.get_by_label("Facts").fill("The room was not cleaned.")
    tool.get_by_label("Persona's name").fill("Jo Winter")
    tool.get_by_test_id("save").click()
    expect(tool.get_by_test_id("form-errors")).to_contain_text("Pedagogical guidance")
    expect(tool.get_by_label("Learning objective 2")).to_have_value("Offer a solution")
    tool.get_by_label("Pedagogical guidance").fill("You are an angry hotel guest.")
    tool.get_by_label("Opening line").fill("Is anybody here at all?")
    tool.get_by_test_id("save").click()
    tool.get_by_test_id("publish").click()
    expect(tool.get_by_test_id("flash")).to_contain_text("Published")

    other = context.new_page()
    desk = open_tool(other, demo, "amara.diallo")
    desk.get_by_role("link", name="An angry guest").click()
    desk.get_by_test_id("start").click()
    expect(desk.get_by_test_id("message-persona")).to_contain_text("Is anybody here at all?")
    box = message_box(desk)
    box.fill("Good evening!")
    box.press("Shift+Enter")
    box.type("I am sorry.")
    box.press("Enter")
    expect(desk.get_by_test_id("message-student")).to_have_text(
        "You\nGood evening!\nI am sorry.", use_inner_text=True
    )
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("I have been **waiting**")
    expect(desk.get_by_test_id("message-persona").last.locator("strong")).to_have_text("waiting")
    picture(other, "conversation")

    other.reload()
    desk = other.frame_locator("iframe[title='AI Experiences']")
    desk.get_by_role("link", name="An angry guest").click()
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("What will you do about it?")
    message_box(desk).fill("I will have it cleaned at once.")
    desk.get_by_test_id("send").click()
    expect(desk.get_by_test_id("message-persona")).to_have_count(3)
    expect(desk.get_by_test_id("message-persona").last.locator("strong")).to_be_visible()
    desk.get_by_test_id("finish").click()
    desk.get_by_test_id("confirm-finish").click()
    expect(desk.get_by_test_id("completed")).to_be_visible()

    page.bring_to_front()
    tool.get_by_role("link", name="AI Experiences").click()
    tool.get_by_role("link", name="An angry guest").click()
    row = tool.get_by_test_id("student-row").filter(has_text="Amara Diallo")
    expect(row).to_contain_text("Completed")
    row.get_by_role("link").click()
    expect(tool.locator(".message")).to_have_count(5)
    expect(tool.locator("main")).to_contain_text("I will have it cleaned at once.")


def test_a_reply_goes_on_after_a_reload_in_the_middle(page: Page, demo: Demo) -> None:
    demo.model.reply_with([f"word{number} " for number in range(40)], delay=0.1)
    desk = open_tool(page, demo, "liam.oconnor")
    desk.get_by_role("link", name="What is killing the cell culture?").click()
    desk.get_by_test_id("start").click()
    message_box(desk).fill("What do you see?")
    message_box(desk).press("Enter")
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("word3")
    page.reload()
    desk = page.frame_locator("iframe[title='AI Experiences']")
    desk.get_by_role("link", name="What is killing the cell culture?").click()
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("word39")
    expect(desk.get_by_test_id("message-student")).to_have_count(1)


def test_a_failed_reply_can_be_tried_again(page: Page, demo: Demo) -> None:
    demo.model.fail_with(503)
    desk = open_tool(page, demo, "yusuf.demir")
    desk.get_by_role("link", name="A patient who wants antibiotics").click()
    desk.get_by_test_id("start").click()
    message_box(desk).fill("Hello!")
    message_box(desk).press("Enter")
    expect(desk.get_by_test_id("failure")).to_contain_text("Your message is saved")
    demo.model.reply_with("There you are.")
    desk.get_by_test_id("retry").click()
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("There you are.")
    expect(desk.get_by_test_id("message-student")).to_have_count(1)


def test_leaving_an_unsent_message_or_an_unsaved_form_asks_first(page: Page, demo: Demo) -> None:
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    desk = open_tool(page, demo, "mai.nguyen")
    desk.get_by_role("link", name="A patient who wants antibiotics").click()
    message_box(desk).press_sequentially("A thought half")
    with page.expect_event("dialog"):
        desk.get_by_role("link", name="AI Experiences").click()
    expect(desk.get_by_test_id("message-box")).to_have_value("A thought half")
    assert asked == ["beforeunload"]
    message_box(desk).fill("")
    # Within the tool first: the page around it, which asks too, learns by a message that nothing is unsent any more.
    desk.get_by_role("link", name="AI Experiences").click()
    expect(desk.get_by_test_id("experience").first).to_be_visible()
    assert asked == ["beforeunload"]

    tool = open_tool(page, demo, "miriam.okafor")
    tool.get_by_test_id("new-experience").click()
    loaded(tool.get_by_label("Title")).press_sequentially("Half a title")
    with page.expect_event("dialog"):
        tool.get_by_role("link", name="Cancel").click()
    expect(tool.get_by_label("Title")).to_have_value("Half a title")
    assert asked == ["beforeunload"] * 2


@pytest.mark.parametrize(
    ("who", "link", "script", "box"),
    [
        ("mai.nguyen", "A patient who wants antibiotics", "chat.js", "Your message"),
        ("miriam.okafor", "Add experience", "form.js", "Title"),
    ],
    ids=["message", "form"],
)
def test_what_is_typed_before_the_script_is_there_is_not_left_without_asking(
    page: Page, demo: Demo, who: str, link: str, script: str, box: str
) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route(f"**/js/{script}", hold)
    page.on("dialog", lambda dialog: dialog.dismiss())
    tool = open_tool(page, demo, who)
    with page.expect_request(f"**/js/{script}"):
        tool.get_by_role("link", name=link).click()
    tool.get_by_label(box).press_sequentially("Half")
    held.pop().continue_()
    loaded(tool.get_by_label(box))
    with page.expect_event("dialog"):
        tool.get_by_role("link", name="AI Experiences").click()
    expect(tool.get_by_label(box)).to_have_value("Half")


def test_a_message_that_is_too_long_stays_in_its_box(page: Page, demo: Demo) -> None:
    desk = open_tool(page, demo, "mai.nguyen")
    desk.get_by_role("link", name="A patient who wants antibiotics").click()
    box = message_box(desk)
    box.fill("x" * 4_010)
    box.press("Enter")
    expect(desk.get_by_test_id("composer-note")).to_contain_text("Please shorten it")
    expect(desk.locator("[data-count]")).to_have_text("Too long. Characters over the limit: 10")
    expect(box).to_have_value("x" * 4_010)


def test_the_tool_needs_no_third_party_cookies(page: Page, context: BrowserContext, demo: Demo) -> None:
    open_tool(page, demo, "chloe.tran")
    (cookie,) = context.cookies()
    assert cookie["name"] == "launch"
    assert cookie.get("partitionKey")


def test_a_tab_still_works_after_fifty_launches_beside_it(
    page: Page, context: BrowserContext, demo: Demo
) -> None:
    tool = open_tool(page, demo, "chloe.tran")
    other = context.new_page()
    for _ in range(50):
        with other.expect_event("framenavigated", lambda frame: "/launches/" in frame.url):
            other.goto(demo.tool_page("chloe.tran"), wait_until="commit")
    assert len(context.cookies()) == 51
    page.bring_to_front()
    tool.get_by_role("link", name="A patient who wants antibiotics").click()
    expect(tool.get_by_test_id("message-box").or_(tool.get_by_test_id("start")).first).to_be_visible()


def test_two_tabs_with_two_courses_and_roles_stay_apart(context: BrowserContext, demo: Demo) -> None:
    teaching, learning = context.new_page(), context.new_page()
    biology = open_tool(teaching, demo, "priya.raman", 1101)
    history = open_tool(learning, demo, "priya.raman", 1102)
    expect(biology.get_by_test_id("new-experience")).to_be_visible()
    expect(history.get_by_role("link", name="An hour with a baker of Ostia")).to_be_visible()
    teaching.bring_to_front()  # a tab in the background loses clicks now and then
    biology.get_by_role("link", name="A patient who wants antibiotics").click()
    expect(biology.get_by_test_id("counts")).to_be_visible()
    learning.bring_to_front()
    history.get_by_role("link", name="An hour with a baker of Ostia").click()
    expect(history.get_by_test_id("start")).to_be_visible()


def test_after_sending_a_grade_the_focus_is_on_where_it_stands(page: Page, demo: Demo) -> None:
    tool = open_tool(page, demo, "miriam.okafor")
    tool.get_by_text("A patient who wants antibiotics").first.click()
    tool.get_by_text("Amara Diallo").first.click()
    tool.get_by_label("Points").fill("7")
    tool.get_by_test_id("send-grade").click()
    expect(tool.get_by_test_id("grade-status")).to_be_focused()
    expect(tool.get_by_test_id("grade-entry")).to_contain_text("In the gradebook", timeout=20_000)
