"""Hanging up on servers that never come to an end, and on those that nobody waits for any more."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from app.llm.http import LARGEST_BODY, StreamingClient, Timeouts
from app.llm.interface import ChatRequest, Line, ModelError, ModelErrorCode, Speaker
from app.llm.selection import build_adapter
from tests.unit.llm.conftest import MakeSettings

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WORD = b'data: {"choices": [{"delta": {"content": "Well. "}}]}\n\n'
SECONDS = 10.0  # for which a server drips, if nobody hangs up
SECRET, SAID = "sk-SECRETKEY-0123456789abcdef", "my grandmother has cancer"

Speak = Callable[[socket.socket], None]
Serve = Callable[[Speak], str]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def drip(connection: socket.socket, byte: bytes) -> None:
    """Send a byte now and then, until somebody hangs up or long after anybody should have."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        connection.sendall(byte)
        time.sleep(0.05)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return what starts a server that reads a request and then speaks as it is told; it returns its address."""
    listening: list[socket.socket] = []

    def serve(speak: Speak) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listening.append(listener)
        threading.Thread(target=_accept, args=(listener, speak), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    yield serve
    for listener in listening:
        listener.close()


def _accept(listener: socket.socket, speak: Speak) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_talk, args=(connection, speak), daemon=True).start()


def _talk(connection: socket.socket, speak: Speak) -> None:
    with connection:
        try:
            received = b""
            while b"max_tokens" not in received and b'"input"' not in received:
                received += connection.recv(65536)
            speak(connection)
        except OSError:
            return


@pytest.fixture(autouse=True)
def _looking_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.llm.wires.LOOK_EVERY", 0.1)


def asked() -> ChatRequest:
    lines = (Line(Speaker.STUDENT, SAID),)
    return ChatRequest("Play.", "", "Kim", "", lines, conversation="c", max_tokens=600)


def failure(make_settings: MakeSettings, address: str, request: ChatRequest) -> ModelError:
    limits = {
        "llm_turn_timeout": 1.0,
        "llm_first_token_timeout": 1.0,
        "llm_token_timeout": 1.0,
        "llm_retries": 0,
    }
    settings = make_settings(llm_base_url=address, llm_api_key=SECRET, **limits)
    with pytest.raises(ModelError) as caught:
        list(build_adapter(settings).stream(request))
    return caught.value


@pytest.mark.parametrize(
    ("begin", "byte"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\nX-Drip: ", b"x"),
        (HEAD, b"0"),
        (HEAD + chunk(WORD), b"0"),
        (HEAD + chunk(WORD), chunk(b":\n\n")),
    ],
    ids=["nothing", "a header", "a chunk's size", "a later chunk's size", "signs of life"],
)
def test_a_server_that_drips_is_hung_up_on_when_the_turn_is_over(
    make_settings: MakeSettings, serve: Serve, begin: bytes, byte: bytes
) -> None:
    gone = threading.Event()

    def speak(connection: socket.socket) -> None:
        try:
            connection.sendall(begin)
            drip(connection, byte or b"")
        except OSError:
            gone.set()

    assert failure(make_settings, serve(speak), asked()).code is ModelErrorCode.TIMEOUT
    if byte:
        assert gone.wait(SECONDS / 2)


def test_an_error_that_drips_is_not_read_to_its_end(make_settings: MakeSettings, serve: Serve) -> None:
    gone = threading.Event()

    def speak(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 500 Oh\r\nContent-Length: 60000\r\n\r\n")
        try:
            drip(connection, b"x")
        except OSError:
            gone.set()

    assert failure(make_settings, serve(speak), asked()).code is ModelErrorCode.UNREACHABLE
    assert gone.wait(SECONDS / 2)  # a reader to the end would find it, and be gone only then


def test_who_gives_up_hangs_up_on_a_silent_server_and_asks_nobody_else(
    make_settings: MakeSettings, serve: Serve
) -> None:
    request, calls, gone = asked(), [], threading.Event()

    def speak(connection: socket.socket) -> None:
        calls.append(connection)
        if not connection.recv(1):
            gone.set()

    address = serve(speak)
    settings = make_settings(llm_base_url=address, llm_fallbacks="another", llm_retries=2)
    adapter, errors = build_adapter(settings), []

    def read() -> None:
        try:
            list(adapter.stream(request))
        except ModelError as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    while not calls:
        time.sleep(0.01)
    request.attempts.give_up()
    reader.join(SECONDS)
    assert not reader.is_alive()
    assert gone.wait(SECONDS)
    assert len(calls) == 1
    assert len(errors) == 1


@pytest.mark.parametrize(
    "answer",
    [
        f"{SAID} {SECRET}\r\n\r\n".encode(),
        f"HTTP/1.1 200 OK\r\n{SAID} {SECRET}\r\n\r\n".encode(),
        f"HTTP/1.1 {SAID} {SECRET}\r\n\r\n".encode(),
        HEAD + f"{SAID} {SECRET}\r\n".encode(),
    ],
    ids=["no HTTP", "a bad header", "a bad status", "a bad chunk"],
)
def test_what_a_server_says_that_speaks_no_http_is_never_logged(
    make_settings: MakeSettings, serve: Serve, caplog: pytest.LogCaptureFixture, answer: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    error = failure(make_settings, serve(lambda connection: connection.sendall(answer)), asked())
    logged = f"{error} {caplog.text}"
    assert "grandmother" not in logged
    assert "SECRET" not in logged


def test_a_body_without_end_is_not_kept(serve: Serve) -> None:
    def speak(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(2 * LARGEST_BODY // 65536):
            connection.sendall(b"x" * 65536)

    client = StreamingClient(Timeouts(5, 5, 5, 60))
    url = f"{serve(speak)}/moderations"
    answer = client.post(url, {"input": "x"}, headers={}, deadline=time.monotonic() + 60)
    with pytest.raises(ModelError, match="without end"):
        answer.body()


def test_what_is_compressed_is_not_unpacked(make_settings: MakeSettings, serve: Serve) -> None:
    def speak(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde")

    assert failure(make_settings, serve(speak), asked()).code is ModelErrorCode.BAD_ANSWER
