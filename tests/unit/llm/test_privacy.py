"""What a provider gets to see: the texts of the request, what it needs to answer them, and nothing about anyone."""

from typing import Any

import pytest

from app.llm.interface import ChatRequest, Line, Speaker
from app.llm.selection import build_adapter
from tests.support.fake_model import FakeModel
from tests.unit.llm.conftest import MakeSettings
from tests.unit.llm.talk import SCHEMA, question, whole

# Everything that a request carries, each part to be found again.
REQUEST = ChatRequest(
    instructions="INSTRUCTIONS",
    brief="BRIEF",
    persona_name="PERSONA",
    facts="FACTS",
    lines=(Line(Speaker.PERSONA, "OPENING"), Line(Speaker.STUDENT, "MESSAGE")),
    conversation="CONVERSATION",
    script={"opening": "SCRIPT"},
    max_tokens=99,
)
CUE = "(The conversation begins. Speak first.)"
CACHED = {"cache_control": {"type": "ephemeral"}}
TO_OPENAI = {
    "model": "test-model",
    "messages": [
        {"role": "system", "content": "INSTRUCTIONS"},
        {"role": "user", "content": CUE},
        {"role": "assistant", "content": "OPENING"},
        {"role": "user", "content": "MESSAGE"},
    ],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 99,
}
TO_ANTHROPIC = {
    "model": "test-model",
    "system": [{"type": "text", "text": "INSTRUCTIONS"} | CACHED],
    "messages": [
        {"role": "user", "content": CUE},
        {"role": "assistant", "content": "OPENING"},
        {"role": "user", "content": [{"type": "text", "text": "MESSAGE"} | CACHED]},
    ],
    "stream": True,
    "max_tokens": 99,
}
# Beside what belongs to any HTTP request.
HEADERS = {
    "openai": {"Authorization": "Bearer sk-a-very-secret-key"},
    "anthropic": {"x-api-key": "sk-a-very-secret-key", "anthropic-version": "2023-06-01"},
}


@pytest.mark.parametrize(("provider", "sent"), [("openai", TO_OPENAI), ("anthropic", TO_ANTHROPIC)])
def test_a_conversation_is_sent_as_its_texts_alone(
    make_settings: MakeSettings, model: FakeModel, provider: str, sent: dict[str, Any]
) -> None:
    whole(build_adapter(make_settings(llm_provider=provider)), REQUEST)

    assert model.requests[0].body == sent


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_question_is_sent_as_its_texts_alone(
    make_settings: MakeSettings, model: FakeModel, provider: str
) -> None:
    asked = question(prompt="PROMPT", conversation="CONVERSATION", scripted={"covered": ["SCRIPTED"]})

    build_adapter(make_settings(llm_provider=provider)).answer(asked)

    received = model.questions[0]
    assert (received.instructions, received.prompt, received.schema) == (
        "You judge conversations.",
        "PROMPT",
        SCHEMA,
    )
    assert "CONVERSATION" not in str(received)
    assert "SCRIPTED" not in str(received)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_no_header_tells_of_anyone(make_settings: MakeSettings, model: FakeModel, provider: str) -> None:
    whole(build_adapter(make_settings(llm_provider=provider)), REQUEST)

    usual = {"Host", "User-Agent", "Content-Type", "Content-Length", "Accept-Encoding"}
    headers = model.requests[0].headers
    assert {name: value for name, value in headers.items() if name not in usual} == HEADERS[provider]
    assert headers["User-Agent"] == "ai-experiences"
