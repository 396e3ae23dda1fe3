"""What the page around the tool does in a real browser: the launch into the frame, and postMessage."""

import threading
from urllib.parse import urlencode

import jwt
import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask, redirect, request
from playwright.sync_api import expect, sync_playwright
from werkzeug.serving import make_server

from app.sandbox import SandboxConfig, make_sandbox_server
from app.sandbox.deep_linking import SETTINGS
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


def minimal_tool(platform_url, tool_double):
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
        token = request.form["id_token"]
        settings = jwt.decode(token, options={"verify_signature": False}).get(SETTINGS)
        if settings is None:
            return f"<p id='launched'>{token.count('.')} {request.form['state']}</p>"
        item = {"type": "ltiResourceLink", "title": "Talk with Kim"}
        answer = tool_double.deep_linking_response(settings, item, aud=platform_url)
        return (
            f"<form method='post' action='{settings['deep_link_return_url']}'>"
            f"<input type='hidden' name='JWT' value='{answer}'><button>Choose</button></form>"
        )

    @tool.get("/lti/jwks.json")
    def key_set():
        return {"keys": [tool_double.jwk]}

    @tool.get("/register")
    def register():
        assert {"openid_configuration", "registration_token"} == set(request.args)
        return (
            "<!doctype html><title>Register</title><button>Done</button><script>document.querySelector('button')"
            ".onclick = () => parent.postMessage({ subject: 'org.imsglobal.lti.close' }, '*')</script>"
        )

    return tool


@pytest.fixture(scope="module")
def places(tmp_path_factory, tool):
    sandbox_url, tool_port = f"http://127.0.0.1:{free_port()}", free_port()
    config = SandboxConfig(
        url=sandbox_url,
        tool_url=f"http://localhost:{tool_port}",
        state_dir=tmp_path_factory.mktemp("sandbox"),
    )
    application = minimal_tool(sandbox_url, tool)
    serving = {"threaded": True, "request_handler": QuietHandler}
    servers = (make_sandbox_server(config), make_server("127.0.0.1", tool_port, application, **serving))
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield config
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(places, browser):
    page = browser.new_page()
    page.goto(f"{places.url}/courses/1101/external_tools/1?as=amara.diallo")
    page.frame_locator("[data-tool-frame]").locator("#launched").wait_for()
    return page


@pytest.fixture
def fresh(browser):
    """A page that reports a script error or a blocked frame as a failure."""
    page, problems = browser.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    yield page
    page.close()
    assert problems == []


@pytest.fixture
def ask(page):
    def from_tool(subject, *, to=None, on=page, **content):
        message = {"subject": subject, "message_id": "m1", **content}
        return on.frame("tool_content").evaluate(ASK, [to, message])

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


def test_silent_storage_is_offered_and_never_answers(fresh, places, ask):
    fresh.goto(f"{places.url}/courses/1101/external_tools/1?as=amara.diallo&storage=silent")
    fresh.frame_locator("[data-tool-frame]").locator("#launched").wait_for()
    for where in ("post_message_forwarding", None):
        assert ask("lti.put_data", on=fresh, to=where, key="state", value="v") == "no answer"
    subjects = [each["subject"] for each in ask("lti.capabilities", on=fresh)["supported_messages"]]
    assert "lti.put_data" in subjects


def test_capabilities_are_silent_about_storage_that_is_off(fresh, places, ask):
    fresh.goto(f"{places.url}/courses/1101/external_tools/1?as=amara.diallo&storage=off")
    fresh.frame_locator("[data-tool-frame]").locator("#launched").wait_for()
    subjects = [each["subject"] for each in ask("lti.capabilities", on=fresh)["supported_messages"]]
    assert "lti.put_data" not in subjects


@pytest.mark.parametrize(
    ("path", "button", "entries"),
    [
        ("assignments", "add-assignment", "assignments"),
        ("modules", "add-item", "module-items"),
        ("modules", "module-menu", "module-items"),
    ],
)
def test_what_a_teacher_chooses_is_added_and_opens_for_students(fresh, places, path, button, entries):
    fresh.goto(f"{places.url}/courses/1101/{path}?as=miriam.okafor")
    fresh.get_by_test_id(button).click()
    fresh.frame_locator("[data-tool-frame]").get_by_role("button", name="Choose").click()
    expect(fresh).to_have_url(f"{places.url}/courses/1101/{path}?as=miriam.okafor")
    fresh.goto(f"{places.url}/courses/1101/{path}?as=amara.diallo")
    fresh.get_by_test_id(entries).get_by_role("link", name="Talk with Kim").last.click()
    expect(fresh.frame_locator("[data-tool-frame]").locator("#launched")).to_be_visible()


def test_a_page_holds_tools_in_frames_that_reach_its_storage(fresh, places):
    for _ in range(2):
        fresh.goto(f"{places.url}/courses/1101/pages/welcome?as=miriam.okafor")
        fresh.get_by_test_id("embed").click()
        fresh.frame_locator("[data-tool-frame]").get_by_role("button", name="Choose").click()
        expect(fresh.get_by_role("heading", name="Welcome")).to_be_visible()
    for number in (1, 2):
        expect(fresh.frame_locator(f"[name=tool_{number}]").locator("#launched")).to_be_visible()
    message = {"subject": "lti.put_data", "message_id": "m1", "key": "k", "value": "v"}
    assert fresh.frame("tool_2").evaluate(ASK, ["post_message_forwarding", message])["value"] == "v"
    assert fresh.frame("tool_2").evaluate(ASK, [None, {"subject": "lti.frameResize", "height": 700}])
    heights = [fresh.locator(f"[name=tool_{number}]").bounding_box()["height"] for number in (1, 2)]
    assert (heights[0] != 700, heights[1]) == (True, 700)


def test_a_registration_that_says_it_is_done_leads_back(fresh, places):
    fresh.goto(f"{places.url}/accounts/1/developer_keys?as=ingrid.bauer")
    fresh.get_by_test_id("registration-url").fill(f"{places.tool_url}/register")
    fresh.get_by_test_id("register").click()
    fresh.frame_locator("[data-registration-frame]").get_by_role("button", name="Done").click()
    expect(fresh).to_have_url(f"{places.url}/accounts/1/developer_keys?as=ingrid.bauer")


@pytest.mark.parametrize(
    "path",
    [
        "courses/1101/assignments",
        "courses/1101/modules",
        "courses/1101/pages/welcome",
        "courses/1101/grades",
        "courses/1103",
        "accounts/1/developer_keys",
    ],
)
@pytest.mark.parametrize("width", [360, 1280])
def test_the_pages_are_accessible_and_fit(fresh, places, path, width):
    fresh.set_viewport_size({"width": width, "height": 800})
    fresh.goto(f"{places.url}/{path}?as=ingrid.bauer")
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    found = Axe().run(fresh, context={"exclude": [["iframe"]]}, options=options)
    assert found.response["violations"] == []
    assert fresh.evaluate("document.documentElement.scrollWidth") <= width
