"""Students' conversations, for their teachers."""

from dataclasses import asdict
from http import HTTPStatus

from flask import Response, request

from app.api.answers import json_response
from app.api.chat import CONVERSATION, own_conversation
from app.api.endpoints import endpoint
from app.api.paging import add_links, page_asked
from app.api.rendering import Json, messages_json, progress_json, student_json
from app.api.shapes import ClassConversations, Conversation, EvaluatedConversation, EvaluationQuery
from app.conversations.evaluation import evaluation_of
from app.conversations.feedback import feedback_of
from app.conversations.progress import progress_of
from app.conversations.running import evaluations
from app.database import release_request_session, request_session
from app.errors import ForbiddenError, NotFoundError
from app.experiences.service import get_experience
from app.identity import Identity, Right
from app.lti.services.running import fresh_roster
from app.review import service
from app.review.class_pages import ClassEntry, class_page

_CLASS = "/courses/:course_id/ai_experiences/:id/ai_conversations"
_REFUSALS = (HTTPStatus.FORBIDDEN,)


@endpoint("GET", _CLASS, ClassConversations, paginated=True, refusals=_REFUSALS)
def list_conversations(identity: Identity, experience_id: int) -> Response:
    """List the latest conversation of each student of the course, by the students' ids, and count the class.

    A class list that is older than five minutes is read from the platform, and waited for two seconds at most: of one
    that takes longer, those who are new to it come later. Of a class of a thousand or more, the counts may be two
    seconds old.
    """
    fresh_roster(identity)
    session, asked = request_session(), page_asked()
    experience = get_experience(session, identity, experience_id)
    page = class_page(session, identity, experience, limit=asked.size, offset=asked.offset)
    rows = [_entry_json(entry) for entry in page.entries]
    response = json_response({"conversations": rows, "snapshot": asdict(page.snapshot)})
    return add_links(response, asked, page.total)


@endpoint("GET", f"{_CLASS}/:conversation_id", Conversation, refusals=_REFUSALS)
def show_ai_conversation(identity: Identity, experience_id: int, conversation_id: int) -> Response:
    """Read a student's conversation with all its messages."""
    return json_response(_conversation_json(identity, experience_id, conversation_id))


@endpoint("GET", CONVERSATION, Conversation, refusals=_REFUSALS)
def show_conversation(identity: Identity, experience_id: int, conversation_id: int) -> Response:
    """Read a student's conversation with all its messages."""
    _require_reader(identity, experience_id, conversation_id)
    return json_response(_conversation_json(identity, experience_id, conversation_id))


@endpoint(
    "GET",
    f"{CONVERSATION}/evaluation",
    EvaluatedConversation,
    query=EvaluationQuery,
    refusals=(*_REFUSALS, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
)
def evaluate_conversation(identity: Identity, experience_id: int, conversation_id: int) -> Response:
    """Read what a model makes of a student's conversation, and have it made where it was not.

    `stale` says that the conversation has moved on since, or that a teacher has decided on an objective; `again=true`
    has it made anew. May take half a minute.
    """
    session = request_session()
    _require_reader(identity, experience_id, conversation_id)
    read = _transcript(identity, experience_id, conversation_id)
    evaluation = evaluation_of(session, read.conversation)
    if evaluation is None or request.args.get("again") == "true":
        release_request_session()
        evaluation = evaluations().evaluate(identity, conversation_id)
    return json_response(
        {
            "id": conversation_id,
            "evaluation": evaluation.result,
            "model": evaluation.model,
            "created_at": evaluation.created_at,
            "stale": evaluation.stale,
        }
    )


def _require_reader(identity: Identity, experience_id: int, conversation_id: int) -> None:
    """Refuse those who read no transcripts: what is not their own is not even there."""
    if not identity.may(Right.READ_TRANSCRIPTS):
        own_conversation(request_session(), identity, experience_id, conversation_id)
        raise ForbiddenError(log="a conversation of one's own, by the teachers' way")


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


def _entry_json(entry: ClassEntry) -> Json:
    return {
        "id": entry.conversation_id,
        "user_id": entry.student.id,
        "has_conversation": entry.conversation_id is not None,
        "workflow_state": entry.workflow_state,
        "all_objectives_met": entry.all_objectives_met,
        "created_at": entry.created_at,
        "updated_at": entry.updated_at,
        "student": student_json(entry.student),
    }
