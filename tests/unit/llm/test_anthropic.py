import pytest

from app.llm.anthropic import API_VERSION
from app.llm.interface import Completion, ModelAdapter, ModelError, ModelErrorCode
from app.llm.selection import build_adapter
from app.llm.turns import CUE
from tests.support.fake_model import FakeModel, Raw, Reply, make_failure, named_event
from tests.unit.llm.conftest import MakeSettings
from tests.unit.llm.talk import SCHEMA, chat_request, question, whole

STOP = named_event({"type": "message_stop"})


@pytest.fixture
def adapter(make_settings: MakeSettings) -> ModelAdapter:
    return build_adapter(make_settings(llm_provider="anthropic"))


def failure_of(adapter: ModelAdapter) -> ModelError:
    with pytest.raises(ModelError) as caught:
        whole(adapter, chat_request("Hello"))
    return caught.value


def start(**usage: int) -> bytes:
    return named_event({"type": "message_start", "message": {"model": "claude-x", "usage": usage}})


def delta(kind: str, key: str, text: str) -> bytes:
    return named_event({"type": "content_block_delta", "index": 0, "delta": {"type": kind, key: text}})


def said(text: str) -> bytes:
    return delta("text_delta", "text", text)


def end(stop_reason: str = "end_turn", **usage: int) -> bytes:
    return named_event({"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": usage})


def test_a_reply_comes_whole_and_with_its_cost(adapter: ModelAdapter, model: FakeModel) -> None:
    model.reply_with("Good day, I have a complaint.", usage=(11, 6))

    text, completion = whole(adapter, chat_request("Hello"))

    assert text == "Good day, I have a complaint."
    assert completion == Completion("test-model", 11, 6)


def test_the_request_is_anthropics(adapter: ModelAdapter, model: FakeModel) -> None:
    whole(adapter, chat_request("One", "Two", "Three", max_tokens=99))

    asked = model.requests[0]
    assert asked.path == "/v1/messages"
    assert asked.headers["anthropic-version"] == API_VERSION
    assert asked.headers["x-api-key"] == "sk-a-very-secret-key"
    assert "Authorization" not in asked.headers
    assert [message["role"] for message in asked.messages] == ["user", "assistant", "user"]
    assert (asked.body["max_tokens"], asked.body["stream"]) == (99, True)


def test_the_system_prompt_and_the_conversation_are_kept_ready(
    adapter: ModelAdapter, model: FakeModel
) -> None:
    whole(adapter, chat_request("One", "Two", "Three"))

    body = model.requests[0].body
    cached = {"cache_control": {"type": "ephemeral"}}
    assert body["system"] == [{"type": "text", "text": chat_request().instructions} | cached]
    assert body["messages"][-1]["content"] == [{"type": "text", "text": "Three"} | cached]
    assert body["messages"][0]["content"] == "One"


def test_a_persona_that_opens_gets_a_cue(adapter: ModelAdapter, model: FakeModel) -> None:
    whole(adapter, chat_request())

    assert model.requests[0].prompt == CUE["content"]


def test_what_was_kept_ready_counts_as_read(adapter: ModelAdapter, model: FakeModel) -> None:
    usage = {"input_tokens": 3, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100}
    model.send_raw(start(**usage, output_tokens=1), said("Yes."), end(output_tokens=4), STOP)

    assert whole(adapter, chat_request("Hello"))[1] == Completion("claude-x", 123, 4)


def test_missing_usage_is_none(adapter: ModelAdapter, model: FakeModel) -> None:
    model.reply_with("Yes.", usage=None)

    assert whole(adapter, chat_request("Hello"))[1] == Completion("test-model")


@pytest.mark.parametrize("stop_reason", ["max_tokens", "model_context_window_exceeded"])
def test_the_limit_is_told(adapter: ModelAdapter, model: FakeModel, stop_reason: str) -> None:
    model.send_raw(start(), said("And then I"), end(stop_reason), STOP)

    assert whole(adapter, chat_request("Hello"))[1].truncated


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param((start(), delta("thinking_delta", "thinking", "Hm."), said("Hi"), end()), id="thoughts"),
        pytest.param((start(), said("Hi"), delta("signature_delta", "signature", "x"), STOP), id="signature"),
        pytest.param((start(), named_event({"type": "news"}), said("Hi"), STOP), id="an event of tomorrow"),
        pytest.param((start(), said("Hi"), end(), b"data: {oops\n\n"), id="garbled after the end"),
    ],
)
def test_what_is_no_text_is_passed_over(
    adapter: ModelAdapter, model: FakeModel, blocks: tuple[bytes, ...]
) -> None:
    model.send_raw(*blocks)

    assert whole(adapter, chat_request("Hello"))[0] == "Hi"


def error(kind: str) -> Raw:
    return Raw((start(), named_event({"type": "error", "error": {"type": kind, "message": "x"}})))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(make_failure(529), ModelErrorCode.BUSY, id="529"),
        pytest.param(make_failure(429), ModelErrorCode.BUSY, id="429"),
        pytest.param(make_failure(500), ModelErrorCode.UNREACHABLE, id="500"),
        pytest.param(error("overloaded_error"), ModelErrorCode.BUSY, id="overloaded in the stream"),
        pytest.param(error("rate_limit_error"), ModelErrorCode.BUSY, id="limited in the stream"),
        pytest.param(error("api_error"), ModelErrorCode.UNREACHABLE, id="broken in the stream"),
        pytest.param(error("timeout_error"), ModelErrorCode.TIMEOUT, id="too slow in the stream"),
        pytest.param(Reply(("One ", "two"), drop_after=1), ModelErrorCode.UNREACHABLE, id="dropped"),
        pytest.param(Raw((start(), said("One"))), ModelErrorCode.BAD_ANSWER, id="ended early"),
        pytest.param(Raw((start(), end("refusal"), STOP)), ModelErrorCode.BAD_ANSWER, id="nothing said"),
        pytest.param(Raw((b"data: {}\n\n",)), ModelErrorCode.BAD_ANSWER, id="no type"),
        pytest.param(Raw((b"data: [1]\n\n",)), ModelErrorCode.BAD_ANSWER, id="no object"),
        pytest.param(Raw((b"<html>",), "text/html"), ModelErrorCode.BAD_ANSWER, id="a web page"),
    ],
)
def test_what_may_pass_can_be_tried_again(
    adapter: ModelAdapter, model: FakeModel, answer: Reply, code: ModelErrorCode
) -> None:
    model.in_turn(answer)

    failure = failure_of(adapter)

    assert (failure.code, failure.retryable) == (code, True)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413])
def test_what_is_set_up_wrongly_cannot(adapter: ModelAdapter, model: FakeModel, status: int) -> None:
    model.fail_with(status, {"type": "error", "error": {"type": "x", "message": "No such model"}})

    failure = failure_of(adapter)

    assert (failure.code, failure.retryable) == (ModelErrorCode.REFUSED, False)
    assert failure.detail == f"status {status}: No such model"


def test_pings_are_no_token(make_settings: MakeSettings, model: FakeModel) -> None:
    model.send_raw(start(), *[named_event({"type": "ping"})] * 100, delay=0.05)
    adapter = build_adapter(make_settings(llm_provider="anthropic", llm_first_token_timeout=0.2))

    assert failure_of(adapter).code is ModelErrorCode.TIMEOUT
    assert model.requests[0].hung_up.wait(2)


def test_a_structured_answer_is_asked_for_by_its_schema(adapter: ModelAdapter, model: FakeModel) -> None:
    model.judge_with({"covered": [1, 2]})

    answer = adapter.answer(question())

    assert (answer.data, answer.model) == ({"covered": [1, 2]}, "test-model")
    assert (answer.prompt_tokens, answer.completion_tokens) == (7, 5)
    body = model.questions[0].body
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert body["messages"] == [{"role": "user", "content": "Which objectives are covered?"}]


def test_a_model_that_takes_no_schema_fills_in_the_form_of_a_tool(
    adapter: ModelAdapter, model: FakeModel
) -> None:
    model.refuses = frozenset({"output_config"})
    model.judge_with({"covered": [1]})

    for _ in range(2):
        assert adapter.answer(question()).data == {"covered": [1]}

    assert len(model.questions) == 3
    body = model.questions[-1].body
    assert body["tool_choice"] == {"type": "tool", "name": "judgement"}
    assert body["tools"][0]["input_schema"] == SCHEMA
    assert "output_config" not in body


def test_another_complaint_is_no_reason_to_ask_by_a_tool(adapter: ModelAdapter, model: FakeModel) -> None:
    model.judge_with(make_failure(400, {"error": {"message": "max_tokens: too many"}}))

    with pytest.raises(ModelError):
        adapter.answer(question())

    assert len(model.questions) == 1
