"""The page of a course's flags, for teachers."""

from enum import StrEnum
from typing import Any, TypeVar

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response

from app.conversations.safety.findings import Category
from app.conversations.safety.models import FlagState
from app.database import request_session
from app.identity import Right
from app.lti.sessions import current_identity, launch_blueprint
from app.review import flags
from app.review.flags import FlagFilter
from app.web import row_id

blueprint = launch_blueprint("flags", __name__)

ANY = "any"
_Choice = TypeVar("_Choice", bound=StrEnum)


@blueprint.get("/flags")
def index() -> str:
    """The course's flags, the open ones unless others are asked for."""
    wanted = _wanted()
    shown = flags.flags_page(
        request_session(), current_identity(), wanted, request.args.get("page", 1, type=int)
    )
    return render_template(
        "review/flags.html",
        shown=shown,
        wanted=wanted,
        filters=_as_query(wanted),
        categories=category_names(),
        max_note=flags.MAX_NOTE,
    )


@blueprint.post("/flags/<id:flag_id>/resolve")
def resolve(flag_id: int) -> Response:
    """Note that a flag was dealt with."""
    flags.resolve_flag(request_session(), current_identity(), flag_id, request.form.get("note", ""))
    flash(gettext("The flag is resolved."), "success")
    return redirect(url_for(".index", **_as_query(_wanted())), 303)


@blueprint.post("/flags/<id:flag_id>/reopen")
def reopen(flag_id: int) -> Response:
    """Open a flag again."""
    flags.reopen_flag(request_session(), current_identity(), flag_id)
    flash(gettext("The flag is open again."), "success")
    return redirect(url_for(".index", **_as_query(_wanted())), 303)


@blueprint.app_context_processor
def helpers() -> dict[str, Any]:
    """Let the teacher's pages tell what is open, and what flags are called."""
    return {"open_flags": _open_flags, "category_names": category_names}


def category_names() -> dict[Category, str]:
    """Return what people call the categories."""
    return {
        Category.SELF_HARM: gettext("Self-harm"),
        Category.VIOLENCE: gettext("Violence"),
        Category.ABUSE: gettext("Abuse"),
        Category.RECITAL: gettext("The AI recited its instructions"),
    }


def _open_flags() -> int | None:
    """Count the course's open flags; None for somebody who may not know of any."""
    identity = current_identity()
    if not identity.may(Right.READ_TRANSCRIPTS):
        return None
    return flags.open_flags(request_session(), identity)


def _wanted() -> FlagFilter:
    """Read the filter of the address; what makes no sense counts as not given."""
    state = request.args.get("state", FlagState.OPEN)
    return FlagFilter(
        state=None if state == ANY else _one_of(FlagState, state) or FlagState.OPEN,
        category=_one_of(Category, request.args.get("category", "")),
        experience_id=request.args.get("experience", type=row_id),
        student_id=request.args.get("student", type=row_id),
    )


def _as_query(wanted: FlagFilter) -> dict[str, Any]:
    return {
        "state": wanted.state or ANY,
        "category": wanted.category,
        "experience": wanted.experience_id,
        "student": wanted.student_id,
    }


def _one_of(choices: type[_Choice], name: str) -> _Choice | None:
    return choices(name) if name in list(choices) else None
