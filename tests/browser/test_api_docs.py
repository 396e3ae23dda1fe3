"""The page of the REST API: all of it from the tool itself, and endpoints can be tried on it."""

import os
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Demo

SEEDED = "A patient who wants antibiotics"


@pytest.fixture
def hosts(page: Page) -> set[str]:
    """The hosts that the browser asks for anything."""
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    return asked


@pytest.fixture(scope="module")
def token(demo: Demo) -> str:
    """A teacher's token, as an administrator makes one."""
    database = demo.folder / "instance" / "demo.db"
    command = [sys.executable, "-m", "app.cli", "token", "create", "--issuer", demo.sandbox_url]
    of = ["--course", "1101", "--user", "4711", "--role", "teacher"]
    environment = os.environ | {"DATABASE_URL": f"sqlite:///{database}", "APP_URL": demo.url}
    made = subprocess.run(
        command + of, cwd=demo.folder, env=environment, capture_output=True, text=True, check=True
    )
    return made.stdout.strip()


def open_docs(page: Page, demo: Demo) -> None:
    page.goto(f"{demo.url}/api/v1/docs")
    expect(page.locator(".opblock").first).to_be_visible()


def test_it_lists_every_operation_and_asks_no_other_host(page: Page, demo: Demo, hosts: set[str]) -> None:
    open_docs(page, demo)
    document = page.request.get(f"{demo.url}/api/v1/openapi.json").json()
    operations = [
        operation["operationId"]
        for path in document["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    ]
    for name in operations:
        expect(page.locator(f"[id$='-{name}']")).to_have_count(1)
    expect(page.locator(".opblock")).to_have_count(len(operations))
    assert hosts == {urlsplit(demo.url).netloc}


def test_an_endpoint_can_be_tried_with_a_pasted_token(page: Page, demo: Demo, token: str) -> None:
    open_docs(page, demo)
    page.locator(".auth-wrapper .authorize").click()
    page.get_by_label("auth-bearer-value").fill(token)
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").last.click()
    operation = page.locator("[id$='-list_experiences']")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_placeholder("course_id").fill("1101")
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table")
    expect(answer).to_contain_text("200")
    expect(answer).to_contain_text(SEEDED)


def test_a_token_is_all_that_it_asks_for(page: Page, demo: Demo) -> None:
    open_docs(page, demo)
    page.locator(".auth-wrapper .authorize").click()
    expect(page.locator(".auth-container")).to_have_count(1)
