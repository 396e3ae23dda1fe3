"""What a student in danger sees, and how teachers deal with it, in a real browser."""

import pytest
from playwright.sync_api import BrowserContext, FrameLocator, Page, ViewportSize, expect

from tests.browser.conftest import Demo, open_tool
from tests.browser.rules import PHONE, hold_to_rules
from tests.browser.test_feedback import begin, reload, say

WISH = "Thank you. To be honest, I want to kill myself."


def flags_of(page: Page, demo: Demo, title: str) -> FrameLocator:
    """Go from the desk to an experience and on to its flags."""
    tool = open_tool(page, demo, "miriam.okafor")
    expect(tool.get_by_test_id("flags")).to_contain_text("open")
    tool.get_by_role("link", name=title).click()
    expect(tool.get_by_test_id("experience-flags")).to_have_text("1 open flag")
    tool.get_by_test_id("experience-flags").click()
    return tool


def test_a_student_is_helped_at_once_and_a_teacher_resolves_the_flag(
    page: Page, context: BrowserContext, demo: Demo
) -> None:
    demo.model.reply_with("I am glad that you told me.")
    desk = begin(page, demo, "A guest who listens")
    asked = len(demo.model.requests)
    say(desk, WISH)
    notice = desk.get_by_test_id("message-student").get_by_test_id("help")
    expect(notice).to_contain_text("not from the character you talk with")
    expect(notice.get_by_role("link")).to_have_attribute("href", "https://findahelpline.com")
    expect(desk.get_by_test_id("failure")).to_contain_text("The conversation paused here")
    assert len(demo.model.requests) == asked
    hold_to_rules(page)

    page.reload()
    desk = page.frame_locator("iframe[title='AI Experiences']")
    desk.get_by_role("link", name="A guest who listens").click()
    expect(desk.get_by_test_id("help")).to_have_count(1)
    desk.get_by_role("button", name="Go on").click()
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("I am glad that you told me.")
    expect(desk.get_by_test_id("help")).to_have_count(1)

    teaching = context.new_page()
    tool = flags_of(teaching, demo, "A guest who listens")
    flag = tool.get_by_test_id("flag")
    expect(flag).to_contain_text("Self-harm: Amara Diallo")
    expect(flag.locator("mark")).to_have_text("I want to kill myself")
    hold_to_rules(teaching)
    flag.get_by_test_id("note").fill("Talked to her today.")
    flag.get_by_test_id("resolve").click()
    expect(tool.get_by_test_id("flash")).to_have_text("The flag is resolved.")
    expect(tool.get_by_test_id("no-flags")).to_be_visible()
    tool.get_by_label("State").select_option("resolved")
    tool.get_by_test_id("filter").click()
    expect(tool.get_by_test_id("decision")).to_contain_text("Talked to her today.")
    hold_to_rules(teaching)
    tool.get_by_role("link", name="Read it in the transcript").click()
    expect(tool.get_by_test_id("message-flag")).to_contain_text("Self-harm (resolved)")


@pytest.mark.parametrize("size", [PHONE, {"width": 1280, "height": 720}], ids=["phone", "desk"])
def test_where_to_find_help_is_in_sight_at_once_and_stays_so(
    page: Page, demo: Demo, size: ViewportSize
) -> None:
    title = f"A guest on a screen of {size['width']}"
    demo.model.reply_with("I am glad that you told me. " * 3)
    page.set_viewport_size(size)
    desk = begin(page, demo, title)
    say(desk, "Good evening!")
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("glad")
    say(desk, WISH)
    expect(desk.get_by_test_id("failure")).to_be_attached()
    help_in_sight(desk)
    desk = reload(page, title)
    help_in_sight(desk)
    desk.get_by_role("button", name="Go on").click()
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("glad")


def help_in_sight(desk: FrameLocator) -> None:
    notice = desk.get_by_test_id("help")
    for part in (
        notice.locator("strong"),
        notice.get_by_role("link"),
        notice.get_by_text("emergency number"),
    ):
        expect(part).to_be_in_viewport(ratio=1)


def test_words_of_danger_do_not_wait_for_a_reply_and_others_stay_in_their_box(page: Page, demo: Demo) -> None:
    demo.model.reply_with([f"word{number} " for number in range(100)], delay=0.1)
    desk = begin(page, demo, "A guest who talks much")
    say(desk, "Good evening!")
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("word3")
    say(desk, "Are you there?")
    expect(desk.get_by_test_id("composer-note")).to_contain_text("A reply is still on its way")
    expect(desk.get_by_test_id("message-box")).to_have_value("Are you there?")
    expect(desk.get_by_test_id("message-student")).to_have_count(1)
    say(desk, WISH)
    expect(desk.get_by_test_id("message-student").last.get_by_test_id("help")).to_be_visible()
    expect(desk.get_by_test_id("failure")).to_contain_text("The conversation paused here")
    expect(desk.get_by_test_id("message-box")).to_have_value("")
    expect(desk.get_by_test_id("stop")).to_be_visible()
    expect(desk.get_by_test_id("message-persona").nth(1)).to_contain_text("word99", timeout=20_000)
    expect(desk.get_by_test_id("message-student")).to_have_count(2)
    expect(desk.get_by_test_id("message-persona")).to_have_count(3)
    demo.model.reply_with("I am glad that you told me.")
    desk.get_by_role("button", name="Go on").click()
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("I am glad that you told me.")


def test_words_of_danger_are_taken_in_a_tab_that_lags_behind_and_shows_the_rest(
    page: Page, context: BrowserContext, demo: Demo
) -> None:
    desk = begin(page, demo, "A guest who is elsewhere")
    second = context.new_page()
    second.add_init_script("window.BroadcastChannel = undefined;")
    other = open_tool(second, demo, "amara.diallo")
    other.get_by_role("link", name="A guest who is elsewhere").click()
    expect(other.get_by_test_id("message-persona")).to_be_visible()
    second.route("**/state?*", lambda route: route.abort())
    say(desk, "Good evening!")
    expect(desk.get_by_test_id("message-persona")).to_have_count(2)
    say(other, WISH)
    expect(other.get_by_test_id("help")).to_be_visible()
    second.unroute("**/state?*")
    expect(other.get_by_test_id("message-student")).to_have_count(2)
    expect(other.get_by_test_id("message-student").last.get_by_test_id("help")).to_have_count(1)


def test_of_a_message_in_danger_that_is_too_long_the_rest_stays_in_the_box(page: Page, demo: Demo) -> None:
    desk = begin(page, demo, "A guest who reads long letters")
    say(desk, f"{WISH} {'x' * 4_000}")
    expect(desk.get_by_test_id("help")).to_be_visible()
    expect(desk.get_by_test_id("message-box")).to_have_value(f"{WISH} {'x' * 4_000}")
    expect(desk.locator("[data-count]")).to_contain_text("Too long")


def test_another_tab_of_the_student_shows_the_message_too(
    page: Page, context: BrowserContext, demo: Demo
) -> None:
    desk = begin(page, demo, "A guest in two tabs")
    second = context.new_page()
    other = open_tool(second, demo, "amara.diallo")
    other.get_by_role("link", name="A guest in two tabs").click()
    expect(other.get_by_test_id("message-persona")).to_be_visible()
    page.bring_to_front()
    say(desk, WISH)
    expect(desk.get_by_test_id("help")).to_be_visible()
    second.bring_to_front()
    expect(other.get_by_test_id("help")).to_be_visible()
    expect(other.get_by_test_id("help")).to_have_count(1)


def test_a_reply_that_is_unfit_to_be_read_is_taken_back(page: Page, demo: Demo) -> None:
    demo.model.reply_with(["I have ", "had enough. ", "You should ", "just kill ", "yourself. "], delay=0.2)
    desk = begin(page, demo, "A guest who goes too far")
    say(desk, "Good evening!")
    expect(desk.get_by_test_id("failure")).to_contain_text("its reply is not shown")
    expect(desk.get_by_test_id("message-persona").last).not_to_contain_text("had enough")
    demo.model.reply_with("Good evening.")
    desk.get_by_test_id("retry").click()
    expect(desk.get_by_test_id("message-persona").last).to_contain_text("Good evening.")
