"""An administrator registers the tool by an invitation's link, in a frame of the platform."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.database import Database
from app.lti.registration.dynamic import invite
from tests.browser.conftest import Demo, running_demo


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo of its own: its platform has two tools afterwards."""
    with running_demo(tmp_path) as running:
        yield running


def make_link(demo: Demo, tool_url: str) -> str:
    database = Database(f"sqlite:///{demo.folder / 'instance' / 'demo.db'}")
    with database.transaction() as session:
        token = invite(session, days=7)
    database.engine.dispose()
    return f"{tool_url}/lti/register/{token}"


def test_the_tool_registers_itself_and_the_platform_takes_its_frame_away(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.sandbox_url}/accounts/1/developer_keys?as=ingrid.bauer")
    rows = page.get_by_test_id("developer-keys").locator("tbody tr")
    tool_url = rows.first.locator(".detail").inner_text().removesuffix("/lti/login")
    before = rows.count()
    page.get_by_test_id("registration-url").fill(make_link(demo, tool_url))
    page.get_by_test_id("register").click()
    frame = page.frame_locator("[data-testid=registration-frame]")
    expect(frame.get_by_test_id("platform-host")).to_contain_text("127.0.0.1")
    frame.get_by_test_id("register").click()
    client_id = frame.get_by_test_id("client-id").inner_text()
    frame.get_by_test_id("close").click()
    expect(page).to_have_url(re.compile("/developer_keys"))
    expect(rows).to_have_count(before + 1)
    expect(rows.last).to_contain_text(client_id)
