"""People and enrollments, brought in line with a platform's class list in few statements, however long it is."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, func, or_, update
from sqlmodel import Session, col, select

from app.courses.models import Course, Enrollment, EnrollmentState, Role, User
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


def record_class_list(
    session: Session, course: Course, people: Iterable[ListedPerson], *, as_of: datetime, whole: bool
) -> None:
    """Write down who is in a course by the platform's list, as it was `as_of`.

    Those missing from a `whole` list have left, and their work stays. Names that it leaves blank stay too. A launch
    since `as_of` knows better than the list; a list does not name test users and the platform's administrators, so that
    only launches tell of them.
    """
    listed = {person.sub: person for person in people}
    user_ids = _record_people(session, course.platform_id, listed)
    places = {user_ids[sub]: person for sub, person in listed.items() if sub in user_ids}
    known = _enrollments(session, course)
    _record_enrollments(session, course, places, known, as_of)
    # A list without anybody says nothing: whoever asked for it is in the course.
    if whole and listed:
        gone = [user_id for user_id, place in known.items() if user_id not in places and _may_leave(place)]
        _mark_as_left(session, course, gone, as_of)


def _record_people(session: Session, platform_id: int, listed: dict[str, ListedPerson]) -> dict[str, int]:
    """Add people and what is new of them. Return the id of each by ``sub``: for a merged one, of whom it stands for."""
    ids: dict[str, int] = {}
    for subs in _batches(sorted(listed)):
        known = session.exec(
            select(User).where(User.platform_id == platform_id, col(User.sub).in_(subs))
        ).all()
        ids |= {user.sub: user.merged_into_id or user.id for user in known}
        by_sub = {user.sub: user for user in known}
        changed = [sub for sub in subs if _says_more(listed[sub], by_sub.get(sub))]
        ids |= _upsert_people(session, platform_id, [listed[sub] for sub in changed])
    return ids


def _says_more(person: ListedPerson, user: User | None) -> bool:
    if user is None:
        return person.role is not None
    return (person.name or user.name, person.avatar_url or user.avatar_url) != (user.name, user.avatar_url)


def _upsert_people(session: Session, platform_id: int, people: Sequence[ListedPerson]) -> dict[str, int]:
    if not people:
        return {}
    now = utc_now()
    insert = insert_into(session, User).values(
        [
            {
                "platform_id": platform_id,
                "sub": person.sub,
                "name": person.name,
                "avatar_url": person.avatar_url,
                "created_at": now,
            }
            for person in people
        ]
    )
    fresh = insert.excluded
    statement = insert.on_conflict_do_update(
        index_elements=["platform_id", "sub"],
        set_={
            "name": func.coalesce(fresh.name, User.name),
            "avatar_url": func.coalesce(fresh.avatar_url, User.avatar_url),
        },
    ).returning(User.sub, func.coalesce(User.merged_into_id, User.id).label("id"))
    return {row.sub: row.id for row in session.execute(statement)}


def _enrollments(session: Session, course: Course) -> dict[int, Enrollment]:
    found = session.exec(
        select(Enrollment).where(Enrollment.course_id == course.id).execution_options(populate_existing=True)
    )
    return {enrollment.user_id: enrollment for enrollment in found}


def _record_enrollments(
    session: Session,
    course: Course,
    places: dict[int, ListedPerson],
    known: dict[int, Enrollment],
    as_of: datetime,
) -> None:
    changed = [
        _as_row(course, user_id, person)
        for user_id, person in sorted(places.items())
        if person.role is not None and _differs(person, known.get(user_id))
    ]
    for rows in _batches(changed):
        insert = insert_into(session, Enrollment).values(rows)
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
            )
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


def _may_leave(place: Enrollment) -> bool:
    """Tell whether a list without somebody means that they left.

    No list names test users and administrators, and some leave out staff who may open the course all the same: whom
    the platform let in lately is still in.
    """
    if place.is_test or place.is_administrator or place.role is Role.ADMINISTRATOR:
        return False
    lately = place.last_launch_at is not None and utc_now() - place.last_launch_at < LET_IN_LATELY
    return place.workflow_state is EnrollmentState.ACTIVE and (place.role is Role.STUDENT or not lately)


def _mark_as_left(session: Session, course: Course, user_ids: list[int], as_of: datetime) -> None:
    for batch in _batches(sorted(user_ids)):
        session.execute(
            update(Enrollment)
            .where(
                col(Enrollment.course_id) == course.id,
                col(Enrollment.user_id).in_(batch),
                _not_launched_since(as_of),
            )
            .values(workflow_state=EnrollmentState.LEFT)
            .execution_options(synchronize_session=False)
        )


def _not_launched_since(moment: datetime) -> ColumnElement[bool]:
    return or_(col(Enrollment.last_launch_at).is_(None), col(Enrollment.last_launch_at) < moment)


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch
