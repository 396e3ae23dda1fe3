"""What a model is told: the pinned experience, the versioned prompt, and as much of the conversation as fits."""

from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict

from app.conversations.models import Conversation, Message, MessageState
from app.experiences.models import Experience
from app.llm.interface import ChatRequest, Line

PROMPT_VERSION = "1"
# Common tokenizers make a token of about four bytes of English and three of Chinese; three errs on the safe side.
BYTES_PER_TOKEN = 3
TOKENS_PER_LINE = 8
_prompts = Environment(
    loader=PackageLoader("app.conversations", "prompts"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,  # noqa: S701 - plain text for a model, never HTML
)


class Scenario(BaseModel):
    """An experience as it was when a conversation began; stored with the conversation."""

    model_config = ConfigDict(frozen=True, extra="ignore", from_attributes=True)

    title: str
    version: int = 1
    description: str = ""
    facts: str = ""
    learning_objectives: tuple[str, ...] = ()
    pedagogical_guidance: str
    persona_name: str = ""
    opening_line: str = ""
    script: dict[str, Any] | None = None


def pin(experience: Experience) -> dict[str, Any]:
    """Return the experience as a conversation keeps it."""
    return Scenario.model_validate(experience).model_dump(mode="json")


def build_request(
    conversation: Conversation, messages: Sequence[Message], context_tokens: int, max_tokens: int
) -> ChatRequest:
    """Make the request for the next reply to `messages`, the conversation so far, oldest first.

    Long conversations: the instructions always go whole; of the conversation, the newest messages whose estimated
    tokens fit into what is left of the window after instructions and reply, always the last one.
    """
    scenario = Scenario.model_validate(conversation.scenario)
    instructions = _render(f"{conversation.prompt_version}.txt", scenario)
    room = context_tokens - max_tokens - _tokens(instructions)
    return ChatRequest(
        instructions=instructions,
        brief=_render(f"{conversation.prompt_version}-brief.txt", scenario),
        persona_name=scenario.persona_name,
        facts=scenario.facts,
        lines=_newest_that_fit(messages, room),
        conversation=f"conversation-{conversation.id}",
        script=scenario.script,
        max_tokens=max_tokens,
    )


def _newest_that_fit(messages: Iterable[Message], room: int) -> tuple[Line, ...]:
    kept: list[Line] = []
    said = [message for message in messages if message.state is MessageState.COMPLETE and message.text]
    for message in reversed(said):
        room -= _tokens(message.text) + TOKENS_PER_LINE
        if room < 0 and kept:
            break
        kept.append(Line(message.speaker, message.text))
    return tuple(reversed(kept))


def _tokens(text: str) -> int:
    return len(text.encode()) // BYTES_PER_TOKEN + 1


def _render(name: str, scenario: Scenario) -> str:
    return _prompts.get_template(name).render(scenario=scenario).strip()
