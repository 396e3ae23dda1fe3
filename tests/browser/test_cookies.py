"""Browsers that keep few cookies or none: third-party cookies blocked, all cookies blocked, and no platform storage."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import pytest
from playwright.sync_api import BrowserContext, Page, Playwright, Route, expect

from tests.browser.conftest import ARGUMENTS, Demo, message_box, open_tool

THIRD_PARTY_BLOCKED = {"profile": {"cookie_controls_mode": 1, "block_third_party_cookies": True}}
ALL_BLOCKED = {"profile": {"default_content_setting_values": {"cookies": 2}}}
# The tool's cookies are refused inside the platform's pages, partitioned or not, but not in a tab of its own.
FRAMED_BLOCKED = {
    "profile": {"content_settings": {"exceptions": {"cookies": {"localhost,127.0.0.1": {"setting": 2}}}}}
}


ChromiumWith = Callable[[dict[str, object]], BrowserContext]


@pytest.fixture
def chromium_with(playwright: Playwright, executable: str, tmp_path: Path) -> Iterator[ChromiumWith]:
    """Start a Chromium whose user has set these preferences."""
    with ExitStack() as opened:

        def start(preferences: dict[str, object]) -> BrowserContext:
            (tmp_path / "Default").mkdir()
            (tmp_path / "Default" / "Preferences").write_text(json.dumps(preferences))
            context = playwright.chromium.launch_persistent_context(
                tmp_path,
                executable_path=executable,
                args=ARGUMENTS,
                viewport={"width": 1280, "height": 900},
            )
            return opened.enter_context(closing(context))

        yield start


def without_platform_storage(route: Route) -> None:
    """Let a login through as a platform without storage sends it."""
    fields = parse_qs(route.request.post_data or "")
    fields.pop("lti_storage_target", None)
    route.continue_(post_data=urlencode(fields, doseq=True))


def hold_a_conversation(page: Page, demo: Demo, who: str) -> None:
    """Open the tool in its frame, begin an experience, write, and read the reply after a reload."""
    demo.model.reply_with(["I am ", "still waiting."])
    tool = open_tool(page, demo, who)
    tool.get_by_role("link", name="A patient who wants antibiotics").click()
    tool.get_by_test_id("start").click()
    message_box(tool).fill("Good evening, how can I help?")
    message_box(tool).press("Enter")
    expect(tool.get_by_test_id("message-persona").last).to_contain_text("I am still waiting.")
    page.reload()
    tool.get_by_role("link", name="A patient who wants antibiotics").click()
    expect(tool.get_by_test_id("message-persona").last).to_contain_text("I am still waiting.")


def test_partitioned_cookies_do_where_third_party_cookies_are_blocked(
    demo: Demo, chromium_with: ChromiumWith
) -> None:
    context = chromium_with(THIRD_PARTY_BLOCKED)
    page = context.new_page()
    hold_a_conversation(page, demo, "chloe.tran")
    tool = page.frame(name="tool_content")
    assert tool is not None
    assert "~" not in tool.url


def test_the_platforms_storage_does_where_all_cookies_are_blocked(
    demo: Demo, chromium_with: ChromiumWith
) -> None:
    context = chromium_with(ALL_BLOCKED)
    page = context.new_page()
    hold_a_conversation(page, demo, "sofia.hernandez")
    tool = page.frame(name="tool_content")
    assert tool is not None
    assert "~" in tool.url
    assert context.cookies() == []


def test_a_tab_of_its_own_does_where_a_frame_keeps_nothing(demo: Demo, chromium_with: ChromiumWith) -> None:
    context = chromium_with(FRAMED_BLOCKED)
    context.route("**/lti/login", without_platform_storage)
    page = context.new_page()
    tool = open_tool(page, demo, "yusuf.demir")
    expect(tool.get_by_role("heading", level=1)).to_have_text("The launch did not work")
    with context.expect_page() as opened:
        tool.get_by_test_id("new-tab").click()
    expect(opened.value.get_by_role("link", name="A patient who wants antibiotics")).to_be_visible()


def test_storage_that_never_answers_leads_to_a_tab_of_its_own(
    demo: Demo, chromium_with: ChromiumWith
) -> None:
    context = chromium_with(FRAMED_BLOCKED)
    context.route(
        "**/post_message_forwarding*",
        lambda route: route.fulfill(content_type="text/html", body="silence"),
    )
    page = context.new_page()
    tool = open_tool(page, demo, "liam.oconnor")
    expect(tool.get_by_role("heading", name="One more click")).to_be_visible()
    with context.expect_page() as opened:
        tool.get_by_test_id("new-tab").click()
    expect(opened.value.get_by_role("link", name="A patient who wants antibiotics")).to_be_visible()
