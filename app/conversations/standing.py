"""Where somebody stands with the experiences of a course: by their latest conversation about each, trials apart."""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func
from sqlmodel import Session, col, select

from app.conversations.models import Conversation, ConversationState
from app.experiences.models import Experience, WorkflowState
from app.identity import Identity


class Status(StrEnum):
    """Where a student stands with an experience, in Canvas's words."""

    NOT_STARTED = "not_started"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"


class OnShelf(NamedTuple):
    """A published experience as students find it, and where one of them stands with it."""

    id: int
    title: str
    description: str
    status: Status


# The latest conversation of somebody about each experience.
_LATEST_OWN = (
    select(func.max(Conversation.id).label("id"), Conversation.experience_id)
    .where(
        Conversation.user_id == bindparam("user_id"),
        Conversation.is_preview == bindparam("is_preview"),
        Conversation.workflow_state != ConversationState.ENDED,
    )
    .group_by(col(Conversation.experience_id))
)
_LATEST = _LATEST_OWN.subquery()
_SHELF = (
    select(Experience.id, Experience.title, Experience.description)
    .add_columns(col(Conversation.workflow_state), col(Conversation.all_objectives_met))
    .outerjoin(_LATEST, _LATEST.c.experience_id == Experience.id)
    .outerjoin(Conversation, col(Conversation.id) == _LATEST.c.id)
    .where(
        col(Experience.course_id) == bindparam("course_id"),
        col(Experience.workflow_state) == WorkflowState.PUBLISHED,
    )
    .order_by(col(Experience.id).desc())
)


def list_with_status(session: Session, identity: Identity) -> list[OnShelf]:
    """List the course's published experiences with the person's own status, newest first. One query."""
    rows = session.execute(_SHELF, own(identity) | {"course_id": identity.course.id})
    return [
        OnShelf(experience_id, title, description, _status_in(state, all_met=all_met))
        for experience_id, title, description, state, all_met in rows
    ]


def own_statuses(session: Session, identity: Identity, experience_ids: Collection[int]) -> dict[int, Status]:
    """Tell where the person stands with each experience. One query."""
    latest = _LATEST_OWN.where(col(Conversation.experience_id).in_(experience_ids)).subquery()
    rows = session.exec(
        select(Conversation.experience_id, Conversation.workflow_state, Conversation.all_objectives_met).join(
            latest, latest.c.id == Conversation.id
        ),
        params=own(identity),
    )
    begun = {experience_id: _status_in(state, all_met=all_met) for experience_id, state, all_met in rows}
    return {each: begun.get(each, Status.NOT_STARTED) for each in experience_ids}


def status_of(latest: Conversation | None) -> Status:
    """Tell where somebody stands whose latest conversation this is.

    As in Canvas, who has handed it in or met every objective has completed it; who has met them may still go on.
    """
    if latest is None:
        return Status.NOT_STARTED
    return _status_in(latest.workflow_state, all_met=latest.all_objectives_met)


def latest_conversation(session: Session, identity: Identity, experience: Experience) -> Conversation | None:
    """Find the person's latest conversation about an experience, trials apart from real ones."""
    latest = _LATEST_OWN.where(col(Conversation.experience_id) == experience.id).subquery()
    query = select(Conversation).join(latest, latest.c.id == Conversation.id)
    return session.exec(query, params=own(identity)).first()


def attempts_of(session: Session, experience_id: int, user_id: int, *, is_preview: bool) -> Sequence[int]:
    """List the ids of all that somebody has begun about an experience, trials or real ones, oldest first."""
    chosen = select(Conversation.id).where(
        Conversation.experience_id == experience_id,
        Conversation.user_id == user_id,
        Conversation.is_preview == is_preview,
    )
    return session.exec(chosen.order_by(col(Conversation.id))).all()


def own(identity: Identity) -> dict[str, Any]:
    """Return the parameters of a query about somebody's own conversations: trials apart from real ones."""
    return {"user_id": identity.user.id, "is_preview": identity.converses_as_preview}


def _status_in(state: str | None, *, all_met: bool) -> Status:
    if state is None:
        return Status.NOT_STARTED
    return Status.COMPLETED if all_met or state == ConversationState.COMPLETED else Status.IN_PROGRESS
