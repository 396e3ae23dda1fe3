"""Conversations and their messages."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Column, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from app.database import UtcDateTime, text_enum, utc_now
from app.llm.interface import Speaker
from app.llm.scripted import SCRIPTED_NAME


class ConversationState(StrEnum):
    """``active`` goes on, ``completed`` was finished by the student, ``ended`` was left for a new start."""

    ACTIVE = "active"
    COMPLETED = "completed"
    ENDED = "ended"


class MessageState(StrEnum):
    """Where a message stands. A student's is complete at once; a reply goes through the others."""

    GENERATING = "generating"
    COMPLETE = "complete"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


_ACTIVE = text("workflow_state = 'active'")
_GENERATING = text("state = 'generating'")


class Conversation(SQLModel, table=True):
    """One person's conversation about one experience, which it pins as it was at the start (``scenario``).

    ``is_preview`` marks a teacher's trial or Canvas's student view: kept out of every figure.
    """

    __tablename__ = "conversations"
    __table_args__ = (
        Index(
            "uq_conversations_one_active",
            "experience_id",
            "user_id",
            "is_preview",
            unique=True,
            sqlite_where=_ACTIVE,
            postgresql_where=_ACTIVE,
        ),
        Index("ix_conversations_latest", "experience_id", "user_id", "id"),
    )

    id: int = Field(default=None, primary_key=True)
    experience_id: int = Field(foreign_key="experiences.id")
    user_id: int = Field(foreign_key="users.id", index=True)
    workflow_state: ConversationState = Field(
        default=ConversationState.ACTIVE, sa_type=text_enum(ConversationState)
    )
    is_preview: bool = False
    scenario: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    prompt_version: str = Field(max_length=20)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)

    @property
    def active(self) -> bool:
        """True while it can go on."""
        return self.workflow_state is ConversationState.ACTIVE


class Message(SQLModel, table=True):
    """One message. A student's carries the sender's ``client_key``, so that a repeated send is recognised.

    A reply carries what wrote it: model, times in milliseconds from the call to first token and to the end, tokens.
    While it is generating, ``lease_until`` says until when its writer is believed alive.
    """

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("conversation_id", "client_key"),
        Index("ix_messages_conversation_id_id", "conversation_id", "id"),
        Index(
            "uq_messages_one_generating",
            "conversation_id",
            unique=True,
            sqlite_where=_GENERATING,
            postgresql_where=_GENERATING,
        ),
    )

    id: int = Field(default=None, primary_key=True)
    conversation_id: int = Field(foreign_key="conversations.id")
    speaker: Speaker = Field(sa_type=text_enum(Speaker))
    text: str = Field(default="", sa_type=Text)
    state: MessageState = Field(default=MessageState.COMPLETE, sa_type=text_enum(MessageState))
    client_key: str | None = Field(default=None, max_length=64)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    attempts: int = 0
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error_code: str | None = Field(default=None, max_length=40)
    model: str | None = Field(default=None, max_length=200)
    first_token_ms: int | None = None
    latency_ms: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    truncated: bool = False

    @property
    def shown_state(self) -> MessageState:
        """The state to tell people: a reply whose writer is gone is interrupted, whoever notices first."""
        return MessageState.INTERRUPTED if self.abandoned else self.state

    @property
    def scripted(self) -> bool:
        """True for a reply of the scripted persona, labelled wherever it is shown."""
        return self.model == SCRIPTED_NAME

    @property
    def abandoned(self) -> bool:
        """True for a reply under way whose writer is gone: its lease ran out."""
        under_way = self.state is MessageState.GENERATING
        return under_way and self.lease_until is not None and self.lease_until < utc_now()
