"""Where people may be sent back to, and whose secret is whose."""

import pytest

from app.api.oauth.clients import (
    ClientConfigError,
    ClientEntry,
    _check,
    is_secret_of,
    may_return_to,
    public_keys,
)
from app.api.oauth.models import OAuthClient
from app.secret import hash_of


def client(*redirect_uris: str, **fields: object) -> OAuthClient:
    return OAuthClient(redirect_uris=list(redirect_uris), name="Notebook", client_id="aixc_1", **fields)


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("https://a.example/back", "https://a.example/back"),
        ("https://a.example/back?x=1", "https://a.example/back?x=1"),
        ("edu.example.app:/back", "edu.example.app:/back"),
        ("http://127.0.0.1/back", "http://127.0.0.1:8080/back"),
        ("http://127.0.0.1:1/back", "http://127.0.0.1:2/back"),
        ("http://[::1]/back", "http://[::1]:8080/back"),
        ("http://localhost/back", "http://localhost:8080/back"),
    ],
)
def test_people_are_sent_where_it_was_registered(registered: str, asked: str) -> None:
    assert may_return_to(client(registered), asked)


@pytest.mark.parametrize(
    ("registered", "asked"),
    [
        ("https://a.example/back", "https://a.example/back/"),
        ("https://a.example/back", "https://a.example/back?x=1"),
        ("https://a.example/back", "https://a.example:8443/back"),
        ("https://a.example/back", "https://A.example/back"),
        ("https://a.example/back", "http://a.example/back"),
        ("https://a.example/back", "https://a.example.evil.example/back"),
        ("http://127.0.0.1/back", "http://127.0.0.1:8080/other"),
        ("http://127.0.0.1/back", "http://127.0.0.2:8080/back"),
        ("http://127.0.0.1/back", "http://localhost:8080/back"),
        ("http://127.0.0.1/back", "https://127.0.0.1:8080/back"),
        ("http://127.0.0.1/back", "http://evil@127.0.0.1:8080/back"),
        ("http://127.0.0.1/back", "http://127.0.0.1:99999/back"),
        ("http://127.0.0.1/back", "http://127.0.0.1.evil.example/back"),
        ("http://127.0.0.1/back", "http://[::1/back"),
        ("http://[::1]/back", "http://[::1]evil.example/back"),
        ("http://127.0.0.1/back", f"http://127.0.0.1:{3000 * '0'}1/back"),
        ("http://127.0.0.1/back", ""),
    ],
)
def test_people_are_sent_nowhere_else(registered: str, asked: str) -> None:
    assert not may_return_to(client(registered), asked)


@pytest.mark.parametrize(
    "address",
    [
        "https://a.example/back",
        "http://127.0.0.1/back",
        "http://[::1]/back",
        "http://localhost:8080/back",
        "edu.example.app:/back",
    ],
)
def test_an_address_that_people_can_be_sent_to_is_taken(address: str) -> None:
    _check(ClientEntry("Notebook", (address,)), production=True)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/back",
        "http://a.example/back",
        "https://",
        "https://user@a.example/back",
        "https://a.example/back#here",
        "javascript:alert(1)",
        "data:text/html,x",
        "app:/back",
        "edu.example.app:/a b",
        "edu.example.app:/é",
        "https://a.example/" + "x" * 2000,
    ],
)
def test_an_address_that_is_not_safe_is_refused(address: str) -> None:
    with pytest.raises(ClientConfigError):
        _check(ClientEntry("Notebook", (address,)), production=True)


def test_a_secret_is_known_by_its_hash() -> None:
    program = client(secret_hash=hash_of("secret"))
    assert is_secret_of(program, "secret")
    assert not is_secret_of(program, "Secret")
    assert not is_secret_of(client(), "")


def test_only_keys_that_check_signatures_are_used() -> None:
    keys = [{"kty": "oct", "k": "secret"}, {"kty": "RSA", "n": "x", "e": "y", "d": "private"}, {"kty": "EC"}]
    assert public_keys({"keys": keys}) == [{"kty": "RSA", "n": "x", "e": "y"}, {"kty": "EC"}]
