"""The whole demo, started as a newcomer starts it, and a real Chromium."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    FrameLocator,
    Locator,
    Page,
    Playwright,
    expect,
    sync_playwright,
)

from tests.support.fake_model import FakeModel
from tests.support.ports import free_port
from tests.support.services import chromium

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A frame that moves to another process is lost to Playwright now and then, which then waits for it without end.
    "--disable-site-isolation-trials",
]
START_SECONDS = 60
# A machine that is busy with other things draws late: what is there at once costs no time all the same.
expect.set_options(timeout=15_000)


@dataclass
class Demo:
    """A running demo and the model behind it."""

    url: str
    sandbox_url: str
    model: FakeModel
    folder: Path

    def tool_page(self, who: str, course: int = 1101) -> str:
        return f"{self.sandbox_url}/courses/{course}/external_tools/1?as={who}"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


@contextmanager
def running_demo(folder: Path) -> Iterator[Demo]:
    """Start a demo in a folder, and stop it."""
    port, sandbox_port = free_port(), free_port()
    with FakeModel() as model, (folder / "log").open("wb") as log:
        environment = os.environ | {
            "LLM_PROVIDER": "openai",
            "LLM_BASE_URL": model.base_url,
            "LLM_MODEL": "fake-model",
        }
        command = [sys.executable, "-m", "app.cli", "demo", "--no-browser"]
        ports = ["--port", str(port), "--sandbox-port", str(sandbox_port)]
        process = subprocess.Popen(command + ports, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            running = Demo(f"http://localhost:{port}", f"http://127.0.0.1:{sandbox_port}", model, folder)
            _wait_for(process, f"{running.url}/lti/jwks.json", folder / "log")
            _wait_for(process, f"{running.sandbox_url}/api/lti/security/jwks", folder / "log")
            yield running
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(15) == 0
    for log in ("log", "instance/demo.log"):
        assert "Traceback" not in (folder / log).read_text()


@pytest.fixture(scope="session")
def executable() -> str:
    found = chromium()
    if found is None:
        pytest.fail("Chromium is missing: install it (Debian: apt-get install chromium).")
    return found


@pytest.fixture(scope="session")
def playwright(executable: str) -> Iterator[Playwright]:
    """The one Playwright that a process can have."""
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture
def browser(playwright: Playwright, executable: str) -> Iterator[Browser]:
    """A Chromium of the test's own: one that many tests share comes to stop drawing its pages now and then."""
    browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser of one's own, which fails the test on a script error or a console error in any of its tabs."""
    context, problems = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US"), []
    context.on("weberror", lambda error: problems.append(str(error.error)))
    context.on("console", lambda message: problems.append(message.text) if _is_problem(message) else None)
    yield context
    context.close()
    assert problems == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def _is_problem(message: ConsoleMessage) -> bool:
    """A form that is answered with 400 is written to the console too, and is none."""
    return message.type == "error" and "status of 4" not in message.text


def open_tool(page: Page, demo: Demo, who: str, course: int = 1101) -> FrameLocator:
    """Open the tool in its frame as somebody, and wait until it is there."""
    page.goto(demo.tool_page(who, course))
    frame = page.frame_locator("iframe[title='AI Experiences']")
    expect(frame.locator("h1")).to_be_visible()
    return frame


def loaded(part: Locator) -> Locator:
    """Wait until the scripts of the page that has this part have run: before, Enter is a line, and a button a form."""
    part.evaluate(
        "() => document.readyState === 'complete' || new Promise((done) => { onload = () => done(); })"
    )
    return part


def message_box(desk: FrameLocator) -> Locator:
    """The box of a conversation, once it sends what is written."""
    return loaded(desk.get_by_test_id("message-box"))


def _wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            if requests.get(url, timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    pytest.fail(f"{url} did not come up:\n{log.read_text()}")
