"""The client of platforms' services, against the sandbox over HTTP."""

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from app.lti.keys import KeyRing
from app.lti.models import Platform, RegistrationSource
from app.lti.services.client import (
    PlatformServices,
    ScopeRefusedError,
    ServiceBusyError,
    ServiceError,
    ServiceRefusedError,
    ServiceUnavailableError,
)
from app.lti.tool import LINE_ITEM_SCOPE, ROSTER_SCOPE, SCOPES
from app.sandbox import Sandbox, registration
from app.sandbox.tools import Tool
from tests.support.ports import free_port

TOKEN_PATH = "/login/oauth2/token"
LINE_ITEM_TYPE = "application/vnd.ims.lis.v2.lineitem+json"


@pytest.fixture(autouse=True)
def fresh_traffic(sandbox: Sandbox) -> Iterator[None]:
    sandbox.traffic.clear()
    yield
    sandbox.traffic.clear()
    sandbox.links_to = None
    sandbox.tools.grant_scopes(SCOPES)


@pytest.fixture
def services(keys_dir: Path) -> PlatformServices:
    return PlatformServices(KeyRing(keys_dir), production=False)


@pytest.fixture
def platform(sandbox: Sandbox) -> Platform:
    return as_platform(sandbox, None, platform_id=1)


@pytest.fixture
def roster_url(sandbox: Sandbox) -> str:
    return course_url(sandbox, 1101) + "/names_and_roles"


def as_platform(sandbox: Sandbox, tool: Tool | None, platform_id: int) -> Platform:
    entry = registration(sandbox.config, tool)
    columns = {name: entry[name] for name in ("issuer", "client_id", "auth_login_url", "auth_token_url")}
    source = RegistrationSource.COMMAND
    return Platform(id=platform_id, key_set_url=entry["key_set_url"], source=source, **columns)


def course_url(sandbox: Sandbox, canvas_id: int) -> str:
    return f"{sandbox.config.url}/api/lti/courses/{canvas_id}"


def tokens_asked(sandbox: Sandbox) -> int:
    return sum(request.path == TOKEN_PATH for request in sandbox.requests)


def get(services: PlatformServices, platform: Platform, url: str) -> object:
    return services.request(platform, [ROSTER_SCOPE], "GET", url).body


def test_a_request_carries_a_token_that_serves_again(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str
) -> None:
    for _ in range(3):
        assert get(services, platform, roster_url)["members"]
    assert tokens_asked(sandbox) == 1


def test_each_set_of_scopes_has_its_own_token(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str
) -> None:
    get(services, platform, roster_url)
    columns = course_url(sandbox, 1101) + "/line_items"
    assert isinstance(services.request(platform, [LINE_ITEM_SCOPE], "GET", columns).body, list)
    assert tokens_asked(sandbox) == 2


def test_two_registrations_at_one_issuer_never_share_a_token(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str
) -> None:
    other = as_platform(sandbox, sandbox.install("Another school"), platform_id=2)
    assert other.issuer == platform.issuer
    get(services, platform, roster_url)
    get(services, other, roster_url)
    assert tokens_asked(sandbox) == 2
    assert {token.client_id for token in sandbox.tokens._tokens.values()} >= {
        platform.client_id,
        other.client_id,
    }


def test_a_token_that_expired_is_renewed_once(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str
) -> None:
    get(services, platform, roster_url)
    sandbox.tokens.expire_all()
    assert get(services, platform, roster_url)["members"]
    assert tokens_asked(sandbox) == 2


def test_a_platform_that_refuses_every_token_is_asked_twice_only(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str
) -> None:
    sandbox.fail_next(401, times=5, path_contains="names_and_roles")
    with pytest.raises(ServiceRefusedError) as refused:
        get(services, platform, roster_url)
    assert refused.value.status == 401
    assert sum("names_and_roles" in request.path for request in sandbox.requests) == 2
    assert tokens_asked(sandbox) == 2


def test_a_token_is_renewed_before_it_expires(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str
) -> None:
    short = '{"access_token": "short-lived", "token_type": "Bearer", "expires_in": 30}'
    sandbox.fail_next(200, body=short, path_contains=TOKEN_PATH)
    sandbox.fail_next(200, body='{"members": []}', path_contains="names_and_roles")
    get(services, platform, roster_url)
    get(services, platform, roster_url)
    assert tokens_asked(sandbox) == 2


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_platform_says_for_how_long(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str, status: int
) -> None:
    sandbox.fail_next(status, headers={"Retry-After": "7"}, path_contains="names_and_roles")
    with pytest.raises(ServiceBusyError) as busy:
        get(services, platform, roster_url)
    assert busy.value.retry_after.total_seconds() == 7


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        (format_datetime(datetime.now(UTC) + timedelta(minutes=50), usegmt=True), 600, 3000),
        ("soon", 60, 60),
        ("", 60, 60),
        ("0", 1, 1),
        ("99999999", 3600, 3600),
    ],
    ids=["a date", "a word", "empty", "zero", "for ever"],  # the same in every worker, whatever the time
)
def test_a_wait_may_be_a_date_or_nonsense(
    services: PlatformServices,
    platform: Platform,
    sandbox: Sandbox,
    roster_url: str,
    header: str,
    least: float,
    most: float,
) -> None:
    sandbox.fail_next(429, headers={"Retry-After": header}, path_contains="names_and_roles")
    with pytest.raises(ServiceBusyError) as busy:
        get(services, platform, roster_url)
    assert least <= busy.value.retry_after.total_seconds() <= most


@pytest.mark.parametrize("status", [408, 500, 502, 503])
def test_a_platform_out_of_order_is_worth_another_try(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str, status: int
) -> None:
    sandbox.fail_next(status, path_contains="names_and_roles")
    with pytest.raises(ServiceUnavailableError):
        get(services, platform, roster_url)


def test_a_token_endpoint_out_of_order_is_worth_another_try(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str
) -> None:
    sandbox.fail_next(500, path_contains=TOKEN_PATH)
    with pytest.raises(ServiceUnavailableError):
        get(services, platform, roster_url)


@pytest.mark.parametrize(
    "body", ["", "<html>", "[]", "{}", '{"access_token": 7}', '{"access_token": "a", "expires_in": "long"}']
)
def test_a_token_answer_of_rubbish_is_worth_another_try(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str, body: str
) -> None:
    sandbox.fail_next(200, body=body, path_contains=TOKEN_PATH)
    with pytest.raises(ServiceUnavailableError):
        get(services, platform, roster_url)


def test_a_platform_that_is_not_there_is_worth_another_try(
    services: PlatformServices, platform: Platform
) -> None:
    with pytest.raises(ServiceUnavailableError):
        get(services, platform, f"http://127.0.0.1:{free_port()}/roster")


def test_a_slow_platform_is_left(
    services: PlatformServices,
    platform: Platform,
    sandbox: Sandbox,
    roster_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    get(services, platform, roster_url)
    monkeypatch.setattr(services._outbound.to(platform), "_total_seconds", 0.3)
    sandbox.fail_next(None, delay=1.5, path_contains="names_and_roles")
    began = time.monotonic()
    with pytest.raises(ServiceUnavailableError, match="too long"):
        get(services, platform, roster_url)
    assert time.monotonic() - began < 1


def test_a_refusal_brings_the_platforms_words_on_one_line(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str
) -> None:
    body = '{"errors": [{"message": "No\\nsuch ' + "very " * 100 + 'column"}]}'
    sandbox.fail_next(422, body=body, path_contains="names_and_roles")
    with pytest.raises(ServiceRefusedError, match=r"^422 No such very very") as refused:
        get(services, platform, roster_url)
    assert refused.value.status == 422
    assert len(str(refused.value)) <= 200


def test_a_scope_that_the_administrator_took_away_is_told_apart(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str
) -> None:
    sandbox.tools.grant_scopes([LINE_ITEM_SCOPE])
    with pytest.raises(ScopeRefusedError, match="administrators do not let"):
        get(services, platform, roster_url)


def test_a_redirect_is_not_followed(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str
) -> None:
    elsewhere = {"Location": sandbox.config.key_set_url}
    sandbox.fail_next(302, headers=elsewhere, path_contains="names_and_roles")
    with pytest.raises(ServiceRefusedError, match="302"):
        get(services, platform, roster_url)
    assert sandbox.requests[-1].path.endswith("names_and_roles")


@pytest.mark.parametrize(
    "url", ["http://lms.example.edu/roster", "file:///etc/passwd", "ftp://lms.example.edu/"]
)
def test_services_are_asked_over_https_only(services: PlatformServices, platform: Platform, url: str) -> None:
    with pytest.raises(ServiceRefusedError):
        get(services, platform, url)


def test_production_asks_over_https_only_even_at_home(
    keys_dir: Path, platform: Platform, sandbox: Sandbox, roster_url: str
) -> None:
    with pytest.raises(ServiceRefusedError, match="https"):
        get(PlatformServices(KeyRing(keys_dir), production=True), platform, roster_url)
    assert sandbox.requests == ()


def test_json_is_sent_as_the_type_that_the_service_wants(
    services: PlatformServices, platform: Platform, sandbox: Sandbox
) -> None:
    course = sandbox.directory.add_course("Columns")
    column = {"label": "A talk", "scoreMaximum": 10}
    answer = services.request(
        platform,
        [LINE_ITEM_SCOPE],
        "POST",
        course_url(sandbox, course.canvas_id) + "/line_items",
        json=column,
        content_type=LINE_ITEM_TYPE,
    )
    assert answer.body["label"] == "A talk"
    assert services.request(platform, [LINE_ITEM_SCOPE], "DELETE", answer.body["id"]).body is None


def test_every_page_is_read_once(services: PlatformServices, platform: Platform, sandbox: Sandbox) -> None:
    course = sandbox.directory.add_course("Three pages")
    sandbox.directory.add_students(course, 120)
    url = course_url(sandbox, course.canvas_id) + "/names_and_roles"
    pages = list(services.pages(platform, [ROSTER_SCOPE], url))
    assert [len(page["members"]) for page in pages] == [50, 50, 20]


@pytest.mark.parametrize(
    "link",
    [
        "https://elsewhere.example/next",
        "http://127.0.0.1:1/next",
        "http://localhost/next",
        "//elsewhere.example/next",
        "http://[/next",
        "http://127.0.0.1:99999/next",
    ],
)
def test_a_next_page_on_another_origin_is_not_followed(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str, link: str
) -> None:
    headers = {"Link": f'<{link}>; rel="next"'}
    sandbox.fail_next(200, body='{"members": []}', headers=headers, path_contains="names_and_roles")
    pages = services.pages(platform, [ROSTER_SCOPE], roster_url)
    read = []
    with pytest.raises(ServiceRefusedError, match="The list goes on at"):
        read.extend(pages)
    assert read in ([{"members": []}], [])
    assert sum("names_and_roles" in request.path for request in sandbox.requests) == 1


def test_pages_that_go_in_circles_end(
    services: PlatformServices, platform: Platform, sandbox: Sandbox, roster_url: str
) -> None:
    headers = {"Link": f'<{roster_url}>; rel="next"'}
    sandbox.fail_next(200, body="{}", headers=headers, times=5, path_contains="names_and_roles")
    with pytest.raises(ServiceRefusedError, match="no end"):
        list(services.pages(platform, [ROSTER_SCOPE], roster_url))
    assert sum("names_and_roles" in request.path for request in sandbox.requests) == 1


def test_a_list_that_takes_longer_than_it_may_ends_with_what_was_read(
    services: PlatformServices,
    platform: Platform,
    sandbox: Sandbox,
    roster_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.lti.services.client.LIST_SECONDS", 0.5)
    for number in range(5):
        headers = {"Link": f'<{roster_url}?page={number}>; rel="next"'}
        sandbox.fail_next(200, body="{}", headers=headers, delay=0.3, path_contains="names_and_roles")
    read = []
    with pytest.raises(ServiceUnavailableError, match="too long to answer"):
        read.extend(services.pages(platform, [ROSTER_SCOPE], roster_url))
    assert 1 <= sum("names_and_roles" in request.path for request in sandbox.requests) <= 2


def test_neither_token_nor_key_is_logged_or_shown(
    services: PlatformServices,
    platform: Platform,
    sandbox: Sandbox,
    roster_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    get(services, platform, roster_url)
    sandbox.fail_next(403, path_contains="names_and_roles")
    with pytest.raises(ServiceError) as error:
        get(services, platform, roster_url)
    (token,) = (kept.value for kept in services._tokens.values())
    told = caplog.text + repr(error.value) + repr(list(services._tokens.values()))
    assert token not in told
    assert "PRIVATE" not in told
