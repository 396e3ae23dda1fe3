"""The tool's keys and the platforms'."""

import json
import socket
import stat
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.lti import key_sets
from app.lti.key_sets import KeySetError, KeySets
from app.lti.keys import KeyRing, make_key


def test_a_key_is_made_on_first_use_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = KeyRing(folder).public_key_set()
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing(folder).public_key_set() == first
    assert "d" not in first["keys"][0]


def test_all_keys_are_published(tmp_path: Path) -> None:
    make_key(tmp_path)
    make_key(tmp_path)
    kids = {key["kid"] for key in KeyRing(tmp_path).public_key_set()["keys"]}
    assert len(kids) == 2


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


def test_a_key_set_is_fetched_once(url: str) -> None:
    sets = KeySets()
    for _ in range(3):
        sets.get(url, "one")
    assert Platform.fetched == 1


def test_an_unknown_kid_fetches_again_but_not_at_every_launch(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = KeySets()
    sets.get(url, "one")
    Platform.answer = _key_set("one", "two")
    sets.get(url, "two")
    assert Platform.fetched == 1
    monkeypatch.setattr(key_sets, "REFETCH_PAUSE_SECONDS", -1)
    assert _kids(sets.get(url, "two")) == ["one", "two"]
    assert Platform.fetched == 2


def test_keys_serve_on_while_the_platform_is_down(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = KeySets()
    sets.get(url, "one")
    Platform.answer = b""
    monkeypatch.setattr(key_sets, "FRESH_SECONDS", -1)
    assert _kids(sets.get(url, "one")) == ["one"]


@pytest.mark.parametrize("answer", [b"", b"rubbish", b"[]", b'{"keys": 5}', b'{"keys": [5]}', b"x" * 300_000])
def test_rubbish_is_no_key_set(url: str, answer: bytes) -> None:
    Platform.answer = answer
    with pytest.raises(KeySetError):
        KeySets().get(url, "one")


def test_a_platform_that_drips_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_sets, "TOTAL_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/keys"
        begun, sets = time.monotonic(), KeySets()
        for _ in range(3):
            with pytest.raises(KeySetError):
                sets.get(url, "one")
        assert time.monotonic() - begun < 1


def _kids(key_set: dict[str, list[dict[str, str]]]) -> list[str]:
    return [key["kid"] for key in key_set["keys"]]
