"""Evaluating a conversation: a model assesses it.

Code drops each key moment whose quote does not stand there, and lets a teacher's decision on an objective stand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, model_validator

from app.conversations.judge import scripted_findings
from app.conversations.models import Conversation, Message
from app.conversations.prompt import Scenario, brief_evaluator, numbered
from app.conversations.quotes import prove
from app.conversations.structured import ask
from app.llm.demo import Demo, demo_named
from app.llm.interface import ModelAdapter, StructuredRequest
from app.llm.scripted import objectives_sought
from app.text import clean_text
from app.usage.budgets import Tokens

ANSWER_TOKENS = 4_000
# Of a small window, the answer may take at most one part in so many.
ANSWER_SHARE = 3
MOST_LINES = 8
MOST_TEXT = 4_000
# What the scripted demo says this of is left out of its result, since a score would be made up. Only of its: a student
# could talk another model into these words.
NOT_LOOKED_AT = "The scripted demo does not look at this."
_VIEWS = ("learning_objectives_evaluation", "evaluation_metrics")


def _as_kept(text: str) -> str:
    text = clean_text(text)
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"


Score = Annotated[int, Field(ge=0, le=100)]
Text = Annotated[str, AfterValidator(_as_kept)]


class KeyMoment(BaseModel):
    """A moment that shows something of an objective. Objectives and messages go by their numbers, from 1."""

    objective: int
    message: int
    quote: str


class ObjectiveView(BaseModel):
    """What a model says of one objective."""

    objective: int
    explanation: Text
    met: bool
    score: Score


class MetricView(BaseModel):
    """What a model says of one metric."""

    metric: int
    explanation: Text
    score: Score


class Assessment(BaseModel):
    """What a model says of a conversation: once of each objective and of each metric that is enabled."""

    overall_assessment: Text
    overall_score: Score
    strengths: list[Text]
    areas_for_improvement: list[Text]
    key_moments: list[KeyMoment]
    objectives: list[ObjectiveView]
    metrics: list[MetricView]

    @model_validator(mode="after")
    def _speaks_of_each(self, info: ValidationInfo) -> Self:
        told: Scenario = (info.context or {})["scenario"]
        _require_each("objectives", [view.objective for view in self.objectives], told.learning_objectives)
        _require_each("metrics", [view.metric for view in self.metrics], told.enabled_metrics)
        if not self.overall_assessment:
            raise ValueError("overall_assessment is empty")
        return self


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What came of an evaluation: the result in the shape of the REST API, and what it took."""

    result: dict[str, Any]
    model: str
    tokens: Sequence[Tokens]


def evaluate(
    model: ModelAdapter,
    conversation: Conversation,
    messages: Sequence[Message],
    decisions: Mapping[int, bool],
) -> Evaluated:
    """Evaluate a conversation.

    ``messages`` is the conversation, oldest first; see `brief_evaluator` for what of a long one is read. ``decisions``
    are the teachers' on objectives, by position. Raises `UnansweredError`.
    """
    scenario, said = Scenario.model_validate(conversation.scenario), numbered(messages)
    answer_tokens = min(ANSWER_TOKENS, model.context_tokens // ANSWER_SHARE)
    brief = brief_evaluator(conversation, messages, decisions, model.context_tokens - answer_tokens)
    request = StructuredRequest(
        instructions=brief.instructions,
        prompt=brief.prompt,
        name="evaluation",
        schema=Assessment.model_json_schema(),
        conversation=f"evaluation-{conversation.id}",
        max_tokens=answer_tokens,
        scripted=_scripted_assessment(conversation, scenario, said, decisions),
    )
    answered = ask(model, request, Assessment, scenario=scenario)
    result = _as_result(answered.data, scenario, said, decisions)
    if demo_named(answered.model) is Demo.SCRIPTED:
        result |= {part: _looked_at(result[part]) for part in _VIEWS}
    return Evaluated(result, answered.model, answered.tokens)


def _looked_at(views: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [view for view in views if view["explanation"] != NOT_LOOKED_AT]


def _as_result(
    assessment: Assessment, scenario: Scenario, said: Mapping[int, Message], decisions: Mapping[int, bool]
) -> dict[str, Any]:
    objectives, metrics = scenario.learning_objectives, scenario.enabled_metrics
    return {
        "overall_assessment": assessment.overall_assessment,
        "overall_score": assessment.overall_score,
        "strengths": [line for line in assessment.strengths if line][:MOST_LINES],
        "areas_for_improvement": [line for line in assessment.areas_for_improvement if line][:MOST_LINES],
        "key_moments": _proved(assessment.key_moments, objectives, said),
        "learning_objectives_evaluation": [
            {
                "objective": objectives[view.objective - 1],
                "met": decisions.get(view.objective - 1, view.met),
                "score": view.score,
                "explanation": view.explanation,
            }
            for view in sorted(assessment.objectives, key=lambda view: view.objective)
        ],
        "evaluation_metrics": [
            {
                "name": metrics[view.metric - 1].name,
                "score": view.score,
                "explanation": view.explanation,
                "visible_to_learners": metrics[view.metric - 1].visible_to_learners,
            }
            for view in sorted(assessment.metrics, key=lambda view: view.metric)
        ],
    }


def _proved(
    moments: Sequence[KeyMoment], objectives: Sequence[str], said: Mapping[int, Message]
) -> list[dict[str, Any]]:
    """Return the moments whose quote proves something of an objective that there is."""
    checked = [
        (moment, prove(moment.quote, moment.message, said, objectives))
        for moment in moments[:MOST_LINES]
        if 0 < moment.objective <= len(objectives)
    ]
    return [
        {
            "learning_objective": objectives[moment.objective - 1],
            "evidence": proof.quote,
            "message_number": moment.message,
        }
        for moment, proof in checked
        if proof is not None
    ]


def _require_each(what: str, numbers: Sequence[int], things: Sequence[object]) -> None:
    if sorted(numbers) != list(range(1, len(things) + 1)):
        raise ValueError(f"{what} must have one entry for each number from 1 to {len(things)}")


def _scripted_assessment(
    conversation: Conversation, scenario: Scenario, said: Mapping[int, Message], decisions: Mapping[int, bool]
) -> dict[str, Any]:
    """Return the assessment of the scripted demo: it counts the objectives whose words the student has used.

    A teacher's decision counts in their place. It looks at no objective that it has neither for, and at no metric.
    """
    found = {finding["objective"]: finding for finding in scripted_findings(conversation, said)["objectives"]}
    decided = {position + 1: covered for position, covered in decisions.items()}
    objectives = dict(enumerate(scenario.learning_objectives, 1))
    scripted = {position + 1 for position in objectives_sought(conversation.scenario.get("script"))}
    sought = (scripted & objectives.keys()) - decided.keys()
    looked_at = [number for number in objectives if number in sought or number in decided]
    met = [number for number in looked_at if decided.get(number, number in found)]
    explanations = (
        dict.fromkeys(objectives, NOT_LOOKED_AT)
        | dict.fromkeys(sought, "No words for it were found.")
        | dict.fromkeys(found, "The words for it were found.")
        | dict.fromkeys(decided, "A teacher decided this.")
    )
    return {
        "overall_assessment": _scripted_summary(len(sought & found.keys()), len(sought), len(decided)),
        "overall_score": 100 * len(met) // max(len(looked_at), 1),
        "strengths": [objectives[number] for number in met],
        "areas_for_improvement": [objectives[number] for number in looked_at if number not in met],
        "key_moments": [found[number] for number in met if number in found],
        "objectives": [
            {
                "objective": number,
                "met": number in met,
                "score": 100 * (number in met),
                "explanation": explanations[number],
            }
            for number in objectives
        ],
        "metrics": [
            {"metric": number, "score": 0, "explanation": NOT_LOOKED_AT}
            for number, _ in enumerate(scenario.enabled_metrics, 1)
        ],
    }


def _scripted_summary(found: int, sought: int, decided: int) -> str:
    sentences = ["Scripted demo: it looks for prepared words alone. No AI model has read the conversation."]
    if sought:
        sentences.append(f"Words for {found} of {sought} learning objectives were found.")
    if decided:
        sentences.append(f"Decided by a teacher: {decided}.")
    if not sought and not decided:
        sentences.append("It has no words for what is to be learned here.")
    return " ".join(sentences)
