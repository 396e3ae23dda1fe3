"""Pages on which teachers write and everyone finds experiences."""

from http import HTTPStatus

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response

from app.database import request_session
from app.errors import InvalidInputError
from app.experiences import service
from app.experiences.forms import ExperienceForm, form_for
from app.experiences.rules import check_fields
from app.identity import Right
from app.lti.sessions import current_identity, launch_blueprint

blueprint = launch_blueprint("experiences", __name__)


@blueprint.get("/experiences")
def index() -> str | Response:
    """The course's experiences: the desk of those who write; everyone else has a shelf."""
    identity = current_identity()
    if not identity.may(Right.WRITE_EXPERIENCES):
        return redirect(url_for("conversations.shelf"))
    experiences = service.list_experiences(request_session(), identity)
    return render_template("experiences/index.html", experiences=experiences, identity=identity)


@blueprint.get("/experiences/new")
def new() -> str:
    """An empty form."""
    current_identity().require(Right.WRITE_EXPERIENCES)
    return render_template("experiences/edit.html", form=form_for(), experience=None)


@blueprint.post("/experiences")
def create() -> Response | tuple[str, int]:
    """Write a new experience; with mistakes, the form comes back as it was typed."""
    identity = current_identity()
    identity.require(Right.WRITE_EXPERIENCES)
    form = form_for()
    if "add_objective" in request.form:
        return _show_again(form, None)
    try:
        experience = service.create_experience(request_session(), identity, check_fields(form.fields()))
    except InvalidInputError as error:
        form.show_errors(error)
        return _show_again(form, None)
    return _saved(experience.id)


@blueprint.get("/experiences/<id:experience_id>/edit")
def edit(experience_id: int) -> str:
    """The form of an experience."""
    identity = current_identity()
    identity.require(Right.WRITE_EXPERIENCES)
    experience = service.get_experience(request_session(), identity, experience_id)
    return render_template("experiences/edit.html", form=form_for(experience), experience=experience)


@blueprint.post("/experiences/<id:experience_id>")
def update(experience_id: int) -> Response | tuple[str, int]:
    """Change an experience; with mistakes, the form comes back as it was typed."""
    identity, session = current_identity(), request_session()
    identity.require(Right.WRITE_EXPERIENCES)
    form = form_for()
    try:
        if "add_objective" not in request.form:
            fields = check_fields(form.fields())
            service.update_experience(session, identity, experience_id, fields, seen=form.seen_version())
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
    service.publish(request_session(), current_identity(), experience_id)
    flash(gettext("Published. Students see it now."), "success")
    return redirect(url_for("review.experience", experience_id=experience_id), 303)


@blueprint.post("/experiences/<id:experience_id>/unpublish")
def unpublish(experience_id: int) -> Response:
    """Hide it from students."""
    service.unpublish(request_session(), current_identity(), experience_id)
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


def _saved(experience_id: int | None) -> Response:
    flash(gettext("Saved."), "success")
    return redirect(url_for("review.experience", experience_id=experience_id), 303)


def _show_again(
    form: ExperienceForm, experience_id: int | None, *, changed_meanwhile: bool = False
) -> tuple[str, int]:
    identity = current_identity()
    experience = service.get_experience(request_session(), identity, experience_id) if experience_id else None
    page = render_template(
        "experiences/edit.html", form=form, experience=experience, changed_meanwhile=changed_meanwhile
    )
    if changed_meanwhile:
        return page, HTTPStatus.CONFLICT
    return page, HTTPStatus.BAD_REQUEST if form.errors else HTTPStatus.OK
