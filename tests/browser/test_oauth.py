"""Somebody allows a program in a real browser, and a teacher makes and revokes an access token."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from playwright.sync_api import BrowserContext, FrameLocator, Page, expect

from tests.browser.conftest import Demo, open_tool
from tests.browser.rules import hold_to_rules

VERIFIER = "a-verifier-that-is-long-enough-to-be-one-of-pkce-43"


@dataclass
class Program:
    """A public program on the person's own machine, which listens where people are sent back to."""

    demo: Demo
    client_id: str
    redirect_uri: str
    came_back: Queue[dict[str, str]] = field(default_factory=Queue)

    @property
    def address(self) -> str:
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": "xyz",
            "code_challenge": create_s256_code_challenge(VERIFIER),
            "code_challenge_method": "S256",
        }
        return f"{self.demo.url}/login/oauth2/auth?{urlencode(asked)}"

    def exchange(self, code: str) -> dict[str, object]:
        given = {"grant_type": "authorization_code", "client_id": self.client_id, "code": code}
        given |= {"redirect_uri": self.redirect_uri, "code_verifier": VERIFIER}
        answer = requests.post(f"{self.demo.url}/login/oauth2/token", data=given, timeout=10)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def register(demo: Demo) -> str:
    """Register the program as whoever runs the tool does, and return its client id."""
    issuer = demo.sandbox_url
    command = ["oauth-client", "add", "--issuer", issuer, "--name", "Notebook", "--public"]
    made = subprocess.run(
        [sys.executable, "-m", "app.cli", *command, "--redirect-uri", "http://127.0.0.1/back"],
        cwd=demo.folder,
        env=os.environ | {"DATABASE_URL": "sqlite:///instance/demo.db", "APP_URL": demo.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return made.stdout.strip().removeprefix("client_id=")


@pytest.fixture
def program(demo: Demo) -> Iterator[Program]:
    came_back: Queue[dict[str, str]] = Queue()

    class Back(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/back":
                came_back.put({name: values[0] for name, values in parse_qs(parts.query).items()})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>Notebook</title><h1>Thank you</h1>")

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Back)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Program(demo, register(demo), f"http://127.0.0.1:{server.server_port}/back", came_back)
    server.shutdown()
    server.server_close()


def open_api_access(frame: FrameLocator) -> None:
    frame.get_by_test_id("api-access").click()
    expect(frame.get_by_role("heading", name="API access")).to_be_visible()


def sign_in(context: BrowserContext, frame: FrameLocator) -> None:
    """Sign in for other programs from a course, and close the tab that says so."""
    open_api_access(frame)
    with context.expect_page() as opened:
        frame.get_by_test_id("sign-in").press("Enter")
    tab = opened.value
    expect(tab.get_by_role("heading", name="You are signed in")).to_be_visible()
    expect(tab.get_by_test_id("who")).to_have_text("You are Amara Diallo.")
    hold_to_rules(tab)
    tab.close()


def test_a_student_allows_a_program_by_signing_in_from_their_course(
    page: Page, context: BrowserContext, demo: Demo, program: Program
) -> None:
    page.goto(program.address)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    hold_to_rules(page)
    course = context.new_page()
    sign_in(context, open_tool(course, demo, "amara.diallo"))
    hold_to_rules(course)
    expect(page.get_by_role("heading", name="Allow Notebook to act for you?")).to_be_visible()
    expect(page.get_by_test_id("host")).to_contain_text("127.0.0.1")
    hold_to_rules(page)
    page.get_by_test_id("allow").press("Enter")
    expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    answer = program.came_back.get(timeout=10)
    assert answer["state"] == "xyz"
    given = program.exchange(answer["code"])
    assert given["user"]["name"] == "Amara Diallo"
    listed = requests.get(
        f"{demo.url}/api/v1/courses/1101/ai_experiences",
        headers={"Authorization": f"Bearer {given['access_token']}"},
        timeout=10,
    )
    assert listed.status_code == 200
    assert listed.json()
    course.reload()
    frame = course.frame_locator("iframe[title='AI Experiences']")
    open_api_access(frame)
    expect(frame.get_by_test_id("program")).to_contain_text("Notebook")
    hold_to_rules(course)


def test_a_teacher_makes_copies_and_revokes_a_token(page: Page, demo: Demo) -> None:
    frame = open_tool(page, demo, "miriam.okafor")
    open_api_access(frame)
    hold_to_rules(page)
    frame.get_by_test_id("make-token").press("Enter")
    expect(frame.get_by_test_id("form-errors")).to_be_focused()
    hold_to_rules(page)
    frame.get_by_label("Name").fill("Weekly report")
    frame.get_by_label("See the experiences of the course").press("Space")
    frame.get_by_test_id("make-token").press("Enter")
    expect(frame.get_by_role("heading", name="Your new access token")).to_be_focused()
    secret = frame.get_by_label("Weekly report").input_value()
    assert secret.startswith("aix_")
    frame.get_by_role("button", name="Copy").press("Enter")
    expect(frame.get_by_role("status").filter(has_text="Copied")).to_be_visible()
    hold_to_rules(page)
    frame.get_by_role("link", name="API access").click()
    token = frame.get_by_test_id("token").filter(has_text="Weekly report")
    expect(token).to_contain_text(secret[:10])
    address, bearer = f"{demo.url}/api/v1/courses/1101/ai_experiences", {"Authorization": f"Bearer {secret}"}
    assert requests.get(address, headers=bearer, timeout=10).status_code == 200
    token.get_by_role("button", name="Revoke").first.press("Enter")
    dialog = frame.get_by_role("dialog", name="Revoke Weekly report?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    hold_to_rules(page)
    dialog.get_by_role("button", name="Revoke").press("Enter")
    expect(frame.get_by_test_id("flash")).to_contain_text("Revoked")
    expect(token).to_have_count(0)
    assert requests.get(address, headers=bearer, timeout=10).status_code == 401
