"""Access tokens for the services."""

import time

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from app.sandbox import SandboxConfig, create_sandbox
from app.sandbox.scopes import LINE_ITEM, NRPS, SCORE

TOKEN = "/login/oauth2/token"
ROSTER = "/api/lti/courses/1101/names_and_roles"


def test_good_assertion_gets_a_bearer_token_that_opens_the_roster(client, token_form):
    answer = client.post(TOKEN, data=token_form(scope=NRPS))
    assert answer.status_code == 200
    assert answer.json["token_type"] == "Bearer"
    assert answer.json["expires_in"] == 3600
    assert answer.headers["Cache-Control"] == "no-store"
    headers = {"Authorization": f"Bearer {answer.json['access_token']}"}
    assert client.get(ROSTER, headers=headers).status_code == 200


def test_only_the_scopes_asked_for_are_granted(client, token_form):
    answer = client.post(TOKEN, data=token_form(scope=f"{SCORE} {LINE_ITEM}"))
    assert set(answer.json["scope"].split()) == {SCORE, LINE_ITEM}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_assertion_type": "secret"}, "invalid_request"),
        ({"scope": f"{SCORE} https://example.org/everything"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
    ],
)
def test_malformed_request_is_refused(client, token_form, change, error):
    answer = client.post(TOKEN, data=token_form(**change))
    assert (answer.status_code, answer.json["error"]) == (400, error)


def test_assertion_works_once(client, token_form):
    form = token_form()
    assert client.post(TOKEN, data=form).status_code == 200
    replayed = client.post(TOKEN, data=form)
    assert (replayed.status_code, replayed.json["error"]) == (401, "invalid_client")
    assert "jti" in replayed.json["error_description"]


def test_assertion_of_another_key_is_refused(client, token_form, tool, config):
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    answer = client.post(TOKEN, data=token_form(client_assertion=tool.assertion(config, key=stranger)))
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) - 60},
        {"iat": int(time.time()) + 600},
        {"iat": int(time.time()), "exp": int(time.time()) + 90_000},
        {"aud": "http://elsewhere.example/token"},
        {"iss": "another"},
        {"sub": "another"},
        {"jti": None},
    ],
    ids=["expired", "future", "long", "audience", "issuer", "subject", "no id"],
)
def test_assertion_with_a_wrong_claim_is_refused(client, token_form, tool, config, claims):
    answer = client.post(TOKEN, data=token_form(client_assertion=tool.assertion(config, **claims)))
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("assertion", ["", "no.token.at-all"])
def test_rubbish_is_refused(client, token_form, assertion):
    assert client.post(TOKEN, data=token_form(client_assertion=assertion)).status_code == 401


@pytest.mark.parametrize("problem", [requests.Timeout("slow"), ValueError("not JSON")])
def test_unreadable_key_set_is_an_invalid_client(state_dir, token_form, problem):
    def fail(url):
        raise problem

    client = create_sandbox(SandboxConfig(state_dir=state_dir), fetch=fail).test_client()
    answer = client.post(TOKEN, data=token_form())
    assert answer.status_code == 401
    assert "cannot be read" in answer.json["error_description"]


def test_token_expires(state_dir, tool):
    config = SandboxConfig(state_dir=state_dir, token_seconds=0)
    app = create_sandbox(config, fetch=tool.key_set)
    token = app.extensions["sandbox"].tokens.issue([NRPS], config.client_id).value
    assert app.test_client().get(ROSTER, headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_service_without_token_is_401_and_without_scope_403(client, bearer):
    refused = client.get(ROSTER)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert client.get(ROSTER, headers=bearer(SCORE)).status_code == 403


def test_tokens_can_be_made_to_expire(client, sandbox, bearer):
    headers = bearer()
    sandbox.tokens.expire_all()
    assert client.get(ROSTER, headers=headers).status_code == 401
