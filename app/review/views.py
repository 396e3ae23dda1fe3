"""Pages for teachers: an experience with its class, and transcripts to read and to print."""

from flask import render_template

from app.database import request_session
from app.experiences.service import get_experience
from app.identity import Right
from app.lti.sessions import current_identity, launch_blueprint
from app.review import service

blueprint = launch_blueprint("review", __name__)


@blueprint.get("/experiences/<id:experience_id>")
def experience(experience_id: int) -> str:
    """An experience as its writers see it, with the class for those who may read transcripts."""
    identity, session = current_identity(), request_session()
    identity.require(Right.WRITE_EXPERIENCES)
    found = get_experience(session, identity, experience_id)
    rows = service.class_of(session, identity, found) if identity.may(Right.READ_TRANSCRIPTS) else None
    return render_template(
        "review/experience.html",
        experience=found,
        rows=rows,
        counts=service.count_by_status(rows or []),
    )


@blueprint.get("/conversations/<id:conversation_id>/transcript")
def transcript(conversation_id: int) -> str:
    """One conversation, with times."""
    session = request_session()
    read = service.transcript(session, current_identity(), conversation_id)
    return render_template(
        "review/transcript.html", transcript=read, attempts=service.attempts_of(session, read)
    )


@blueprint.get("/experiences/<id:experience_id>/transcripts")
def transcripts(experience_id: int) -> str:
    """Every student's conversations on one page, to print."""
    identity, session = current_identity(), request_session()
    found = get_experience(session, identity, experience_id)
    return render_template(
        "review/transcripts.html",
        experience=found,
        transcripts=service.all_transcripts(session, identity, found),
    )
