"""What goes in and out of the API, field by field. The OpenAPI document is made from these."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.conversations.feedback import MAX_FEEDBACK, Vote
from app.conversations.models import ConversationState, MessageState
from app.conversations.service import MAX_MESSAGE
from app.conversations.standing import Status
from app.experiences.models import MAX_PERSONA_NAME, MAX_TITLE, WorkflowState
from app.experiences.rules import MAX_METRIC_NAME, MAX_METRICS, MAX_OBJECTIVES, MAX_TEXT, MAX_TURNS

Percentage = Annotated[int, Field(ge=0, le=100)]
Objective = Annotated[str, Field(min_length=1, description="One line.")]


class Shape(BaseModel):
    """A JSON object with these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class EvaluationMetric(Shape):
    """Something that an evaluation looks at besides the objectives."""

    name: str = Field(min_length=1, max_length=MAX_METRIC_NAME, description="One line.")
    description: str = Field(default="", max_length=MAX_TEXT)
    enabled: bool = Field(default=True, description="Whether evaluations look at it.")
    visible_to_learners: bool = Field(default=False, description="Whether students are shown what it says.")


class ListedExperience(Shape):
    """An experience as everyone in the course may see it."""

    id: int
    title: str
    description: str
    learning_objective: str = Field(description="The learning objectives, a line each.")
    learning_objectives: list[str] = Field(max_length=MAX_OBJECTIVES)
    evaluation_metrics: list[EvaluationMetric] = Field(
        max_length=MAX_METRICS,
        description="To those who do not write, the enabled ones that are visible to learners.",
    )
    workflow_state: WorkflowState
    course_id: int | None = Field(description="The Canvas course id; null where the platform gives none.")
    created_at: datetime = Field(description="UTC, to the second.")
    updated_at: datetime = Field(description="UTC, to the second.")


class StudentExperience(ListedExperience):
    """A published experience, with where the student stands."""

    submission_status: Status


class AiExperience(ListedExperience):
    """An experience as those see it who write."""

    facts: str
    pedagogical_guidance: str
    persona_name: str = Field(description="Who speaks; empty for whoever the guidance describes.")
    opening_line: str = Field(description="The persona's first words; empty where the model finds them.")
    max_turns: int | None = Field(
        description="Messages that a student may send in a conversation; null for 200."
    )


class ListedAiExperience(AiExperience):
    """An experience in a teacher's list."""

    completed_count: int = Field(description="Students whose latest conversation is completed.")


class ShownAiExperience(AiExperience):
    """One experience, to those who write."""

    can_manage: Literal[True]


class ShownExperience(StudentExperience):
    """One published experience, to everyone else."""

    can_manage: Literal[False]


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema["properties"].values():
        field.pop("default", None)


class ExperienceChanges(BaseModel):
    """What may be written. Fields that are left out stay as they are; others than these are ignored."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    title: str = Field(default="", min_length=1, max_length=MAX_TITLE, description="One line.")
    description: str = Field(default="", max_length=MAX_TEXT)
    facts: str = Field(default="", max_length=MAX_TEXT)
    learning_objective: str = Field(
        default="", min_length=1, max_length=MAX_TEXT, description="The learning objectives, a line each."
    )
    learning_objectives: list[Objective] = Field(
        default=[],
        min_length=1,
        max_length=MAX_OBJECTIVES,
        description="The same as a list, which may be sent instead.",
    )
    pedagogical_guidance: str = Field(default="", min_length=1, max_length=MAX_TEXT)
    persona_name: str = Field(default="", max_length=MAX_PERSONA_NAME)
    opening_line: str = Field(default="", max_length=MAX_TEXT)
    evaluation_metrics: list[EvaluationMetric] = Field(default=[], max_length=MAX_METRICS)
    max_turns: int | None = Field(default=None, ge=1, le=MAX_TURNS)
    workflow_state: Literal["published", "unpublished"] = Field(
        default="unpublished",
        description="A new experience is unpublished unless this says otherwise. Once a student has started, it stays "
        "published.",
    )


def _with_objectives(schema: dict[str, Any]) -> None:
    _without_defaults(schema)
    schema["anyOf"] = [{"required": ["learning_objective"]}, {"required": ["learning_objectives"]}]


class NewExperience(ExperienceChanges):
    """A new experience. Its learning objectives come as a text or as a list."""

    model_config = ConfigDict(json_schema_extra=_with_objectives)

    title: str = Field(min_length=1, max_length=MAX_TITLE, description="One line.")
    pedagogical_guidance: str = Field(min_length=1, max_length=MAX_TEXT)


class FormField(Shape):
    """A field of the form: whether it must be filled in, and how much fits (characters, or entries of a list)."""

    name: str
    type: Literal["text", "list", "number", "choice"]
    required: bool
    limit: int | None
    choices: list[str] | None = None


class ExperienceForm(Shape):
    """The form in which an experience is written: its fields, and what they hold now."""

    fields: list[FormField]
    values: AiExperience | None = Field(description="The experience to edit; null for a new one.")


class ListQuery(BaseModel):
    """Which experiences are listed."""

    workflow_state: WorkflowState | None = Field(default=None, description="Only those in this state.")


class Feedback(Shape):
    """What its reader thinks of a reply."""

    id: int
    vote: Vote
    feedback_message: str | None
    created_at: datetime
    updated_at: datetime
    notice: str | None = Field(
        description="What the tool itself says to the student about what they wrote in it, as plain text: where to "
        "find help, should they think of harming themselves."
    )


class GivenFeedback(Shape):
    """The feedback that was kept."""

    feedback: Feedback


class FeedbackChanges(BaseModel):
    """What somebody thinks of a reply; given again, it replaces the earlier."""

    vote: Vote
    feedback_message: str | None = Field(default=None, max_length=MAX_FEEDBACK)


class Success(Shape):
    """Something was done."""

    success: Literal[True]


class Said(Shape):
    """Something was done; `message` says what."""

    message: str


class Role(StrEnum):
    """Who wrote a message: a student, or the AI persona."""

    USER = "User"
    ASSISTANT = "Assistant"


class Message(Shape):
    """A message. A reply that is being written, or could not be, has a `state` that says so, and may have no text."""

    id: int
    role: Role
    text: str
    state: MessageState
    created_at: datetime
    feedback: Feedback | None
    notice: str | None = Field(
        description="What the tool itself says to the student about it, as plain text: where to find help, should "
        "they think of harming themselves. The reply then waits, `interrupted`, until the next message is sent."
    )


class ObjectiveStatus(Shape):
    """A learning objective, and the words that show that the student has covered it."""

    objective: str
    status: Literal["covered", ""]
    message_id: int | None = Field(description="The student's message that shows it.")
    quote: str | None = Field(description="Its exact words.")


class Progress(Shape):
    """How many learning objectives are covered."""

    current: int
    total: int
    percentage: Percentage
    objectives: list[ObjectiveStatus] = Field(max_length=MAX_OBJECTIVES)


class OwnConversation(Shape):
    """One's own conversation, oldest message first."""

    id: int
    workflow_state: ConversationState
    messages: list[Message]
    progress: Progress


class ReplyBegun(Shape):
    """A reply is on its way."""

    id: int


class TextAdded(Shape):
    """A further piece of the reply; empty ones may come."""

    text: str


class MessageNoticed(Shape):
    """What the tool itself says about the message that was sent."""

    id: int = Field(description="The message's.")
    notice: str


class NoConversation(Shape):
    """Nothing: no conversation is active."""


class ClientKey(BaseModel):
    """A request that may be sent again without being done twice."""

    client_key: str | int | None = Field(
        default=None,
        description="Of your choice; sent again, it returns what it made before. It may stand in `Idempotency-Key` "
        "instead.",
    )


class NewConversation(ClientKey):
    """How a conversation is begun."""


class NewMessage(ClientKey):
    """A message of the student's."""

    message: str = Field(min_length=1, max_length=MAX_MESSAGE)


class Student(Shape):
    """A student. `id` is this tool's own; `canvas_user_id` is Canvas's, where a launch has told it."""

    id: int
    name: str
    avatar_url: str | None
    canvas_user_id: int | None


class ListedConversation(Shape):
    """A student's latest conversation; all but the student is null for one who has none."""

    id: int | None
    user_id: int
    has_conversation: bool
    workflow_state: ConversationState | None
    all_objectives_met: bool | None
    created_at: datetime | None
    updated_at: datetime | None
    student: Student


class Snapshot(Shape):
    """The whole class in numbers. A conversation that ended with objectives open counts in none of the three."""

    completed: int
    in_progress: int
    not_started: int
    total_objectives: int


class ClassConversations(Shape):
    """A page of the class."""

    conversations: list[ListedConversation]
    snapshot: Snapshot


class Conversation(Shape):
    """A student's conversation, to a teacher."""

    id: int
    user_id: int
    workflow_state: ConversationState
    all_objectives_met: bool
    created_at: datetime
    updated_at: datetime
    student: Student
    messages: list[Message]
    progress: Progress


class EvaluationQuery(BaseModel):
    """Whether an evaluation that was made is made anew."""

    again: bool = False


class KeyMoment(Shape):
    """A moment that shows something: the exact words of the student's message with that number, counted from 1."""

    learning_objective: str
    evidence: str
    message_number: int


class ObjectiveEvaluation(Shape):
    """What an evaluation says of a learning objective."""

    objective: str
    met: bool
    score: Percentage
    explanation: str


class MetricEvaluation(Shape):
    """What an evaluation says of a custom metric."""

    name: str
    score: Percentage
    explanation: str
    visible_to_learners: bool


class Evaluation(Shape):
    """What a model makes of a conversation. Scores go from 0 to 100.

    The scripted demo leaves out objectives and metrics that it does not look at; the overall score is of the others.
    """

    overall_assessment: str
    overall_score: Percentage
    strengths: list[str]
    areas_for_improvement: list[str]
    key_moments: list[KeyMoment]
    learning_objectives_evaluation: list[ObjectiveEvaluation]
    evaluation_metrics: list[MetricEvaluation]


class EvaluatedConversation(Shape):
    """A conversation's evaluation."""

    id: int = Field(description="The conversation's.")
    evaluation: Evaluation
    model: str
    created_at: datetime
    stale: bool = Field(
        description="Whether the conversation has moved on since, or a teacher has decided on an objective."
    )
