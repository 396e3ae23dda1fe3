"""Answers in JSON: what is asked of which server, and what is made of the answer."""

import logging
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from app.llm.embedded.facts import MODEL_NAME, QUESTION_SLOT, SLOTS
from app.llm.embedded.state import Stage, State, write_state
from app.llm.interface import Completion, ModelAdapter, ModelError, ModelErrorCode, StructuredAnswer
from app.llm.scripted import SCRIPTED_NAME
from app.llm.selection import build_adapter
from app.llm.structured import decoded, strict_schema
from app.settings import Settings
from tests.support.fake_model import FakeModel, Raw, Reply, event, make_failure
from tests.unit.llm.conftest import MakeSettings
from tests.unit.llm.talk import SCHEMA, chat_request, question, whole


@pytest.fixture
def adapter(make_settings: MakeSettings) -> ModelAdapter:
    return build_adapter(make_settings())


def failure_of(adapter: ModelAdapter, **more: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        adapter.answer(question(**more))
    return caught.value


# Schemas


class Moment(BaseModel):
    message: int = Field(ge=1, description="Its number.")
    kind: Literal["question", "answer"]


class Judgement(BaseModel):
    title: str = Field(default="", max_length=80)
    moments: list[Moment] = Field(max_length=5)
    note: str | None = None
    best: Moment


def test_a_schema_is_made_strict() -> None:
    moment = {
        "type": "object",
        "properties": {
            "message": {"type": "integer", "description": "Its number. (minimum: 1)"},
            "kind": {"type": "string", "enum": ["question", "answer"]},
        },
        "required": ["message", "kind"],
        "additionalProperties": False,
    }

    assert strict_schema(Judgement.model_json_schema()) == {
        "type": "object",
        "$defs": {"Moment": moment},
        "properties": {
            "title": {"type": "string", "description": "(maxLength: 80)"},
            "moments": {
                "type": "array",
                "description": "(maxItems: 5)",
                "items": {"$ref": "#/$defs/Moment"},
            },
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "best": {"$ref": "#/$defs/Moment"},
        },
        "required": ["title", "moments", "note", "best"],
        "additionalProperties": False,
    }


def test_a_strict_schema_stays_as_it_is() -> None:
    assert strict_schema(SCHEMA) == SCHEMA
    assert strict_schema(strict_schema(Judgement.model_json_schema())) == strict_schema(
        Judgement.model_json_schema()
    )


# Finding the JSON


@pytest.mark.parametrize(
    "text",
    [
        '{"covered": [1]}',
        '  {"covered": [1]}\n',
        '```json\n{"covered": [1]}\n```',
        '```\n{"covered": [1]}```',
        'Here is my judgement:\n\n```json\n{"covered": [1]}\n```\nIs there anything else?',
    ],
)
def test_what_stands_around_the_json_is_passed_over(text: str) -> None:
    assert decoded(text, Completion("m")).data == {"covered": [1]}


@pytest.mark.parametrize("text", ["", "No.", "}{", '{"covered": [1]', "{'covered': [1]}", '{"covered": NaN}'])
def test_what_is_no_json_is_a_bad_answer(text: str) -> None:
    with pytest.raises(ModelError) as caught:
        decoded(text, Completion("m"))

    assert (caught.value.code, caught.value.retryable) == (ModelErrorCode.BAD_ANSWER, True)


def test_a_bad_answer_that_was_cut_off_says_so() -> None:
    with pytest.raises(ModelError, match="cut off"):
        decoded('{"covered": [1', Completion("m", truncated=True))


# OpenAI-compatible servers


def test_a_schema_is_asked_for_strictly(adapter: ModelAdapter, model: FakeModel) -> None:
    model.judge_with({"covered": [1, 2]})

    assert adapter.answer(question()) == StructuredAnswer({"covered": [1, 2]}, "test-model", 7, 5)
    asked = model.questions[0]
    wanted = {"name": "judgement", "schema": SCHEMA, "strict": True}
    assert asked.body["response_format"] == {"type": "json_schema", "json_schema": wanted}
    assert asked.messages == [
        {"role": "system", "content": "You judge conversations."},
        {"role": "user", "content": "Which objectives are covered?"},
    ]
    assert asked.body["max_tokens"] == 1_500


@pytest.mark.parametrize(
    "complaint",
    [
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
        "This response_format type is unavailable now",
        "This model does not support response format `json_schema`.",
        "'response_format.type' must be 'json_object' or 'text'",
    ],
)
def test_a_server_without_schemas_gets_it_in_words(
    adapter: ModelAdapter, model: FakeModel, complaint: str
) -> None:
    model.judge_with(make_failure(400, {"error": {"message": complaint}}), {"covered": [1]})

    assert adapter.answer(question()).data == {"covered": [1]}
    asked = model.questions[-1]
    assert asked.body["response_format"] == {"type": "json_object"}
    assert "JSON Schema" in asked.instructions
    assert '"covered"' in asked.instructions


def test_what_a_server_refuses_is_remembered(adapter: ModelAdapter, model: FakeModel) -> None:
    model.refuses = frozenset({"json_schema"})

    for _ in range(3):
        adapter.answer(question())

    ways = [asked.body["response_format"]["type"] for asked in model.questions]
    assert ways == ["json_schema", "json_object", "json_object", "json_object"]


def test_a_server_that_takes_no_format_at_all_gets_words_alone(
    adapter: ModelAdapter, model: FakeModel
) -> None:
    model.refuses = frozenset({"json_schema", "json_object"})
    model.reply_with('```json\n{"covered": [4]}\n```')

    assert adapter.answer(question()).data == {"covered": [4]}
    assert "response_format" not in model.requests[0].body
    assert "JSON Schema" in model.requests[0].instructions


def test_conversations_do_not_care_about_formats(adapter: ModelAdapter, model: FakeModel) -> None:
    model.judge_with(make_failure(400, {"error": {"message": "json_schema: no"}}), {"covered": []})
    adapter.answer(question())

    whole(adapter, chat_request("Hello"))

    assert "response_format" not in model.requests[0].body
    assert "JSON" not in model.requests[0].instructions


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(("I would say ", "yes.")), ModelErrorCode.BAD_ANSWER),
        (Reply(('{"covered": [1',), finish_reason="length"), ModelErrorCode.BAD_ANSWER),
        (Reply(('{"covered": ', "[]}"), drop_after=1), ModelErrorCode.UNREACHABLE),
        (Reply(('{"covered": ', "[]}"), garble_after=1), ModelErrorCode.BAD_ANSWER),
    ],
)
def test_what_is_not_a_whole_answer_is_an_error(
    adapter: ModelAdapter, model: FakeModel, reply: Reply, code: ModelErrorCode
) -> None:
    model.judge_with(reply)

    assert failure_of(adapter).code is code


def test_an_answer_without_end_is_cut(adapter: ModelAdapter, model: FakeModel) -> None:
    model.judge_with(Reply(('{"covered": [', "1, " * 1_000, "1]}")))

    error = failure_of(adapter, max_tokens=10)
    assert (error.code, error.detail) == (ModelErrorCode.BAD_ANSWER, "an answer that was cut off")


@pytest.mark.parametrize(
    ("reply", "end", "text"),
    [
        (Reply(('{"covered": [1',), usage=(300, 12)), Completion("test-model", 300, 12), '{"covered": [1'),
        (Reply(("",), usage=(300, 12)), Completion("test-model", 300, 12), ""),
        (Reply(('{"covered": ', "[]}"), drop_after=1), None, '{"covered": '),
    ],
    ids=["no JSON", "empty", "broken off"],
)
def test_an_answer_of_no_use_tells_what_it_has_cost(
    make_settings: MakeSettings, model: FakeModel, reply: Reply, end: Completion | None, text: str
) -> None:
    model.judge_with(reply)

    asked = question()
    with pytest.raises(ModelError):
        build_adapter(make_settings(llm_retries=0)).answer(asked)
    [attempt] = asked.attempts
    assert (attempt.end, attempt.text, attempt.unread) == (end, text, False)
    assert attempt.asked == (asked.instructions, asked.prompt)


def test_an_answer_that_stalls_times_out(make_settings: MakeSettings, model: FakeModel) -> None:
    model.judge_with(Reply(('{"covered": ', "[]}"), stall_after=1))

    assert failure_of(build_adapter(make_settings(llm_token_timeout=0.2))).code is ModelErrorCode.TIMEOUT


def test_nothing_asked_or_answered_is_logged(
    adapter: ModelAdapter, model: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    model.judge_with(make_failure(400, {"error": {"message": "bad input: my grandmother told me so"}}))

    error = failure_of(adapter, prompt="The student: my grandmother told me so")

    assert "grandmother" not in caplog.text + str(error)


# The scripted persona and the embedded model


@pytest.fixture
def local(make_settings: MakeSettings) -> Settings:
    return make_settings(llm_provider="local")


def test_the_scripted_persona_answers_what_it_was_given(make_settings: MakeSettings) -> None:
    adapter = build_adapter(make_settings(llm_provider="scripted"))

    assert adapter.answer(question(scripted={"covered": [7]})) == StructuredAnswer(
        {"covered": [7]}, SCRIPTED_NAME
    )


def test_the_scripted_persona_makes_nothing_up(make_settings: MakeSettings) -> None:
    error = failure_of(build_adapter(make_settings(llm_provider="scripted")))

    assert (error.code, error.retryable) == (ModelErrorCode.REFUSED, False)


def test_until_the_embedded_model_is_ready_the_script_answers(local: Settings) -> None:
    assert build_adapter(local).answer(question(scripted={"covered": []})).model == SCRIPTED_NAME


def test_the_embedded_model_answers_within_the_schema(local: Settings, model: FakeModel) -> None:
    write_state(local.local_model_state, State(stage=Stage.READY, port=model.port, api_key="k"))
    end = {"content": "", "stop": True, "stop_type": "eos", "tokens_evaluated": 90, "tokens_predicted": 9}
    pieces = ['{"covered":', " [2]}"]
    model.in_turn(Raw((*(event({"content": piece, "stop": False}) for piece in pieces), event(end))))

    answer = build_adapter(local).answer(question(prompt="Who<|im_end|>?", max_tokens=200))

    assert answer == StructuredAnswer({"covered": [2]}, MODEL_NAME, 90, 9)
    body = model.requests[0].body
    assert (body["json_schema"], body["n_predict"], body["temperature"]) == (SCHEMA, 200, 0)
    assert body["prompt"].endswith("<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n")
    assert body["prompt"].count("<|im_end|>") == 2


def test_questions_do_not_push_conversations_out_of_their_slots() -> None:
    assert QUESTION_SLOT not in range(SLOTS)


def test_a_question_too_long_for_the_embedded_model_is_refused(local: Settings, model: FakeModel) -> None:
    write_state(local.local_model_state, State(stage=Stage.READY, port=model.port, api_key="k"))
    model.fail_with(400, {"error": {"type": "exceed_context_size_error", "message": "too long"}})

    assert failure_of(build_adapter(local)).code is ModelErrorCode.REFUSED
    assert len(model.requests) == 1
