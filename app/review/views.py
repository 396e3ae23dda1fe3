"""Pages for teachers: an experience with its class, and transcripts to read, to grade and to print."""

from http import HTTPStatus
from typing import Any, cast

from flask import current_app, flash, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response

from app.conversations.evaluation import desk_of
from app.conversations.judges import unjudged
from app.conversations.progress import overrule
from app.conversations.running import evaluations, judges
from app.conversations.standing import attempts_of
from app.database import release_request_session, request_session
from app.errors import BadRequestError
from app.experiences.service import get_experience
from app.identity import Identity, Right
from app.llm.demo import demo_now
from app.lti.services import grades
from app.lti.services.owed import Owed
from app.lti.services.running import fresh_roster, rosters
from app.lti.sessions import current_identity, launch_blueprint
from app.review import service
from app.review.flags import open_flags_by_student
from app.review.forms import GradeForm, grade_form
from app.web import row_id

blueprint = launch_blueprint("review", __name__)


@blueprint.get("/experiences/<id:experience_id>")
def experience(experience_id: int) -> str:
    """An experience as its writers see it, with the class for those who may read transcripts."""
    identity = current_identity()
    identity.require(Right.WRITE_EXPERIENCES)
    if not identity.may(Right.READ_TRANSCRIPTS):
        found = get_experience(request_session(), identity, experience_id)
        return _show_experience(experience=found)
    return _show_experience(**_fresh_class(identity, experience_id))


@blueprint.get("/experiences/<id:experience_id>/class")
def class_list(experience_id: int) -> str:
    """The class alone, for a page that waits for it."""
    identity = current_identity()
    identity.require(Right.READ_TRANSCRIPTS)
    return render_template("review/_class.html", **_fresh_class(identity, experience_id))


@blueprint.post("/experiences/<id:experience_id>/class")
def update_class(experience_id: int) -> Response:
    """Have the class list read from the platform."""
    identity = current_identity()
    identity.require(Right.READ_TRANSCRIPTS)
    if not rosters().update(identity.course.id):
        flash(gettext("The class list was read a moment ago, or is being read."), "info")
    return redirect(url_for(".experience", experience_id=experience_id), code=303)


@blueprint.get("/conversations/<id:conversation_id>/transcript")
def transcript(conversation_id: int) -> str:
    """One conversation, with times, what it shows, and the grade for it. What was not judged yet, is."""
    read = service.transcript(request_session(), current_identity(), conversation_id)
    judges().catch_up(request_session(), read.conversation, read.messages)
    return _show_transcript(read, None)


@blueprint.post("/conversations/<id:conversation_id>/objectives/<int:position>")
def decide(conversation_id: int, position: int) -> Response:
    """Let a teacher decide whether an objective is covered, whatever the judge said."""
    session, identity = request_session(), current_identity()
    read = service.transcript(session, identity, conversation_id)
    covered = {"1": True, "0": False}.get(request.form.get("covered", ""))
    if covered is None:
        raise BadRequestError(log="neither covered nor not")
    overrule(session, identity, read.conversation, position, covered=covered)
    return redirect(url_for(".transcript", conversation_id=conversation_id, _anchor="progress"), 303)


@blueprint.get("/conversations/<id:conversation_id>/evaluation")
def evaluation(conversation_id: int) -> str:
    """The evaluation alone, for a page that waits for it."""
    read = service.transcript(request_session(), current_identity(), conversation_id)
    return render_template("review/_evaluation.html", transcript=read, **_evaluated(read))


@blueprint.post("/conversations/<id:conversation_id>/evaluation")
def evaluate(conversation_id: int) -> Response:
    """Have the conversation evaluated, or evaluated again; the page shows it when it is there."""
    identity = current_identity()
    service.transcript(request_session(), identity, conversation_id)
    release_request_session()
    evaluations().begin(identity, conversation_id)
    return redirect(url_for(".transcript", conversation_id=conversation_id, _anchor="evaluation"), 303)


@blueprint.post("/conversations/<id:conversation_id>/grade")
def grade(conversation_id: int) -> Response | tuple[str, int]:
    """Send a grade to the gradebook; with mistakes, the form comes back as it was typed."""
    session, identity = request_session(), current_identity()
    read = service.transcript(session, identity, conversation_id)
    identity.require(Right.GRADE)
    form = GradeForm()  # type: ignore[no-untyped-call]
    if not form.validate():  # type: ignore[no-untyped-call]
        return _show_transcript(read, form), HTTPStatus.BAD_REQUEST
    try:
        grades.give_grade(session, identity, read.work, form.grade, seen=form.seen_score())
    except grades.GradedMeanwhileError:
        return _show_transcript(read, form, graded_meanwhile=True), HTTPStatus.CONFLICT
    return _on_its_way(conversation_id)


@blueprint.post("/conversations/<id:conversation_id>/grade/retry")
def send_grade_again(conversation_id: int) -> Response:
    """Try again to send what the gradebook did not take."""
    session, identity = request_session(), current_identity()
    read = service.transcript(session, identity, conversation_id)
    grades.send_again(session, identity, read.work)
    return _on_its_way(conversation_id)


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


def _show_experience(**shown: Any) -> str:  # noqa: ANN401 - what the template takes
    columns = grades.columns_of(request_session(), shown["experience"].id)
    return render_template("review/experience.html", columns=columns, **shown)


def _fresh_class(identity: Identity, experience_id: int) -> dict[str, Any]:
    roster = fresh_roster(identity)
    session = request_session()
    found = get_experience(session, identity, experience_id)
    return {
        "experience": found,
        "roster": roster,
        "roster_error": gettext(roster.error) if roster.error else None,
        "class_list": service.class_of(session, identity, found),
        "flagged": open_flags_by_student(session, found),
    }


def _evaluated(read: service.Transcript) -> dict[str, Any]:
    return {
        "desk": desk_of(request_session(), read.conversation),
        "evaluated_by": demo_now(evaluations().status()),
    }


def _show_transcript(
    read: service.Transcript, form: GradeForm | None, *, graded_meanwhile: bool = False
) -> str:
    session, identity = request_session(), current_identity()
    standing = grades.standing_of(session, identity, read.work)
    if form is None:
        form = grade_form(standing)
    else:
        form.keep_to_column(standing)
    if graded_meanwhile:
        form.show(standing)
    return render_template(
        "review/transcript.html",
        transcript=read,
        came_from=read.flag(request.args.get("flag", type=row_id)),
        attempts=attempts_of(session, read.experience.id, read.student.id, is_preview=False),
        standing=standing,
        form=form,
        graded_meanwhile=graded_meanwhile,
        unjudged=bool(unjudged(read.conversation, read.messages)),
        may_overrule=identity.may(Right.GRADE),
        judged_by=read.progress.demo or demo_now(judges().status()),
        **_evaluated(read),
    )


def _on_its_way(conversation_id: int) -> Response:
    release_request_session()
    cast(Owed, current_app.extensions["owed"]).wake()
    return redirect(url_for(".transcript", conversation_id=conversation_id, _anchor="grade-status"), 303)
