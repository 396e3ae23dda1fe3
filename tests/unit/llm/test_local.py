import logging
import time
from typing import Any

import pytest

from app.llm.choice import LlmProvider
from app.llm.embedded.facts import MODEL_NAME
from app.llm.embedded.state import Stage, State, write_state
from app.llm.interface import Completion, ModelError, ModelErrorCode, ModelStatus, Readiness
from app.llm.local import DEFLECTIONS, slot_of
from app.llm.scripted import SCRIPTED_NAME
from app.llm.selection import LocalOrScriptedAdapter, build_adapter, prime
from app.settings import Settings
from tests.support.fake_model import FakeModel, Raw, event, make_failure
from tests.unit.llm.conftest import MakeSettings
from tests.unit.llm.talk import chat_request, whole

SCRIPT = {"replies": [{"keywords": ["hello"], "text": "Scripted hello."}]}


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    return make_settings(llm_provider="local")


@pytest.fixture
def adapter(settings: Settings, model: FakeModel) -> LocalOrScriptedAdapter:
    """The adapter of an embedded model that is ready: the fake one."""
    tell(settings, stage=Stage.READY, port=model.port, api_key="loopback-key")
    built = build_adapter(settings)
    assert isinstance(built, LocalOrScriptedAdapter)
    return built


def tell(settings: Settings, **state: Any) -> None:
    write_state(settings.local_model_state, State(**state))


def completion(*pieces: str, stop_type: str = "eos", **how: Any) -> Raw:
    """What the model's server streams."""
    tokens = (event({"content": piece, "stop": False}) for piece in pieces)
    last = {
        "content": "",
        "stop": True,
        "stop_type": stop_type,
        "tokens_evaluated": 90,
        "tokens_predicted": 9,
    }
    return Raw((*tokens, event(last)), **how)


def test_a_reply_comes_through_the_completion_endpoint(
    adapter: LocalOrScriptedAdapter, model: FakeModel
) -> None:
    model.in_turn(completion(" My", " machine", " is", " broken."))

    assert whole(adapter, chat_request("Good morning.")) == (
        "My machine is broken.",
        Completion(MODEL_NAME, 90, 9),
    )
    asked = model.requests[0]
    assert asked.path == "/completion"
    assert asked.headers["Authorization"] == "Bearer loopback-key"
    assert asked.body["prompt"].endswith("Student: Good morning.<|im_end|>\n<|im_start|>user\nMaria:")
    assert asked.body["id_slot"] == slot_of("conversation-1")
    assert (asked.body["cache_prompt"], asked.body["n_predict"], asked.body["temperature"]) == (True, 80, 0.4)


def test_conversations_spread_over_the_slots() -> None:
    assert {slot_of(f"conversation-{number}") for number in range(100)} == {0, 1, 2, 3}


def test_a_reply_out_of_character_is_tried_again_unseen(
    adapter: LocalOrScriptedAdapter, model: FakeModel
) -> None:
    model.in_turn(completion("As an", " AI language", " model, I"), completion("I am a customer."))

    assert whole(adapter, chat_request("Who are you?"))[0] == "I am a customer."
    assert model.requests[0].hung_up.wait(0) or len(model.requests) == 2
    assert model.requests[1].body["temperature"] > 0.4


@pytest.mark.parametrize("reply", ["```python", "", "Student: What now?"])
def test_what_stays_wrong_is_deflected(adapter: LocalOrScriptedAdapter, model: FakeModel, reply: str) -> None:
    model.in_turn(completion(reply))

    text, end = whole(adapter, chat_request("Write me a program."))

    assert text in DEFLECTIONS
    assert end.model == MODEL_NAME
    assert len(model.requests) == 2


def test_what_turns_wrong_late_ends_with_its_last_sentence(
    adapter: LocalOrScriptedAdapter, model: FakeModel
) -> None:
    model.in_turn(completion("I bought it in May, and it broke. ", "Here is code: ", "```python"))

    text, end = whole(adapter, chat_request("And?"))

    assert text.startswith("I bought it in May, and it broke.")
    assert "```" not in text
    assert end.truncated
    assert len(model.requests) == 1


def test_the_limit_is_told_and_ends_decently(adapter: LocalOrScriptedAdapter, model: FakeModel) -> None:
    model.in_turn(completion("I am angry. And then", stop_type="limit"))

    assert whole(adapter, chat_request("And?")) == (
        "I am angry.",
        Completion(MODEL_NAME, 90, 9, truncated=True),
    )


def test_a_prompt_too_long_is_sent_once_more_shorter(
    adapter: LocalOrScriptedAdapter, model: FakeModel
) -> None:
    too_long = make_failure(400, {"error": {"type": "exceed_context_size_error", "message": "too long"}})
    model.in_turn(too_long, completion("Well."))

    assert whole(adapter, chat_request("7 " * 4_000))[0] == "Well."
    assert len(model.requests[1].body["prompt"]) < len(model.requests[0].body["prompt"])


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (make_failure(500), ModelErrorCode.UNREACHABLE),
        (make_failure(400), ModelErrorCode.REFUSED),
        (make_failure(401, {"error": {"message": "Invalid API Key"}}), ModelErrorCode.REFUSED),
        (Raw((event({"content": "Hi", "stop": False}),)), ModelErrorCode.BAD_ANSWER),
        (Raw((event({"error": {"message": "x"}}),)), ModelErrorCode.BAD_ANSWER),
        (Raw((b"data: {oops\n\n",)), ModelErrorCode.BAD_ANSWER),
    ],
)
def test_a_broken_server_is_an_error(
    adapter: LocalOrScriptedAdapter, model: FakeModel, answer: Raw, code: ModelErrorCode
) -> None:
    model.in_turn(answer)

    with pytest.raises(ModelError) as caught:
        list(adapter._local.stream(chat_request("Hello"), time.monotonic() + 10))

    assert caught.value.code is code


def test_priming_reads_what_is_known_and_writes_nothing(
    adapter: LocalOrScriptedAdapter, model: FakeModel
) -> None:
    model.in_turn(completion())

    prime(adapter, chat_request())

    body = model.requests[0].body
    assert body["n_predict"] == 0
    assert body["id_slot"] == slot_of("conversation-1")
    assert body["prompt"].endswith("<|im_end|>\n")


def test_priming_never_fails(adapter: LocalOrScriptedAdapter, model: FakeModel, settings: Settings) -> None:
    model.fail_with(500)
    prime(adapter, chat_request())

    tell(settings, stage=Stage.UNAVAILABLE)
    prime(adapter, chat_request())

    assert len(model.requests) == 1


def test_priming_other_models_does_nothing(make_settings: MakeSettings, model: FakeModel) -> None:
    prime(build_adapter(make_settings(llm_provider="openai")), chat_request())

    assert model.requests == []


def test_until_the_model_is_ready_the_script_speaks(settings: Settings) -> None:
    adapter = build_adapter(settings)
    tell(settings, stage=Stage.FETCHING, progress=0.25, detail="It is being fetched.")

    assert whole(adapter, chat_request("Hello", script=SCRIPT)) == (
        "Scripted hello.",
        Completion(SCRIPTED_NAME),
    )
    assert adapter.status() == ModelStatus(
        SCRIPTED_NAME, Readiness.PREPARING, scripted=True, progress=0.25, detail="It is being fetched."
    )


def test_when_it_is_ready_it_speaks_itself(settings: Settings, model: FakeModel) -> None:
    adapter = build_adapter(settings)
    assert adapter.status().scripted

    tell(settings, stage=Stage.READY, port=model.port, api_key="k")

    assert adapter.status() == ModelStatus(MODEL_NAME, Readiness.READY, embedded=True)


def test_where_it_cannot_run_the_script_is_ready_and_says_why(settings: Settings) -> None:
    tell(settings, stage=Stage.UNAVAILABLE, detail="There is not enough disk space.")

    status = build_adapter(settings).status()

    assert (status.readiness, status.scripted) == (Readiness.READY, True)
    assert status.detail == "There is not enough disk space."


def test_a_process_that_died_a_moment_ago_leaves_the_word_to_the_script(
    adapter: LocalOrScriptedAdapter, model: FakeModel
) -> None:
    model.in_turn(Raw((), drop=True))

    assert whole(adapter, chat_request("Hello", script=SCRIPT))[1].model == SCRIPTED_NAME


def test_half_a_sentence_is_not_ended_by_another(adapter: LocalOrScriptedAdapter, model: FakeModel) -> None:
    model.in_turn(Raw((event({"content": "I have waited for an answer", "stop": False}),), drop=True))
    stream = adapter.stream(chat_request("Hello", script=SCRIPT))

    assert "I have" in str(next(stream))
    with pytest.raises(ModelError):
        list(stream)


def test_closing_the_stream_hangs_up(adapter: LocalOrScriptedAdapter, model: FakeModel) -> None:
    model.in_turn(completion(*["I have waited for an answer. "] * 50, delay=0.02))
    stream = adapter.stream(chat_request("Hello"))
    next(stream)

    stream.close()

    assert model.requests[0].hung_up.wait(2)


@pytest.mark.parametrize(
    ("provider", "scripted"),
    [(LlmProvider.OPENAI, False), (LlmProvider.SCRIPTED, True), (LlmProvider.LOCAL, True)],
)
def test_the_settings_choose(make_settings: MakeSettings, provider: LlmProvider, scripted: bool) -> None:
    assert build_adapter(make_settings(llm_provider=provider)).status().scripted is scripted


def test_nothing_said_is_logged(
    adapter: LocalOrScriptedAdapter, model: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    model.in_turn(completion("A confidential word. ```"), completion("```"))

    whole(adapter, chat_request("A private question"))

    assert "confidential" not in caplog.text
    assert "private" not in caplog.text
    assert "loopback-key" not in caplog.text
