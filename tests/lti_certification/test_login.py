"""Login initiation: `/lti/login`, by GET and by POST (LTI Security Framework 1.1, section 5.1.1.1)."""

import pytest

from app.sandbox import Storage
from tests.lti_certification.vocabulary import (
    Browser,
    Platform,
    Tool,
    accepted,
    asked,
    authorization_url,
    cases,
    refused,
)


@pytest.mark.parametrize("by_get", [True, False], ids=["GET", "POST"])
def test_a_login_goes_on_to_the_platform(browser: Browser, platform: Platform, by_get: bool) -> None:
    login = platform.login()
    begun = browser.begin(login, by_get=by_get)
    assert begun.response.status_code == 302
    assert begun.location.startswith(platform.sandbox.config.authorize_url + "?")
    sent = asked(begun)
    assert sent.pop("state")
    assert sent.pop("nonce")
    assert sent == {
        "scope": "openid",
        "response_type": "id_token",
        "response_mode": "form_post",
        "prompt": "none",
        "client_id": login["client_id"],
        "redirect_uri": f"{browser.tool.url}/lti/launch",
        "login_hint": login["login_hint"],
        "lti_message_hint": login["lti_message_hint"],
    }


def test_state_and_nonce_are_fresh_each_time(browser: Browser, platform: Platform) -> None:
    first, second = (asked(browser.begin(platform.login())) for _ in range(2))
    assert first["state"] != second["state"]
    assert first["nonce"] != second["nonce"]


def test_several_clients_with_client_id_given_use_that_clients_registration(
    browser: Browser, platform: Platform, tool: Tool
) -> None:
    another = platform.sandbox.install()
    tool.register(platform, another)
    for client_id in (platform.sandbox.config.client_id, another.client_id):
        login = platform.login(client_id=client_id)
        assert asked(browser.begin(login))["client_id"] == client_id
        accepted(browser.launch(login))


def test_several_clients_without_client_id_are_refused_and_say_so(
    browser: Browser, platform: Platform, tool: Tool
) -> None:
    tool.register(platform, platform.sandbox.install())
    login = platform.login() | {"client_id": ""}
    page = refused(browser.begin(login), "issuer")
    assert "Several client ids are registered for this issuer" in page.text


def test_one_client_without_client_id_is_known_by_its_issuer(browser: Browser, platform: Platform) -> None:
    accepted(browser.launch(platform.login() | {"client_id": ""}))


REFUSED = {
    "iss missing": ({"iss": ""}, "iss missing"),
    "iss unknown": ({"iss": "https://elsewhere.example"}, "https://elsewhere.example"),
    "client_id unknown": ({"client_id": "another"}, "another"),
    "login_hint missing": ({"login_hint": ""}, "login hint"),
    "lti_deployment_id unknown": ({"lti_deployment_id": "another"}, "'another'"),
    "deployment_id unknown, as Canvas also names it": (
        {"lti_deployment_id": "", "deployment_id": "another"},
        "'another'",
    ),
    "target_link_uri on another origin": ({"target_link_uri": "https://elsewhere.example/x"}, "elsewhere"),
    "target_link_uri on another scheme": ({"target_link_uri": "javascript:alert(1)"}, "javascript"),
    "target_link_uri that only begins as ours": (
        {"target_link_uri": "http://localhost:80@elsewhere.example/"},
        "elsewhere",
    ),
    "target_link_uri without a scheme": ({"target_link_uri": "//elsewhere.example/"}, "elsewhere"),
    "control characters": ({"login_hint": "a\x00b"}, "control characters"),
    "a parameter without end": ({"lti_message_hint": "x" * 100_000}, "too long"),
}


@cases(("changes", "because"), REFUSED)
def test_login_is_refused(
    browser: Browser, platform: Platform, changes: dict[str, str], because: str
) -> None:
    refused(browser.begin(platform.login() | changes), because)


def test_deployment_id_alone_names_the_deployment(browser: Browser, platform: Platform) -> None:
    accepted(browser.launch(platform.login() | {"lti_deployment_id": ""}))


def test_platform_storage_is_used_beside_cookies(browser: Browser, platform: Platform) -> None:
    begun = browser.begin(platform.login(storage=Storage.OFFERED))
    page = begun.page.select_one("[data-login]")
    assert page is not None
    assert page["data-target"] == "post_message_forwarding"
    assert platform.sandbox.config.authorize_url.startswith(page["data-origin"] + "/")
    assert page["data-secret"] in begun.response.headers["Set-Cookie"]
    accepted(browser.finish(browser.authorize(begun)))


def test_platform_storage_is_enough_where_no_cookie_is_kept(tool: Tool, platform: Platform) -> None:
    browser = Browser(tool, platform, keeps_cookies=False)
    begun = browser.begin(platform.login(storage=Storage.OFFERED))
    form = browser.authorize(begun)
    asks = browser.finish(form)
    assert (asks.response.status_code, asks.begun_sessions) == (401, 0)
    assert asks.page.select_one("[data-find-secret]") is not None
    stored = begun.page.select_one("[data-login]")
    assert stored is not None
    accepted(browser.fill_in("/lti/launch", form | {"secret": stored["data-secret"]}))


def test_a_login_that_the_platform_refuses_ends_in_words(browser: Browser, platform: Platform) -> None:
    begun = browser.begin(platform.login() | {"login_hint": "somebody else"})
    assert authorization_url(begun).startswith(platform.sandbox.config.authorize_url)
    refused(browser.finish(browser.authorize(begun)), "login_required")
