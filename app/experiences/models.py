"""Experiences: what a teacher writes."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, Column, Text
from sqlmodel import Field, SQLModel

from app.database import UtcDateTime, text_enum, utc_now

MAX_TITLE = 255
MAX_PERSONA_NAME = 80


class WorkflowState(StrEnum):
    """Canvas's states of an experience. A deleted one is kept and shown to nobody."""

    UNPUBLISHED = "unpublished"
    PUBLISHED = "published"
    DELETED = "deleted"


class EvaluationMetric(BaseModel):
    """What evaluations look at besides the objectives, as an experience and its conversations keep it."""

    model_config = ConfigDict(frozen=True)

    name: str
    description: str = ""
    enabled: bool = True
    visible_to_learners: bool = False


class Experience(SQLModel, table=True):
    """A chat simulation of one course.

    ``persona_name`` and ``opening_line`` are optional: who speaks, and their first words, used word for word.
    ``evaluation_metrics`` are kept as `EvaluationMetric` has them. ``max_turns`` is how many messages a student may
    send in a conversation, None for `MAX_TURNS`. ``version`` counts the edits of its text. ``started_at`` is when the
    first student (no trial) began it: from then on it stays published. ``script`` is what the scripted demo persona
    plays from; only seeded experiences have one.
    """

    __tablename__ = "experiences"

    id: int = Field(default=None, primary_key=True)
    course_id: int = Field(foreign_key="courses.id", index=True)
    title: str = Field(max_length=MAX_TITLE)
    description: str = Field(default="", sa_type=Text)
    facts: str = Field(default="", sa_type=Text)
    learning_objectives: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    pedagogical_guidance: str = Field(sa_type=Text)
    persona_name: str = Field(default="", max_length=MAX_PERSONA_NAME)
    opening_line: str = Field(default="", sa_type=Text)
    evaluation_metrics: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSON, nullable=False)
    )
    max_turns: int | None = None
    version: int = 1
    workflow_state: WorkflowState = Field(default=WorkflowState.UNPUBLISHED, sa_type=text_enum(WorkflowState))
    script: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_by_id: int | None = Field(default=None, foreign_key="users.id")
    copied_from_id: int | None = Field(default=None, foreign_key="experiences.id", index=True)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)

    @property
    def published(self) -> bool:
        """True where students see it."""
        return self.workflow_state is WorkflowState.PUBLISHED

    @property
    def stays_published(self) -> bool:
        """True once a student has begun what is published."""
        return self.published and self.started_at is not None

    @property
    def learning_objective(self) -> str:
        """The learning objectives as Canvas has them: one text, a line each."""
        return "\n".join(self.learning_objectives)
