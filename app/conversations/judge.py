"""Judging what a student has shown: a model proposes, with a quote from the student; code checks the quote."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from app.conversations.models import Conversation, Message
from app.conversations.progress import Credit
from app.conversations.prompt import brief_judge, numbered
from app.conversations.quotes import Proof, prove
from app.conversations.structured import ask
from app.llm.interface import ModelAdapter, Speaker, StructuredRequest
from app.llm.scripted import find_shown
from app.usage.budgets import Tokens

ANSWER_TOKENS = 2_000
# Of a small window, the answer may take at most one part in so many.
ANSWER_SHARE = 4


class Verdict(BaseModel):
    """What a model says of one objective. Objectives and messages go by their numbers, from 1."""

    objective: int
    reason: str
    covered: bool
    message: int
    quote: str


class Findings(BaseModel):
    """What a model says of the open objectives."""

    objectives: list[Verdict]


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What came of a judgement of the messages up to the one with the id ``until``.

    ``unproved`` counts the objectives that the model held covered without a quote that proves it.
    """

    until: int
    credits: Sequence[Credit] = ()
    unproved: int = 0
    model: str = ""
    tokens: Sequence[Tokens] = ()


def judge(
    model: ModelAdapter, conversation: Conversation, messages: Sequence[Message], positions: Collection[int]
) -> Judgement:
    """Judge which of the objectives at `positions` the messages since the last judgement cover.

    ``messages`` is the conversation, oldest first, with some that are not judged yet. What of them does not fit into
    the model's window is left for the next judgement. Raises `UnansweredError`.
    """
    said = numbered(messages)
    answer_tokens = min(ANSWER_TOKENS, model.context_tokens // ANSWER_SHARE)
    brief = brief_judge(conversation, messages, positions, model.context_tokens - answer_tokens)
    request = StructuredRequest(
        instructions=brief.instructions,
        prompt=brief.prompt,
        name="findings",
        schema=Findings.model_json_schema(),
        conversation=f"judge-{conversation.id}",
        max_tokens=answer_tokens,
        scripted=scripted_findings(conversation, said),
    )
    answered = ask(model, request, Findings)
    held = [found for found in answered.data.objectives if found.covered and found.objective - 1 in positions]
    proofs: dict[int, Proof | None] = {}
    for found in held:  # of an objective that is named twice, the first proof counts
        position = found.objective - 1
        proofs[position] = proofs.get(position) or prove(
            found.quote, found.message, said, conversation.learning_objectives
        )
    credited = [
        Credit(position, proof.message.id, proof.quote) for position, proof in sorted(proofs.items()) if proof
    ]
    return Judgement(
        until=brief.until,
        credits=credited,
        unproved=len(proofs) - len(credited),
        model=answered.model,
        tokens=answered.tokens,
    )


def scripted_findings(conversation: Conversation, said: Mapping[int, Message]) -> dict[str, Any]:
    """Return the findings of the scripted demo: the objectives whose words the student has used."""
    student = [
        (number, message.text) for number, message in said.items() if message.speaker is Speaker.STUDENT
    ]
    shown = find_shown(conversation.scenario.get("script"), [text for _, text in student])
    return {
        "objectives": [
            {
                "objective": found.objective + 1,
                "reason": "The script's words for it were found.",
                "covered": True,
                "message": student[found.message][0],
                "quote": found.quote,
            }
            for found in shown
        ]
    }
