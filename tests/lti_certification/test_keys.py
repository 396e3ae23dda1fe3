"""The platform's keys: rotation, and a key endpoint that is slow, down, or answers rubbish."""

import json
import time
from typing import Any

import pytest

from app.lti import key_sets
from app.sandbox.keys import public_jwk
from tests.lti_certification.vocabulary import Browser, Platform, accepted, cases, refused

KEYS = "/security/jwks"
BROKEN: dict[str, dict[str, Any]] = {
    "slow": {"status": None, "delay": 5.5},
    "down": {"status": 503},
    "moved": {"status": 302, "headers": {"Location": "/api/lti/security/jwks"}},
    "answering rubbish that is no JSON": {"status": 200, "body": "<html>"},
    "answering rubbish that is no object": {"status": 200, "body": "[1]"},
    "answering rubbish without keys": {"status": 200, "body": "{}"},
    "answering rubbish for keys": {"status": 200, "body": '{"keys": [1, null]}'},
    "answering rubbish without end": {"status": 200, "body": '{"keys": [' + "{}," * 200_000 + "{}]}"},
}
ODD_KEYS: dict[str, dict[str, Any]] = {
    "of another kind": {"kty": "oct", "k": "c2VjcmV0"},
    "without its numbers": {"kty": "RSA"},
    "without a kind": {},
    "with numbers that are none": {"kty": "RSA", "n": 7, "e": ["AQAB"]},
}


def break_keys(platform: Platform, *, status: int | None, times: int = 1, **how: Any) -> None:
    platform.sandbox.fail_next(status, times=times, path_contains=KEYS, **how)


@cases("how", BROKEN)
def test_a_clear_page_within_5_s_for_a_key_endpoint_that_is(
    browser: Browser, platform: Platform, how: dict[str, Any]
) -> None:
    form = browser.authorize(browser.begin(platform.login()))
    break_keys(platform, **how)
    begun = time.monotonic()
    page = refused(browser.finish(form), KEYS, status=503)
    assert time.monotonic() - begun < 5
    assert "did not answer just now" in page.text


@cases("how", BROKEN)
def test_a_key_set_fetched_before_goes_on_serving_for_a_key_endpoint_that_is(
    browser: Browser, platform: Platform, how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.enter()
    monkeypatch.setattr(key_sets, "FRESH_SECONDS", -1)
    break_keys(platform, **how)
    browser.enter()
    assert platform.fetched_keys() == 2


@cases("jwk", ODD_KEYS)
def test_refused_for_a_published_key(browser: Browser, platform: Platform, jwk: dict[str, Any]) -> None:
    keys = {"keys": [{"kid": platform.sandbox.keys.kid, "alg": "RS256", **jwk}]}
    break_keys(platform, status=200, body=json.dumps(keys))
    refused(browser.launch(), status=503)


def test_keys_are_fetched_once_for_many_launches(browser: Browser, platform: Platform) -> None:
    for _ in range(3):
        browser.enter()
    assert platform.fetched_keys() == 1


def test_a_platform_that_is_down_is_left_alone_for_a_while(browser: Browser, platform: Platform) -> None:
    break_keys(platform, status=503, times=2)
    for _ in range(2):
        refused(browser.launch(), status=503)
    assert platform.fetched_keys() == 1


def test_a_kid_known_after_rotation_is_accepted_at_once(browser: Browser, platform: Platform) -> None:
    browser.enter()
    platform.sandbox.keys.rotate()
    browser.enter()
    assert platform.fetched_keys() == 2


def test_an_unknown_kid_has_the_key_set_fetched_anew_once(browser: Browser, platform: Platform) -> None:
    browser.enter()
    for _ in range(3):
        refused(browser.launch(headers={"kid": "another"}), "no key")
    assert platform.fetched_keys() == 2
    accepted(browser.launch(platform.login()))


def test_a_key_that_is_published_no_longer_is_refused_after_its_time(
    browser: Browser, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.enter()
    withdrawn, kid = platform.sandbox.keys.current, platform.sandbox.keys.kid
    platform.sandbox.keys.rotate()
    fresh = public_jwk(platform.sandbox.keys.current)
    monkeypatch.setattr(key_sets, "FRESH_SECONDS", -1)
    break_keys(platform, status=200, times=2, body=json.dumps({"keys": [fresh]}))
    refused(browser.launch(private_key=withdrawn, headers={"kid": kid}), "no key")
