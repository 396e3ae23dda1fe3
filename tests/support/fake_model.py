"""A real HTTP server that speaks as an OpenAI-compatible one and does what a test tells it.

    with FakeModel() as model:
        adapter = OpenAiAdapter(Settings(llm_base_url=model.base_url))
        model.reply_with("Good day.", delay=0.01)
        ...
        assert model.requests[-1].body["stream"] is True

What was programmed last holds until something else is; `in_turn` programs one answer for each of the next requests.
"""

import json
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

POLL = 0.01


@dataclass
class ReceivedRequest:
    """What came in. ``hung_up`` is set when the caller is seen to have gone before the answer was whole."""

    path: str
    headers: Mapping[str, str]
    body: Any
    hung_up: threading.Event = field(default_factory=threading.Event)

    @property
    def messages(self) -> list[dict[str, str]]:
        return list(self.body["messages"])


@dataclass(frozen=True)
class Reply:
    """A chat completion, streamed piece by piece if the request says so.

    ``stall_after`` and ``drop_after`` count pieces: then the server falls silent, or hangs up. ``delay`` is seconds
    before each piece. ``usage`` are prompt and completion tokens, None for a server that tells none.
    """

    pieces: tuple[str, ...]
    delay: float = 0.0
    stall_after: int | None = None
    drop_after: int | None = None
    usage: tuple[int, int] | None = (7, 5)
    finish_reason: str | None = "stop"
    done: bool = True
    model: str | None = None


@dataclass(frozen=True)
class Failure:
    """An answer with a status that is no success."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Raw:
    """Bytes that are sent as they are, one network write each; ``drop`` hangs up after them."""

    blocks: tuple[bytes, ...]
    content_type: str = "text/event-stream"
    delay: float = 0.0
    drop: bool = False


Answer = Reply | Failure | Raw
Answerer = Callable[[ReceivedRequest], Answer]


class FakeModel:
    """The server; a context manager. ``requests`` are what it received, oldest first."""

    def __init__(self) -> None:
        self.requests: list[ReceivedRequest] = []
        self._answerer: Answerer = lambda request: Reply(("Hello.",))
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.model = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def base_url(self) -> str:
        """What LLM_BASE_URL is set to."""
        return f"http://127.0.0.1:{self.port}/v1"

    def reply_with(self, reply: str | Sequence[str], **how: Any) -> None:
        """Answer with a reply, in the given pieces or word by word; for ``how`` see `Reply`."""
        self.in_turn(make_reply(reply, **how))

    def fail_with(
        self,
        status: int,
        body: str | bytes | Mapping[str, Any] = b"",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer with an error; a mapping is sent as JSON."""
        self.in_turn(make_failure(status, body, headers))

    def send_raw(self, *blocks: bytes, **how: Any) -> None:
        """Answer with bytes; for ``how`` see `Raw`."""
        self.in_turn(Raw(blocks, **how))

    def in_turn(self, *answers: Answer) -> None:
        """Give these answers to the next requests, one each, and the last one to all after them."""
        left = list(answers)
        lock = threading.Lock()

        def next_answer(request: ReceivedRequest) -> Answer:
            with lock:
                return left.pop(0) if len(left) > 1 else left[0]

        self._answerer = next_answer

    def answer_by(self, answerer: Answerer) -> None:
        """Let a function choose the answer to each request."""
        self._answerer = answerer

    def answer_to(self, request: ReceivedRequest) -> Answer:
        self.requests.append(request)
        return self._answerer(request)

    def wait(self, seconds: float) -> bool:
        """Sleep, but not beyond the end of the test; True when it has come."""
        return self._stopping.wait(seconds)


def make_reply(reply: str | Sequence[str], **how: Any) -> Reply:
    pieces = re.findall(r"\S+\s*", reply) if isinstance(reply, str) else reply
    return Reply(tuple(pieces), **how)


def make_failure(
    status: int, body: str | bytes | Mapping[str, Any] = b"", headers: Mapping[str, str] | None = None
) -> Failure:
    if isinstance(body, Mapping):
        body = json.dumps(body)
    return Failure(status, body.encode() if isinstance(body, str) else body, headers or {})


def event(data: Mapping[str, Any] | str) -> bytes:
    """Return one server-sent event."""
    return f"data: {data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)}\n\n".encode()


def chunk(text: str | None = None, *, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    """Return one chunk of a streamed chat completion."""
    delta = {} if text is None else {"content": text}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return {"object": "chat.completion.chunk", "model": "fake-model", "choices": choices} | more


class _Server(ThreadingHTTPServer):
    # A handler waits for the next request on a kept connection; nobody waits for the handler.
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024
    model: FakeModel


class _HungUpError(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        request = ReceivedRequest(self.path, dict(self.headers), _parsed(self.rfile.read(length)))
        try:
            self._answer(request, self.server.model.answer_to(request))
        except (_HungUpError, OSError):
            request.hung_up.set()
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def _answer(self, request: ReceivedRequest, answer: Answer) -> None:
        if isinstance(answer, Failure):
            self._send_whole(answer.status, answer.body, answer.headers)
        elif isinstance(answer, Raw):
            self._begin_stream(answer.content_type)
            for block in answer.blocks:
                self._pause(answer.delay)
                self._send_block(block)
            self._end_stream(drop=answer.drop)
        elif isinstance(request.body, dict) and request.body.get("stream"):
            self._stream(answer, request.body)
        else:
            self._pause(answer.delay * len(answer.pieces))
            self._send_whole(200, json.dumps(_completion(answer)).encode(), {})

    def _stream(self, reply: Reply, body: Mapping[str, Any]) -> None:
        self._begin_stream("text/event-stream")
        model = reply.model or body.get("model", "fake-model")
        for number, piece in enumerate(reply.pieces):
            if number == reply.drop_after:
                return self._end_stream(drop=True)
            self._pause(None if number == reply.stall_after else reply.delay)
            self._send_block(event(chunk(piece, model=model)))
        for block in _ending(reply, body, model):
            self._send_block(block)
        return self._end_stream(drop=reply.drop_after is not None)

    def _pause(self, seconds: float | None) -> None:
        """Wait, without end for None, and notice a caller who goes meanwhile."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or (left := end - time.monotonic()) > 0:
            if self._caller_has_gone() or self.server.model.wait(POLL if end is None else min(POLL, left)):
                raise _HungUpError

    def _caller_has_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _send_whole(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | dict(headers)).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _begin_stream(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _send_block(self, block: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))

    def _end_stream(self, *, drop: bool) -> None:
        if drop:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body


def _ending(reply: Reply, body: Mapping[str, Any], model: str) -> Iterator[bytes]:
    if reply.finish_reason is not None:
        yield event(chunk(finish_reason=reply.finish_reason, model=model))
    if reply.usage is not None and (body.get("stream_options") or {}).get("include_usage"):
        yield event(
            {"object": "chat.completion.chunk", "model": model, "choices": [], "usage": _usage(reply)}
        )
    if reply.done:
        yield event("[DONE]")


def _completion(reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(reply.pieces)}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    return {"object": "chat.completion", "model": reply.model or "fake-model", "choices": [choice]} | (
        {"usage": _usage(reply)} if reply.usage else {}
    )


def _usage(reply: Reply) -> dict[str, int]:
    prompt, completion = reply.usage or (0, 0)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
