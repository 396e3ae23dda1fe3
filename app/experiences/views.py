"""Pages on which teachers write and everyone finds experiences."""

from http import HTTPStatus

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext, ngettext
from werkzeug.wrappers import Response

from app.database import request_session
from app.errors import InvalidInputError
from app.experiences import service
from app.experiences.course_copy import import_experiences, import_offers
from app.experiences.forms import ExperienceForm, form_for
from app.experiences.models import Experience, WorkflowState
from app.identity import Right
from app.lti.sessions import current_identity, current_launch, launch_blueprint
from app.web import row_id

blueprint = launch_blueprint("experiences", __name__)


@blueprint.get("/experiences")
def index() -> str | Response:
    """The course's experiences: the desk of those who write; everyone else has a shelf."""
    identity = current_identity()
    if not identity.may(Right.WRITE_EXPERIENCES):
        return redirect(url_for("conversations.shelf"))
    session = request_session()
    return render_template(
        "experiences/index.html",
        experiences=service.list_experiences(session, identity),
        identity=identity,
        offers=import_offers(session, identity),
        chooses=current_launch().deep_linking is not None,
    )


@blueprint.post("/experiences/import")
def import_from_course() -> Response:
    """Copy the experiences of a course that this one was copied from; go on to the one that somebody wanted."""
    source_id = request.form.get("source", 0, type=row_id)
    imported = import_experiences(request_session(), current_identity(), source_id)
    if imported:
        flash(ngettext("%(num)d experience imported.", "%(num)d experiences imported.", imported), "success")
    else:
        flash(gettext("There is nothing left to import."), "info")
    wanted = request.form.get("experience", type=row_id)
    return redirect(url_for("opening.open_target", experience=wanted) if wanted else _list_page(), 303)


@blueprint.get("/experiences/new")
def new() -> str:
    """An empty form."""
    current_identity().require(Right.WRITE_EXPERIENCES)
    return _form_page(form_for(), None)


@blueprint.post("/experiences")
def create() -> Response | tuple[str, int]:
    """Write a new experience; with mistakes, the form comes back as it was typed."""
    identity = current_identity()
    identity.require(Right.WRITE_EXPERIENCES)
    form = form_for()
    if form.asks_for_row():
        return _show_again(form, None)
    try:
        experience = service.create_experience(request_session(), identity, form.fields())
    except InvalidInputError as error:
        form.show_errors(error)
        return _show_again(form, None)
    if current_launch().deep_linking is None:
        return _saved(experience.id)
    flash(gettext("Saved. It is chosen below."), "success")
    return redirect(_list_page(chosen=experience.id), 303)


@blueprint.get("/experiences/<id:experience_id>/edit")
def edit(experience_id: int) -> str:
    """The form of an experience."""
    identity = current_identity()
    identity.require(Right.WRITE_EXPERIENCES)
    experience = service.get_experience(request_session(), identity, experience_id)
    return _form_page(form_for(experience), experience)


@blueprint.post("/experiences/<id:experience_id>")
def update(experience_id: int) -> Response | tuple[str, int]:
    """Change an experience; with mistakes, the form comes back as it was typed."""
    identity, session = current_identity(), request_session()
    identity.require(Right.WRITE_EXPERIENCES)
    form = form_for()
    try:
        if not form.asks_for_row():
            seen = form.seen_version()
            service.update_experience(session, identity, experience_id, form.fields(), seen=seen)
            return _saved(experience_id)
    except InvalidInputError as error:
        form.show_errors(error)
    except service.ChangedMeanwhileError:
        form.show(service.get_experience(session, identity, experience_id))
        return _show_again(form, experience_id, changed_meanwhile=True)
    return _show_again(form, experience_id)


@blueprint.post("/experiences/<id:experience_id>/publish")
def publish(experience_id: int) -> Response:
    """Let students see it."""
    _set_state(experience_id, WorkflowState.PUBLISHED)
    flash(gettext("Published. Students see it now."), "success")
    return redirect(url_for("review.experience", experience_id=experience_id), 303)


@blueprint.post("/experiences/<id:experience_id>/unpublish")
def unpublish(experience_id: int) -> Response:
    """Hide it from students."""
    _set_state(experience_id, WorkflowState.UNPUBLISHED)
    flash(gettext("Unpublished. Students no longer see it."), "success")
    return redirect(url_for("review.experience", experience_id=experience_id), 303)


@blueprint.post("/experiences/<id:experience_id>/duplicate")
def duplicate(experience_id: int) -> Response:
    """Copy it."""
    copy = service.duplicate_experience(request_session(), current_identity(), experience_id)
    flash(gettext("Copied. This is the copy; it is not published."), "success")
    return redirect(url_for(".edit", experience_id=copy.id), 303)


@blueprint.post("/experiences/<id:experience_id>/delete")
def delete(experience_id: int) -> Response:
    """Delete it."""
    experience = service.delete_experience(request_session(), current_identity(), experience_id)
    flash(gettext("“%(title)s” is deleted.", title=experience.title), "success")
    return redirect(url_for(".index"), 303)


def _set_state(experience_id: int, state: WorkflowState) -> None:
    service.set_workflow_state(request_session(), current_identity(), experience_id, state)


def _saved(experience_id: int | None) -> Response:
    flash(gettext("Saved."), "success")
    return redirect(url_for("review.experience", experience_id=experience_id), 303)


def _list_page(chosen: int | None = None) -> str:
    """Return the address of the list: in a deep linking launch the one to choose from."""
    if current_launch().deep_linking is None:
        return url_for(".index")
    return url_for("deep_linking.choose", chosen=chosen)


def _form_page(
    form: ExperienceForm, experience: Experience | None, *, changed_meanwhile: bool = False
) -> str:
    return render_template(
        "experiences/edit.html",
        form=form,
        experience=experience,
        changed_meanwhile=changed_meanwhile,
        list_page=_list_page(),
    )


def _show_again(
    form: ExperienceForm, experience_id: int | None, *, changed_meanwhile: bool = False
) -> tuple[str, int]:
    identity = current_identity()
    experience = service.get_experience(request_session(), identity, experience_id) if experience_id else None
    page = _form_page(form, experience, changed_meanwhile=changed_meanwhile)
    if changed_meanwhile:
        return page, HTTPStatus.CONFLICT
    return page, HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK
