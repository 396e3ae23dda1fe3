"""The student's shelf, and the page on which a conversation is held."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, cast
from uuid import uuid4

import orjson
from flask import (
    Response,
    current_app,
    jsonify,
    make_response,
    redirect,
    render_template,
    request,
    stream_with_context,
    url_for,
)
from flask_babel import gettext
from werkzeug.wrappers import Response as BaseResponse

from app.conversations import service
from app.conversations.evaluation import evaluation_of
from app.conversations.failures import failure_of
from app.conversations.feedback import (
    MAX_FEEDBACK,
    MessageFeedback,
    feedback_of,
    give_feedback,
    withdraw_feedback,
)
from app.conversations.judges import unjudged
from app.conversations.models import Conversation, Message
from app.conversations.progress import progress_of
from app.conversations.running import begin_turn, judges, moderations, replies
from app.conversations.safety.safety import current_safety
from app.conversations.standing import attempts_of, latest_conversation, list_with_status
from app.database import release_request_session, request_session
from app.errors import wants_json
from app.experiences.models import Experience
from app.experiences.service import get_experience
from app.identity import Identity, Right
from app.llm.demo import demo_now
from app.llm.interface import ModelAdapter
from app.lti.services.owed import Owed
from app.lti.sessions import current_identity, launch_blueprint
from app.web import row_id

blueprint = launch_blueprint("conversations", __name__)

FEW_TURNS = 5  # messages left, from which on a student is told how many


@blueprint.get("/shelf")
def shelf() -> str:
    """The published experiences with the person's own status."""
    identity = current_identity()
    listed = list_with_status(request_session(), identity)
    return render_template(
        "conversations/shelf.html",
        identity=identity,
        listed=listed,
        may_converse=identity.may(Right.CONVERSE),
    )


@blueprint.get("/experiences/<id:experience_id>/conversation")
def show(experience_id: int) -> str:
    """The person's latest conversation about an experience, or the page to start one."""
    identity, session = current_identity(), request_session()
    experience = get_experience(session, identity, experience_id)
    return _show(identity, experience, latest_conversation(session, identity, experience))


@blueprint.get("/conversations/<id:conversation_id>")
def attempt(conversation_id: int) -> str:
    """One of the person's conversations: the latest about its experience, or one before it, to read."""
    identity, session = current_identity(), request_session()
    conversation = service.conversation_for(session, identity, conversation_id)
    experience = get_experience(session, identity, conversation.experience_id)
    return _show(identity, experience, conversation)


@blueprint.get("/conversations/<id:conversation_id>/state")
def state(conversation_id: int) -> BaseResponse | str:
    """What a page with an older ``version`` of the conversation puts in its place; 204 where there is none newer."""
    identity, session = current_identity(), request_session()
    conversation = service.conversation_for(session, identity, conversation_id)
    newest = service.newest_message(session, conversation)
    if request.args.get("version") == service.version_of(conversation, newest):
        return Response(status=HTTPStatus.NO_CONTENT)
    experience = get_experience(session, identity, conversation.experience_id)
    return render_template("conversations/_state.html", **_shown(identity, experience, conversation))


@blueprint.post("/experiences/<id:experience_id>/conversations")
def start(experience_id: int) -> BaseResponse:
    """Start, or start again; the old conversation is kept and ended."""
    session = request_session()
    seen = request.form.get("instead_of", 0, type=row_id)
    started = service.start_conversation(session, current_identity(), experience_id, instead_of=seen)
    release_request_session()
    if started.opening is not None:
        replies().open(started.conversation, started.opening)
    return redirect(url_for(".show", experience_id=experience_id), 303)


@blueprint.post("/conversations/<id:conversation_id>/messages")
def send(conversation_id: int) -> BaseResponse:
    """Send a message; the reply comes as server-sent events, or without JavaScript as a page once it is there."""
    session = request_session()
    conversation = service.conversation_for(session, current_identity(), conversation_id, to_write=True)
    turn = service.send_message(
        session,
        conversation,
        request.form.get("message", ""),
        request.form.get("client_key") or uuid4().hex,
        seen=request.form.get("seen", type=row_id),
    )
    release_request_session()
    begin_turn(conversation, turn)
    return _answer_with(conversation, turn.reply, turn.message)


@blueprint.post("/conversations/<id:conversation_id>/messages/<id:reply_id>/retry")
def retry(conversation_id: int, reply_id: int) -> BaseResponse:
    """Have a failed reply written again."""
    session = request_session()
    conversation = service.conversation_for(session, current_identity(), conversation_id, to_write=True)
    turn = service.retry_reply(session, conversation, reply_id)
    release_request_session()
    begin_turn(conversation, turn)
    return _answer_with(conversation, turn.reply, turn.message)


@blueprint.post("/conversations/<id:conversation_id>/messages/<id:reply_id>/stop")
def stop(conversation_id: int, reply_id: int) -> BaseResponse:
    """End a reply under way and keep what there is of it; the answer comes when that is stored."""
    session = request_session()
    conversation = service.conversation_for(session, current_identity(), conversation_id)
    reply = service.stop_reply(session, conversation, reply_id)
    release_request_session()
    replies().stop(reply.id)
    return _answer_with(conversation, reply)


@blueprint.post("/conversations/<id:conversation_id>/messages/<id:reply_id>/feedback")
def rate(conversation_id: int, reply_id: int) -> BaseResponse:
    """Like or dislike a reply, with a reason; without either, take back what was thought of it."""
    conversation = service.conversation_for(request_session(), current_identity(), conversation_id)
    given = _rate(conversation, reply_id)
    if wants_json():
        return jsonify(html=_feedback_html(conversation, reply_id, given))
    shown = url_for(".attempt", conversation_id=conversation_id, _anchor=f"message-{reply_id}")
    return redirect(shown, 303)


@blueprint.get("/conversations/<id:conversation_id>/messages/<id:reply_id>/events")
def events(conversation_id: int, reply_id: int) -> BaseResponse:
    """Go on reading a reply that is being written."""
    session = request_session()
    conversation = service.conversation_for(session, current_identity(), conversation_id)
    reply = service.reply_for(session, conversation, reply_id)
    message = service.message_before(session, reply)
    release_request_session()
    return _event_stream(conversation, reply, message)


@blueprint.post("/conversations/<id:conversation_id>/finish")
def finish(conversation_id: int) -> BaseResponse:
    """Hand the conversation in."""
    session = request_session()
    conversation = service.conversation_for(session, current_identity(), conversation_id, to_write=True)
    finished = service.finish_conversation(session, conversation)
    newest = service.newest_message(session, conversation)
    release_request_session()
    if finished:
        judges().begin_unpaid(conversation, newest.id)
        cast(Owed, current_app.extensions["owed"]).wake()
    return redirect(url_for(".show", experience_id=conversation.experience_id), 303)


def _show(identity: Identity, experience: Experience, conversation: Conversation | None) -> str:
    shown = _shown(identity, experience, conversation)
    if conversation is not None:
        judges().catch_up(request_session(), conversation, shown["messages"])
    return render_template(
        "conversations/show.html",
        experience=experience,
        scenario=conversation.scenario if conversation else None,
        model=cast(ModelAdapter, current_app.extensions["model"]).status(),
        max_message=service.MAX_MESSAGE,
        client_key=uuid4().hex,
        may_converse=identity.may_hold_conversations,
        may_write=identity.may(Right.WRITE_EXPERIENCES),
        is_preview=identity.converses_as_preview,
        **shown,
    )


def _shown(identity: Identity, experience: Experience, conversation: Conversation | None) -> dict[str, Any]:
    """Return what the templates take of a conversation as it stands."""
    session = request_session()
    counting = service.counting_of(session, identity, experience, conversation)
    attempts = attempts_of(session, experience.id, identity.user.id, is_preview=identity.converses_as_preview)
    if conversation is None:
        return {"conversation": None, "counting": counting, "attempts": attempts}
    messages = service.messages_of(session, conversation)
    progress = progress_of(session, [conversation])[conversation.id]
    return {
        "conversation": conversation,
        "progress": progress,
        "judged_by": progress.demo or demo_now(judges().status()),
        "evaluation": None if conversation.active else evaluation_of(session, conversation),
        "counting": counting,
        "attempts": attempts,
        "unjudged": bool(unjudged(conversation, messages)),
        "is_latest": conversation.active
        or latest_conversation(session, identity, experience) is conversation,
        "messages": messages,
        "feedback": feedback_of(session, messages),
        "max_feedback": MAX_FEEDBACK,
        "turns_left": service.turns_left(conversation, messages),
        "few_turns": FEW_TURNS,
        "version": service.version_of(conversation, messages[-1]),
        "persona": _persona_of(conversation),
        "failure": failure_of,
        "help": current_safety().help_message(),
    }


def _rate(conversation: Conversation, reply_id: int) -> MessageFeedback | None:
    session, identity = request_session(), current_identity()
    vote, reason = request.form.get("vote"), request.form.get("feedback_message")
    if not vote and not reason:
        withdraw_feedback(session, identity, conversation, reply_id)
        return None
    return give_feedback(session, identity, conversation, reply_id, vote, feedback_message=reason)


def _feedback_html(conversation: Conversation, reply_id: int, given: MessageFeedback | None) -> str:
    return render_template(
        "conversations/_feedback.html",
        conversation=conversation,
        message=service.reply_for(request_session(), conversation, reply_id),
        given=given,
        max_feedback=MAX_FEEDBACK,
        help=current_safety().help_message(),
    )


def _persona_of(conversation: Conversation) -> str:
    return conversation.scenario.get("persona_name") or gettext("AI persona")


def _answer_with(conversation: Conversation, reply: Message, message: Message | None = None) -> BaseResponse:
    if wants_json():
        return _event_stream(conversation, reply, message)
    for _ in replies().follow(reply.id):
        pass
    if message is not None:
        message = moderations().looked_at(message)
        if message.notice and not conversation.active:  # no page shows it any more
            return make_response(_help_page(conversation))
    return redirect(url_for(".show", experience_id=conversation.experience_id), 303)


def _help_page(conversation: Conversation) -> str:
    return render_template(
        "conversations/help.html",
        conversation=conversation,
        help=current_safety().help_message(),
        is_trial=conversation.is_preview,
    )


def _event_stream(conversation: Conversation, reply: Message, message: Message | None = None) -> Response:
    stream = stream_with_context(_events(conversation, reply, message))
    return Response(stream, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})


def _events(conversation: Conversation, reply: Message, message: Message | None) -> Iterator[bytes]:
    """Yield ``reply`` (its id and place in the page), ``text`` (a further piece), at last ``done`` (as it is stored).

    ``notice`` is what the tool itself says about `message`, to which it is a reply: at once, or before the end.
    No database connection is held meanwhile.
    """
    yield _event("reply", _as_event(conversation, reply))
    yield from _notice(conversation, message)
    for piece in replies().follow(reply.id):
        if piece is None:
            yield b": still there\n\n"
        elif isinstance(piece, str):
            yield _event("text", {"text": piece})
        else:
            if message is not None and not message.notice:
                yield from _notice(conversation, moderations().looked_at(message))
            yield _event("done", _as_event(conversation, piece))


def _notice(conversation: Conversation, message: Message | None) -> Iterator[bytes]:
    if message is not None and message.notice:
        html = render_template(
            "conversations/_help.html", help=current_safety().help_message(), is_trial=conversation.is_preview
        )
        yield _event("notice", {"message": message.id, "key": message.client_key, "html": html})


def _as_event(conversation: Conversation, reply: Message) -> dict[str, Any]:
    return {
        "id": reply.id,
        "state": reply.shown_state,
        "version": service.version_of(conversation, reply),
        "html": render_template(
            "conversations/_message.html",
            message=reply,
            newest=True,
            feedback={},
            max_feedback=MAX_FEEDBACK,
            conversation=conversation,
            persona=_persona_of(conversation),
            failure=failure_of,
        ),
    }


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))
