"""What people think of the persona's replies: a like, or a dislike with a reason."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from flask_babel import lazy_gettext as _l
from sqlalchemy import Text, UniqueConstraint, delete
from sqlmodel import Field, Session, SQLModel, col, select

from app.conversations.models import Conversation, Message, MessageState, Notice
from app.conversations.safety.findings import Finding, fit_around, self_harm_in
from app.conversations.safety.flags import notice_for, raise_flags
from app.conversations.safety.safety import current_safety
from app.conversations.service import LOOKED_AT, read_text, reply_for
from app.database import UtcDateTime, text_enum, upsert, utc_now
from app.errors import ConflictError, FieldError, InvalidInputError, NotFoundError
from app.identity import Identity
from app.llm.interface import Speaker

MAX_FEEDBACK = 1_000


class Vote(StrEnum):
    """What somebody thinks of a reply, in Canvas's words."""

    LIKED = "liked"
    DISLIKED = "disliked"


class MessageFeedback(SQLModel, table=True):
    """One person's vote on a reply, with their reason where they gave one.

    ``notice`` is what the tool itself says to them about the reason.
    """

    __tablename__ = "message_feedback"
    __table_args__ = (UniqueConstraint("message_id", "user_id"),)

    id: int = Field(default=None, primary_key=True)
    message_id: int = Field(foreign_key="messages.id")
    user_id: int = Field(foreign_key="users.id")
    vote: Vote = Field(sa_type=text_enum(Vote))
    feedback_message: str = Field(default="", sa_type=Text)
    notice: Notice | None = Field(default=None, sa_type=text_enum(Notice))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


@dataclass(frozen=True, slots=True)
class _Heard:
    """What is stored of what somebody thinks of a reply, and what was found in their reason."""

    vote: Vote
    reason: str
    findings: Sequence[Finding]


class ReplyNotCompleteError(ConflictError):
    """Feedback on a reply that is not there yet, or never came."""

    code = "reply_not_complete"
    message = _l("There is no whole reply here that could be liked or disliked.")


def give_feedback(
    session: Session,
    identity: Identity,
    conversation: Conversation,
    message_id: int,
    vote: object,
    *,
    feedback_message: object = "",
) -> MessageFeedback:
    """Store what the person thinks of a reply in a conversation of their own; it replaces what they thought before.

    ``vote`` and the reason, ``feedback_message``, are as they came from outside. The reason is looked at as a message
    is: who writes of harming themselves finds help, and teachers are told. Raises `NotFoundError` for what is no reply
    and, unless the reason speaks of self-harm (`_hear`), `InvalidInputError` for a vote that is none or a reason that
    is no text or over 1,000 characters, and `ReplyNotCompleteError`.
    """
    _require_own(identity, conversation)
    reply = reply_for(session, conversation, message_id)
    heard = _hear(reply, vote, feedback_message)
    raise_flags(session, reply.id, heard.findings, reason=heard.reason)
    return upsert(
        session,
        MessageFeedback,
        key={"message_id": reply.id, "user_id": identity.user.id},
        values={
            "vote": heard.vote,
            "feedback_message": heard.reason,
            "notice": notice_for(heard.findings),
            "updated_at": utc_now(),
        },
    )


def remove_feedback(
    session: Session, identity: Identity, conversation: Conversation, feedback_id: int
) -> None:
    """Take one's feedback back. Raises `NotFoundError` where there is none of that id, or it is another's."""
    replies = select(Message.id).where(Message.conversation_id == conversation.id)
    removed = session.scalars(
        delete(MessageFeedback)
        .where(
            col(MessageFeedback.id) == feedback_id,
            col(MessageFeedback.user_id) == identity.user.id,
            col(MessageFeedback.message_id).in_(replies),
        )
        .returning(col(MessageFeedback.id))
    ).one_or_none()
    if removed is None:
        raise NotFoundError(log=f"feedback {feedback_id}")


def withdraw_feedback(
    session: Session, identity: Identity, conversation: Conversation, message_id: int
) -> None:
    """Think nothing of a reply any more, whatever was thought of it. Raises `NotFoundError` for what is no reply."""
    _require_own(identity, conversation)
    reply = reply_for(session, conversation, message_id)
    session.execute(
        delete(MessageFeedback).where(
            col(MessageFeedback.message_id) == reply.id, col(MessageFeedback.user_id) == identity.user.id
        )
    )


def feedback_of(session: Session, messages: Iterable[Message]) -> dict[int, MessageFeedback]:
    """Return what was thought of each reply in the conversations of these messages, by the reply's id. One query."""
    conversations = {message.conversation_id for message in messages}
    if not conversations:
        return {}
    found = session.exec(
        select(MessageFeedback)
        .join(Message, col(Message.id) == MessageFeedback.message_id)
        .where(col(Message.conversation_id).in_(conversations))
    )
    return {feedback.message_id: feedback for feedback in found}


def _require_own(identity: Identity, conversation: Conversation) -> None:
    if conversation.user_id != identity.user.id:
        raise NotFoundError(log=f"conversation {conversation.id}")


def _hear(reply: Message, vote: object, feedback_message: object) -> _Heard:
    """Take in what came from outside, or raise an `AppError`.

    A reason of self-harm is taken whatever stands against it, as much of it as fits; with a vote that is none it is a
    dislike's.
    """
    reason = read_text(feedback_message) if isinstance(feedback_message, str) else ""
    findings = current_safety().look_at(reason[:LOOKED_AT], Speaker.STUDENT)
    found = self_harm_in(findings)
    if found is not None:
        kept = Vote(str(vote)) if vote in list(Vote) else Vote.DISLIKED
        return _Heard(kept, *fit_around(found, reason, findings, MAX_FEEDBACK))
    _require_valid(vote, feedback_message, reason)
    if reply.state is not MessageState.COMPLETE:
        raise ReplyNotCompleteError(log=f"reply {reply.id} is {reply.state}")
    return _Heard(Vote(str(vote)), reason, findings)


def _require_valid(vote: object, feedback_message: object, reason: str) -> None:
    """Raise `InvalidInputError` where what came from outside cannot be kept as it is."""
    errors = {}
    if vote not in list(Vote):
        errors["vote"] = [FieldError("inclusion", "is not included in the list")]
    if not isinstance(feedback_message, str | None):
        errors["feedback_message"] = [FieldError("invalid", "must be text")]
    if len(reason) > MAX_FEEDBACK:
        too_long = f"is too long (maximum is {MAX_FEEDBACK} characters)"
        errors["feedback_message"] = [FieldError("too_long", too_long, MAX_FEEDBACK)]
    if errors:
        raise InvalidInputError(errors)
