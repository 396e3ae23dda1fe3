"""Pages of the class of an experience, that cost the same however large the class is."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, func, select
from sqlmodel import Session, col

from app.conversations.models import Conversation, ConversationState
from app.conversations.tallies import Tally, class_size, tallies
from app.courses.models import IN_CLASS, Enrollment, User
from app.experiences.models import Experience
from app.identity import Identity, Right


class ListedStudent(NamedTuple):
    """A student in a list; the fields are those of `User`."""

    id: int
    sub: str
    name: str | None
    avatar_url: str | None
    canvas_user_id: str | None


class ClassEntry(NamedTuple):
    """A student with their latest conversation, whose fields are None for those who have begun none."""

    student: ListedStudent
    conversation_id: int | None
    workflow_state: ConversationState | None
    all_objectives_met: bool | None
    created_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How many students of the class stand where; who ended without having met every objective is in no count."""

    completed: int
    in_progress: int
    not_started: int
    total_objectives: int


@dataclass(frozen=True, slots=True)
class ClassPage:
    """A part of a class, how many students there are in all, and where all of them stand."""

    entries: list[ClassEntry]
    total: int
    snapshot: Snapshot


def class_page(
    session: Session, identity: Identity, experience: Experience, *, limit: int, offset: int
) -> ClassPage:
    """List a part of the students of the course, by their ids, with their latest conversation of any state.

    Three queries at most. Of a large class the counts may be two seconds old (`app.conversations.tallies`). Raises
    `ForbiddenError`.
    """
    identity.require(Right.READ_TRANSCRIPTS)
    course_id = identity.course.id
    asked = {"course_id": course_id, "experience_id": experience.id, "limit": limit, "offset": offset}
    rows = session.execute(_PAGE, asked)
    entries = [ClassEntry(ListedStudent._make(row[:_PERSON]), *row[_PERSON:]) for row in rows]
    size = class_size(session, course_id)
    tally = tallies(session, course_id, [experience.id])[experience.id]
    return ClassPage(entries, size, _snapshot(experience, size, tally))


def _snapshot(experience: Experience, size: int, tally: Tally) -> Snapshot:
    return Snapshot(
        completed=tally.completed,
        in_progress=tally.in_progress,
        not_started=max(0, size - tally.begun),
        total_objectives=len(experience.learning_objectives),
    )


_PERSON = len(ListedStudent._fields)
# The page first: what follows is looked up for its students alone, wherever in the list it is.
_students = (
    select(col(Enrollment.user_id))
    .where(col(Enrollment.course_id) == bindparam("course_id"), IN_CLASS)
    .order_by(col(Enrollment.user_id))
    .limit(bindparam("limit"))
    .offset(bindparam("offset"))
    .subquery()
)
_latest = (
    select(func.max(Conversation.id))
    .where(
        col(Conversation.experience_id) == bindparam("experience_id"),
        col(Conversation.user_id) == _students.c.user_id,
        col(Conversation.is_preview).is_(False),
    )
    .correlate(_students)
    .scalar_subquery()
)
_PAGE = (
    select(
        *(col(getattr(User, name)) for name in ListedStudent._fields),
        col(Conversation.id),
        *(col(getattr(Conversation, name)) for name in ClassEntry._fields[2:]),
    )
    .select_from(_students)
    .join(User, col(User.id) == _students.c.user_id)
    .outerjoin(Conversation, col(Conversation.id) == _latest)
    .order_by(_students.c.user_id)
)
