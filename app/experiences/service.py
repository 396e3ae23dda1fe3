"""What may be done with experiences. Every query goes through the identity's course."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from app.database import utc_now
from app.errors import ConflictError, ForbiddenError, InvalidInputError, NotFoundError
from app.experiences.models import MAX_TITLE, Experience, WorkflowState
from app.experiences.rules import NOT_INCLUDED, check_fields
from app.identity import Identity, Right


class ChangedMeanwhileError(ConflictError):
    """Saving over a change that the writer has not seen."""

    code = "changed_meanwhile"


class DeletedError(NotFoundError):
    """An experience that somebody has deleted, for those who could have."""

    code = "deleted"
    title = _l("This experience was deleted")
    message = _l("Links and assignments that open it open nothing any more. Remove them from the course.")


class NotPublishedError(ForbiddenError):
    """An experience that students do not see."""

    code = "not_published"
    title = _l("This experience is not published")
    message = _l("Your teacher has not published it, or has taken it back.")


class AlreadyStartedError(ConflictError):
    """Unpublishing what a student has begun."""

    code = "already_started"
    title = _l("This experience cannot be unpublished")
    message = _l("A student has already started this experience, so it stays published.")


# The experiences of a course that are in certain states, newest first. Built once; `visible_to` gives its parameters.
VISIBLE = (
    select(Experience)
    .where(
        col(Experience.course_id) == bindparam("course_id"),
        col(Experience.workflow_state).in_(bindparam("states", expanding=True)),
    )
    .order_by(col(Experience.id).desc())
)


def visible_to(identity: Identity, workflow_state: str | None = None) -> dict[str, Any]:
    """Say which experiences of the course somebody finds in lists: the parameters of `VISIBLE`.

    Those who write find all but the deleted, which they have to ask for; everyone else the published ones. Raises
    `InvalidInputError` for a `workflow_state` that there is not.
    """
    writes = identity.may(Right.WRITE_EXPERIENCES)
    states = set(WorkflowState) if writes else {WorkflowState.PUBLISHED}
    asked = set(WorkflowState) - {WorkflowState.DELETED}
    if workflow_state not in {None, ""}:
        asked = {state for state in WorkflowState if state == workflow_state}
    if not asked:
        raise InvalidInputError({"workflow_state": [NOT_INCLUDED]})
    return {"course_id": identity.course.id, "states": sorted(states & asked)}


def list_experiences(
    session: Session, identity: Identity, workflow_state: str | None = None
) -> Sequence[Experience]:
    """List the course's experiences that are `visible_to` somebody, newest first."""
    return session.exec(VISIBLE, params=visible_to(identity, workflow_state)).all()


def get_experience(
    session: Session, identity: Identity, experience_id: int, *, to_write: bool = False
) -> Experience:
    """Load one of the course's experiences.

    ``to_write`` locks it, as it is now, until the transaction ends; who locks a conversation too locks it after this.
    Raises `NotFoundError` where it is deleted (to those who write, `DeletedError`) or another course's,
    `ForbiddenError` where it is not published and the role may see published ones only.
    """
    query = select(Experience).where(
        Experience.id == experience_id, Experience.course_id == identity.course.id
    )
    if to_write:
        query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    experience = session.exec(query).first()
    if experience is None:
        raise NotFoundError(log=f"experience {experience_id}")
    if experience.workflow_state is WorkflowState.DELETED:
        error = DeletedError if identity.may(Right.WRITE_EXPERIENCES) else NotFoundError
        raise error(log=f"experience {experience_id} is deleted")
    if not experience.published and not identity.may(Right.WRITE_EXPERIENCES):
        raise NotPublishedError(log=f"experience {experience_id}")
    return experience


def create_experience(session: Session, identity: Identity, raw: Mapping[str, Any]) -> Experience:
    """Write a new experience from what was typed or sent, unpublished unless it says otherwise.

    Raises `InvalidInputError`.
    """
    identity.require(Right.WRITE_EXPERIENCES)
    experience = Experience(
        course_id=identity.course.id, created_by_id=identity.user.id, **check_fields(raw).as_columns()
    )
    session.add(experience)
    session.flush()
    return experience


def update_experience(
    session: Session,
    identity: Identity,
    experience_id: int,
    raw: Mapping[str, Any],
    *,
    seen: int | None = None,
) -> Experience:
    """Change an experience; what `raw` leaves out stays. Conversations under way keep it as it was when they began.

    A seeded experience loses its script, which would no longer fit. ``seen`` is the version that the writer knows.
    Raises `InvalidInputError`, and `ChangedMeanwhileError` where the experience has moved on.
    """
    experience = _writable(session, identity, experience_id)
    fields = check_fields(raw, experience)
    if seen is not None and seen != experience.version:
        raise ChangedMeanwhileError(log=f"experience {experience_id}")
    _set_state(experience, fields.workflow_state)
    changes = {
        name: value for name, value in fields.as_columns().items() if getattr(experience, name) != value
    }
    if changes:
        counted = {"version": experience.version + 1, "updated_at": utc_now()}
        experience.sqlmodel_update(changes | counted | {"script": None})
    return experience


def set_workflow_state(
    session: Session, identity: Identity, experience_id: int, state: WorkflowState
) -> Experience:
    """Let students see an experience, or hide it. Raises `AlreadyStartedError` once a student has begun it."""
    experience = _writable(session, identity, experience_id)
    if experience.stays_published and state is WorkflowState.UNPUBLISHED:
        raise AlreadyStartedError(log=f"experience {experience_id}")
    return _set_state(experience, state)


def mark_started(session: Session, identity: Identity, experience_id: int) -> None:
    """Note that a student begins an experience: from now on it stays published. Raises as `get_experience` does."""
    experience = get_experience(session, identity, experience_id, to_write=True)
    experience.started_at = experience.started_at or utc_now()


def delete_experience(session: Session, identity: Identity, experience_id: int) -> Experience:
    """Delete an experience for everyone in the course; its conversations are kept in the database."""
    return _set_state(_writable(session, identity, experience_id), WorkflowState.DELETED)


def duplicate_experience(session: Session, identity: Identity, experience_id: int) -> Experience:
    """Make an unpublished copy in the same course."""
    identity.require(Right.WRITE_EXPERIENCES)
    original = get_experience(session, identity, experience_id)
    title = gettext("%(title)s (copy)", title=original.title)
    if len(title) > MAX_TITLE:
        title = original.title
    copy = copy_for(identity, original, title=title, workflow_state=WorkflowState.UNPUBLISHED)
    session.add(copy)
    session.flush()
    return copy


def copy_for(identity: Identity, original: Experience, **changes: object) -> Experience:
    """Return a copy for the identity's course of what an experience says, without what has come of it."""
    copied = original.model_dump(
        exclude={"id", "version", "created_at", "updated_at", "started_at", "copied_from_id"}
    )
    copied |= {"course_id": identity.course.id, "created_by_id": identity.user.id} | changes
    return Experience(**copied)


def _writable(session: Session, identity: Identity, experience_id: int) -> Experience:
    identity.require(Right.WRITE_EXPERIENCES)
    return get_experience(session, identity, experience_id, to_write=True)


def _set_state(experience: Experience, state: WorkflowState) -> Experience:
    if experience.workflow_state is not state:
        experience.workflow_state, experience.updated_at = state, utc_now()
    return experience
