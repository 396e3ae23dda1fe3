"""A model that emits its tokens at a steady pace to as many as ask, in a process of its own.

    python -m tests.benchmarks.paced_model PORT TOKENS SECONDS_BETWEEN

It speaks as an OpenAI-compatible server. Its first token says when the request came and when that token went, its last
one when it went, on a clock that all processes of a machine share: so whoever reads along can tell the model's own
time from everybody else's.
"""

import asyncio
import json
import sys
import time
from functools import partial

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
READY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class PacedModel(asyncio.Protocol):
    """One connection, which may ask again when its answer is whole."""

    def __init__(self, tokens: int, between: float) -> None:
        self._tokens, self._between = tokens, between
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if separator and len(body) >= _content_length(head):
            self._received = b""
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"GET"):
            self._transport.write(READY)
            return
        self._transport.write(HEAD)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._came = time.monotonic()
        self._expect(1)

    def _expect(self, number: int) -> None:
        self._loop.call_at(self._began + number * self._between, partial(self._emit, number))

    def _emit(self, number: int) -> None:
        if self._transport.is_closing():
            return
        if number == self._tokens:
            self._transport.write(_chunk(_event(f"~{time.monotonic():.6f}~")) + LAST)
            return
        self._transport.write(
            _chunk(_event(f"@{self._came:.6f}:{time.monotonic():.6f}@ ")) if number == 1 else WORD
        )
        self._expect(number + 1)


def _content_length(head: bytes) -> int:
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lengths[0].partition(b":")[2]) if lengths else 0


def _event(text: str | None, **more: object) -> bytes:
    delta = {} if text is None else {"content": text}
    data = {"object": "chat.completion.chunk", "model": "paced", "choices": [{"index": 0, "delta": delta}]}
    return b"data: %s\n\n" % json.dumps(data | more).encode()


def _chunk(block: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(block), block)


WORD = _chunk(_event("word "))
_USAGE = {"prompt_tokens": 500, "completion_tokens": 60, "total_tokens": 560}
_STOP = {
    "object": "chat.completion.chunk",
    "model": "paced",
    "choices": [{"delta": {}, "finish_reason": "stop"}],
}
LAST = (
    _chunk(b"data: %s\n\n" % json.dumps(_STOP | {"usage": _USAGE}).encode())
    + _chunk(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


async def serve(port: int, tokens: int, between: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: PacedModel(tokens, between), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
