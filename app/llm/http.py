"""One call to a model's server: post JSON, read the answer while it is written. Raises `ModelError` only."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSet, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import RemoteDisconnected
from time import monotonic, sleep
from typing import Any, Self
from weakref import WeakSet

import orjson
import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from app.llm.failures import DETAIL_LENGTH, describe, discreet, error_for
from app.llm.interface import ChatRequest, ModelError, ModelErrorCode, StructuredRequest
from app.llm.sse import EventTooLongError, read_events
from app.llm.wires import Watch, Wire, dialling, wired_pool
from app.settings import Settings

# Of a head that it cannot read, it would write the words.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

USER_AGENT = "ai-experiences"
# Connections kept for reuse: as many as a worker of gunicorn has readers at once.
POOL_SIZE = 1000
READ_BYTES = 1 << 16
ERROR_BYTES = 1 << 16
ERROR_SECONDS = 2.0
LARGEST_BODY = 1 << 20
# A kept connection that was given up hangs up at once; who has waited for longer may have been heard.
STALE_WITHIN = 0.5
# What a server may take to close a body whose last event has been read.
CLOSING_SECONDS = 0.5
CLOSING_READS = 8
HUNG_UP = "hung up: nobody waits any longer"
# Words that come while we pause are read together, and so passed on together: with hundreds of answers at once,
# taking up each word by itself is what the CPU would be used for. Nobody waits for the first. The more answers a client
# has open, the longer it pauses, so that what reading them takes does not grow with them.
PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 0.5
READS_A_SECOND = 1000
# Who sends so much at once has more: Python's buffer holds twice this.
FULL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to reach the server, to wait for the first words and for the next, and for the whole reply."""

    connect: float
    first_token: float
    token: float
    turn: float

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Take the four from the LLM_* settings."""
        return cls(
            connect=settings.llm_connect_timeout,
            first_token=settings.llm_first_token_timeout,
            token=settings.llm_token_timeout,
            turn=settings.llm_turn_timeout,
        )


class Answer:
    """A server's answer that is still being written, over a wire that is cut when its turn is over.

    ``asked_at`` is when the request was sent, by `time.monotonic`; ``beside`` are the answers that are open, with this
    one, until it is closed.
    """

    def __init__(
        self,
        response: urllib3.BaseHTTPResponse,
        timeouts: Timeouts,
        beside: MutableSet["Answer"],
        wire: Wire,
        *,
        asked_at: float,
    ) -> None:
        self._response = response
        self._timeouts = timeouts
        self._beside = beside
        self._beside.add(self)
        self._wire = wire
        self._heard = False
        self._token_due = asked_at + timeouts.first_token

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._response.status

    def events(self) -> Iterator[bytes]:
        """Yield the data of each server-sent event. Comments that only keep the line open do not count."""
        for events in self._events():
            yield from events
            self._heard = True

    def texts(self, take: Callable[[bytes], str | None]) -> Iterator[str]:
        """Yield the text that ``take`` finds in the events that came together, until it finds None: the end.

        Events without text, such as pings and thoughts, are no token that anyone waits for.
        """
        for events in self._events():
            texts: list[str] = []
            try:
                for event in events:
                    text = take(event)
                    if text is None:
                        return
                    texts.append(text)
            finally:
                if text := "".join(texts):
                    yield text
                    self._heard = True

    def body(self) -> bytes:
        """Return the whole of it. Raises `ModelError`, also where it is larger than any that is of use."""
        body = b""
        for block in self._blocks():
            body += block
            if len(body) > LARGEST_BODY:
                raise ModelError(ModelErrorCode.BAD_ANSWER, "a body without end")
        return body

    def refusal(self, private: Iterable[str]) -> tuple[ModelError, str]:
        """Return the error that a status other than 200 stands for, and the body."""
        body = self._error_body()
        detail = discreet(f"status {self.status}: {describe(body)}", private)
        return error_for(self.status, self._response.headers, detail), body.decode(errors="replace")

    def finish(self) -> None:
        """Read to the end of the body if it comes soon, so that the connection can be used again."""
        try:
            self._limit_wait(CLOSING_SECONDS)
            for _ in range(CLOSING_READS):
                if not self._response.read1(READ_BYTES):
                    return
        except HTTPError:
            return

    def close(self) -> None:
        """Hang up, unless the body was read to its end."""
        self._beside.discard(self)
        self._wire.let_go()
        self._response.close()

    def _events(self) -> Iterator[Sequence[bytes]]:
        try:
            yield from read_events(self._blocks())
        except EventTooLongError as error:
            raise ModelError(ModelErrorCode.BAD_ANSWER, "an event without end") from error

    def _blocks(self) -> Iterator[bytes]:
        """Yield what has come together, also where the rest is an error. Raises `ModelError`."""
        while True:
            block = b""
            try:
                block = self._next_chunk()
                while block and len(block) < READ_BYTES and self._has_more():
                    block += self._next_chunk()
            finally:
                if block:
                    yield block
            if not block:
                return
            self._pause(len(block))

    def _pause(self, size: int) -> None:
        """Let words come together, after the first and unless there were as many as can be read at once."""
        if self._heard:
            if size < FULL_BYTES:
                sleep(pause_seconds(len(self._beside)))
            self._token_due = monotonic() + self._timeouts.token
            self._heard = False

    def _next_chunk(self) -> bytes:
        self._limit_wait(_seconds_until(min(self._token_due, self._wire.deadline), monotonic()))
        with _translated_errors(self._wire):
            chunk = self._response.read1(READ_BYTES)
        if self._response.connection is None:  # read to its end: another call may have the connection by now
            self._wire.let_go()
        if self._wire.was_cut:  # what looks like the end of the answer is none
            raise ModelError(ModelErrorCode.TIMEOUT, HUNG_UP)
        return chunk

    def _has_more(self) -> bool:
        """Tell whether more was read from the network already, than the line's end that a chunk is followed by."""
        buffer = _beneath(self._response, "_fp", "fp")
        if buffer is None or not self._limit_wait(0):
            return False
        try:
            return len(buffer.peek(1)) > len(b"\r\n")
        except OSError:
            return False

    def _limit_wait(self, seconds: float) -> bool:
        """Let reading wait for so long; tell whether there is anything to read from."""
        socket = _socket_of(self._response)
        if socket is not None:
            socket.settimeout(seconds)
        return socket is not None

    def _error_body(self) -> bytes:
        body, end = b"", monotonic() + ERROR_SECONDS
        with suppress(HTTPError):
            while len(body) < ERROR_BYTES and (left := end - monotonic()) > 0:
                self._limit_wait(left)
                if not (block := self._response.read1(ERROR_BYTES)):
                    break
                body += block
        return body


class StreamingClient:
    """Posts to a model's server. Certificates are verified; ``keep_alive`` keeps connections."""

    def __init__(self, timeouts: Timeouts, *, keep_alive: bool = True) -> None:
        self._timeouts = timeouts
        # An answer is passed on as it comes: compression would hold tokens back.
        self._headers = {
            "User-Agent": USER_AGENT,
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
        }
        if not keep_alive:
            self._headers["Connection"] = "close"
        self._pool = wired_pool(POOL_SIZE)
        self._watch = Watch()
        self._open: WeakSet[Answer] = WeakSet()

    def post(
        self,
        url: str,
        payload: Mapping[str, Any],
        *,
        headers: dict[str, str],
        deadline: float,
        asked: ChatRequest | StructuredRequest | None = None,
    ) -> Answer:
        """Send ``payload`` and return the answer as soon as its head is there, whatever its status.

        ``deadline`` is when the turn is over, by `time.monotonic`. Whoever gives up what was ``asked`` hangs up.
        """
        now, wire = monotonic(), Wire(deadline, self._watch)
        if asked is not None:
            asked.attempts.hang_up_by(wire.cut)
        try:
            with _translated_errors(wire), dialling(wire):
                response = self._send(url, orjson.dumps(payload), self._headers | headers, wire)
        except BaseException:
            wire.let_go()
            raise
        return Answer(response, self._timeouts, self._open, wire, asked_at=now)

    def _send(
        self, url: str, body: bytes, headers: Mapping[str, str], wire: Wire
    ) -> urllib3.BaseHTTPResponse:
        sent = monotonic()
        try:
            return self._request(url, body, headers, self._timeout(wire.deadline))
        except ProtocolError as error:
            # A kept connection that the server gave up in the same moment: it has not seen the request.
            if wire.was_cut or not _was_hung_up(error) or monotonic() - sent > STALE_WITHIN:
                raise
            return self._request(url, body, headers, self._timeout(wire.deadline))

    def _timeout(self, deadline: float) -> urllib3.Timeout:
        now = monotonic()
        wait = _seconds_until(min(now + self._timeouts.first_token, deadline), now)
        return urllib3.Timeout(connect=min(self._timeouts.connect, wait), read=wait)

    def _request(
        self, url: str, body: bytes, headers: Mapping[str, str], timeout: urllib3.Timeout
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(
                "POST",
                url,
                body=body,
                headers=headers,
                timeout=timeout,
                preload_content=False,
                decode_content=False,  # little that is compressed may be much
            )
        except HTTPError:
            raise
        except ValueError:
            # The original would quote the key into logs.
            raise ModelError(
                ModelErrorCode.REFUSED,
                "the address or the key has characters that HTTP forbids",
                retryable=False,
            ) from None


def _socket_of(response: urllib3.BaseHTTPResponse) -> Any:  # noqa: ANN401 - a socket, by whichever library
    """Return the socket that an answer is read from; None once it has been read, for others may use it then."""
    if response.connection is None:
        return None
    if socket := getattr(response.connection, "sock", None):
        return socket
    # The server will close it, so the answer alone holds it: beneath http.client's response and its buffer.
    return _beneath(response, "_fp", "fp", "raw", "_sock")


def _beneath(response: urllib3.BaseHTTPResponse, *names: str) -> Any:  # noqa: ANN401 - of whichever library
    """Return what lies so many layers beneath an answer, None where they are gone."""
    layer: Any = response
    for name in names:
        layer = getattr(layer, name, None)
    return layer


def pause_seconds(answers: int) -> float:
    """Return for how long the words of each of so many open answers may come together."""
    return min(max(PAUSE_SECONDS, answers / READS_A_SECOND), LONGEST_PAUSE_SECONDS)


def bearer(api_key: str | None) -> dict[str, str]:
    """Return the header that carries a key, none without one."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _seconds_until(moment: float, now: float) -> float:
    """Return how long there is to wait. Raises `ModelError` where the moment has passed."""
    if moment <= now:
        raise ModelError(ModelErrorCode.TIMEOUT, "no token in time")
    return moment - now


def _was_hung_up(error: ProtocolError) -> bool:
    return any(isinstance(cause, RemoteDisconnected | ConnectionResetError) for cause in error.args)


@contextmanager
def _translated_errors(wire: Wire) -> Iterator[None]:
    try:
        yield
    except ReadTimeoutError as error:
        raise ModelError(ModelErrorCode.TIMEOUT, "no token in time") from error
    except ConnectTimeoutError as error:
        raise ModelError(ModelErrorCode.UNREACHABLE, "no connection in time") from error
    except LocationValueError as error:
        raise ModelError(ModelErrorCode.REFUSED, f"bad address: {error}", retryable=False) from error
    except SSLError as error:
        raise ModelError(ModelErrorCode.UNREACHABLE, f"TLS: {error}", retryable=False) from error
    except NewConnectionError as error:
        raise ModelError(ModelErrorCode.UNREACHABLE, str(error)[:DETAIL_LENGTH]) from error
    except HTTPError as error:
        if wire.was_cut:
            raise ModelError(ModelErrorCode.TIMEOUT, HUNG_UP) from error
        # Never the words: a server that does not speak HTTP may have said what it was told.
        raise ModelError(ModelErrorCode.UNREACHABLE, _kind_of(error)) from None


def _kind_of(error: HTTPError) -> str:
    causes = [cause for cause in (error, *error.args) if isinstance(cause, Exception)]
    return " of ".join(type(cause).__name__ for cause in causes)
