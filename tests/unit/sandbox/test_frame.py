"""What the page around the tool does in a real browser: the launch into the frame, and postMessage."""

import threading
from urllib.parse import urlencode

import pytest
from flask import Flask, redirect, request
from playwright.sync_api import sync_playwright
from werkzeug.serving import make_server

from app.sandbox import SandboxConfig, make_sandbox_server
from app.sandbox.factory import QuietHandler
from tests.support.ports import free_port

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
ASK = """([where, message]) => new Promise((resolve) => {
  const target = where ? parent.frames[where] : parent;
  addEventListener("message", (event) => resolve(event.data), { once: true });
  setTimeout(() => resolve("no answer"), 500);
  target.postMessage(message, "*");
})"""


def minimal_tool(platform_url):
    """A tool that only goes the way of a launch."""
    tool = Flask("minimal tool")

    @tool.post("/lti/login")
    def login():
        fields = ("client_id", "login_hint", "lti_message_hint")
        fixed = {
            "scope": "openid",
            "response_type": "id_token",
            "response_mode": "form_post",
            "prompt": "none",
        }
        query = {name: request.form[name] for name in fields} | fixed | {"state": "s", "nonce": "n"}
        query["redirect_uri"] = request.url_root + "lti/launch"
        return redirect(f"{platform_url}/api/lti/authorize_redirect?{urlencode(query)}")

    @tool.post("/lti/launch")
    def launch():
        return f"<p id='launched'>{request.form['id_token'].count('.')} {request.form['state']}</p>"

    return tool


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    sandbox_url, tool_port = f"http://127.0.0.1:{free_port()}", free_port()
    config = SandboxConfig(
        url=sandbox_url,
        tool_url=f"http://localhost:{tool_port}",
        state_dir=tmp_path_factory.mktemp("sandbox"),
    )
    tool = make_server(
        "127.0.0.1", tool_port, minimal_tool(sandbox_url), threaded=True, request_handler=QuietHandler
    )
    servers = (make_sandbox_server(config), tool)
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield config
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def page(places):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page()
        page.goto(f"{places.url}/courses/1101/external_tools/1?as=amara.diallo")
        page.frame_locator("[data-tool-frame]").locator("#launched").wait_for()
        yield page
        browser.close()


@pytest.fixture
def ask(page):
    def from_tool(subject, *, to=None, **content):
        message = {"subject": subject, "message_id": "m1", **content}
        return page.frame("tool_content").evaluate(ASK, [to, message])

    return from_tool


def test_launch_reaches_the_tool_in_its_frame(page, places):
    frame = page.frame("tool_content")
    assert frame.url == places.launch_url
    assert frame.inner_text("#launched") == "2 s"


def test_storage_frame_keeps_values_for_the_tool(ask):
    put = ask("lti.put_data", to="post_message_forwarding", key="state", value="v")
    assert put == {"subject": "lti.put_data.response", "message_id": "m1", "key": "state", "value": "v"}
    assert ask("lti.get_data", to="post_message_forwarding", key="state")["value"] == "v"
    assert ask("lti.get_data", to="post_message_forwarding", key="other")["value"] is None
    assert ask("lti.put_data", key="state", value="x" * 5000)["error"]["code"] == "bad_request"


def test_capabilities_name_the_storage_frame(ask):
    supported = ask("lti.capabilities")["supported_messages"]
    assert {"subject": "lti.get_data", "frame": "post_message_forwarding"} in supported
    assert {"subject": "lti.frameResize"} in supported


def test_frame_takes_the_height_that_the_tool_asks_for(ask, page):
    assert ask("lti.frameResize", height=1234) == "no answer"
    assert page.locator("[data-tool-frame]").bounding_box()["height"] == 1234


def test_page_of_another_origin_gets_no_answer(page, places):
    script = ASK.replace("parent.frames[where]", "frames[where]").replace(": parent;", ": window;")
    message = {"subject": "lti.get_data", "message_id": "m1", "key": "state"}
    assert page.evaluate(script, ["post_message_forwarding", message]) == "no answer"
