"""A conversation about a cold, and a model that answers what it is told to."""

from collections.abc import Iterator, Sequence
from typing import Any

from app.conversations.models import Conversation, Message
from app.llm.interface import (
    Attempt,
    ChatRequest,
    Completion,
    ModelError,
    ModelStatus,
    Readiness,
    Speaker,
    StructuredAnswer,
    StructuredRequest,
)

OBJECTIVES = [
    "Ask since when she is ill",
    "Explain that antibiotics act on bacteria and not on viruses",
    "Agree",
]
TALK = [
    ("persona", "I need antibiotics! The leaflet says that they help against all kinds of germs."),
    ("student", "Good morning. Since when have you been ill?"),
    ("persona", "Since Saturday."),
    ("student", "You have a cold. Antibiotics only kill bacteria, and yours is a virus."),
]


class Model:
    """A model that gives the answers it is told, the last one again and again."""

    def __init__(self, *answers: Any, context_tokens: int = 32_000) -> None:
        self.answers, self.context_tokens = list(answers), context_tokens
        self.requests: list[StructuredRequest] = []

    def status(self) -> ModelStatus:
        return ModelStatus("stub", Readiness.READY)

    def stream(self, request: ChatRequest) -> Iterator[str | Completion]:
        raise NotImplementedError

    def answer(self, request: StructuredRequest) -> StructuredAnswer:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        attempt = Attempt("stub", request.asked)
        request.attempts.append(attempt)
        if isinstance(answer, ModelError):
            attempt.end, attempt.unread = answer.end, answer.unread
            raise answer
        attempt.text = str(answer)
        return StructuredAnswer(answer, "stub")


def conversation(judged_until: int = 0, **scenario: Any) -> Conversation:
    told = {"title": "A cold", "pedagogical_guidance": "You are ill.", "learning_objectives": OBJECTIVES}
    return Conversation(
        id=7,
        experience_id=1,
        user_id=1,
        scenario=told | scenario,
        prompt_version="1",
        judged_until=judged_until,
    )


def messages(talk: Sequence[tuple[str, str]] = TALK) -> list[Message]:
    return [
        Message(id=100 + number, conversation_id=7, speaker=Speaker(speaker), text=text)
        for number, (speaker, text) in enumerate(talk)
    ]
