"""Students' conversations, for their teachers."""

from http import HTTPStatus

from flask import Response

from app.api.answers import json_response
from app.api.chat import CONVERSATION
from app.api.endpoints import endpoint
from app.api.rendering import Json, messages_json, progress_json, student_json
from app.api.shapes import Conversation
from app.conversations.feedback import feedback_of
from app.conversations.progress import progress_of
from app.database import request_session
from app.errors import NotFoundError
from app.identity import Identity
from app.review import service

_CLASS = "/courses/:course_id/ai_experiences/:id/ai_conversations"
_REFUSALS = (HTTPStatus.FORBIDDEN,)


@endpoint("GET", f"{_CLASS}/:conversation_id", Conversation, refusals=_REFUSALS)
def show_ai_conversation(identity: Identity, experience_id: int, conversation_id: int) -> Response:
    """Read a student's conversation with all its messages."""
    return json_response(_conversation_json(identity, experience_id, conversation_id))


@endpoint("GET", CONVERSATION, Conversation, refusals=_REFUSALS)
def show_conversation(identity: Identity, experience_id: int, conversation_id: int) -> Response:
    """Read a student's conversation with all its messages."""
    return json_response(_conversation_json(identity, experience_id, conversation_id))


def _transcript(identity: Identity, experience_id: int, conversation_id: int) -> service.Transcript:
    read = service.transcript(request_session(), identity, conversation_id)
    if read.experience.id != experience_id:
        raise NotFoundError(log=f"conversation {conversation_id} is another experience's")
    return read


def _conversation_json(identity: Identity, experience_id: int, conversation_id: int) -> Json:
    session, read = request_session(), _transcript(identity, experience_id, conversation_id)
    conversation = read.conversation
    return {
        "id": conversation.id,
        "user_id": conversation.user_id,
        "workflow_state": conversation.workflow_state,
        "all_objectives_met": conversation.all_objectives_met,
        "created_at": conversation.created_at,
        "updated_at": conversation.updated_at,
        "student": student_json(read.student),
        "messages": messages_json(read.messages, feedback_of(session, read.messages)),
        "progress": progress_json(progress_of(session, [conversation])[conversation.id]),
    }
