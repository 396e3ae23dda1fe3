"""Flags: what teachers are to look at."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from app.conversations.safety.findings import Category, Severity
from app.database import UtcDateTime, text_enum, utc_now


class FlagState(StrEnum):
    """Whether a teacher has dealt with it."""

    OPEN = "open"
    RESOLVED = "resolved"


class Source(StrEnum):
    """Where that stands which teachers are to look at.

    ``text``: in the message itself; ``replaced``: in an attempt at it before the last; ``withheld``: in what a model
    wrote and no student was shown; ``reason``: in what a student wrote about a reply that they dislike.
    """

    TEXT = "text"
    REPLACED = "replaced"
    WITHHELD = "withheld"
    REASON = "reason"


class Flag(SQLModel, table=True):
    """A message that teachers are to look at, once for each source and category of what was found. Trials have none.

    What was found stands from ``excerpt_start`` to before ``excerpt_end`` in the text that ``source`` names: one of the
    message's own, or a copy in ``withheld`` or in ``reason``. ``resolved_by_id``, ``resolved_at`` and ``note`` are of
    the last decision.
    """

    __tablename__ = "flags"
    __table_args__ = (UniqueConstraint("message_id", "category", "source"),)

    id: int = Field(default=None, primary_key=True)
    message_id: int = Field(foreign_key="messages.id")
    conversation_id: int = Field(foreign_key="conversations.id", index=True)
    category: Category = Field(sa_type=text_enum(Category))
    source: Source = Field(default=Source.TEXT, sa_type=text_enum(Source))
    severity: Severity = Field(sa_type=text_enum(Severity))
    excerpt_start: int = 0
    excerpt_end: int = 0
    withheld: str | None = Field(default=None, sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    workflow_state: FlagState = Field(default=FlagState.OPEN, sa_type=text_enum(FlagState))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    resolved_by_id: int | None = Field(default=None, foreign_key="users.id")
    resolved_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    note: str = Field(default="", sa_type=Text)

    @property
    def is_open(self) -> bool:
        """True until a teacher has resolved it."""
        return self.workflow_state is FlagState.OPEN
