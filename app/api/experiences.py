"""The published endpoints: experiences listed, read, written and deleted."""

from http import HTTPStatus
from typing import Any

from flask import Response, g, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.api.answers import json_response
from app.api.bodies import read_body
from app.api.endpoints import endpoint
from app.api.paging import add_links, page_asked
from app.api.rendering import Json, canvas_number
from app.api.shapes import (
    AiExperience,
    ExperienceChanges,
    ExperienceForm,
    ListedAiExperience,
    ListQuery,
    NewExperience,
    ShownAiExperience,
    ShownExperience,
    StudentExperience,
)
from app.conversations.lists import ListedExperience, list_page
from app.conversations.standing import latest_conversation, status_of
from app.database import request_session
from app.experiences import service
from app.experiences.models import Experience
from app.identity import Identity, Right

WRAPPER = "ai_experience"
REQUIRED = frozenset({"title", "learning_objective", "pedagogical_guidance"})
_EXPERIENCES = "/courses/:course_id/ai_experiences"
_EXPERIENCE = f"{_EXPERIENCES}/:id"
_SEEN_BY_ALL = (
    "id",
    "title",
    "description",
    "learning_objective",
    "learning_objectives",
    "evaluation_metrics",
    "workflow_state",
    "created_at",
    "updated_at",
)
_SEEN_BY_STUDENTS = (*_SEEN_BY_ALL, "submission_status")
_SEEN_BY_WRITERS = (
    *_SEEN_BY_ALL,
    "facts",
    "pedagogical_guidance",
    "persona_name",
    "opening_line",
    "max_turns",
)
_WRITERS_ONLY = (HTTPStatus.FORBIDDEN,)


@endpoint(
    "GET",
    _EXPERIENCES,
    list[ListedAiExperience] | list[StudentExperience],
    query=ListQuery,
    paginated=True,
    refusals=(HTTPStatus.BAD_REQUEST,),
)
def list_experiences(identity: Identity) -> Response:
    """List the course's experiences, newest first.

    Those who write get all but the deleted, which `workflow_state=deleted` lists; everyone else the published ones.
    """
    asked = page_asked()
    page = list_page(
        request_session(),
        identity,
        workflow_state=request.args.get("workflow_state"),
        limit=asked.size,
        offset=asked.offset,
    )
    if identity.may(Right.WRITE_EXPERIENCES):
        names = (*_SEEN_BY_WRITERS, "completed_count")
        rows = [_columns(identity, each, names) for each in page.entries]
    else:
        rows = [_student_columns(identity, each, _SEEN_BY_STUDENTS) for each in page.entries]
    return add_links(json_response(rows), asked, page.total)


@endpoint("GET", f"{_EXPERIENCES}/new", ExperienceForm, has_page=True, refusals=_WRITERS_ONLY)
def new_experience(identity: Identity) -> BaseResponse:
    """Read the fields of a new experience and their limits; a browser within a launch gets the form itself."""
    identity.require(Right.WRITE_EXPERIENCES)
    return _form(None, "experiences.new")


@endpoint("GET", _EXPERIENCE, ShownAiExperience | ShownExperience, refusals=(HTTPStatus.FORBIDDEN,))
def show_experience(identity: Identity, experience_id: int) -> Response:
    """Read an experience. One that is not published is for those who write."""
    session = request_session()
    experience = service.get_experience(session, identity, experience_id)
    if identity.may(Right.WRITE_EXPERIENCES):
        return json_response(written_json(identity, experience) | {"can_manage": True})
    status = status_of(latest_conversation(session, identity, experience))
    shown = _student_columns(identity, experience, _SEEN_BY_ALL)
    return json_response(shown | {"submission_status": status, "can_manage": False})


@endpoint("GET", f"{_EXPERIENCE}/edit", ExperienceForm, has_page=True, refusals=_WRITERS_ONLY)
def edit_experience(identity: Identity, experience_id: int) -> BaseResponse:
    """Read an experience with the fields that may be written and their limits.

    A browser within a launch gets the form itself.
    """
    identity.require(Right.WRITE_EXPERIENCES)
    experience = service.get_experience(request_session(), identity, experience_id)
    return _form(written_json(identity, experience), "experiences.edit", experience_id=experience_id)


@endpoint(
    "POST",
    _EXPERIENCES,
    AiExperience,
    status=HTTPStatus.CREATED,
    body=NewExperience,
    wrapper=WRAPPER,
    refusals=_WRITERS_ONLY,
)
def create_experience(identity: Identity) -> Response:
    """Write a new experience, unpublished unless `workflow_state` says otherwise."""
    session = request_session()
    experience = service.create_experience(session, identity, read_body(WRAPPER))
    return json_response(written_json(identity, experience), HTTPStatus.CREATED)


@endpoint(
    "PUT",
    _EXPERIENCE,
    AiExperience,
    body=ExperienceChanges,
    wrapper=WRAPPER,
    refusals=_WRITERS_ONLY,
)
def update_experience(identity: Identity, experience_id: int) -> Response:
    """Change an experience; fields that are left out stay. Conversations under way keep it as it was.

    With an error in one field, none is changed.
    """
    session = request_session()
    experience = service.update_experience(session, identity, experience_id, read_body(WRAPPER))
    return json_response(written_json(identity, experience))


@endpoint("DELETE", _EXPERIENCE, AiExperience, refusals=_WRITERS_ONLY)
def delete_experience(identity: Identity, experience_id: int) -> Response:
    """Delete an experience for everyone in the course. Its conversations are kept out of sight."""
    experience = service.delete_experience(request_session(), identity, experience_id)
    return json_response(written_json(identity, experience))


def written_json(identity: Identity, experience: Experience) -> Json:
    """Render an experience for those who write."""
    return _columns(identity, experience, _SEEN_BY_WRITERS)


def _columns(identity: Identity, experience: Experience | ListedExperience, names: tuple[str, ...]) -> Json:
    rendered = {name: getattr(experience, name) for name in names}
    return rendered | {"course_id": canvas_number(identity.course.canvas_course_id)}


def _student_columns(
    identity: Identity, experience: Experience | ListedExperience, names: tuple[str, ...]
) -> Json:
    """Render an experience with those metrics alone of which learners are shown what an evaluation says."""
    shown = [
        each for each in experience.evaluation_metrics if each["enabled"] and each["visible_to_learners"]
    ]
    return _columns(identity, experience, names) | {"evaluation_metrics": shown}


def _form(values: Json | None, page: str, **ids: Any) -> BaseResponse:  # noqa: ANN401 - the page's
    """Answer with the form's fields; a browser, which is within a launch, goes to the tool's own form."""
    asked = request.accept_mimetypes.best_match(["application/json", "text/html"])
    if asked == "text/html" and "launch" in g:
        return redirect(url_for(page, **ids))
    return json_response({"fields": FORM_FIELDS, "values": values})


def _form_field(name: str, schema: Json) -> Json:
    """Describe a field as its shape does."""
    kinds = schema.get("anyOf", [schema])
    limits = {key: kind[key] for kind in kinds for key in ("maxLength", "maxItems", "maximum") if key in kind}
    kind = "choice" if "enum" in schema else _FIELD_TYPES[kinds[0]["type"]]
    return {
        "name": name,
        "type": kind,
        "required": name in REQUIRED,
        "limit": next(iter(limits.values()), None),
        "choices": schema.get("enum"),
    }


_FIELD_TYPES = {"string": "text", "array": "list", "integer": "number"}
FORM_FIELDS = [
    _form_field(name, schema) for name, schema in ExperienceChanges.model_json_schema()["properties"].items()
]
