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
from app.lti.outbound import OutboundSession

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Platform(BaseHTTPRequestHandler):
    answer: bytes = b""
    fetched = 0

    def do_GET(self) -> None:
        Platform.fetched += 1
        self.send_response(200 if self.answer else 500)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Platform.answer, Platform.fetched = _key_set("one"), 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Platform)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/keys"
    server.shutdown()
    server.server_close()


def _key_set(*kids: str) -> bytes:
    return json.dumps({"keys": [{"kid": kid} for kid in kids]}).encode()


@pytest.fixture
def sets() -> KeySets:
    return KeySets(OutboundSession(production=False))


def test_a_key_set_is_fetched_once(url: str, sets: KeySets) -> None:
    for _ in range(3):
        sets.get(url, "one")
    assert Platform.fetched == 1


def test_a_key_that_the_platform_has_added_is_found_at_once(url: str, sets: KeySets) -> None:
    sets.get(url, "one")
    Platform.answer = _key_set("one", "two")
    assert _kids(sets.get(url, "two")) == ["one", "two"]
    assert Platform.fetched == 2


def test_an_unknown_kid_fetches_again_but_not_at_every_launch(
    url: str, sets: KeySets, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert _kids(sets.get(url, "unknown")) == ["one"]
    assert Platform.fetched == 2
    monkeypatch.setattr(key_sets, "REFETCH_PAUSE_SECONDS", -1)
    sets.get(url, "unknown")
    assert Platform.fetched == 3


def test_launches_at_once_after_a_rotation_all_find_the_new_key(url: str, sets: KeySets) -> None:
    sets.get(url, "one")
    Platform.answer = _key_set("two")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: _kids(sets.get(url, "two")), range(16)))
    assert found == [["two"]] * 16
    assert Platform.fetched == 2


def test_a_set_that_is_old_is_fetched_for_an_unknown_kid_too(
    url: str, sets: KeySets, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets.get(url, "unknown")
    sets.get(url, "unknown")
    monkeypatch.setattr(key_sets, "FRESH_SECONDS", -1)
    sets.get(url, "unknown")
    assert Platform.fetched == 3


def test_keys_serve_on_while_the_platform_is_down(
    url: str, sets: KeySets, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets.get(url, "one")
    Platform.answer = b""
    monkeypatch.setattr(key_sets, "FRESH_SECONDS", -1)
    assert _kids(sets.get(url, "one")) == ["one"]
    monkeypatch.setattr(key_sets, "STALE_SECONDS", -1)
    with pytest.raises(KeySetError, match="a moment ago"):
        sets.get(url, "one")
    assert Platform.fetched == 2


@pytest.mark.parametrize("answer", [b"", b"rubbish", b"[]", b'{"keys": 5}', b'{"keys": [5]}', b"x" * 300_000])
def test_rubbish_is_no_key_set(url: str, sets: KeySets, answer: bytes) -> None:
    Platform.answer = answer
    with pytest.raises(KeySetError):
        sets.get(url, "one")


JWK: dict[str, Any] = RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True) | {"kid": "one"}


@pytest.mark.parametrize("alg", [{}, {"alg": "RS256"}], ids=["no alg", "RS256"])
def test_a_public_key_is_that_of_its_name(url: str, sets: KeySets, alg: dict[str, str]) -> None:
    Platform.answer = json.dumps({"keys": [{"kid": "another"}, JWK | {"alg": "RS512"}, JWK | alg]}).encode()
    assert sets.public_key(url, "one") == KEY.public_key()


def test_of_a_private_key_that_is_published_the_public_half_is_taken(url: str, sets: KeySets) -> None:
    published = RSAAlgorithm.to_jwk(KEY, as_dict=True) | {"kid": "one"}
    Platform.answer = json.dumps({"keys": [published]}).encode()
    assert sets.public_key(url, "one") == KEY.public_key()


@pytest.mark.parametrize(
    "changes", [{"kid": None}, {"kid": "another"}, {"kid": ["one"]}, {"alg": "RS512"}], ids=str
)
def test_a_key_without_its_name_or_for_another_algorithm_is_unknown(
    url: str, sets: KeySets, changes: dict[str, Any]
) -> None:
    Platform.answer = json.dumps({"keys": [JWK | changes]}).encode()
    with pytest.raises(UnknownKeyError):
        sets.public_key(url, "one")


@pytest.mark.parametrize(
    "changes",
    [{"kty": "oct"}, {"kty": None}, {"n": 7}, {"n": ""}, {"e": "AA"}, {"e": "€"}, {"n": ["x"]}],
    ids=str,
)
def test_a_key_that_cannot_be_used_is_told_from_an_unknown_one(
    url: str, sets: KeySets, changes: dict[str, Any]
) -> None:
    Platform.answer = json.dumps({"keys": [JWK | changes]}).encode()
    with pytest.raises(KeySetError, match="cannot be used"):
        sets.public_key(url, "one")


def test_a_platform_that_drips_is_left_in_time() -> None:
    http = OutboundSession(production=False, total_seconds=0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/keys"
        begun, sets = time.monotonic(), KeySets(http)
        for _ in range(3):
            with pytest.raises(KeySetError):
                sets.get(url, "one")
        assert time.monotonic() - begun < 1


def _kids(key_set: dict[str, list[dict[str, str]]]) -> list[str]:
    return [key["kid"] for key in key_set["keys"]]
