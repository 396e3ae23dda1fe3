"""Opening what a link names: an experience embedded in the course, or somebody's work from the gradebook."""

from flask import flash, redirect, request, url_for
from flask_babel import gettext
from sqlmodel import Session, col, select
from werkzeug.wrappers import Response

from app.conversations.models import Conversation, ConversationState
from app.conversations.service import conversation_for
from app.courses.models import User
from app.database import request_session
from app.errors import NotFoundError
from app.experiences.course_copy import linked_experience
from app.identity import Identity, Right
from app.lti.models import LineItem
from app.lti.sessions import current_identity, launch_blueprint
from app.lti.tool import parse_target
from app.review.service import transcript

blueprint = launch_blueprint("opening", __name__)


@blueprint.get("/open")
def open_target() -> Response:
    """Go to the page of the experience, conversation or submission that the launch names."""
    db, identity = request_session(), current_identity()
    if "person" in request.args:
        line_item_url = request.args.get("line_item", "")
        return redirect(_submission_page(db, identity, request.args["person"], line_item_url))
    target = parse_target(request.url)
    if target.conversation_id is not None:
        return redirect(_conversation_page(db, identity, target.conversation_id))
    return redirect(_experience_page(db, identity, target.experience_id or 0))


def _experience_page(db: Session, identity: Identity, experience_id: int) -> str:
    experience = linked_experience(db, identity, experience_id)
    page = "review.experience" if identity.may(Right.WRITE_EXPERIENCES) else "conversations.show"
    return url_for(page, experience_id=experience.id)


def _conversation_page(db: Session, identity: Identity, conversation_id: int) -> str:
    """Return the transcript for those who may read it, their own conversation for everyone else."""
    if identity.may(Right.READ_TRANSCRIPTS):
        read = transcript(db, identity, conversation_id)
        return url_for("review.transcript", conversation_id=read.conversation.id)
    own = conversation_for(db, identity, conversation_id)
    return url_for("conversations.show", experience_id=own.experience_id)


def _submission_page(db: Session, identity: Identity, sub: str, line_item_url: str) -> str:
    """Return the page of somebody's work for a line item: the latest handed in, or else begun (Submission Review 1.0).

    Raises `NotFoundError`, also for those who may not even know whether there is any.
    """
    if not (sub.isprintable() and line_item_url.isprintable()):
        raise NotFoundError(log="a person or line item that no launch names")
    found = db.exec(
        select(LineItem, User)
        .join(User, col(User.platform_id) == identity.course.platform_id)
        .where(LineItem.course_id == identity.course.id, LineItem.url == line_item_url, User.sub == sub)
    ).first()
    if found is None:
        raise NotFoundError(log=f"no line item {line_item_url!r:.300} or no such person")
    line_item, person = found
    person_id = person.merged_into_id or person.id
    if person_id != identity.user.id and not identity.may(Right.READ_TRANSCRIPTS):
        raise NotFoundError(log=f"{identity.role} may not know of another's work")
    latest = db.exec(
        select(Conversation.id)
        .where(
            Conversation.experience_id == line_item.experience_id,
            Conversation.user_id == person_id,
            Conversation.workflow_state != ConversationState.ENDED,
            col(Conversation.is_preview).is_(False),
        )
        .order_by(
            (col(Conversation.workflow_state) == ConversationState.COMPLETED).desc(),
            col(Conversation.id).desc(),
        )
    ).first()
    if latest is not None:
        return _conversation_page(db, identity, latest)
    flash(gettext("This person has not begun the experience."), "info")
    return _experience_page(db, identity, line_item.experience_id)
