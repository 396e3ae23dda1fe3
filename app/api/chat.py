"""The student's own chat: the endpoints that Canvas keeps to itself, with their shapes."""

from http import HTTPStatus
from typing import Any
from uuid import uuid4

from flask import Response, request
from sqlmodel import Session

from app.api.answers import json_response
from app.api.bodies import read_body
from app.api.endpoints import endpoint
from app.api.rendering import feedback_json
from app.api.shapes import (
    FeedbackChanges,
    GivenFeedback,
    NewConversation,
    NewMessage,
    NoConversation,
    OwnConversation,
    Said,
    Success,
)
from app.api.turns import answer_turn, conversation_json
from app.conversations import service
from app.conversations.feedback import give_feedback, remove_feedback
from app.conversations.models import Conversation
from app.conversations.running import begin_turn, replies
from app.conversations.standing import latest_conversation
from app.database import release_request_session, request_session
from app.errors import NotFoundError
from app.experiences.service import get_experience
from app.identity import Identity

CONVERSATIONS = "/courses/:course_id/ai_experiences/:id/conversations"
CONVERSATION = f"{CONVERSATIONS}/:conversation_id"
_FEEDBACK = f"{CONVERSATION}/messages/:message_id/feedback"


@endpoint("GET", CONVERSATIONS, OwnConversation | NoConversation, refusals=(HTTPStatus.FORBIDDEN,))
def show_own_conversation(identity: Identity, experience_id: int) -> Response:
    """Read one's own active conversation, or `{}` where there is none.

    Teachers have trials of their own, which count nowhere.
    """
    session = request_session()
    identity.require_conversations()
    experience = get_experience(session, identity, experience_id)
    latest = latest_conversation(session, identity, experience)
    return json_response(conversation_json(session, latest) if latest and latest.active else {})


@endpoint(
    "POST",
    CONVERSATIONS,
    OwnConversation,
    status=HTTPStatus.CREATED,
    body=NewConversation,
    streams=True,
    refusals=(HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT, HTTPStatus.SERVICE_UNAVAILABLE),
)
def start_conversation(identity: Identity, experience_id: int) -> Response:
    """Begin a conversation; the persona speaks first. An active one is ended.

    Answers when the persona has spoken, or with `Accept: text/event-stream` while it speaks.
    """
    session, client_key = request_session(), _client_key(read_body())
    started = service.start_conversation(
        session, identity, experience_id, instead_of=None, client_key=client_key
    )
    opening = started.opening or service.messages_of(session, started.conversation)[0]
    if service.may_be_retried(session, started.conversation, opening):
        opening = service.retry_reply(session, started.conversation, opening.id).reply
        started = service.Start(started.conversation, opening)
    release_request_session()
    if started.opening is not None:
        replies().open(started.conversation, opening)
    return answer_turn(started.conversation, opening, HTTPStatus.CREATED)


@endpoint(
    "POST",
    f"{CONVERSATION}/messages",
    OwnConversation,
    body=NewMessage,
    streams=True,
    refusals=(
        HTTPStatus.FORBIDDEN,
        HTTPStatus.CONFLICT,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
def send_message(identity: Identity, experience_id: int, conversation_id: int) -> Response:
    """Send a message of at most 4,000 characters and wait for the reply.

    With `Accept: text/event-stream` the reply arrives as it is written. Sent again with the same client key, the
    message is not doubled: the same turn is answered, and a reply that failed is tried again unless the conversation
    has gone on or ended since. With another text: 409 `client_key_reused`. 409 `turn_in_progress` while another reply
    is being written. A message in which somebody writes of harming themselves is never refused; its reply waits.
    """
    fields = read_body()
    session, client_key = request_session(), _client_key(fields)
    conversation = own_conversation(session, identity, experience_id, conversation_id, to_write=True)
    text = fields.get("message")
    turn = service.send_message(
        session,
        conversation,
        text if isinstance(text, str) else "",
        uuid4().hex if client_key is None else client_key,
    )
    over = not turn.to_write and not turn.reply.stopped
    if over and service.may_be_retried(session, conversation, turn.reply):
        turn = service.retry_reply(session, conversation, turn.reply.id)
    release_request_session()
    begin_turn(conversation, turn)
    return answer_turn(conversation, turn.reply, HTTPStatus.OK, message=turn.message)


@endpoint("DELETE", CONVERSATION, Said, refusals=(HTTPStatus.FORBIDDEN,))
def end_conversation(identity: Identity, experience_id: int, conversation_id: int) -> Response:
    """End one's own conversation without handing it in. A reply that is being written is stopped."""
    session = request_session()
    service.end_conversation(
        session, own_conversation(session, identity, experience_id, conversation_id, to_write=True)
    )
    return json_response({"message": "Conversation ended successfully"})


@endpoint(
    "POST",
    _FEEDBACK,
    GivenFeedback,
    body=FeedbackChanges,
    refusals=(HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT),
)
def give_message_feedback(
    identity: Identity, experience_id: int, conversation_id: int, message_id: int
) -> Response:
    """Like or dislike a reply in one's own conversation. Given again, it replaces what was given before.

    A reason in which somebody writes of harming themselves is never refused: of one that is too long as much is kept as
    fits, and a `vote` that is missing or unknown counts as `disliked`.
    """
    session, fields = request_session(), read_body()
    feedback = give_feedback(
        session,
        identity,
        own_conversation(session, identity, experience_id, conversation_id),
        message_id,
        fields.get("vote"),
        feedback_message=fields.get("feedback_message"),
    )
    return json_response({"feedback": feedback_json(feedback)})


@endpoint("DELETE", f"{_FEEDBACK}/:feedback_id", Success, refusals=(HTTPStatus.FORBIDDEN,))
def remove_message_feedback(
    identity: Identity, experience_id: int, conversation_id: int, message_id: int, feedback_id: int
) -> Response:
    """Take one's feedback on a reply back."""
    session = request_session()
    conversation = own_conversation(session, identity, experience_id, conversation_id)
    service.reply_for(session, conversation, message_id)
    remove_feedback(session, identity, conversation, feedback_id)
    return json_response({"success": True})


def own_conversation(
    session: Session, identity: Identity, experience_id: int, conversation_id: int, *, to_write: bool = False
) -> Conversation:
    """Load one of the person's own conversations about an experience. Raises as `service.conversation_for`."""
    conversation = service.conversation_for(session, identity, conversation_id, to_write=to_write)
    if conversation.experience_id != experience_id:
        raise NotFoundError(log=f"conversation {conversation_id} is another experience's")
    return conversation


def _client_key(fields: dict[str, Any]) -> object:
    """Return the key as it came, from the body or else the header; None for none and for a blank one."""
    given = (fields.get("client_key"), request.headers.get("Idempotency-Key"))
    return next((key for key in given if key is not None and str(key).strip()), None)
