"""Counting a conversation as completed: once it is handed in, or has met every objective and goes on no more."""

from sqlmodel import Session

from app.conversations.models import Conversation, ConversationState
from app.lti.services import grades
from app.lti.services.grades import Work


def complete(session: Session, conversation: Conversation) -> None:
    """Let a conversation that is over count as completed, in the gradebook too unless it is a trial."""
    conversation.workflow_state = ConversationState.COMPLETED
    if not conversation.is_preview:
        grades.hand_in(session, Work(conversation.experience_id, conversation.user_id, conversation.id))
