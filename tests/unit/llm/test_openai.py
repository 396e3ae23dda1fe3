import logging
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.llm.http import PAUSE_SECONDS
from app.llm.interface import Completion, ModelAdapter, ModelError, ModelErrorCode, Readiness
from app.llm.selection import build_adapter
from app.llm.turns import CUE
from tests.support.fake_model import FakeModel, Raw, Reply, chunk, event, make_failure
from tests.unit.llm.conftest import MakeSettings
from tests.unit.llm.talk import chat_request, whole

DONE = event("[DONE]")


@pytest.fixture
def adapter(make_settings: MakeSettings) -> ModelAdapter:
    return build_adapter(make_settings())


def failure_of(adapter: ModelAdapter, *texts: str) -> ModelError:
    with pytest.raises(ModelError) as caught:
        whole(adapter, chat_request(*(texts or ("Hello",))))
    return caught.value


def test_a_reply_comes_whole_and_with_its_cost(adapter: ModelAdapter, model: FakeModel) -> None:
    model.reply_with("Good day, I have a complaint.", usage=(11, 6))

    text, completion = whole(adapter, chat_request("Hello"))

    assert text == "Good day, I have a complaint."
    assert completion == Completion("test-model", 11, 6)


def test_the_request_says_who_said_what(adapter: ModelAdapter, model: FakeModel) -> None:
    whole(adapter, chat_request("One", "Two", "Three", max_tokens=99))

    asked = model.requests[0]
    assert asked.path == "/v1/chat/completions"
    assert [message["role"] for message in asked.messages] == ["system", "user", "assistant", "user"]
    assert asked.messages[-1]["content"] == "Three"
    assert asked.body["max_tokens"] == 99
    assert asked.body["stream_options"] == {"include_usage": True}
    assert asked.headers["Authorization"] == "Bearer sk-a-very-secret-key"
    assert asked.headers["User-Agent"] == "ai-experiences"


def test_a_persona_that_opens_gets_a_cue(adapter: ModelAdapter, model: FakeModel) -> None:
    whole(adapter, chat_request())

    assert model.requests[0].messages[-1] == CUE


def test_without_a_key_none_is_sent(make_settings: MakeSettings, model: FakeModel) -> None:
    whole(build_adapter(make_settings(llm_api_key=None)), chat_request("Hello"))

    assert "Authorization" not in model.requests[0].headers


def test_tokens_come_while_the_model_writes(adapter: ModelAdapter, model: FakeModel) -> None:
    model.reply_with(["One ", "two ", "three."], stall_after=1)

    stream = adapter.stream(chat_request("Hello"))

    assert next(stream) == "One "
    stream.close()


def test_the_limit_is_told(adapter: ModelAdapter, model: FakeModel) -> None:
    model.reply_with("And then I", finish_reason="length")

    assert whole(adapter, chat_request("Hello"))[1].truncated


def test_missing_usage_is_none(adapter: ModelAdapter, model: FakeModel) -> None:
    model.reply_with("Yes.", usage=None)

    assert whole(adapter, chat_request("Hello"))[1] == Completion("test-model")


def test_the_connection_is_used_again(adapter: ModelAdapter, model: FakeModel) -> None:
    opened = []
    accept = model._server.get_request
    model._server.get_request = lambda: opened.append(1) or accept()  # type: ignore[method-assign]

    for _ in range(3):
        whole(adapter, chat_request("Hello"))

    assert len(opened) == 1


def test_closing_the_stream_hangs_up(adapter: ModelAdapter, model: FakeModel) -> None:
    model.reply_with(["One ", "two ", "three."], stall_after=1)
    stream = adapter.stream(chat_request("Hello"))
    next(stream)

    stream.close()

    assert model.requests[0].hung_up.wait(2)


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param((event(chunk("Hi")), event(chunk(finish_reason="stop"))), id="no done"),
        pytest.param((event(chunk("Hi")), DONE), id="no finish reason"),
        pytest.param((b": ping\n\n", event({"choices": []}), event(chunk("Hi")), DONE), id="empty choices"),
        pytest.param((event(chunk("Hi", finish_reason="stop")), event(chunk()), DONE), id="all in one"),
        pytest.param((event(chunk("Hi")).replace(b"\n", b"\r\n"), b"data: [DONE]\r\n\r\n"), id="CRLF"),
        pytest.param((event({"choices": [{"delta": None}]}), event(chunk("Hi")), DONE), id="no delta"),
        pytest.param((event({"choices": None, "usage": None}), event(chunk("Hi")), DONE), id="nulls"),
        pytest.param((event(chunk("Hi", finish_reason=["stop"])), DONE), id="a reason that is none"),
        pytest.param(
            (
                event({"choices": [{"delta": {"content": [{"type": "thinking", "thinking": "Hm."}]}}]}),
                event({"choices": [{"delta": {"content": [{"type": "text", "text": "Hi"}]}}]}),
                DONE,
            ),
            id="in parts, with thoughts",
        ),
    ],
)
def test_every_dialect_of_streaming_is_read(
    adapter: ModelAdapter, model: FakeModel, blocks: tuple[bytes, ...]
) -> None:
    model.send_raw(*blocks)

    assert whole(adapter, chat_request("Hello"))[0] == "Hi"


@pytest.mark.parametrize(
    ("halves", "text"),
    [
        ((r"Well \ud83d", r"\ude00."), "Well 😀."),
        ((r"\ud83d", r"\ude00\ud83d", r"\ude00"), "😀😀"),
        ((r"Well \ud83d", "."), "Well \ufffd."),
        ((r"\ude00 Well.",), "\ufffd Well."),
    ],
    ids=["one", "two", "a first half alone", "a second half alone"],
)
def test_a_sign_may_come_in_halves(
    adapter: ModelAdapter, model: FakeModel, halves: tuple[str, ...], text: str
) -> None:
    stream = [b'data: {"choices": [{"delta": {"content": "%s"}}]}\n\n' % half.encode() for half in halves]
    model.send_raw(*stream, DONE)

    assert whole(adapter, chat_request("Hello"))[0] == text


def test_a_character_may_be_cut_in_two(adapter: ModelAdapter, model: FakeModel) -> None:
    stream = event(chunk("Grüße 🎉", finish_reason="stop"))
    model.send_raw(*(bytes([byte]) for byte in stream), DONE)

    assert whole(adapter, chat_request("Hello"))[0] == "Grüße 🎉"


def test_what_is_lost_after_the_last_word_is_no_loss(adapter: ModelAdapter, model: FakeModel) -> None:
    model.send_raw(event(chunk("Hi", finish_reason="stop")), drop=True)

    assert whole(adapter, chat_request("Hello"))[0] == "Hi"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(Reply(("One ", "two"), drop_after=1), ModelErrorCode.UNREACHABLE, id="dropped"),
        pytest.param(Raw((event(chunk("One")),)), ModelErrorCode.BAD_ANSWER, id="ended early"),
        pytest.param(Raw((b"data: {oops\n\n",)), ModelErrorCode.BAD_ANSWER, id="no JSON"),
        pytest.param(Raw((b"data: [1]\n\n",)), ModelErrorCode.BAD_ANSWER, id="no object"),
        pytest.param(Raw((b"<html>",), "text/html"), ModelErrorCode.BAD_ANSWER, id="a web page"),
        pytest.param(
            Raw((event({"error": {"message": "x"}}),)), ModelErrorCode.BAD_ANSWER, id="error object"
        ),
        pytest.param(Raw((event({"error": "x"}),)), ModelErrorCode.BAD_ANSWER, id="error text"),
        pytest.param(Raw((event({"error": {"code": 429}}),)), ModelErrorCode.BUSY, id="busy in mid-stream"),
        pytest.param(Reply(()), ModelErrorCode.BAD_ANSWER, id="empty"),
        pytest.param(Reply(("  ", "\n")), ModelErrorCode.BAD_ANSWER, id="blank"),
        pytest.param(make_failure(500), ModelErrorCode.UNREACHABLE, id="500"),
        pytest.param(make_failure(503, "<html>"), ModelErrorCode.UNREACHABLE, id="503"),
        pytest.param(make_failure(429), ModelErrorCode.BUSY, id="429"),
    ],
)
def test_what_may_pass_can_be_tried_again(
    adapter: ModelAdapter, model: FakeModel, answer: Reply, code: ModelErrorCode
) -> None:
    model.in_turn(answer)

    error = failure_of(adapter)

    assert (error.code, error.retryable) == (code, True)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 422])
def test_what_is_set_up_wrongly_cannot(adapter: ModelAdapter, model: FakeModel, status: int) -> None:
    model.fail_with(status, {"error": {"message": "No such model"}}, {"Location": "/elsewhere"})

    error = failure_of(adapter)

    assert (error.code, error.retryable) == (ModelErrorCode.REFUSED, False)
    assert error.detail == f"status {status}: No such model"
    assert len(model.requests) == 1


def in_half_a_minute() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [(lambda: "7", 7, 7), (in_half_a_minute, 20, 31), (lambda: "Wed, 01 Jan 2020 00:00:00 GMT", 0, 0)],
)
def test_retry_after_is_read(
    adapter: ModelAdapter, model: FakeModel, header: Callable[[], str], least: float, most: float
) -> None:
    model.fail_with(429, headers={"Retry-After": header()})

    wait = failure_of(adapter).retry_after

    assert wait is not None
    assert least <= wait <= most


@pytest.mark.parametrize("header", ["soon", "Mon, 01 Jan 99999 00:00:00 GMT", "9" * 5_000])
def test_retry_after_that_is_nonsense_is_none(adapter: ModelAdapter, model: FakeModel, header: str) -> None:
    model.fail_with(429, headers={"Retry-After": header})

    assert failure_of(adapter).retry_after is None


def test_nobody_there_is_unreachable(make_settings: MakeSettings) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    adapter = build_adapter(make_settings(llm_base_url=f"http://127.0.0.1:{port}/v1"))

    error = failure_of(adapter)

    assert (error.code, error.retryable) == (ModelErrorCode.UNREACHABLE, True)


def test_a_bad_address_or_key_is_refused_without_quoting_it(make_settings: MakeSettings) -> None:
    for settings in (make_settings(llm_api_key="sk-\nsecret"), make_settings(llm_base_url="http://a b/v1")):
        error = failure_of(build_adapter(settings))

        assert (error.code, error.retryable) == (ModelErrorCode.REFUSED, False)
        assert "secret" not in str(error)


def test_a_server_that_takes_no_connection_is_given_up(make_settings: MakeSettings) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as first:
        first.connect(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        adapter = build_adapter(make_settings(llm_base_url=url, llm_connect_timeout=0.2))
        began = time.monotonic()

        assert failure_of(adapter).code is ModelErrorCode.UNREACHABLE
        assert time.monotonic() - began < 5


def test_a_stalled_model_times_out(make_settings: MakeSettings, model: FakeModel) -> None:
    model.reply_with(["One ", "two"], stall_after=1)
    adapter = build_adapter(make_settings(llm_token_timeout=0.2))

    assert failure_of(adapter).code is ModelErrorCode.TIMEOUT


def test_a_stall_is_noticed_on_a_connection_that_will_be_closed(
    make_settings: MakeSettings, model: FakeModel
) -> None:
    model.send_raw(event(chunk("One ")), closes=True, stalls=True)
    adapter = build_adapter(make_settings(llm_token_timeout=0.2))
    began = time.monotonic()

    assert failure_of(adapter).code is ModelErrorCode.TIMEOUT
    assert time.monotonic() - began < 1


def test_a_request_that_is_made_anew_has_what_is_left_of_the_turn(
    make_settings: MakeSettings, model: FakeModel
) -> None:
    model.reply_with("Too late.")
    adapter = build_adapter(make_settings(llm_turn_timeout=5))
    asked = chat_request("Hello")

    late = replace(asked, began_at=asked.began_at - 6)
    with pytest.raises(ModelError) as failure:
        list(adapter.stream(replace(late, instructions="Again.")))
    assert failure.value.code is ModelErrorCode.TIMEOUT
    assert model.requests == []


def test_keeping_the_line_open_is_no_token(make_settings: MakeSettings, model: FakeModel) -> None:
    model.send_raw(event(chunk("One ")), *[b": still here\n\n"] * 100, delay=0.05)
    adapter = build_adapter(make_settings(llm_token_timeout=0.2))
    began = time.monotonic()

    assert failure_of(adapter).code is ModelErrorCode.TIMEOUT
    assert time.monotonic() - began < 1


def test_a_turn_without_end_times_out(make_settings: MakeSettings, model: FakeModel) -> None:
    model.reply_with("word " * 200, delay=0.02)
    adapter = build_adapter(make_settings(llm_turn_timeout=0.3))
    began = time.monotonic()

    assert failure_of(adapter).code is ModelErrorCode.TIMEOUT
    assert time.monotonic() - began < 1


def test_a_stall_cannot_stretch_the_turn(make_settings: MakeSettings, model: FakeModel) -> None:
    model.reply_with("word " * 10, delay=0.05, stall_after=5)
    adapter = build_adapter(make_settings(llm_turn_timeout=0.5, llm_token_timeout=30))
    began = time.monotonic()

    assert failure_of(adapter).code is ModelErrorCode.TIMEOUT
    assert time.monotonic() - began < 0.7


def test_the_connection_is_kept_for_the_next_reply(adapter: ModelAdapter, model: FakeModel) -> None:
    for _ in range(2):
        # As a conversation reads: to the completion, and no further.
        next(piece for piece in adapter.stream(chat_request("Hello")) if isinstance(piece, Completion))

    first, second = model.requests
    assert first.caller_port == second.caller_port


def test_words_that_come_close_together_are_read_together(
    adapter: ModelAdapter, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[object] = []

    def pause(seconds: float) -> None:
        read.append(seconds)
        time.sleep(seconds)

    monkeypatch.setattr("app.llm.http.sleep", pause)
    words = ["word "] * 40
    model.reply_with(words, delay=0.005)
    read.extend(adapter.stream(chat_request("Hello")))

    pieces = [each for each in read if isinstance(each, str)]
    assert "".join(pieces) == "".join(words)
    assert len(pieces) < len(words) / 2
    assert read[1] == PAUSE_SECONDS


@pytest.mark.parametrize("end", [b"", event({"error": {"message": "no"}}), b"data: {\n\n"])
def test_what_came_with_an_error_is_passed_on_before_it(
    adapter: ModelAdapter, model: FakeModel, end: bytes
) -> None:
    model.send_raw(event(chunk("One ")) + event(chunk("two")) + end)
    read: list[object] = []

    with pytest.raises(ModelError):
        read.extend(adapter.stream(chat_request("Hello")))

    assert read == ["One two"]


def test_a_server_that_does_not_close_the_body_does_not_hold_the_turn(
    adapter: ModelAdapter, model: FakeModel
) -> None:
    model.in_turn(Raw((event(chunk("Hi", finish_reason="stop")) + DONE, b": late\n\n"), delay=1.0))
    stream = adapter.stream(chat_request("Hello"))
    list(iter(lambda: type(next(stream)), Completion))
    began = time.monotonic()

    assert next(stream, None) is None
    assert time.monotonic() - began < 0.9


REFUSES_LIMIT = make_failure(
    400,
    {
        "error": {
            "message": "'max_tokens' is not supported. Use 'max_completion_tokens'.",
            "param": "max_tokens",
        }
    },
)
REFUSES_USAGE = make_failure(422, {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs"}]})


def test_what_a_server_refuses_is_left_out_and_remembered(adapter: ModelAdapter, model: FakeModel) -> None:
    model.in_turn(REFUSES_LIMIT, REFUSES_USAGE, Reply(("Yes.",)))

    for _ in range(2):
        assert whole(adapter, chat_request("Hello", max_tokens=50))[0] == "Yes."

    assert len(model.requests) == 4
    last = model.requests[-1].body
    assert last["max_completion_tokens"] == 50
    assert not {"max_tokens", "stream_options"} & last.keys()


def test_what_did_not_help_is_not_remembered(adapter: ModelAdapter, model: FakeModel) -> None:
    model.in_turn(REFUSES_LIMIT, REFUSES_LIMIT, Reply(("Yes.",)))

    assert failure_of(adapter).code is ModelErrorCode.REFUSED
    whole(adapter, chat_request("Hello"))

    assert "max_tokens" in model.requests[-1].body


@pytest.mark.parametrize(
    "quoted",
    ["sk-a-very-secret-key", "My grandmother told me so", "a customer whose espresso machine is broken"],
)
def test_the_detail_quotes_neither_key_nor_conversation(
    adapter: ModelAdapter, model: FakeModel, quoted: str
) -> None:
    words = chat_request().instructions if "espresso" in quoted else quoted
    model.fail_with(400, {"error": {"message": f"bad input: {words}"}})

    error = failure_of(adapter, "My grandmother told me so.\nReally.")

    assert quoted not in str(error)
    assert "withheld" in error.detail


def test_nothing_said_is_logged(
    adapter: ModelAdapter, model: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    model.reply_with("A most confidential reply.")

    whole(adapter, chat_request("A most private question"))

    assert "confidential" not in caplog.text
    assert "private" not in caplog.text


def test_the_status_names_the_model(adapter: ModelAdapter, model: FakeModel) -> None:
    status = adapter.status()

    assert (status.name, status.readiness, status.scripted) == ("test-model", Readiness.READY, False)
    assert model.requests == []
