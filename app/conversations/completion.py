"""Counting a conversation as completed: once it is handed in, or has met every objective and goes on no more."""

from sqlmodel import Session, select

from app.conversations.models import Conversation, ConversationState
from app.lti.services import grades
from app.lti.services.grades import Work


def complete(session: Session, conversation: Conversation) -> None:
    """Let a conversation that is over count as completed.

    In the gradebook too, unless it is a trial, or the student has completed a later one.
    """
    conversation.workflow_state = ConversationState.COMPLETED
    if not conversation.is_preview and not _is_overtaken(session, conversation):
        grades.hand_in(session, Work(conversation.experience_id, conversation.user_id, conversation.id))


def _is_overtaken(session: Session, conversation: Conversation) -> bool:
    later = select(Conversation.id).where(
        Conversation.experience_id == conversation.experience_id,
        Conversation.user_id == conversation.user_id,
        Conversation.is_preview == conversation.is_preview,
        Conversation.id > conversation.id,
        Conversation.workflow_state == ConversationState.COMPLETED,
    )
    return session.exec(later.limit(1)).first() is not None
