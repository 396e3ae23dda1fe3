"""Requests, and reading what comes back."""

from typing import Any

from app.llm.interface import ChatRequest, Completion, Line, ModelAdapter, Speaker, StructuredRequest


def said(*texts: str) -> tuple[Line, ...]:
    """Lines in turn, the student's last."""
    speakers = [Speaker.STUDENT, Speaker.PERSONA]
    count = len(texts)
    return tuple(Line(speakers[(count - 1 - place) % 2], text) for place, text in enumerate(texts))


def chat_request(*texts: str, **more: Any) -> ChatRequest:
    fields = {
        "instructions": "You are Maria, a customer whose espresso machine is broken.",
        "brief": "You are Maria. Your espresso machine is broken.",
        "persona_name": "Maria",
        "facts": "",
        "lines": said(*texts),
        "conversation": "conversation-1",
    }
    return ChatRequest(**(fields | more))


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"covered": {"type": "array", "items": {"type": "integer"}}},
    "required": ["covered"],
    "additionalProperties": False,
}


def question(prompt: str = "Which objectives are covered?", **more: Any) -> StructuredRequest:
    fields = {
        "instructions": "You judge conversations.",
        "prompt": prompt,
        "name": "judgement",
        "schema": SCHEMA,
        "conversation": "conversation-1",
    }
    return StructuredRequest(**(fields | more))


def whole(adapter: ModelAdapter, request: ChatRequest) -> tuple[str, Completion]:
    """Read a reply to its end."""
    *pieces, completion = adapter.stream(request)
    assert isinstance(completion, Completion)
    assert all(isinstance(piece, str) and piece for piece in pieces)
    return "".join(str(piece) for piece in pieces), completion
