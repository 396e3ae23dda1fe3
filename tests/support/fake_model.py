"""A real HTTP server that speaks as OpenAI and as Anthropic do, and does what a test tells it.

    with FakeModel() as model:
        adapter = build_adapter(Settings(llm_base_url=model.base_url))
        model.reply_with("Good day.", delay=0.01)
        ...
        assert model.requests[-1].body["stream"] is True

What was programmed last holds until something else is; `in_turn` programs one answer for each of the next requests.
Requests for JSON are another matter: `judge_with` and `judge_by` program the answers to them, and they are recorded
in ``questions``, so that what judges a conversation beside its replies does not get in the way of them. Until they
are programmed, they are answered by the emptiest JSON that fits the schema.
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
from itertools import chain
from types import TracebackType
from typing import Any, Self

POLL = 0.01
# Characters in a piece of JSON.
PIECE = 16


@dataclass
class ReceivedRequest:
    """What came in. ``hung_up`` is set when the caller is seen to have gone before the answer was whole."""

    path: str
    headers: Mapping[str, str]
    body: Any
    caller_port: int = 0
    hung_up: threading.Event = field(default_factory=threading.Event)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.body["messages"])

    @property
    def to_anthropic(self) -> bool:
        return self.path.endswith("/messages")

    @property
    def instructions(self) -> str:
        """The system prompt."""
        return _text_of(self.body["system"] if self.to_anthropic else self.messages[0]["content"])

    @property
    def prompt(self) -> str:
        """What was said last."""
        return _text_of(self.messages[-1]["content"])

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON Schema of the answer that is wanted, None where none is or it stands in the instructions."""
        body = self.body if isinstance(self.body, dict) else {}
        wanted = (body.get("output_config") or {}).get("format") or body.get("response_format") or {}
        tools = body.get("tools") or [{}]
        return (
            wanted.get("schema")
            or wanted.get("json_schema", {}).get("schema")
            or tools[0].get("input_schema")
        )

    @property
    def is_question(self) -> bool:
        """Whether JSON is wanted."""
        body = self.body if isinstance(self.body, dict) else {}
        return any(body.get(way) for way in ("response_format", "output_config", "tools"))


@dataclass(frozen=True)
class Reply:
    """A reply, streamed piece by piece if the request says so.

    ``stall_after``, ``drop_after`` and ``garble_after`` count pieces: then the server falls silent, hangs up, or sends
    what is no JSON. ``delay`` is seconds before each piece. ``usage`` are prompt and completion tokens, None for a
    server that tells none.
    """

    pieces: tuple[str, ...]
    delay: float = 0.0
    stall_after: int | None = None
    drop_after: int | None = None
    garble_after: int | None = None
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
    """Bytes that are sent as they are, one network write each; ``drop`` hangs up after them, ``stalls`` falls silent.

    ``closes`` tells the caller beforehand that the connection will be closed.
    """

    blocks: tuple[bytes, ...]
    content_type: str = "text/event-stream"
    delay: float = 0.0
    drop: bool = False
    stalls: bool = False
    closes: bool = False


@dataclass(frozen=True)
class Silence:
    """No answer at all, not even a status, until the caller hangs up."""


Answer = Reply | Failure | Raw | Silence
Answerer = Callable[[ReceivedRequest], Answer]


class FakeModel:
    """The server; a context manager.

    ``requests`` are those for replies, ``questions`` those for JSON, oldest first. ``refuses`` are ways to ask for
    JSON that it does not know: json_schema, json_object (OpenAI's) and output_config (Anthropic's).
    """

    def __init__(self) -> None:
        self.requests: list[ReceivedRequest] = []
        self.questions: list[ReceivedRequest] = []
        self.refuses: frozenset[str] = frozenset()
        self._answerer: Answerer = lambda request: Reply(("Hello.",))
        self._judge: Answerer = lambda request: make_judgement(_emptiest(request.schema or {}))
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
        self.hang_up()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def hang_up(self) -> None:
        """End every answer under way, also where the server has fallen silent."""
        self._stopping.set()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def base_url(self) -> str:
        """What LLM_BASE_URL is set to, for either provider."""
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

    def recite_prompt(self, **how: Any) -> None:
        """Answer with the instructions of the request, as a model does that was talked into it."""
        self.answer_by(lambda request: make_reply(request.instructions, **how))

    def in_turn(self, *answers: Answer) -> None:
        """Give these answers to the next requests, one each, and the last one to all after them."""
        self._answerer = _one_after_another(answers)

    def answer_by(self, answerer: Answerer) -> None:
        """Let a function choose the answer to each request."""
        self._answerer = answerer

    def judge_with(self, *answers: Any) -> None:
        """Answer the next requests for JSON, one each, and all after them with the last.

        An answer is the data itself, or a `Reply`, `Failure`, `Raw` or `Silence`.
        """
        self._judge = _one_after_another([make_judgement(answer) for answer in answers])

    def judge_by(self, judge: Callable[[ReceivedRequest], Any]) -> None:
        """Let a function answer each request for JSON, with data or an `Answer`."""
        self._judge = lambda request: make_judgement(judge(request))

    def answer_to(self, request: ReceivedRequest) -> Answer:
        if not request.is_question:
            self.requests.append(request)
            return self._answerer(request)
        self.questions.append(request)
        refused = next((way for way in sorted(self.refuses) if _asks_by(request, way)), None)
        if refused:
            return make_failure(400, {"error": {"message": f"{refused}: not supported with this model"}})
        return self._judge(request)

    def wait(self, seconds: float) -> bool:
        """Sleep, but not beyond the end of the test; True when it has come."""
        return self._stopping.wait(seconds)


def make_reply(reply: str | Sequence[str], **how: Any) -> Reply:
    pieces = re.findall(r"\S+\s*", reply) if isinstance(reply, str) else reply
    return Reply(tuple(pieces), **how)


def make_judgement(answer: Any) -> Answer:
    """Return an answer in JSON, cut into pieces where a network would."""
    if isinstance(answer, Answer):
        return answer
    text = json.dumps(answer, ensure_ascii=False)
    return make_reply([text[start : start + PIECE] for start in range(0, len(text), PIECE)])


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
        body = _parsed(self.rfile.read(length))
        request = ReceivedRequest(self.path, dict(self.headers), body, self.client_address[1])
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
        if isinstance(answer, Silence):
            self._pause(None)
        elif isinstance(answer, Failure):
            self._send_whole(answer.status, answer.body, answer.headers)
        elif isinstance(answer, Raw):
            self._begin_stream(answer.content_type, closes=answer.closes)
            for block in answer.blocks:
                self._pause(answer.delay)
                self._send_block(block)
            if answer.stalls:
                self._pause(None)
            self._end_stream(drop=answer.drop)
        elif isinstance(request.body, dict) and request.body.get("stream"):
            self._stream(answer, AnthropicForm(request) if request.to_anthropic else OpenAiForm(request))
        else:
            self._pause(answer.delay * len(answer.pieces))
            self._send_whole(200, json.dumps(_completion(answer)).encode(), {})

    def _stream(self, reply: Reply, form: "OpenAiForm | AnthropicForm") -> None:
        self._begin_stream("text/event-stream")
        for block in form.beginning(reply):
            self._send_block(block)
        for number, piece in enumerate(reply.pieces):
            if number == reply.drop_after:
                return self._end_stream(drop=True)
            self._pause(None if number == reply.stall_after else reply.delay)
            self._send_block(b"data: {oops\n\n" if number == reply.garble_after else form.piece(reply, piece))
        for block in form.ending(reply):
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

    def _begin_stream(self, content_type: str, *, closes: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        if closes:
            self.send_header("Connection", "close")
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


class OpenAiForm:
    """A reply in chunks of a chat completion."""

    def __init__(self, request: ReceivedRequest) -> None:
        self.body = request.body

    def model(self, reply: Reply) -> str:
        return reply.model or self.body.get("model", "fake-model")

    def beginning(self, reply: Reply) -> Iterator[bytes]:
        return iter(())

    def piece(self, reply: Reply, text: str) -> bytes:
        return event(chunk(text, model=self.model(reply)))

    def ending(self, reply: Reply) -> Iterator[bytes]:
        if reply.finish_reason is not None:
            yield event(chunk(finish_reason=reply.finish_reason, model=self.model(reply)))
        if reply.usage is not None and (self.body.get("stream_options") or {}).get("include_usage"):
            shape = {"object": "chat.completion.chunk", "model": self.model(reply), "choices": []}
            yield event(shape | {"usage": _usage(reply)})
        if reply.done:
            yield event("[DONE]")


class AnthropicForm:
    """A reply in the events of a streamed message."""

    STOP_REASONS = {"stop": "end_turn", "length": "max_tokens"}

    def __init__(self, request: ReceivedRequest) -> None:
        self.body = request.body
        self.by_tool = "tools" in request.body

    def beginning(self, reply: Reply) -> Iterator[bytes]:
        message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "stop_reason": None}
        message["model"] = reply.model or self.body["model"]
        if reply.usage is not None:
            message["usage"] = {"input_tokens": reply.usage[0], "output_tokens": 1}
        block = (
            {"type": "tool_use", "name": "x", "input": {}} if self.by_tool else {"type": "text", "text": ""}
        )
        yield named_event({"type": "message_start", "message": message})
        yield named_event({"type": "content_block_start", "index": 0, "content_block": block})
        yield named_event({"type": "ping"})

    def piece(self, reply: Reply, text: str) -> bytes:
        kind, key = ("input_json_delta", "partial_json") if self.by_tool else ("text_delta", "text")
        delta = {"type": kind, key: text}
        return named_event({"type": "content_block_delta", "index": 0, "delta": delta})

    def ending(self, reply: Reply) -> Iterator[bytes]:
        yield named_event({"type": "content_block_stop", "index": 0})
        if reply.finish_reason is not None:
            stop_reason = self.STOP_REASONS.get(reply.finish_reason, reply.finish_reason)
            end: dict[str, Any] = {"type": "message_delta", "delta": {"stop_reason": stop_reason}}
            usage = {"usage": {"output_tokens": reply.usage[1]}} if reply.usage else {}
            yield named_event(end | usage)
        if reply.done:
            yield named_event({"type": "message_stop"})


def named_event(data: Mapping[str, Any]) -> bytes:
    """Return one server-sent event with a name, as Anthropic sends them."""
    return f"event: {data['type']}\n".encode() + event(data)


def _one_after_another(answers: Sequence[Answer]) -> Answerer:
    left = list(answers)
    lock = threading.Lock()

    def next_answer(request: ReceivedRequest) -> Answer:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return next_answer


def _asks_by(request: ReceivedRequest, way: str) -> bool:
    return way in request.body or (request.body.get("response_format") or {}).get("type") == way


def _text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


def _emptiest(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> Any:
    """Return the JSON that says as little as a schema allows."""
    root = root or schema
    if "$ref" in schema:
        return _emptiest(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if choice := next(chain(schema.get("anyOf", ()), schema.get("oneOf", ())), None):
        return _emptiest(choice, root)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    if schema.get("type") == "object" or not schema:
        required = schema.get("required", ())
        return {name: _emptiest(schema["properties"][name], root) for name in required}
    return {"array": [], "string": "", "boolean": False, "null": None}.get(schema["type"], 0)


def _completion(reply: Reply) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(reply.pieces)}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
    return {"object": "chat.completion", "model": reply.model or "fake-model", "choices": [choice]} | (
        {"usage": _usage(reply)} if reply.usage else {}
    )


def _usage(reply: Reply) -> dict[str, int]:
    prompt, completion = reply.usage or (0, 0)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
