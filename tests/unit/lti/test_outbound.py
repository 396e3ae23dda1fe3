"""What the tool asks of platforms, against a real server that does not behave."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from app.lti import outbound
from app.lti.models import Platform, RegistrationSource
from app.lti.outbound import ForbiddenAddressError, Outbound, OutboundError, OutboundSession


@dataclass
class Seen:
    command: str
    client_address: tuple[str, int]
    headers: Message
    body: bytes


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: Callable[["Handler"], None]
    seen: list[Seen] = []

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        Handler.seen.append(Seen(self.command, self.client_address, self.headers, body))
        Handler.answer(self)

    def do_POST(self) -> None:
        self.do_GET()

    def say(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *args: object) -> None:
        pass  # the tool hangs up


@pytest.fixture
def url() -> Iterator[str]:
    Handler.answer, Handler.seen = (lambda handler: handler.say(b'{"a": 1}')), []
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/x"
    server.shutdown()
    server.server_close()


@pytest.fixture
def http() -> Iterator[OutboundSession]:
    with OutboundSession(production=False, public_only=True, total_seconds=0.5, max_bytes=1000) as session:
        yield session


def answer(body: bytes, status: int = 200, **headers: str) -> None:
    Handler.answer = lambda handler: handler.say(body, status, **headers)


def test_json_is_fetched_and_posted_with_the_headers_asked_for(url: str, http: OutboundSession) -> None:
    assert http.fetch_json(url, headers={"Authorization": "Bearer t"}) == {"a": 1}
    assert http.post_json(url, {"b": 2}) == {"a": 1}
    first, second = Handler.seen
    assert first.headers["Authorization"] == "Bearer t"
    assert first.headers["User-Agent"] == "AI-Experiences (LTI 1.3 tool)"
    assert (second.command, json.loads(second.body)) == ("POST", {"b": 2})


def test_a_connection_is_kept_for_the_next_request(url: str, http: OutboundSession) -> None:
    for _ in range(3):
        http.fetch_json(url)
    assert len({handler.client_address for handler in Handler.seen}) == 1


@pytest.mark.parametrize("body", [b"", b"rubbish", b"\xff", b"[" * 900, b"{"])
def test_what_is_no_json_is_an_error(url: str, http: OutboundSession, body: bytes) -> None:
    answer(body)
    with pytest.raises(OutboundError):
        http.fetch_json(url)


def test_the_reason_of_a_refusal_is_in_the_error(url: str, http: OutboundSession) -> None:
    answer(b'{"error": "bad \x1b[1m token"}', 400)
    with pytest.raises(OutboundError, match=r'answered 400 {"error": "bad \[1m token"}'):
        http.fetch_json(url)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9", "https://127.0.0.1:9", "http://[", "ftp://localhost", "http://10.0.0.1", ""],
)
def test_the_query_of_an_address_is_in_no_error(http: OutboundSession, address: str) -> None:
    with pytest.raises(OutboundError) as error:
        http.fetch_json(f"{address}/?token=secret")
    assert "secret" not in str(error.value)


def test_the_query_of_an_address_that_answers_is_in_no_error(url: str, http: OutboundSession) -> None:
    for body, status in ((b"rubbish", 200), (b"", 500), (b"x" * 2000, 200)):
        answer(body, status)
        with pytest.raises(OutboundError) as error:
            http.fetch_json(f"{url}?token=secret")
        assert "secret" not in str(error.value)


def test_an_answer_is_read_up_to_a_limit(url: str, http: OutboundSession) -> None:
    answer(b'"' + b"x" * 998 + b'"')
    assert len(http.fetch_json(url)) == 998
    answer(b'"' + b"x" * 999 + b'"')
    with pytest.raises(OutboundError, match="more than 1000 bytes"):
        http.fetch_json(url)


def test_a_compressed_answer_is_not_blown_up(url: str, http: OutboundSession) -> None:
    answer(gzip.compress(b" " * 100_000 + b"{}"), Content_Encoding="gzip")
    with pytest.raises(OutboundError):
        http.fetch_json(url)
    assert Handler.seen[0].headers["Accept-Encoding"] == "identity"


def test_redirects_are_not_followed(url: str, http: OutboundSession) -> None:
    answer(b"", 302, Location=url)
    with pytest.raises(OutboundError, match="302"):
        http.fetch_json(url)
    with pytest.raises(OutboundError, match="302"):
        http.post_json(url, {})
    assert len(Handler.seen) == 2


def test_cookies_and_the_passwords_of_netrc_stay_out(
    url: str, http: OutboundSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    answer(b"{}", Set_Cookie="session=1")
    http.fetch_json(url, headers={"Authorization": "Bearer t"})
    http.fetch_json(url)
    first, second = Handler.seen
    assert first.headers["Authorization"] == "Bearer t"
    assert second.headers["Authorization"] is second.headers["Cookie"] is None


def _drip_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(handler)


def _drip_body(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    _drip(handler)


def _drip(handler: Handler) -> None:
    for _ in range(500):
        handler.wfile.write(b" ")
        time.sleep(0.02)


@pytest.mark.parametrize("slow", [lambda handler: time.sleep(3), _drip_headers, _drip_body])
def test_a_slow_answer_is_cut_off_in_time(
    url: str, http: OutboundSession, slow: Callable[[Handler], None]
) -> None:
    Handler.answer = slow
    begun = time.monotonic()
    with pytest.raises(OutboundError, match="no whole answer in"):
        http.fetch_json(url)
    assert time.monotonic() - begun < 1
    assert not _threads_left()


def test_a_connection_that_was_kept_is_cut_off_too(url: str, http: OutboundSession) -> None:
    http.fetch_json(url)
    Handler.answer = _drip_headers
    with pytest.raises(OutboundError):
        http.fetch_json(url)
    assert len({handler.client_address for handler in Handler.seen}) == 1
    assert not _threads_left()


def test_a_tls_handshake_without_end_is_cut_off(http: OutboundSession) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(OutboundError, match="no whole answer in"):
            http.fetch_json(f"https://127.0.0.1:{silent.getsockname()[1]}/")
        assert not _threads_left()


def test_a_slow_name_look_up_is_not_waited_for(
    http: OutboundSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: time.sleep(1) or [])
    begun = time.monotonic()
    with pytest.raises(OutboundError):
        http.fetch_json("https://lms.example.edu/")
    assert time.monotonic() - begun < 0.8


@pytest.mark.parametrize(
    "address",
    [
        "http://lms.example.edu/",
        "http://10.0.0.1/",
        "http://localhost.example.edu/",
        "ftp://localhost/",
        "file:///etc/passwd",
        "//lms.example.edu",
        "https://",
        "https://[",
        f"https://{'a' * 70}.example.edu/",
        "https://lms.example.edu:99999/",
        "https://\x00/",
        "",
    ],
)
def test_only_https_addresses_are_asked(http: OutboundSession, address: str) -> None:
    with pytest.raises(OutboundError):
        http.fetch_json(address)


def test_in_production_this_machine_is_not_asked_over_http(url: str) -> None:
    with OutboundSession(production=True) as http, pytest.raises(OutboundError, match="not an https"):
        http.fetch_json(url)
    assert not Handler.seen


PRIVATE = [
    "127.0.0.1", "127.1.2.3", "[::1]", "0.0.0.0", "[::]", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "[fd00::1]", "[fe80::1]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "[2002:a00:1::]", "224.0.0.1",
    "2130706433", "0x7f.1", "localhost", "[fec0::1]", "[::127.0.0.1]", "[::a00:1]", "168.63.129.16",
    "[::ffff:168.63.129.16]",
]  # fmt: skip


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_refused_however_they_are_written(host: str) -> None:
    http = OutboundSession(production=True, public_only=True)
    with pytest.raises(OutboundError, match="private address"):
        http.fetch_json(f"https://{host}/")


def test_an_address_is_checked_without_asking_it(url: str, http: OutboundSession) -> None:
    http.check_address(url)
    for address in ("https://10.0.0.1/", "http://lms.example.edu/", "https://", "https://[", "nonsense"):
        with pytest.raises(OutboundError):
            http.check_address(address)
    OutboundSession(production=True).check_address("https://10.0.0.1/")
    assert not Handler.seen


def test_a_name_that_resolves_to_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.168.1.1", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: found)
    http = OutboundSession(production=True, public_only=True)
    with pytest.raises(OutboundError, match="private address"):
        http.fetch_json("https://lms.example.edu/")


def test_in_development_loopback_is_public_and_the_rest_private(url: str, http: OutboundSession) -> None:
    assert http.fetch_json(url) == {"a": 1}
    with pytest.raises(OutboundError, match="private address"):
        http.fetch_json("https://10.0.0.1/")


def test_a_session_for_platforms_written_down_by_hand_may_ask_private_hosts() -> None:
    http = OutboundSession(production=True, total_seconds=0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(requests.Timeout):
        http.get(f"https://127.0.0.1:{silent.getsockname()[1]}/")


def test_a_platform_that_registered_itself_is_asked_at_public_hosts_alone() -> None:
    def ask(source: RegistrationSource, *, allow_private: bool = False) -> None:
        http = Outbound(production=True, allow_private=allow_private, total_seconds=0.3)
        http.to(Platform(source=source)).get("https://127.0.0.1:9/")

    with pytest.raises(ForbiddenAddressError):
        ask(RegistrationSource.REGISTRATION)
    with pytest.raises(requests.ConnectionError):
        ask(RegistrationSource.REGISTRATION, allow_private=True)
    with pytest.raises(requests.ConnectionError):
        ask(RegistrationSource.COMMAND)


def test_a_request_answers_as_requests_does(url: str, http: OutboundSession) -> None:
    answer(b'{"a": 2}', 422, Link='<https://lms.example.edu/2>; rel="next"')
    response = http.request("POST", url, data=b"x")
    assert (response.status_code, response.json(), response.text) == (422, {"a": 2}, '{"a": 2}')
    assert response.links["next"]["url"] == "https://lms.example.edu/2"


def test_requests_beside_each_other_do_not_wait(url: str, http: OutboundSession) -> None:
    Handler.answer = lambda handler: (time.sleep(0.2), handler.say(b"{}"))
    asking = [threading.Thread(target=http.fetch_json, args=(url,)) for _ in range(5)]
    begun = time.monotonic()
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert time.monotonic() - begun < 0.5


def _threads_left() -> bool:
    for thread in threading.enumerate():
        if thread.name == "outbound":
            thread.join(1)
    return any(thread.name == "outbound" for thread in threading.enumerate())


def test_the_limits_keep_a_registration_under_ten_seconds() -> None:
    assert 2 * outbound.TOTAL_SECONDS < 10
