"""What a model is told: the pinned experience, the versioned prompt, and as much of the conversation as fits."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2s
from itertools import accumulate
from typing import Any

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict

from app.conversations.models import Conversation, Message
from app.conversations.recital import Secret
from app.experiences.models import EvaluationMetric, Experience
from app.llm.interface import ChatRequest, Line, Speaker
from app.text import estimate_tokens

PROMPT_VERSION = "2"
DEFLECTION_VERSION = "1"
LAST_VERSION = "1"
JUDGE_VERSION = "1"
EVALUATOR_VERSION = "2"
TOKENS_PER_LINE = 8
MARKER_BYTES = 6
PARTS = 64  # kept ready: those of one experience are asked for with every reply
# What stands in quotation marks in a teacher's guidance is meant to be said.
QUOTED = re.compile(r'"[^"]*"|“[^”]*”|„[^“”]*[“”]|«[^»]*»')
# What judges and evaluators call them.
SPEAKERS = {Speaker.STUDENT: "student", Speaker.PERSONA: "character"}
_prompts = Environment(
    loader=PackageLoader("app.conversations", "prompts"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
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
    evaluation_metrics: tuple[EvaluationMetric, ...] = ()
    max_turns: int | None = None
    script: dict[str, Any] | None = None

    @property
    def enabled_metrics(self) -> list[EvaluationMetric]:
        """The metrics that evaluations look at."""
        return [metric for metric in self.evaluation_metrics if metric.enabled]


@dataclass(frozen=True, slots=True)
class Part:
    """What a persona is told of the part it plays, the same in all conversations about one version of an experience."""

    scenario: Scenario
    instructions: str
    brief: str
    secret: Secret


def pin(experience: Experience) -> dict[str, Any]:
    """Return the experience as a conversation keeps it."""
    return Scenario.model_validate(experience).model_dump(mode="json")


def build_request(
    conversation: Conversation, messages: Sequence[Message], context_tokens: int, max_tokens: int
) -> ChatRequest:
    """Make the request for the next reply to `messages`, the conversation so far, oldest first.

    Long conversations: the instructions always go whole; of the conversation, the newest messages whose estimated
    tokens fit into what is left of the window after instructions and reply, always the last one. A reply that was cut
    short is among them as far as it came: the student has read it. Nothing of who the student is goes along. A reply to
    the last message that a student may send is asked to end the scene.
    """
    part = _part_in(conversation)
    sent = sum(message.speaker is Speaker.STUDENT for message in messages)
    told = [part.instructions]
    if sent == conversation.max_turns:
        told.append(_render(f"last-{LAST_VERSION}.txt"))
    instructions = "\n\n".join(told)
    room = context_tokens - max_tokens - estimate_tokens(instructions)
    return ChatRequest(
        instructions=instructions,
        brief=part.brief,
        persona_name=part.scenario.persona_name,
        facts=part.scenario.facts,
        lines=_newest_lines_that_fit(messages, room),
        conversation=f"conversation-{conversation.id}",
        script=part.scenario.script,
        max_tokens=max_tokens,
    )


def secret_of(conversation: Conversation) -> Secret:
    """Return what the persona must not say: its instructions without what the student is told or may find out."""
    return _part_in(conversation).secret


def deflecting(request: ChatRequest) -> ChatRequest:
    """Return the request once more for a model that has recited its instructions: told not to."""
    reminder = _render(f"deflect-{DEFLECTION_VERSION}.txt")
    return replace(request, instructions=f"{request.instructions}\n\n{reminder}")


@dataclass(frozen=True, slots=True)
class Brief:
    """What a judge or an evaluator is told; ``said`` are the messages in it, by their number in the conversation."""

    instructions: str
    prompt: str
    said: dict[int, Message]

    @property
    def until(self) -> int:
        """The id of the last message in it."""
        return max(message.id for message in self.said.values())


def brief_judge(
    conversation: Conversation, messages: Sequence[Message], positions: Iterable[int], room: int
) -> Brief:
    """Tell a judge of the objectives at `positions` and of the conversation, in so many tokens as there is `room`.

    Of the conversation: the messages after the last judgement, oldest first, as many as fit, always one; what is over
    is for the next judgement. Before them as much of what led to them as fits.
    """
    scenario = Scenario.model_validate(conversation.scenario)
    instructions = _render(f"judge-{JUDGE_VERSION}.txt", scenario=scenario)
    objectives = [(position + 1, scenario.learning_objectives[position]) for position in positions]
    task = f"judge-{JUDGE_VERSION}-task.txt"
    room -= estimate_tokens(instructions) + estimate_tokens(_render(task, objectives=objectives, lines=()))
    said = numbered(messages)
    new = {number: message for number, message in said.items() if message.id > conversation.judged_until}
    judged = _oldest_that_fit(new, room)
    before = {number: message for number, message in said.items() if number < min(judged, default=0)}
    known = _newest_that_fit(before, room - sum(_costs(judged)))
    shown = known | judged
    return Brief(instructions, _render(task, objectives=objectives, lines=_as_data(shown)), shown)


def brief_evaluator(
    conversation: Conversation, messages: Sequence[Message], decisions: Mapping[int, bool], room: int
) -> Brief:
    """Tell an evaluator of the scenario, the conversation and the `decisions`, in so many tokens as there is `room`.

    Of a long conversation the newest messages that fit, always the last one, and how many are left out.
    """
    scenario = Scenario.model_validate(conversation.scenario)
    instructions = _render(f"evaluator-{EVALUATOR_VERSION}.txt", scenario=scenario)
    task = f"evaluator-{EVALUATOR_VERSION}-task.txt"
    said = numbered(messages)
    decided = [(position + 1, covered) for position, covered in sorted(decisions.items())]
    empty = _render(task, decided=decided, left_out=len(said), lines=())
    room -= estimate_tokens(instructions) + estimate_tokens(empty)
    shown = _newest_that_fit(said, room) or dict(list(said.items())[-1:])
    prompt = _render(task, decided=decided, left_out=len(said) - len(shown), lines=_as_data(shown))
    return Brief(instructions, prompt, shown)


def numbered(messages: Iterable[Message]) -> dict[int, Message]:
    """Return what was said by its number; every message of the conversation counts, from 1."""
    return {number: message for number, message in enumerate(messages, 1) if message.said}


def _as_data(said: dict[int, Message]) -> list[str]:
    """Write messages as JSON, a line each. No text in it can look like the mark at its end, or like another message."""
    lines = (
        orjson.dumps({"number": number, "speaker": SPEAKERS[message.speaker], "text": message.text})
        for number, message in said.items()
    )
    return [line.decode().replace("<", "\\u003c") for line in lines]


def _oldest_that_fit(said: dict[int, Message], room: int) -> dict[int, Message]:
    """Return the oldest messages that fit, always one if there is any."""
    fitting = max(_how_many_fit(_costs(said), room), 1)
    return dict(list(said.items())[:fitting])


def _newest_that_fit(said: dict[int, Message], room: int) -> dict[int, Message]:
    fitting = _how_many_fit(_costs(said)[::-1], room)
    return dict(list(said.items())[len(said) - fitting :])


def _costs(said: dict[int, Message]) -> list[int]:
    return [estimate_tokens(line) for line in _as_data(said)]


def _how_many_fit(costs: Sequence[int], room: int) -> int:
    return sum(spent <= room for spent in accumulate(costs))


def _part_in(conversation: Conversation) -> Part:
    return _part_of(orjson.dumps(conversation.scenario), conversation.prompt_version)


@lru_cache(PARTS)
def _part_of(pinned: bytes, version: str) -> Part:
    scenario = Scenario.model_validate_json(pinned)
    marker = _marker_of(scenario)
    guidance = QUOTED.sub("", scenario.pedagogical_guidance)
    told = {"title": "", "description": "", "facts": "", "pedagogical_guidance": guidance}
    secret = _render(f"{version}.txt", scenario=scenario.model_copy(update=told), marker=marker)
    return Part(
        scenario,
        instructions=_render(f"{version}.txt", scenario=scenario, marker=marker),
        brief=_render(f"{version}-brief.txt", scenario=scenario),
        secret=Secret(marker, secret),
    )


def _marker_of(scenario: Scenario) -> str:
    """Return a code that nobody knows who has not read the whole scenario, the same in all conversations about it."""
    return blake2s(scenario.model_dump_json().encode(), digest_size=MARKER_BYTES).hexdigest()


def _newest_lines_that_fit(messages: Iterable[Message], room: int) -> tuple[Line, ...]:
    kept: list[Line] = []
    for message in reversed([message for message in messages if message.said]):
        room -= estimate_tokens(message.text) + TOKENS_PER_LINE
        if room < 0 and kept:
            break
        kept.append(Line(message.speaker, message.text))
    return tuple(reversed(kept))


def _render(name: str, **told: object) -> str:
    return _prompts.get_template(name).render(**told).strip()
