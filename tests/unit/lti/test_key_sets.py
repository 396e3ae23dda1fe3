"""Platforms' key sets: kept, fetched anew, and done without while the platform is out of reach."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from app.lti import key_sets
from app.lti.key_sets import KeySetError, KeySets, UnknownKeyError
from app.lti.models import Platform, RegistrationSource
from app.lti.outbound import Outbound

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class KeyServer(BaseHTTPRequestHandler):
    answer: bytes = b""
    fetched = 0
    may_answer = threading.Event()

    def do_GET(self) -> None:
        KeyServer.fetched += 1
        self.may_answer.wait(5)
        self.send_response(200 if self.answer else 500)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    KeyServer.answer, KeyServer.fetched = _key_set("one"), 0
    KeyServer.may_answer.set()
    server = ThreadingHTTPServer(("127.0.0.1", 0), KeyServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/keys"
    server.shutdown()
    server.server_close()


def at(url: str, source: RegistrationSource = RegistrationSource.COMMAND) -> Platform:
    return Platform(key_set_url=url, source=source)


def _key_set(*kids: str) -> bytes:
    return json.dumps({"keys": [{"kid": kid} for kid in kids]}).encode()


@pytest.fixture
def sets() -> KeySets:
    return KeySets(Outbound(production=False))


def test_a_key_set_is_fetched_once(url: str, sets: KeySets) -> None:
    for _ in range(3):
        sets.get(at(url), "one")
    assert KeyServer.fetched == 1


def test_a_key_that_the_platform_has_added_is_found_at_once(url: str, sets: KeySets) -> None:
    sets.get(at(url), "one")
    KeyServer.answer = _key_set("one", "two")
    assert _kids(sets.get(at(url), "two")) == ["one", "two"]
    assert KeyServer.fetched == 2


def test_an_unknown_kid_fetches_again_but_not_at_every_launch(
    url: str, sets: KeySets, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert _kids(sets.get(at(url), "unknown")) == ["one"]
    assert KeyServer.fetched == 2
    monkeypatch.setattr(key_sets, "REFETCH_PAUSE_SECONDS", -1)
    sets.get(at(url), "unknown")
    assert KeyServer.fetched == 3


def test_launches_at_once_after_a_rotation_all_find_the_new_key(url: str, sets: KeySets) -> None:
    sets.get(at(url), "one")
    KeyServer.answer = _key_set("two")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: _kids(sets.get(at(url), "two")), range(16)))
    assert found == [["two"]] * 16
    assert KeyServer.fetched == 2


def test_a_set_that_is_old_is_fetched_for_an_unknown_kid_too(
    url: str, sets: KeySets, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets.get(at(url), "unknown")
    sets.get(at(url), "unknown")
    monkeypatch.setattr(key_sets, "FRESH_SECONDS", -1)
    sets.get(at(url), "unknown")
    assert KeyServer.fetched == 3


def test_keys_serve_on_while_the_platform_is_down(
    url: str, sets: KeySets, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets.get(at(url), "one")
    KeyServer.answer = b""
    monkeypatch.setattr(key_sets, "FRESH_SECONDS", -1)
    assert _kids(sets.get(at(url), "one")) == ["one"]
    monkeypatch.setattr(key_sets, "STALE_SECONDS", -1)
    with pytest.raises(KeySetError, match="a moment ago"):
        sets.get(at(url), "one")
    assert KeyServer.fetched == 2


def test_a_slow_platform_holds_up_no_launch_whose_key_is_known(
    url: str, sets: KeySets, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets.get(at(url), "one")
    monkeypatch.setattr(key_sets, "FRESH_SECONDS", -1)
    monkeypatch.setattr(key_sets, "PATIENCE_SECONDS", 0.05)
    KeyServer.may_answer.clear()
    begun = time.monotonic()
    assert [_kids(sets.get(at(url), "one")) for _ in range(3)] == [["one"]] * 3
    assert time.monotonic() - begun < 2
    KeyServer.answer = _key_set("two")
    KeyServer.may_answer.set()
    end_of_renewals()
    assert KeyServer.fetched == 2
    monkeypatch.setattr(key_sets, "FRESH_SECONDS", 3600)
    assert _kids(sets.get(at(url), "one")) == ["two"]


def test_a_key_that_a_platform_has_withdrawn_is_not_served_on(
    url: str, sets: KeySets, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets.get(at(url), "one")
    KeyServer.answer = _key_set("two")
    monkeypatch.setattr(key_sets, "FRESH_SECONDS", -1)
    monkeypatch.setattr(key_sets, "PATIENCE_SECONDS", 10)
    assert _kids(sets.get(at(url), "one")) == ["two"]
    assert KeyServer.fetched == 2


@pytest.mark.parametrize("answer", [b"", b"rubbish", b"[]", b'{"keys": 5}', b'{"keys": [5]}', b"x" * 300_000])
def test_rubbish_is_no_key_set(url: str, sets: KeySets, answer: bytes) -> None:
    KeyServer.answer = answer
    with pytest.raises(KeySetError):
        sets.get(at(url), "one")


JWK: dict[str, Any] = RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "one"}


@pytest.mark.parametrize("alg", [{}, {"alg": "RS256"}], ids=["no alg", "RS256"])
def test_a_public_key_is_that_of_its_name(url: str, sets: KeySets, alg: dict[str, str]) -> None:
    KeyServer.answer = json.dumps({"keys": [{"kid": "another"}, JWK | {"alg": "RS512"}, JWK | alg]}).encode()
    assert sets.public_key(at(url), "one") == KEY.public_key()


def test_of_a_private_key_that_is_published_the_public_half_is_taken(url: str, sets: KeySets) -> None:
    published = RSAAlgorithm.to_jwk(KEY, as_dict=True) | {"kid": "one"}
    KeyServer.answer = json.dumps({"keys": [published]}).encode()
    assert sets.public_key(at(url), "one") == KEY.public_key()


@pytest.mark.parametrize(
    "changes", [{"kid": None}, {"kid": "another"}, {"kid": ["one"]}, {"alg": "RS512"}], ids=str
)
def test_a_key_without_its_name_or_for_another_algorithm_is_unknown(
    url: str, sets: KeySets, changes: dict[str, Any]
) -> None:
    KeyServer.answer = json.dumps({"keys": [JWK | changes]}).encode()
    with pytest.raises(UnknownKeyError):
        sets.public_key(at(url), "one")


@pytest.mark.parametrize(
    "changes",
    [{"kty": "oct"}, {"kty": None}, {"n": 7}, {"n": ""}, {"e": "AA"}, {"e": "€"}, {"n": ["x"]}],
    ids=str,
)
def test_a_key_that_cannot_be_used_is_told_from_an_unknown_one(
    url: str, sets: KeySets, changes: dict[str, Any]
) -> None:
    KeyServer.answer = json.dumps({"keys": [JWK | changes]}).encode()
    with pytest.raises(KeySetError, match="cannot be used"):
        sets.public_key(at(url), "one")


def test_a_platform_that_drips_is_left_in_time() -> None:
    outbound = Outbound(production=False, total_seconds=0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/keys"
        begun, sets = time.monotonic(), KeySets(outbound)
        for _ in range(3):
            with pytest.raises(KeySetError):
                sets.get(at(url), "one")
        assert time.monotonic() - begun < 1


def test_a_platform_that_registered_itself_is_asked_at_public_addresses_alone() -> None:
    sets = KeySets(Outbound(production=True))
    with pytest.raises(KeySetError, match=r"10\.0\.0\.1"):
        sets.get(at("https://10.0.0.1/keys", RegistrationSource.REGISTRATION), "one")


def end_of_renewals() -> None:
    for thread in threading.enumerate():
        if thread.name == "key set":
            thread.join()


def _kids(key_set: dict[str, list[dict[str, str]]]) -> list[str]:
    return [key["kid"] for key in key_set["keys"]]
