"""Registration by a link: what the tool reads of a platform, and what it refuses (LTI Dynamic Registration 1.0)."""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from flask import Flask
from sqlmodel import func, select, update

from app.database import utc_now
from app.lti.models import Invitation
from app.lti.models import Platform as Registration
from app.lti.registration.dynamic import invite
from tests.lti_certification.vocabulary import (
    TEACHER,
    Answer,
    Browser,
    Platform,
    Tool,
    accepted,
    cases,
    explained,
    on_both_databases,
    text_of,
)

CONFIGURATION = "/openid-configuration"
REFUSALS = {400, 403, 502}


@pytest.fixture
def link(tool: Tool) -> str:
    """The link that an administrator of the tool has made, for one platform and a week."""
    with tool.database.transaction() as db:
        return f"/lti/register/{invite(db, days=7)}"


def register(browser: Browser, link: str, configuration: str = "") -> Answer:
    """Have the platform open the link, and press the button of its page."""
    address = browser.platform.sandbox.registration_url(browser.tool.url + link)
    given = dict(parse_qsl(urlsplit(address).query))
    given["openid_configuration"] = configuration or given["openid_configuration"]
    opened = browser.visit(f"{link}?{urlencode(given)}")
    form = opened.page.select_one("form")
    if form is None:
        return opened
    fields = {str(field["name"]): str(field["value"]) for field in form.select("input")}
    return browser.fill_in(str(form["action"]), fields)


def registrations(tool: Tool) -> int:
    with tool.database.snapshot() as db:
        return db.exec(select(func.count()).select_from(Registration)).one()


@on_both_databases
def test_openid_configuration_on_the_issuers_host_is_read_and_the_tool_launches(
    browser: Browser, platform: Platform, link: str
) -> None:
    registered = register(browser, link)
    assert registered.response.status_code == 200, registered.response.text
    client_id = text_of(registered.page, "[data-testid=client-id]")
    accepted(browser.launch(platform.login(TEACHER, client_id=client_id)))


def test_openid_configuration_on_another_host_is_refused(
    browser: Browser, tool: Tool, platform: Platform, another_platform: Platform, link: str
) -> None:
    address = another_platform.sandbox.registration_url(another_platform.sandbox.config.metadata_url)
    token = dict(parse_qsl(urlsplit(address).query))["registration_token"]
    theirs = requests.get(
        another_platform.sandbox.config.metadata_url, headers={"Authorization": f"Bearer {token}"}, timeout=5
    )
    platform.sandbox.fail_next(200, body=theirs.text, path_contains=CONFIGURATION)
    known = registrations(tool)
    explained(register(browser, link), another_platform.sandbox.config.issuer, REFUSALS)
    assert registrations(tool) == known


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "slow": ({"status": None, "delay": 12}, "Timeout"),
    "huge": ({"status": 200, "body": json.dumps({"x": "x" * 1_000_000})}, "TooLarge"),
    "not JSON": ({"status": 200, "body": "<html>"}, "JSON"),
    "JSON of another kind": ({"status": 200, "body": "[7]"}, ""),
    "leading elsewhere": ({"status": 302, "headers": {"Location": "http://127.0.0.1:9/"}}, "302"),
}


@cases(("outage", "because"), BROKEN)
def test_openid_configuration_is_refused_within_10_s_when(
    browser: Browser, tool: Tool, platform: Platform, link: str, outage: dict[str, Any], because: str
) -> None:
    platform.sandbox.fail_next(**outage, path_contains=CONFIGURATION)
    begun = time.monotonic()
    explained(register(browser, link), because, REFUSALS)
    assert time.monotonic() - begun < 10
    assert registrations(tool) == 1


@pytest.fixture
def production(
    tool: Tool,
    platform: Platform,
    another_worker: Callable[..., Flask],
    serve: Callable[[Flask], str],
    request: pytest.FixtureRequest,
) -> Browser:
    """A browser at the tool as it runs outside development, on the same database."""
    app = another_worker(
        app_url="https://ai.example.edu", secret_key="s" * 40, **getattr(request, "param", {})
    )
    return Browser(Tool(app, serve(app), tool.caplog), platform)


def test_openid_configuration_over_http_is_refused_outside_development(
    production: Browser, link: str
) -> None:
    explained(register(production, link), "not an https address", REFUSALS)


PRIVATE = ("https://10.0.0.1/c", "https://192.168.1.1/c", "https://169.254.169.254/c", "https://[fd00::1]/c")


@pytest.mark.parametrize("address", [*PRIVATE, "https://127.0.0.1/c"])
def test_openid_configuration_on_a_private_address_is_refused(
    production: Browser, link: str, address: str
) -> None:
    explained(register(production, link, address), "Forbidden", REFUSALS)


@pytest.mark.parametrize("production", [{"allow_private_platforms": True}], indirect=True, ids=["by setting"])
def test_openid_configuration_on_a_private_address_is_asked_for_where_allowed(
    production: Browser, link: str
) -> None:
    secure = production.platform.sandbox.config.metadata_url.replace("http:", "https:")
    # The platform is reached, and speaks no TLS.
    explained(register(production, link, secure), "SSL", REFUSALS)


def test_registration_link_used_twice_is_refused(browser: Browser, tool: Tool, link: str) -> None:
    assert register(browser, link).response.status_code == 200
    explained(register(browser, link), "used", {403})
    assert registrations(tool) == 2


def test_registration_link_after_it_expired_is_refused(browser: Browser, tool: Tool, link: str) -> None:
    with tool.database.transaction() as db:
        db.execute(update(Invitation).values(expires_at=utc_now() - timedelta(seconds=1)))
    explained(register(browser, link), "expired", {403})


def test_registration_without_a_link_of_ours_is_refused(browser: Browser) -> None:
    explained(register(browser, "/lti/register/another"), "unknown", {403})
