"""Retries, fallbacks and circuit breakers, over HTTP."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from app.llm.chain import BACKOFF_SECONDS
from app.llm.embedded.facts import MODEL_NAME
from app.llm.embedded.state import Stage, State, write_state
from app.llm.interface import Completion, ModelAdapter, ModelError, ModelErrorCode
from app.llm.selection import build_adapter, build_judge
from tests.support.fake_model import FakeModel, Raw, Reply, Silence, event, make_failure
from tests.unit.llm.conftest import MakeSettings
from tests.unit.llm.talk import chat_request, question, whole

BUSY = make_failure(429)
BROKEN = make_failure(500)
Build = Callable[..., ModelAdapter]


@pytest.fixture
def other() -> Iterator[FakeModel]:
    """The server of another provider."""
    with FakeModel() as fake:
        fake.reply_with("From the other.")
        yield fake


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been slept."""
    slept: list[float] = []
    monkeypatch.setattr("app.llm.chain.sleep", slept.append)
    return slept


@pytest.fixture
def build(make_settings: MakeSettings, other: FakeModel, waits: list[float]) -> Build:
    """Build an adapter whose fallbacks may be `other-model` and `anthropic:claude`."""

    def build(how: Callable[[Any], ModelAdapter] = build_adapter, **settings: Any) -> ModelAdapter:
        anthropic = {"llm_anthropic_base_url": other.base_url, "llm_anthropic_api_key": "ant-key"}
        return how(make_settings(**({"llm_retries": 2} | anthropic | settings)))

    return build


def failure_of(adapter: ModelAdapter) -> ModelError:
    with pytest.raises(ModelError) as caught:
        whole(adapter, chat_request("Hello"))
    return caught.value


# Another try


@pytest.mark.parametrize(
    "stumble",
    [
        pytest.param(BUSY, id="429"),
        pytest.param(make_failure(529), id="529"),
        pytest.param(BROKEN, id="500"),
        pytest.param(Raw((), drop=True), id="dropped"),
        pytest.param(Reply((), finish_reason="stop"), id="empty"),
        pytest.param(Raw((b"data: {oops\n\n",)), id="no JSON"),
        pytest.param(Raw((event({"error": {"type": "overloaded_error"}}),)), id="overloaded in the stream"),
    ],
)
def test_what_stumbles_before_the_first_word_is_asked_again(
    build: Build, model: FakeModel, stumble: Reply
) -> None:
    model.in_turn(stumble, stumble, Reply(("Here I am.",)))

    assert whole(build(), chat_request("Hello"))[0] == "Here I am."
    assert len(model.requests) == 3


def test_tries_have_an_end(build: Build, model: FakeModel) -> None:
    model.in_turn(BROKEN)

    assert failure_of(build()).code is ModelErrorCode.UNREACHABLE
    assert len(model.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_is_refused_is_not_asked_again(build: Build, model: FakeModel, status: int) -> None:
    model.fail_with(status)

    assert failure_of(build()).code is ModelErrorCode.REFUSED
    assert len(model.requests) == 1


def test_who_was_silent_for_too_long_is_not_asked_again(build: Build, model: FakeModel) -> None:
    model.in_turn(Silence())

    assert failure_of(build(llm_first_token_timeout=0.2)).code is ModelErrorCode.TIMEOUT
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    "stumble",
    [
        Reply(("One ", "two"), drop_after=1),
        Reply(("One ", "two"), garble_after=1),
        Reply(("One ", "two"), stall_after=1),
    ],
)
def test_after_the_first_word_nothing_is_tried_again(
    build: Build, model: FakeModel, other: FakeModel, stumble: Reply
) -> None:
    model.in_turn(stumble)
    adapter = build(llm_fallbacks="anthropic:claude", llm_token_timeout=0.2)
    stream = adapter.stream(chat_request("Hello"))

    assert next(stream) == "One "
    with pytest.raises(ModelError):
        next(stream)
    assert len(model.requests) == 1
    assert other.requests == []


def test_waits_grow_and_differ(build: Build, model: FakeModel, waits: list[float]) -> None:
    model.in_turn(BUSY)
    adapter = build(llm_retries=5, llm_circuit_failures=1_000)

    for _ in range(20):
        failure_of(adapter)

    for tries in range(5):
        nth = waits[tries::5]
        assert all(0 <= wait <= BACKOFF_SECONDS * 2**tries for wait in nth)
        assert len(set(nth)) > 1


def in_half_a_minute() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)


@pytest.mark.parametrize(("header", "least"), [(lambda: "30", 30), (in_half_a_minute, 28)])
def test_a_server_that_names_a_time_is_given_it(
    build: Build, model: FakeModel, waits: list[float], header: Callable[[], str], least: float
) -> None:
    model.in_turn(make_failure(429, headers={"Retry-After": header()}), Reply(("Now.",)))

    assert whole(build(), chat_request("Hello"))[0] == "Now."
    assert least <= waits[0] <= 30 + BACKOFF_SECONDS


def test_nobody_waits_so_long_that_no_time_is_left_to_answer(
    build: Build, model: FakeModel, waits: list[float]
) -> None:
    model.fail_with(429, headers={"Retry-After": "60"})

    error = failure_of(build(llm_turn_timeout=100))

    assert (error.code, error.retryable, error.retry_after) == (ModelErrorCode.BUSY, True, 60)
    assert waits == []


# Other models


def test_fallbacks_are_asked_in_their_order(build: Build, model: FakeModel, other: FakeModel) -> None:
    model.in_turn(BROKEN)
    adapter = build(llm_retries=0, llm_fallbacks="other-model, anthropic:claude")

    text, completion = whole(adapter, chat_request("Hello"))

    assert [request.body["model"] for request in model.requests] == ["test-model", "other-model"]
    assert (text, completion) == ("From the other.", Completion("claude", 7, 5))


@pytest.mark.parametrize("failure", [make_failure(401), make_failure(404), BUSY, BROKEN, Silence()])
def test_whatever_keeps_a_model_from_beginning_gives_the_word_to_the_next(
    build: Build, model: FakeModel, failure: Reply
) -> None:
    model.in_turn(failure)
    adapter = build(llm_fallbacks="anthropic:claude", llm_first_token_timeout=0.3)

    assert whole(adapter, chat_request("Hello"))[1].model == "claude"


def test_every_server_gets_its_own_key_alone(build: Build, model: FakeModel, other: FakeModel) -> None:
    model.in_turn(BROKEN)
    whole(build(llm_fallbacks="anthropic:claude"), chat_request("Hello"))

    assert "ant-key" not in str(model.requests)
    assert "sk-a-very-secret-key" not in str(other.requests)
    assert other.requests[0].headers["x-api-key"] == "ant-key"


def test_a_busy_model_is_not_waited_for_while_another_could_answer(
    build: Build, model: FakeModel, waits: list[float]
) -> None:
    model.fail_with(429, headers={"Retry-After": "10"})

    assert whole(build(llm_fallbacks="anthropic:claude"), chat_request("Hello"))[0] == "From the other."
    assert waits == []


def test_when_all_fail_the_error_that_gives_hope_is_told(
    build: Build, model: FakeModel, other: FakeModel
) -> None:
    model.fail_with(401)
    other.fail_with(529)

    error = failure_of(build(llm_fallbacks="anthropic:claude"))

    assert (error.code, error.retryable) == (ModelErrorCode.BUSY, True)


def test_when_the_turn_is_over_nobody_else_is_asked(build: Build, model: FakeModel, other: FakeModel) -> None:
    model.in_turn(Silence())
    began = time.monotonic()

    assert failure_of(build(llm_fallbacks="anthropic:claude", llm_turn_timeout=0.3)).retryable
    assert time.monotonic() - began < 1
    assert other.requests == []


def test_the_embedded_model_may_stand_behind_all_others(
    build: Build, make_settings: MakeSettings, model: FakeModel, other: FakeModel
) -> None:
    model.in_turn(BROKEN)
    state_file = make_settings().local_model_state
    write_state(state_file, State(stage=Stage.READY, port=other.port, api_key="k"))
    spoken = {"content": " Good day.", "stop": False}
    other.send_raw(event(spoken), event({"content": "", "stop": True, "stop_type": "eos"}))

    assert whole(build(llm_fallbacks="local"), chat_request("Hello")) == ("Good day.", Completion(MODEL_NAME))


def test_closing_the_stream_hangs_up(build: Build, model: FakeModel) -> None:
    model.reply_with(["One ", "two"], stall_after=1)
    stream = build(llm_fallbacks="anthropic:claude").stream(chat_request("Hello"))
    next(stream)

    stream.close()

    assert model.requests[0].hung_up.wait(2)


# The circuit breaker


def test_a_model_that_keeps_failing_is_passed_over(build: Build, model: FakeModel, other: FakeModel) -> None:
    model.in_turn(BROKEN)
    adapter = build(llm_retries=0, llm_circuit_failures=2, llm_fallbacks="anthropic:claude")

    for _ in range(5):
        assert whole(adapter, chat_request("Hello"))[1].model == "claude"

    assert len(model.requests) == 2
    assert len(other.requests) == 5


def test_with_nobody_behind_it_the_caller_is_told_when_to_come_back(
    build: Build, model: FakeModel, waits: list[float]
) -> None:
    model.in_turn(BROKEN)
    adapter = build(llm_circuit_failures=3, llm_circuit_seconds=60)
    failure_of(adapter)
    waits.clear()

    error = failure_of(adapter)

    assert (error.code, error.retryable) == (ModelErrorCode.UNREACHABLE, True)
    assert error.retry_after == pytest.approx(60, abs=5)
    assert len(model.requests) == 3
    assert waits == []


def test_a_model_that_is_well_again_speaks_again(
    build: Build, model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.in_turn(BROKEN)
    adapter = build(llm_retries=0, llm_circuit_failures=1, llm_circuit_seconds=60)
    failure_of(adapter)
    model.reply_with("Better.")
    monkeypatch.setattr("app.llm.circuit.monotonic", lambda: time.monotonic() + 60)

    assert whole(adapter, chat_request("Hello"))[0] == "Better."
    assert whole(adapter, chat_request("Hello"))[0] == "Better."


def test_a_model_that_stops_in_mid_sentence_counts_as_failing(build: Build, model: FakeModel) -> None:
    model.reply_with(["One ", "two"], drop_after=1)
    adapter = build(llm_retries=0, llm_circuit_failures=2)

    codes = [failure_of(adapter).code for _ in range(3)]

    assert codes == [ModelErrorCode.UNREACHABLE] * 3
    assert len(model.requests) == 2


# Questions


def test_a_structured_answer_that_breaks_off_is_asked_for_anew(build: Build, model: FakeModel) -> None:
    model.judge_with(Reply(('{"covered": ', "[1]}"), drop_after=1), {"covered": [1]})

    assert build().answer(question()).data == {"covered": [1]}
    assert len(model.questions) == 2


def test_questions_have_fallbacks_too(build: Build, model: FakeModel, other: FakeModel) -> None:
    model.judge_with(BROKEN)
    other.judge_with({"covered": [2]})

    answer = build(llm_fallbacks="anthropic:claude").answer(question())

    assert (answer.data, answer.model) == ({"covered": [2]}, "claude")


def test_another_model_may_judge(build: Build, model: FakeModel) -> None:
    build(build_judge, llm_judge_model="strict-model").answer(question())
    build(build_judge).answer(question())

    assert [asked.body["model"] for asked in model.questions] == ["strict-model", "test-model"]


def test_another_provider_may_judge(build: Build, model: FakeModel, other: FakeModel) -> None:
    other.judge_with({"covered": [3]})

    assert build(build_judge, llm_judge_model="anthropic:claude").answer(question()).data == {"covered": [3]}
    assert model.questions == []


def test_what_fails_is_logged_in_the_upstreams_words_without_the_students(
    build: Build, model: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    model.fail_with(503, {"error": {"message": "Down for maintenance"}})
    whole(build(llm_fallbacks="anthropic:claude"), chat_request("A most private question"))

    assert "test-model: model_unreachable: status 503: Down for maintenance" in caplog.text
    assert "private" not in caplog.text
