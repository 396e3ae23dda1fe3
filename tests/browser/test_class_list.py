"""A class list that comes while the page is open."""

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, expect
from werkzeug.serving import make_server

from app.sandbox import Sandbox
from app.sandbox.factory import QuietHandler
from tests.support.people import Visitor


@pytest.fixture
def tool_url(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def class_page(app: Flask, sandbox: Sandbox, tool_url: str, context: BrowserContext) -> str:
    """The address of an experience's class, for a teacher whose browser it is."""
    teacher = Visitor.launch(app, sandbox, "miriam.okafor")
    experience_id = teacher.write_experience()
    cookie = teacher.client.get_cookie("launch", path=teacher.root)
    host = str(urlsplit(tool_url).hostname)
    context.add_cookies(
        [{"name": "launch", "value": cookie.value, "domain": host, "path": teacher.root, "secure": True}]
    )
    return f"{tool_url}{teacher.root}/experiences/{experience_id}"


def test_the_list_takes_its_place_when_it_has_been_read(
    sandbox: Sandbox, class_page: str, page: Page
) -> None:
    sandbox.traffic.clear()
    sandbox.fail_next(None, delay=4, path_contains="names_and_roles")
    page.goto(class_page)
    expect(page.get_by_test_id("roster")).to_contain_text("The class list is being read")
    expect(page.get_by_test_id("student-row")).to_have_count(7)
    expect(page.get_by_test_id("roster")).to_contain_text("Class list as of")
    expect(page.get_by_test_id("roster").locator("time")).not_to_contain_text("UTC")
    expect(page.get_by_test_id("update-class")).to_be_visible()


def test_the_focus_stays_where_it_was_when_the_list_comes(
    app: Flask, sandbox: Sandbox, class_page: str, page: Page
) -> None:
    student = Visitor.launch(app, sandbox, "amara.diallo")
    student.start(int(class_page.rsplit("/", 1)[1]))
    sandbox.fail_next(None, delay=4, path_contains="names_and_roles")
    page.goto(class_page)
    expect(page.get_by_test_id("student-row")).to_have_count(1)
    page.get_by_role("link", name="Amara Diallo").focus()
    expect(page.get_by_test_id("student-row")).to_have_count(7)
    expect(page.get_by_role("link", name="Amara Diallo")).to_be_focused()


WORDS_IN_TWO_LINES = """cells => cells.flatMap(cell => {
  const text = cell.querySelector("a")?.firstChild ?? cell.firstChild;
  return [...text.data.matchAll(/[\\p{L}]+/gu)].filter(({index, 0: word}) => {
    const range = document.createRange();
    range.setStart(text, index);
    range.setEnd(text, index + word.length);
    return range.getClientRects().length > 1;
  }).map(([word]) => word);
})"""


def test_names_are_not_broken_inside_a_word_on_a_phone(class_page: str, page: Page) -> None:
    page.set_viewport_size({"width": 375, "height": 667})
    page.goto(class_page)
    expect(page.get_by_test_id("student-row")).to_have_count(7)
    names = page.get_by_test_id("student-row").locator("th")
    assert names.evaluate_all(WORDS_IN_TWO_LINES) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
