"""People and enrollments, brought in line with a platform's class list in few statements, however long it is."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, func, or_, update
from sqlmodel import Session, col, select

from app.courses.ahead import is_placeholder
from app.courses.models import ADMINISTERS, Course, Enrollment, EnrollmentState, Role, User
from app.database import insert_into, utc_now

BATCH = 500
LET_IN_LATELY = timedelta(days=1)
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class ListedPerson:
    """Somebody on a class list. None where it did not say; ``role`` is None for one that the tool has no word for."""

    sub: str
    role: Role | None
    is_teaching_assistant: bool = False
    is_test: bool = False
    name: str | None = None
    avatar_url: str | None = None


def record_people(
    session: Session, course: Course, people: Iterable[ListedPerson], *, as_of: datetime
) -> set[int]:
    """Write down people who are in a course by the platform's list, as it was `as_of`. Return their ids.

    Meant for a part of a list (`batches`) and a transaction of its own, so that nobody waits long. Names that
    the list leaves blank stay. A launch since `as_of` knows better than the list.
    """
    listed = {person.sub: person for person in people}
    user_ids = _record_users(session, course.platform_id, listed)
    places = {user_ids[sub]: person for sub, person in listed.items() if sub in user_ids}
    _record_enrollments(session, course, places, as_of)
    return set(places)


def mark_missing_as_left(
    session: Session, course: Course, present: Collection[int], *, as_of: datetime
) -> None:
    """Write down that all others than those `present` on the whole list have left; their work stays.

    No list names test users and administrators, nor by what stands for their id those who were written down ahead;
    and some leave out staff who may open the course all the same: whom the platform let in lately is still in. A launch
    since `as_of` knows better than the list.
    """
    may_leave = (
        select(Enrollment.user_id)
        .join(User, col(User.id) == Enrollment.user_id)
        .where(
            Enrollment.course_id == course.id,
            Enrollment.workflow_state == EnrollmentState.ACTIVE,
            col(Enrollment.is_test).is_(False),
            ~ADMINISTERS,
            or_(col(Enrollment.role) == Role.STUDENT, _not_launched_since(utc_now() - LET_IN_LATELY)),
            ~is_placeholder(col(User.sub)),
        )
    )
    gone = [user_id for user_id in session.exec(may_leave) if user_id not in present]
    for user_ids in batches(sorted(gone)):
        session.execute(
            update(Enrollment)
            .where(
                col(Enrollment.course_id) == course.id,
                col(Enrollment.user_id).in_(user_ids),
                _not_launched_since(as_of),
            )
            .values(workflow_state=EnrollmentState.LEFT)
            .execution_options(synchronize_session=False)
        )


def batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Yield items by 500, as many as one statement takes."""
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _record_users(session: Session, platform_id: int, listed: dict[str, ListedPerson]) -> dict[str, int]:
    """Add people and what is new of them. Return the id of each by ``sub``: for a merged one, of whom it stands for."""
    subs = sorted(listed)
    known = session.exec(select(User).where(User.platform_id == platform_id, col(User.sub).in_(subs))).all()
    by_sub = {user.sub: user for user in known}
    changed = [listed[sub] for sub in subs if _says_more(listed[sub], by_sub.get(sub))]
    ids = {user.sub: user.merged_into_id or user.id for user in known}
    return ids | _upsert_people(session, platform_id, changed)


def _says_more(person: ListedPerson, user: User | None) -> bool:
    if user is None:
        return person.role is not None
    return (person.name or user.name, person.avatar_url or user.avatar_url) != (user.name, user.avatar_url)


def _upsert_people(session: Session, platform_id: int, people: Sequence[ListedPerson]) -> dict[str, int]:
    if not people:
        return {}
    now = utc_now()
    rows = [
        {
            "platform_id": platform_id,
            "sub": person.sub,
            "name": person.name,
            "avatar_url": person.avatar_url,
            "created_at": now,
        }
        for person in people
    ]
    insert = insert_into(session, User)
    fresh = insert.excluded
    statement = insert.on_conflict_do_update(
        index_elements=["platform_id", "sub"],
        set_={
            "name": func.coalesce(fresh.name, User.name),
            "avatar_url": func.coalesce(fresh.avatar_url, User.avatar_url),
        },
    ).returning(User.sub, func.coalesce(User.merged_into_id, User.id).label("id"))
    return {row.sub: row.id for row in session.execute(statement, rows)}


def _record_enrollments(
    session: Session, course: Course, places: dict[int, ListedPerson], as_of: datetime
) -> None:
    found = session.exec(
        select(Enrollment)
        .where(Enrollment.course_id == course.id, col(Enrollment.user_id).in_(places))
        .execution_options(populate_existing=True)
    )
    known = {enrollment.user_id: enrollment for enrollment in found}
    changed = [
        _as_row(course, user_id, person)
        for user_id, person in sorted(places.items())
        if person.role is not None and _differs(person, known.get(user_id))
    ]
    if not changed:
        return
    insert = insert_into(session, Enrollment)
    fresh = insert.excluded
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["course_id", "user_id"],
            set_={
                "role": fresh.role,
                "is_teaching_assistant": fresh.is_teaching_assistant,
                "workflow_state": fresh.workflow_state,
            },
            where=_not_launched_since(as_of),
        ),
        changed,
    )


def _differs(person: ListedPerson, place: Enrollment | None) -> bool:
    if place is None:
        return True
    known = (place.role, place.is_teaching_assistant, place.workflow_state)
    return known != (person.role, person.is_teaching_assistant, EnrollmentState.ACTIVE)


def _as_row(course: Course, user_id: int, person: ListedPerson) -> dict[str, Any]:
    return {
        "course_id": course.id,
        "user_id": user_id,
        "role": person.role,
        "is_teaching_assistant": person.is_teaching_assistant,
        "is_test": person.is_test,
        "is_administrator": False,
        "workflow_state": EnrollmentState.ACTIVE,
    }


def _not_launched_since(moment: datetime) -> ColumnElement[bool]:
    return or_(col(Enrollment.last_launch_at).is_(None), col(Enrollment.last_launch_at) < moment)
