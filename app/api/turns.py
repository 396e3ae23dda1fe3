"""The answer to a turn: the whole conversation once the reply is there, or the reply as it is written."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus

from flask import Response, request, stream_with_context
from flask_babel import lazy_gettext as _l
from sqlmodel import Session

from app.api.answers import json_response, to_json
from app.api.errors import error_json
from app.api.rendering import Json, messages_json, notice_text, progress_json
from app.conversations.failures import failure_of
from app.conversations.feedback import feedback_of
from app.conversations.models import Conversation, Message
from app.conversations.progress import progress_of
from app.conversations.running import moderations, replies
from app.conversations.service import may_be_retried, messages_of
from app.database import database
from app.errors import AppError


class ReplyFailedError(AppError):
    """The model did not answer, or not to the end. What the student wrote is kept."""

    status, code = 503, "reply_failed"
    retryable = True
    message = _l("The AI did not answer. Your message is saved; try again.")

    def __init__(self, reply: Message) -> None:
        failure = failure_of(reply)
        super().__init__(str(failure), log=f"reply {reply.id} {reply.error_code}")
        self.code = reply.error_code or reply.shown_state
        self.retryable = failure.retryable


def answer_turn(
    conversation: Conversation, reply: Message, status: HTTPStatus, *, message: Message | None = None
) -> Response:
    """Answer with the conversation when `reply` is written, or, if events are asked for, as it is being written.

    ``message`` is what it is a reply to.

    The request's session has been released: no connection is held meanwhile. Raises `ReplyFailedError`.
    """
    growing = replies().follow(reply.id)
    asked = request.accept_mimetypes.best_match(["application/json", "text/event-stream"])
    if asked == "text/event-stream":
        stream = stream_with_context(_events(conversation.id, reply.id, growing, message))
        return Response(stream, status, mimetype=asked, headers={"X-Accel-Buffering": "no"})
    _require_reply(conversation.id, _settled(growing))
    if message is not None:
        moderations().looked_at(message)
    return json_response(_stored_json(conversation.id), status)


def conversation_json(session: Session, conversation: Conversation) -> Json:
    """Render one's own conversation. Three queries."""
    messages = messages_of(session, conversation)
    return {
        "id": conversation.id,
        "workflow_state": conversation.workflow_state,
        "messages": messages_json(messages, feedback_of(session, messages)),
        "progress": progress_json(progress_of(session, [conversation])[conversation.id]),
    }


def _events(
    conversation_id: int,
    reply_id: int,
    growing: Iterable[str | Message | None],
    message: Message | None,
) -> Iterator[bytes]:
    """Yield ``reply`` (its id), ``text`` (a further piece), and ``done`` (the conversation) or ``error``.

    ``notice`` is what the tool itself says about the message: at once, or before the end.
    """
    yield _event("reply", {"id": reply_id})
    yield from _notice(message)
    for piece in growing:
        if piece is None:
            yield b": still there\n\n"
        elif isinstance(piece, str):
            yield _event("text", {"text": piece})
        else:
            if message is not None and not message.notice:
                yield from _notice(moderations().looked_at(message))
            yield _last_event(conversation_id, piece)


def _notice(message: Message | None) -> Iterator[bytes]:
    if message is not None and message.notice:
        yield _event("notice", {"id": message.id, "notice": notice_text(message)})


def _last_event(conversation_id: int, reply: Message) -> bytes:
    try:
        _require_reply(conversation_id, reply)
    except ReplyFailedError as error:
        return _event("error", error_json(error))
    return _event("done", _stored_json(conversation_id))


def _require_reply(conversation_id: int, reply: Message) -> None:
    """Raise `ReplyFailedError` for a reply that failed; one that nobody can try again is answered as it stands."""
    if not reply.cut_short or reply.stopped:
        return
    with database().snapshot() as session:
        if may_be_retried(session, session.get_one(Conversation, conversation_id), reply):
            raise ReplyFailedError(reply)


def _settled(growing: Iterable[str | Message | None]) -> Message:
    return next(piece for piece in growing if isinstance(piece, Message))


def _stored_json(conversation_id: int) -> Json:
    with database().snapshot() as session:
        return conversation_json(session, session.get_one(Conversation, conversation_id))


def _event(name: str, data: Json) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), to_json(data))
