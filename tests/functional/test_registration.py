"""LTI Dynamic Registration 1.0: a platform that was invited registers itself, and the tool with it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest
from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update
from sqlmodel import Session, select
from werkzeug.test import TestResponse

from app.database import utc_now
from app.lti import canvas, tool
from app.lti.keys import KeyRing
from app.lti.models import Deployment, Invitation, Platform, RegistrationSource, RegistrationState
from app.lti.outbound import OutboundSession
from app.lti.registration.dynamic import (
    PLATFORM_CONFIGURATION,
    TOOL_CONFIGURATION,
    ConfigurationRefusedError,
    ForeignEndpointError,
    Initiation,
    OpenIdConfiguration,
    invite,
    read_configuration,
    tool_registration,
)
from app.lti.registration.platforms import (
    PlatformEntry,
    approve_deployment,
    find_platform,
    pending_deployments,
    remove_platform,
    save_platform,
)
from app.lti.services.client import PlatformServices
from app.sandbox import Flavour, Sandbox, SandboxConfig, make_sandbox_server
from tests.conftest import TOOL_URL
from tests.support.people import BIOLOGY, login_answer
from tests.support.ports import free_port

TOKEN = "registration-token"
Answer = Callable[["Handler"], None]


class Lms:
    """A plain platform. What it says may be changed in ``configuration`` and ``registered``, or by ``answer_get``
    and ``answer_post``.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[tuple[str, str, str | None]] = []
        self.received: list[dict[str, Any]] = []
        self.hosts: list[str] = []
        self.assertions: list[str] = []
        self.configuration: dict[str, Any] = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "registration_endpoint": f"{self.url}/register",
            "scopes_supported": ["openid", *tool.SCOPES],
            PLATFORM_CONFIGURATION: {
                "product_family_code": "moodle",
                "messages_supported": [{"type": "LtiResourceLinkRequest"}, {"type": "LtiDeepLinkingRequest"}],
            },
        }
        self.registered: dict[str, Any] = {"client_id": "c1", TOOL_CONFIGURATION: {"deployment_id": "d1"}}
        self.answer_get: Answer = lambda handler: handler.say(json.dumps(self.configuration).encode())
        self.answer_post: Answer = lambda handler: handler.say(json.dumps(self.registered).encode(), 201)

    @property
    def initiation(self) -> dict[str, str]:
        return {"openid_configuration": f"{self.url}/openid-configuration", "registration_token": TOKEN}


class Handler(BaseHTTPRequestHandler):
    lms: Lms

    def do_GET(self) -> None:
        self.lms.hosts.append(self.headers["Host"])
        self.lms.asked.append(("GET", self.path, self.headers["Authorization"]))
        self.lms.answer_get(self)

    def do_POST(self) -> None:
        self.lms.hosts.append(self.headers["Host"])
        self.lms.asked.append(("POST", self.path, self.headers["Authorization"]))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/token":
            self.lms.assertions.append(dict(parse_qsl(body.decode()))["client_assertion"])
            self.say(json.dumps({"access_token": "a-token", "expires_in": 3600}).encode())
        else:
            self.lms.received.append(json.loads(body))
            self.lms.answer_post(self)

    def say(self, body: bytes, status: int = 200, location: str = "") -> None:
        self.send_response(status)
        self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *args: object) -> None:
        pass  # the tool hangs up


@contextmanager
def serve_lms() -> Iterator[Lms]:
    server = Server(("127.0.0.1", 0), type("OneHandler", (Handler,), {}))
    server.RequestHandlerClass.lms = Lms(server.server_port)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.RequestHandlerClass.lms
    server.shutdown()
    server.server_close()


@pytest.fixture
def lms() -> Iterator[Lms]:
    with serve_lms() as served:
        yield served


@pytest.fixture
def victim() -> Iterator[Lms]:
    """A platform of somebody else's."""
    with serve_lms() as served:
        yield served


@pytest.fixture
def link(app: Flask) -> str:
    return make_link(app)


def make_link(app: Flask) -> str:
    with app.extensions["database"].transaction() as db:
        return f"/lti/register/{invite(db, days=7)}"


def platforms(app: Flask) -> list[Platform]:
    """Return what has registered itself."""
    with app.extensions["database"].transaction() as db:
        return list(db.exec(select(Platform).where(Platform.source == RegistrationSource.REGISTRATION)).all())


def text(response: TestResponse, testid: str) -> str:
    found = BeautifulSoup(response.text, "html.parser").select_one(f"[data-testid={testid}]")
    assert found is not None, response.text
    return found.text


def refused(response: TestResponse, *words: str) -> None:
    assert response.status_code in {400, 403, 409, 502}, response.text
    assert "Reference: " in response.text
    assert TOKEN not in response.text
    for word in words:
        assert word in text(response, "error-message")


def test_a_platform_registers_itself_with_the_button_of_its_page(
    app: Flask, client: FlaskClient, lms: Lms, link: str
) -> None:
    page = client.get(link, query_string=lms.initiation)
    assert page.status_code == 200
    assert lms.url.removeprefix("http://") in text(page, "platform-host")
    assert "frame-ancestors 'self' http" in page.headers["Content-Security-Policy"]
    assert "Set-Cookie" not in page.headers
    assert lms.asked == []
    form = BeautifulSoup(page.text, "html.parser").select_one("form")
    fields = {field["name"]: field["value"] for field in form.select("input")}
    done = client.post(form["action"], data=fields)
    assert done.status_code == 200
    assert [text(done, name) for name in ("issuer", "client-id", "deployment-id")] == [lms.url, "c1", "d1"]
    assert lms.asked == [
        ("GET", "/openid-configuration", f"Bearer {TOKEN}"),
        ("POST", "/register", f"Bearer {TOKEN}"),
    ]
    (platform,) = platforms(app)
    assert (platform.issuer, platform.client_id, platform.product) == (lms.url, "c1", "moodle")
    assert platform.auth_login_url == f"{lms.url}/auth"
    assert platform.auth_token_url == f"{lms.url}/token"
    assert platform.key_set_url == f"{lms.url}/keys"
    assert platform.auth_audience is None


def test_the_deployment_that_the_platform_names_may_launch(
    client: FlaskClient, lms: Lms, link: str, db: Session
) -> None:
    client.post(link, data=lms.initiation)
    deployment = db.exec(select(Deployment).where(Deployment.deployment_id == "d1")).one()
    assert deployment.workflow_state is RegistrationState.ACTIVE
    invitation = db.exec(select(Invitation)).one()
    assert invitation.platform_id == deployment.platform_id


@pytest.mark.parametrize("tool_configuration", [{}, {"deployment_id": None}, None])
def test_without_a_deployment_the_page_tells_of_the_approval(
    app: Flask, client: FlaskClient, lms: Lms, link: str, tool_configuration: object
) -> None:
    lms.registered[TOOL_CONFIGURATION] = tool_configuration
    done = client.post(link, data=lms.initiation)
    assert "the command with which" in text(done, "next-steps")
    (platform,) = platforms(app)
    with app.extensions["database"].transaction() as db:
        assert db.exec(select(Deployment).where(Deployment.platform_id == platform.id)).all() == []


def test_the_registration_says_what_the_standard_asks_for(client: FlaskClient, lms: Lms, link: str) -> None:
    client.post(link, data=lms.initiation)
    (sent,) = lms.received
    own = sent.pop(TOOL_CONFIGURATION)
    assert sent == {
        "application_type": "web",
        "response_types": ["id_token"],
        "grant_types": ["implicit", "client_credentials"],
        "client_name": "AI Experiences",
        "logo_uri": "http://localhost:8000/static/images/icon.svg",
        "initiate_login_uri": "http://localhost:8000/lti/login",
        "redirect_uris": ["http://localhost:8000/lti/launch", "http://localhost:8000/lti/deep-link"],
        "jwks_uri": "http://localhost:8000/lti/jwks.json",
        "token_endpoint_auth_method": "private_key_jwt",
        "scope": " ".join(tool.SCOPES),
    }
    assert own["domain"] == "localhost:8000"
    assert own["target_link_uri"] == "http://localhost:8000/lti/launch"
    assert own["custom_parameters"] == tool.CUSTOM_FIELDS
    assert {"iss", "sub", "name"} <= set(own["claims"])
    assert [message["type"] for message in own["messages"]] == [
        "LtiResourceLinkRequest",
        "LtiDeepLinkingRequest",
    ]
    assert not any("canvas" in name for name in own)


def configuration(lms: Lms, **platform: Any) -> OpenIdConfiguration:
    own = lms.configuration[PLATFORM_CONFIGURATION] | platform
    return OpenIdConfiguration.model_validate(lms.configuration | {PLATFORM_CONFIGURATION: own})


def test_scopes_that_the_platform_lacks_are_not_asked_for(lms: Lms) -> None:
    lms.configuration["scopes_supported"] = ["openid", tool.SCORE_SCOPE]
    assert tool_registration(configuration(lms), "https://ai.example.edu")["scope"] == tool.SCORE_SCOPE
    lms.configuration["scopes_supported"] = None
    asked = tool_registration(configuration(lms), "https://ai.example.edu")
    assert asked["scope"].split() == list(tool.SCOPES)


@pytest.mark.parametrize(
    ("supported", "kept"),
    [
        (None, {"LtiResourceLinkRequest": None, "LtiDeepLinkingRequest": ["ContentArea", "RichTextEditor"]}),
        ([{"type": "LtiResourceLinkRequest"}], {"LtiResourceLinkRequest": None}),
        (
            [
                {"type": "LtiResourceLinkRequest", "placements": None},
                {"type": "LtiDeepLinkingRequest", "placements": ["RichTextEditor", "Other"]},
            ],
            {"LtiResourceLinkRequest": None, "LtiDeepLinkingRequest": ["RichTextEditor"]},
        ),
        ([{"type": "LtiDeepLinkingRequest", "placements": ["Other"]}], {}),
    ],
)
def test_messages_and_placements_that_the_platform_lacks_are_not_asked_for(
    lms: Lms, supported: object, kept: dict[str, object]
) -> None:
    asked = tool_registration(configuration(lms, messages_supported=supported), "https://ai.example.edu")
    messages = asked[TOOL_CONFIGURATION]["messages"]
    assert {message["type"]: message.get("placements") for message in messages} == kept


@pytest.mark.parametrize("prefix", ["", "https://canvas.instructure.com/lti/"])
def test_canvas_is_asked_for_what_the_developer_key_says(lms: Lms, prefix: str) -> None:
    deep_linking = [prefix + name for name in canvas.DEEP_LINKING_PLACEMENTS]
    supported = [
        {
            "type": "LtiResourceLinkRequest",
            "placements": [prefix + "course_navigation", "account_navigation"],
        },
        {"type": "LtiDeepLinkingRequest", "placements": [*deep_linking, "submission_type_selection"]},
    ]
    asked = tool_registration(
        configuration(lms, product_family_code="canvas", messages_supported=supported),
        "https://ai.example.edu",
    )
    own = asked[TOOL_CONFIGURATION]
    navigation, *selections = own["messages"]
    assert own["https://canvas.instructure.com/lti/privacy_level"] == "public"
    assert own["https://canvas.instructure.com/lti/tool_id"] == "ai-experiences"
    assert own["custom_parameters"] == canvas.CUSTOM_FIELDS
    assert navigation["placements"] == [prefix + "course_navigation"]
    assert navigation["https://canvas.instructure.com/lti/course_navigation/default_enabled"] is True
    assert navigation["https://canvas.instructure.com/lti/visibility"] == "public"
    assert [name for message in selections for name in message["placements"]] == deep_linking
    assert {message["target_link_uri"] for message in selections} == {"https://ai.example.edu/lti/deep-link"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, False),
        ("canvas.instructure.com", False),
        ("{lms}/auth", True),
        ("{lms}", True),
        ("{lms}:1/token", False),
        ("{lms}@victim.example/token", False),
        ("{lms}\\@victim.example/token", False),
        ("https://victim.example/token", False),
    ],
)
def test_the_audience_of_assertions_is_on_the_token_endpoints_origin(
    lms: Lms, given: str | None, kept: bool
) -> None:
    lms.configuration["authorization_server"] = given = given and given.format(lms=lms.url)
    assert configuration(lms).audience == (given if kept else None)


def test_no_platform_gets_an_assertion_that_is_good_at_another(
    app: Flask, client: FlaskClient, lms: Lms, victim: Lms, link: str, keys_dir: Path
) -> None:
    lms.configuration["authorization_server"] = victim.configuration["token_endpoint"]
    assert client.post(link, data=lms.initiation).status_code == 200
    (platform,) = platforms(app)
    lms.answer_get = lambda handler: handler.say(b"{}")
    services = PlatformServices(KeyRing(keys_dir), production=False)
    services.request(platform, [tool.ROSTER_SCOPE], "GET", f"{lms.url}/members")
    (assertion,) = lms.assertions
    assert jwt.decode(assertion, options={"verify_signature": False})["aud"] == f"{lms.url}/token"


@pytest.mark.parametrize(
    "endpoint", ["authorization_endpoint", "token_endpoint", "jwks_uri", "registration_endpoint"]
)
def test_an_endpoint_on_another_host_is_refused(
    app: Flask, client: FlaskClient, lms: Lms, victim: Lms, link: str, endpoint: str
) -> None:
    lms.configuration[endpoint] = victim.configuration[endpoint]
    refused(client.post(link, data=lms.initiation), "addresses on another host", "platform add")
    assert platforms(app) == []
    assert lms.received == victim.asked == []


@pytest.mark.parametrize(
    "elsewhere",
    [
        "http://lms.example.edu/keys",
        "https://10.0.0.1/keys",
        "https://169.254.169.254/latest",
        "https://192.168.1.1/register",
        "https://127.0.0.1/keys",
        "http://localhost/keys",
    ],
)
def test_another_port_or_name_is_another_host(
    client: FlaskClient, lms: Lms, link: str, elsewhere: str
) -> None:
    lms.configuration["jwks_uri"] = elsewhere
    refused(client.post(link, data=lms.initiation), "addresses on another host")


def test_the_link_works_once(app: Flask, client: FlaskClient, lms: Lms, link: str) -> None:
    assert client.post(link, data=lms.initiation).status_code == 200
    lms.registered["client_id"] = "c2"
    for response in (client.post(link, data=lms.initiation), client.get(link, query_string=lms.initiation)):
        refused(response, "used before")
    assert [platform.client_id for platform in platforms(app)] == ["c1"]


def test_of_two_at_once_one_registers(app: Flask, lms: Lms, link: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda _: app.test_client().post(link, data=lms.initiation), range(4))
        assert sorted(answer.status_code for answer in answers) == [200, 403, 403, 403]
    assert len(lms.received) == 1


def test_an_expired_link_is_refused(app: Flask, client: FlaskClient, lms: Lms, link: str) -> None:
    with app.extensions["database"].transaction() as db:
        db.exec(update(Invitation).values(expires_at=utc_now() - timedelta(seconds=1)))
    refused(client.post(link, data=lms.initiation), "expired")
    refused(client.get(link, query_string=lms.initiation), "expired")
    assert lms.asked == []


@pytest.mark.parametrize("path", ["/lti/register", "/lti/register/unknown"])
def test_without_an_invitation_nothing_is_asked(client: FlaskClient, lms: Lms, path: str) -> None:
    refused(client.get(path, query_string=lms.initiation))
    if path != "/lti/register":
        refused(client.post(path, data=lms.initiation))
    assert lms.asked == []


def test_the_token_of_an_invitation_is_not_stored(link: str, db: Session) -> None:
    stored = db.exec(select(Invitation)).one()
    assert link.rsplit("/", 1)[1] not in repr(stored.model_dump())


@pytest.mark.parametrize(
    "url", ["", "lms.example.edu", "https://", "https://[", "https://lms.example.edu:x/"]
)
def test_a_link_opened_by_hand_is_explained(client: FlaskClient, link: str, url: str) -> None:
    for response in (
        client.get(link, query_string={"openid_configuration": url}),
        client.post(link, data={"openid_configuration": url}),
    ):
        refused(response, "paste it where your learning platform registers a tool")


@pytest.mark.parametrize(
    "address",
    [
        "http://{lms}\\@{victim}/openid-configuration",
        "http://{victim}\\@{lms}/openid-configuration",
        "http://{victim}@{lms}/openid-configuration",
        "http://{victim}%40{lms}/openid-configuration",
        "http://user:word@{lms}/openid-configuration",
        "http://@{lms}/openid-configuration",
        "http://{lms}\t@{victim}/openid-configuration",
        "http://{lms}\n.{victim}/openid-configuration",
        "http://{lms}\x00{victim}/openid-configuration",
        "http://{lms}/openid-configuration\r\nHost: {victim}",
        " http://{lms}/openid-configuration",
        "http://{lms} {victim}/openid-configuration",
        "http://localhost.:{port}/openid-configuration",
        "http://127.0.0.1:0/openid-configuration",
        "http://127\u30020\u30020\u30021:{port}/openid-configuration",
        "//{lms}/openid-configuration",
    ],
)
def test_an_address_whose_host_can_be_read_in_two_ways_is_refused(
    client: FlaskClient, lms: Lms, victim: Lms, link: str, address: str
) -> None:
    hosts = {"lms": urlsplit(lms.url).netloc, "victim": urlsplit(victim.url).netloc}
    given = {"openid_configuration": address.format(**hosts, port=urlsplit(lms.url).port)}
    for response in (client.get(link, query_string=given), client.post(link, data=given)):
        refused(response, "paste it where your learning platform registers a tool")
        assert not any(host in response.text for host in hosts.values())
    assert lms.asked == victim.asked == []


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("http://LocalHost:{port}/openid-configuration", "localhost:{port}"),
        ("http://127.0.0.1:0{port}/openid-configuration", "127.0.0.1:{port}"),
        ("http://127.0.0.1:{port}/\\@{victim}", "127.0.0.1:{port}"),
        ("http://127.0.0.1:{port}?@{victim}", "127.0.0.1:{port}"),
        ("http://127.0.0.1:{port}#@{victim}", "127.0.0.1:{port}"),
    ],
)
def test_the_page_names_the_host_that_is_asked(
    client: FlaskClient, lms: Lms, victim: Lms, link: str, address: str, named: str
) -> None:
    port = urlsplit(lms.url).port
    given = {"openid_configuration": address.format(port=port, victim=urlsplit(victim.url).netloc)}
    page = client.get(link, query_string=given)
    assert text(page, "platform-host").split()[0] == named.format(port=port)
    client.post(link, data=given)
    assert set(lms.hosts) == {named.format(port=port)}
    assert victim.asked == []


@pytest.mark.parametrize("address", ["https://LMS.example.edu:443/cfg", "https://lms.example.edu:/cfg"])
def test_the_page_leaves_the_usual_port_out(client: FlaskClient, link: str, address: str) -> None:
    page = client.get(link, query_string={"openid_configuration": address})
    assert text(page, "platform-host").split()[0] == "lms.example.edu"


def test_what_the_platform_adds_is_shown_as_text(client: FlaskClient, link: str) -> None:
    url = 'https://lms.example.edu/"><script>alert(1)</script>'
    page = client.get(link, query_string={"openid_configuration": url, "registration_token": '"><b>'})
    assert "<script>alert" not in page.text
    assert "<b>" not in page.text


def _drip(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
    for _ in range(300):
        handler.wfile.write(b" ")
        time.sleep(0.05)


@pytest.mark.parametrize(
    "answer",
    [
        lambda handler: handler.say(b"", 401),
        lambda handler: handler.say(b"rubbish"),
        lambda handler: handler.say(b"[" * 100_000),
        lambda handler: handler.say(b'"' + b"x" * 300_000 + b'"'),
        lambda handler: handler.say(b"", 302, location="http://127.0.0.1:1/"),
        lambda handler: None,
        _drip,
    ],
    ids=["refused", "rubbish", "nested", "huge", "elsewhere", "hung up", "slow"],
)
def test_a_configuration_that_cannot_be_read_is_refused_in_time_and_the_link_stays_good(
    app: Flask, client: FlaskClient, lms: Lms, link: str, answer: Answer
) -> None:
    good, lms.answer_get = lms.answer_get, answer
    begun = time.monotonic()
    refused(client.post(link, data=lms.initiation), "could not be read", "has not been used up")
    assert time.monotonic() - begun < 10
    assert platforms(app) == []
    lms.answer_get = good
    assert client.post(link, data=lms.initiation).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": None},
        {"issuer": "x" * 300},
        {"issuer": "http://127.0.0.1\x00"},
        {"authorization_endpoint": "lms.example.edu/auth"},
        {"token_endpoint": 7},
        {"token_endpoint": "https://lms.example.edu/" + "x" * 2000},
        {"token_endpoint": "https://lms.example.edu/\x00"},
        {"jwks_uri": "javascript:alert(1)"},
        {"registration_endpoint": ""},
        {"scopes_supported": "openid"},
        {PLATFORM_CONFIGURATION: None},
        {PLATFORM_CONFIGURATION: {"messages_supported": []}},
    ],
    ids=str,
)
def test_a_configuration_with_something_wrong_is_refused(
    app: Flask, client: FlaskClient, lms: Lms, link: str, changes: dict[str, object]
) -> None:
    lms.configuration |= changes
    refused(client.post(link, data=lms.initiation), "not as LTI Dynamic Registration")
    assert platforms(app) == []
    assert lms.received == []


@pytest.mark.parametrize(
    "issuer", ["https://canvas.instructure.com", "http://localhost", "https://127.0.0.1", "elsewhere"]
)
def test_a_configuration_for_an_issuer_on_another_host_is_refused(
    app: Flask, client: FlaskClient, lms: Lms, link: str, issuer: str
) -> None:
    lms.configuration["issuer"] = issuer
    refused(client.post(link, data=lms.initiation), "another host")
    assert lms.received == []


class Saying(OutboundSession):
    """A session that answers by itself: hosted Canvas cannot be asked from a test."""

    def __init__(self, body: object) -> None:
        super().__init__(production=True)
        self.body = body

    def fetch_json(self, url: str, *, headers: dict[str, str] | None = None) -> object:
        return self.body


@pytest.mark.parametrize("environment", ["", "beta.", "test."])
def test_hosted_canvas_serves_its_configuration_from_its_sign_on_host(lms: Lms, environment: str) -> None:
    at = f"https://sso.{environment}canvaslms.com"
    said = dict.fromkeys(
        ("authorization_endpoint", "token_endpoint", "jwks_uri", "registration_endpoint"), f"{at}/x"
    )
    issuer = f"https://canvas.{environment}instructure.com"
    school = {"registration_endpoint": "https://canvas.school.example/api/lti/registrations"}
    http = Saying(lms.configuration | said | school | {"issuer": issuer})
    for url in (f"{at}/api/lti/security/openid-configuration", f"{issuer}/openid"):
        assert read_configuration(http, Initiation(url, TOKEN)).issuer == issuer


@pytest.mark.parametrize("endpoint", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize("host", ["lms.example.edu", "sso.beta.canvaslms.com", "school.instructure.com"])
def test_hosted_canvas_has_its_endpoints_on_its_own_hosts(lms: Lms, endpoint: str, host: str) -> None:
    at = "https://sso.canvaslms.com"
    said = dict.fromkeys(
        ("authorization_endpoint", "token_endpoint", "jwks_uri", "registration_endpoint"), f"{at}/x"
    ) | {endpoint: f"https://{host}/x", "issuer": "https://canvas.instructure.com"}
    with pytest.raises(ForeignEndpointError, match="names https://"):
        read_configuration(Saying(lms.configuration | said), Initiation(f"{at}/openid", TOKEN))


def test_endpoints_are_asked_over_https_on_the_platforms_own_host_too(lms: Lms) -> None:
    at = "https://lms.example.edu"
    said = dict.fromkeys(
        ("issuer", "authorization_endpoint", "token_endpoint", "registration_endpoint"), f"{at}/x"
    ) | {"jwks_uri": "http://lms.example.edu/x"}
    with pytest.raises(ConfigurationRefusedError, match="not an https address"):
        read_configuration(Saying(lms.configuration | said), Initiation(f"{at}/openid", TOKEN))


@pytest.mark.parametrize(
    "url",
    [
        "http://lms.example.edu/openid-configuration",
        "https://10.0.0.1/openid-configuration",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00::1]/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
    ],
)
def test_configurations_over_http_or_at_private_addresses_are_not_fetched(
    client: FlaskClient, link: str, url: str
) -> None:
    refused(client.post(link, data={"openid_configuration": url, "registration_token": TOKEN}))


@pytest.mark.parametrize(
    "answer",
    [
        lambda handler: handler.say(b'{"error": "invalid_client_metadata"}', 400),
        lambda handler: handler.say(b"{}", 201),
        lambda handler: handler.say(b'{"client_id": ""}', 201),
        lambda handler: handler.say(b'{"client_id": "a\\u0000"}', 201),
        lambda handler: handler.say(b"rubbish", 201),
        lambda handler: handler.say(b"", 302, location="http://127.0.0.1:1/"),
    ],
)
def test_a_platform_that_does_not_take_the_tool_is_explained_and_the_link_stays_good(
    app: Flask, client: FlaskClient, lms: Lms, link: str, answer: Answer
) -> None:
    good, lms.answer_post = lms.answer_post, answer
    refused(client.post(link, data=lms.initiation), "did not accept the registration")
    assert platforms(app) == []
    lms.answer_post = good
    assert client.post(link, data=lms.initiation).status_code == 200


SOURCES = [RegistrationSource.COMMAND, RegistrationSource.TOOL_CONFIG, RegistrationSource.REGISTRATION]


def known_platform(app: Flask, lms: Lms, source: RegistrationSource) -> Platform:
    """Register client c1 of the platform, with deployment d0 and addresses that it does not name by itself."""
    names = ("auth_login_url", "auth_token_url", "key_set_url")
    own = dict.fromkeys(names, "https://lms.example.edu/own")
    entry = PlatformEntry(client_id="c1", deployment_ids=["d0"], auth_audience="https://own.example", **own)
    with app.extensions["database"].transaction() as db:
        return save_platform(db, lms.url, entry, source)


def set_state(app: Flask, platform: Platform, state: RegistrationState) -> None:
    with app.extensions["database"].transaction() as db:
        db.get_one(Platform, platform.id).workflow_state = state


@pytest.mark.parametrize("source", SOURCES)
def test_an_active_registration_is_never_overwritten(
    app: Flask, client: FlaskClient, lms: Lms, link: str, source: RegistrationSource
) -> None:
    known = known_platform(app, lms, source)
    refused(client.post(link, data=lms.initiation), "remove it first with “ai-experiences platform remove”")
    with app.extensions["database"].transaction() as db:
        assert db.get_one(Platform, known.id).model_dump() == known.model_dump()
        deployments = db.exec(select(Deployment.deployment_id).where(Deployment.platform_id == known.id))
        assert deployments.all() == ["d0"]
        assert db.exec(select(Invitation)).one().used_at is None


@pytest.mark.parametrize("source", SOURCES)
def test_a_registration_that_was_removed_may_come_back(
    app: Flask, client: FlaskClient, lms: Lms, link: str, source: RegistrationSource
) -> None:
    known = known_platform(app, lms, source)
    set_state(app, known, RegistrationState.REMOVED)
    assert client.post(link, data=lms.initiation).status_code == 200
    (platform,) = platforms(app)
    assert (platform.id, platform.workflow_state) == (known.id, RegistrationState.ACTIVE)
    assert platform.key_set_url == f"{lms.url}/keys"
    assert platform.auth_audience is None


def test_a_platform_registers_again_once_it_was_removed(app: Flask, client: FlaskClient, lms: Lms) -> None:
    assert client.post(make_link(app), data=lms.initiation).status_code == 200
    again = make_link(app)
    lms.configuration["jwks_uri"] = f"{lms.url}/new-keys"
    refused(client.post(again, data=lms.initiation), "registered already")
    assert [platform.key_set_url for platform in platforms(app)] == [f"{lms.url}/keys"]
    with app.extensions["database"].transaction() as db:
        remove_platform(db, lms.url, "c1")
    assert client.post(again, data=lms.initiation).status_code == 200
    assert [platform.key_set_url for platform in platforms(app)] == [f"{lms.url}/new-keys"]


def test_of_two_links_used_at_once_for_one_client_one_registers(app: Flask, lms: Lms) -> None:
    links = [make_link(app) for _ in range(4)]
    together = threading.Barrier(4)

    def answer(handler: Handler) -> None:
        together.wait(5)
        handler.say(json.dumps(lms.registered).encode(), 201)

    lms.answer_post = answer
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda link: app.test_client().post(link, data=lms.initiation), links)
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert len(platforms(app)) == 1


def test_no_token_is_sent_where_the_platform_gave_none(client: FlaskClient, lms: Lms, link: str) -> None:
    url = lms.initiation["openid_configuration"]
    assert client.post(link, data={"openid_configuration": url}).status_code == 200
    assert {bearer for _, _, bearer in lms.asked} == {None}


@pytest.mark.parametrize(
    "url", ["{lms}/x", "http://127.0.0.1:9/x", "https://10.0.0.1/x", "https:///x", "http://[/x"]
)
def test_no_secret_is_in_the_log(
    client: FlaskClient, lms: Lms, link: str, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    lms.answer_post = lambda handler: handler.say(b"", 401)
    given = url.format(lms=lms.url) + "?registration_token=another-secret"
    refused(client.post(link, data={"openid_configuration": given, "registration_token": TOKEN}))
    assert caplog.records
    for secret in (TOKEN, "another-secret", link.rsplit("/", 1)[1]):
        assert secret not in caplog.text


@pytest.fixture
def look_alike(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sandbox]:
    config = SandboxConfig(
        url=f"http://127.0.0.1:{free_port()}",
        tool_url=TOOL_URL,
        state_dir=tmp_path,
        flavour=request.param,
    )
    server = make_sandbox_server(config)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.app.extensions["sandbox"]
    server.shutdown()
    server.server_close()


def launch_registered(client: FlaskClient, platform: Sandbox, client_id: str, **login: str) -> TestResponse:
    """Launch the tool that has registered itself, as a teacher does."""
    launch = platform.launch("miriam.okafor", BIOLOGY, client_id=client_id)
    asked = login_answer(client.post("/lti/login", data=platform.login_parameters(launch) | login))
    token = platform.sign(platform.claims_of(launch, nonce=asked["nonce"]))
    return client.post("/lti/launch", data={"id_token": token, "state": asked["state"]})


@pytest.mark.parametrize("look_alike", [Flavour.CANVAS], indirect=True)
def test_canvas_registers_the_tool_and_launches_it(
    app: Flask, client: FlaskClient, look_alike: Sandbox, link: str
) -> None:
    followed = urlsplit(look_alike.registration_url(TOOL_URL + link))
    assert client.get(f"{followed.path}?{followed.query}").status_code == 200
    done = client.post(followed.path, data=dict(parse_qsl(followed.query)))
    registered = look_alike.tools.find(text(done, "client-id"))
    assert set(registered.placements) == {"course_navigation", *canvas.DEEP_LINKING_PLACEMENTS}
    assert registered.scopes == tool.SCOPES
    assert registered.custom_fields == canvas.CUSTOM_FIELDS
    assert text(done, "deployment-id") == registered.deployment_id
    assert launch_registered(client, look_alike, registered.client_id).status_code == 303
    assert client.post(followed.path, data=dict(parse_qsl(followed.query))).status_code == 403


@pytest.mark.parametrize("look_alike", [Flavour.MOODLE], indirect=True)
def test_moodle_registers_the_tool_and_launches_it_once_its_deployment_is_approved(
    app: Flask, client: FlaskClient, look_alike: Sandbox, link: str
) -> None:
    followed = urlsplit(look_alike.registration_url(TOOL_URL + link))
    done = client.post(followed.path, data=dict(parse_qsl(followed.query)))
    client_id = text(done, "client-id")
    waiting = launch_registered(client, look_alike, client_id, ask_for_approval="1")
    assert waiting.status_code == 403
    assert "ai-experiences platform approve" in waiting.text
    with app.extensions["database"].transaction() as db:
        platform = find_platform(db, look_alike.config.issuer, client_id)
        (pending,) = pending_deployments(db, platform.id)
        approve_deployment(db, pending)
    assert launch_registered(client, look_alike, client_id).status_code == 303
