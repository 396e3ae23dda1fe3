"""Conversations and their messages."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Column, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from app.database import UtcDateTime, text_enum, utc_now
from app.experiences.rules import MAX_TURNS
from app.llm.interface import Speaker
from app.llm.scripted import SCRIPTED_NAME


class ConversationState(StrEnum):
    """``active`` goes on, ``completed`` was finished by the student, ``ended`` was left for a new start."""

    ACTIVE = "active"
    COMPLETED = "completed"
    ENDED = "ended"


class MessageState(StrEnum):
    """Where a message stands. A student's is complete at once; a reply goes through the others.

    A turn is *saved* when the student's message and an empty reply stand in the database, in one transaction. The reply
    is *generating* from then on, and ends in one of three ways, in one transaction: *complete*; *failed*,
    where the model did not answer; *interrupted*, where somebody stopped it or its process went, which readers see by
    its lease. Failed and interrupted replies keep what came of them, and the newest can be tried again: generating.
    """

    GENERATING = "generating"
    COMPLETE = "complete"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class ReplyNote(StrEnum):
    """What ``error_code`` says of a reply where it is not a model's failure (`ModelErrorCode`).

    ``stopped``: the student wants no more of it, or has left the conversation; its writer ends it within a second.
    ``shut_down``: the server went down before it was whole. ``recited``: the model recited its instructions, and
    something else was stored in place of what it wrote. ``withheld``: what the model wrote was not fit to be read.
    ``held``: no model was asked, because the student's message comes first (`Notice`); they may want to go on.
    """

    STOPPED = "stopped"
    SHUT_DOWN = "shut_down"
    RECITED = "recited"
    WITHHELD = "withheld"
    HELD = "held"


class Notice(StrEnum):
    """What the tool itself says to the student about a message of theirs.

    ``help``: that it sounds as if they may harm themselves, and who helps.
    """

    HELP = "help"


# How a conversation is locked by whoever changes it: scores, flags and messages that refer to it wait for nobody.
LOCK = {"key_share": True}
_ACTIVE = text("workflow_state = 'active'")
_GENERATING = text("state = 'generating'")


class Conversation(SQLModel, table=True):
    """One person's conversation about one experience, which it pins as it was at the start (``scenario``).

    ``is_preview`` marks a teacher's trial or Canvas's student view: kept out of every figure. ``judged_until`` is the
    id of the last message that a judgement of the objectives has taken in, 0 before the first. ``decisions`` counts how
    often a teacher has decided on an objective.
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
        Index(
            "ix_conversations_latest",
            "experience_id",
            "user_id",
            "id",
            postgresql_include=["is_preview", "workflow_state", "all_objectives_met"],
        ),
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
    all_objectives_met: bool = False
    judged_until: int = 0
    decisions: int = 0
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)

    @property
    def active(self) -> bool:
        """True while it can go on."""
        return self.workflow_state is ConversationState.ACTIVE

    @property
    def max_turns(self) -> int:
        """How many messages the student may send in it: what the teacher has set, or the most that may be set."""
        return self.scenario.get("max_turns") or MAX_TURNS

    @property
    def learning_objectives(self) -> list[str]:
        """The objectives as they were when it began; positions count from 0 in them."""
        return list(self.scenario.get("learning_objectives") or ())


class Message(SQLModel, table=True):
    """One message. A student's carries the sender's ``client_key``, so that a repeated send is recognised; the opening
    that of the start.

    A reply carries what wrote it: model, times in milliseconds from the call to first token and to the end, tokens.
    While it is generating, ``lease_until`` says until when its writer is believed alive. ``error_code`` says why it is
    missing, cut short or replaced: a `ModelErrorCode` or a `ReplyNote`; ``replaced`` is what came of attempts before.
    ``notice`` is on a student's message.
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
    replaced: str = Field(default="", sa_type=Text)
    notice: Notice | None = Field(default=None, sa_type=text_enum(Notice))

    @property
    def shown_state(self) -> MessageState:
        """The state to tell people: a reply whose writer is gone is interrupted, whoever notices first."""
        return MessageState.INTERRUPTED if self.abandoned else self.state

    @property
    def said(self) -> bool:
        """True for what people have read: models are told it too. A reply under way is none yet."""
        return bool(self.text) and self.state is not MessageState.GENERATING

    @property
    def is_opening(self) -> bool:
        """True for the persona's first message, which answers none."""
        return self.speaker is Speaker.PERSONA and self.client_key is not None

    @property
    def stopped(self) -> bool:
        """True for a reply that was stopped on purpose, or not even begun."""
        on_purpose = self.error_code in {ReplyNote.STOPPED, ReplyNote.HELD}
        return self.shown_state is MessageState.INTERRUPTED and on_purpose

    @property
    def cut_short(self) -> bool:
        """True for a reply that ended before it was whole; its text is what came of it."""
        return self.shown_state in {MessageState.FAILED, MessageState.INTERRUPTED}

    @property
    def blank(self) -> bool:
        """True for a reply of which nothing came: what stands in its place is the tool's word, not the persona's."""
        return self.cut_short and not self.text

    @property
    def reference(self) -> str:
        """What to tell whoever runs the tool of a reply that failed: the log calls it so."""
        return reference_of(self.id, self.attempts)

    @property
    def scripted(self) -> bool:
        """True for a reply of the scripted persona, labelled wherever it is shown."""
        return self.model == SCRIPTED_NAME

    @property
    def abandoned(self) -> bool:
        """True for a reply under way whose writer is gone: its lease ran out."""
        under_way = self.state is MessageState.GENERATING
        return under_way and self.lease_until is not None and self.lease_until < utc_now()


def reference_of(reply_id: int, attempt: int) -> str:
    """Return what an attempt at a reply goes by, on pages and in the log."""
    return f"{reply_id}-{attempt}"


class ObjectiveMark(SQLModel, table=True):
    """What was decided on one learning objective of a conversation. An objective without one is open.

    ``position`` counts from 0 in the pinned objectives. ``message_id`` and ``quote`` are the proof: a message of the
    student's and words that stand in it. ``model`` judged by the prompt of ``prompt_version``; ``decided_by_id`` is the
    teacher who overruled, after whom no judge changes anything.
    """

    __tablename__ = "objective_marks"
    __table_args__ = (UniqueConstraint("conversation_id", "position"),)

    id: int = Field(default=None, primary_key=True)
    conversation_id: int = Field(foreign_key="conversations.id")
    position: int
    covered: bool
    message_id: int | None = Field(default=None, foreign_key="messages.id")
    quote: str | None = Field(default=None, sa_type=Text)
    model: str | None = Field(default=None, max_length=200)
    prompt_version: str | None = Field(default=None, max_length=20)
    decided_by_id: int | None = Field(default=None, foreign_key="users.id")
    decided_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class EvaluationRecord(SQLModel, table=True):
    """The evaluation of a conversation: the latest that was made, and whether another is being made.

    ``result`` takes in the messages up to ``until_message_id``, and of the teachers' decisions so many as
    ``until_decision`` says. ``claim`` is by whom the latest is made, and ``lease_until`` until when they are believed
    alive; ``error_code`` says why the last attempt failed.
    """

    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("conversation_id"),)

    id: int = Field(default=None, primary_key=True)
    conversation_id: int = Field(foreign_key="conversations.id")
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    until_message_id: int | None = None
    until_decision: int = 0
    model: str | None = Field(default=None, max_length=200)
    prompt_version: str | None = Field(default=None, max_length=20)
    created_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    claim: str | None = Field(default=None, max_length=32, index=True)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    error_code: str | None = Field(default=None, max_length=40)
