"""The moderation endpoint of an OpenAI-compatible server."""

from contextlib import suppress

import pytest

from app.llm.interface import ModelError, ModelErrorCode
from app.llm.moderation import Moderator
from app.settings import SettingsError
from tests.support.fake_model import FakeModel
from tests.unit.llm.conftest import MakeSettings

FLAGGED = {
    "results": [{"flagged": True, "categories": {"self-harm/intent": True, "violence": False, "hate": True}}]
}
TEXT = "Something that no log may have."


@pytest.fixture
def moderator(make_settings: MakeSettings) -> Moderator:
    moderator = Moderator.from_settings(make_settings(safety_check="provider", safety_timeout=0.3))
    assert moderator is not None
    return moderator


def test_it_names_the_categories_that_are_flagged(moderator: Moderator, model: FakeModel) -> None:
    model.fail_with(200, FLAGGED)
    assert moderator.categories(TEXT) == {"self-harm/intent", "hate"}
    (request,) = model.requests
    assert request.path == "/v1/moderations"
    assert request.body == {"model": "omni-moderation-latest", "input": TEXT}
    assert request.headers["Authorization"] == "Bearer sk-a-very-secret-key"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"no JSON", ModelErrorCode.BAD_ANSWER),
        (b"{}", ModelErrorCode.BAD_ANSWER),
        (b'{"results": [{"categories": null}]}', ModelErrorCode.BAD_ANSWER),
        (b'{"results": "none"}', ModelErrorCode.BAD_ANSWER),
    ],
)
def test_an_answer_that_cannot_be_read_is_a_failure(
    moderator: Moderator, model: FakeModel, body: bytes, code: ModelErrorCode
) -> None:
    model.fail_with(200, body)
    with pytest.raises(ModelError) as failure:
        moderator.categories(TEXT)
    assert failure.value.code is code


@pytest.mark.parametrize("status", [200, 503])
def test_nothing_is_held_of_a_check_that_has_ended(
    moderator: Moderator, model: FakeModel, status: int
) -> None:
    model.fail_with(status, FLAGGED)
    with suppress(ModelError):
        moderator.categories(TEXT)
    assert not moderator._client._watch._wires


def test_a_refusal_quotes_neither_text_nor_key(moderator: Moderator, model: FakeModel) -> None:
    model.fail_with(400, {"error": {"message": f"bad input: {TEXT} for sk-a-very-secret-key"}})
    with pytest.raises(ModelError) as failure:
        moderator.categories(TEXT)
    assert TEXT not in str(failure.value)
    assert "secret" not in str(failure.value)


def test_a_silent_server_is_given_up_soon(moderator: Moderator, model: FakeModel) -> None:
    model.reply_with("x", stall_after=0, delay=60)
    with pytest.raises(ModelError) as failure:
        moderator.categories(TEXT)
    assert failure.value.code is ModelErrorCode.TIMEOUT


def test_a_server_that_keeps_failing_is_left_alone(make_settings: MakeSettings, model: FakeModel) -> None:
    moderator = Moderator.from_settings(make_settings(safety_check="provider", llm_circuit_failures=2))
    assert moderator is not None
    model.fail_with(503)
    for _ in range(4):
        with pytest.raises(ModelError):
            moderator.categories(TEXT)
    assert len(model.requests) == 2


@pytest.mark.parametrize("check", ["builtin", "off"])
def test_nobody_is_asked_unless_the_settings_say_so(make_settings: MakeSettings, check: str) -> None:
    assert Moderator.from_settings(make_settings(safety_check=check)) is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"llm_provider": "anthropic"}, "LLM_OPENAI_API_KEY is not set"),
        (
            {"safety_model": "anthropic:x", "llm_anthropic_api_key": "k"},
            "SAFETY_MODEL: anthropic has no moderation",
        ),
        ({"safety_model": "opnai:x"}, "SAFETY_MODEL"),
    ],
)
def test_a_model_without_a_moderation_endpoint_is_refused(
    make_settings: MakeSettings, changes: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        make_settings(safety_check="provider", **changes)
    assert sentence in str(refusal.value)
