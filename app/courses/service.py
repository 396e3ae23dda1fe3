"""People and courses, written down as launches tell of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, func, literal
from sqlmodel import Session, col, select

from app.courses.models import Course, Enrollment, EnrollmentState, Role, User
from app.database import bring_up_to_date, upsert, utc_now, write_into


@dataclass(frozen=True, slots=True)
class Visit:
    """Who came into which course as what. None where the platform did not say."""

    sub: str
    context_id: str
    role: Role
    is_teaching_assistant: bool = False
    is_test: bool = False
    is_administrator: bool = False
    name: str | None = None
    avatar_url: str | None = None
    canvas_user_id: str | None = None
    canvas_course_id: str | None = None
    course_title: str | None = None
    course_label: str | None = None
    course_history: tuple[str, ...] = ()
    claimed_history: tuple[str, ...] = ()


TakeOver = Callable[[Session, int, int, Visit], bool]


def record_visit(
    session: Session,
    platform_id: int,
    deployment_id: int,
    visit: Visit,
    *,
    take_over: TakeOver | None = None,
) -> Enrollment:
    """Write down person, course and enrollment. The role is the visit's; what it leaves blank stays as it was.

    ``deployment_id`` is the one that the course belongs to. One query for somebody who has been here before.
    ``take_over`` is called first, where the visit tells a Canvas id that was not known of the person or the course; it
    says whether it has changed anything.
    """
    course, user, enrollment = _find(session, platform_id, deployment_id, visit)
    if (
        take_over is not None
        and _tells_new_id(visit, course, user)
        and take_over(session, platform_id, deployment_id, visit)
    ):
        course, user, enrollment = _find(session, platform_id, deployment_id, visit)
    course_fields, user_fields, place = _course_fields(visit), _user_fields(visit), _enrollment_fields(visit)
    if course is None:
        course = upsert(
            session,
            Course,
            key={"deployment_id": deployment_id, "context_id": visit.context_id},
            values={"platform_id": platform_id, **course_fields},
        )
    if user is None:
        user = upsert(session, User, key={"platform_id": platform_id, "sub": visit.sub}, values=user_fields)
    bring_up_to_date(course, course_fields)
    bring_up_to_date(user, user_fields)
    if enrollment is None:
        enrollment = upsert(
            session,
            Enrollment,
            key={"course_id": course.id, "user_id": user.merged_into_id or user.id},
            values=place,
        )
    else:
        # Changed or not: a class list may have written it since it was read.
        write_into(session, enrollment, place)
    return enrollment


# A course, a person, and their place there, each None where it is not known. Built once: each launch asks it.
_ONE_ROW = select(literal(1).label("one")).subquery()
_FOUND = (
    select(Course, User, Enrollment)
    .select_from(_ONE_ROW)
    .outerjoin(
        Course,
        and_(
            col(Course.deployment_id) == bindparam("deployment_id"),
            col(Course.context_id) == bindparam("context_id"),
        ),
    )
    .outerjoin(
        User,
        and_(col(User.platform_id) == bindparam("platform_id"), col(User.sub) == bindparam("sub")),
    )
    .outerjoin(
        Enrollment,
        and_(
            col(Enrollment.course_id) == Course.id,
            col(Enrollment.user_id) == func.coalesce(User.merged_into_id, User.id),
        ),
    )
)


def _find(
    session: Session, platform_id: int, deployment_id: int, visit: Visit
) -> tuple[Course | None, User | None, Enrollment | None]:
    wanted = {
        "deployment_id": deployment_id,
        "context_id": visit.context_id,
        "platform_id": platform_id,
        "sub": visit.sub,
    }
    course, user, enrollment = session.execute(_FOUND, wanted).one()
    return course, user, enrollment


def _tells_new_id(visit: Visit, course: Course | None, user: User | None) -> bool:
    known = (course and course.canvas_course_id, user and user.canvas_user_id)
    told = (visit.canvas_course_id, visit.canvas_user_id)
    return any(new is not None and new != old for new, old in zip(told, known, strict=True))


def _course_fields(visit: Visit) -> dict[str, Any]:
    return _known(
        canvas_course_id=visit.canvas_course_id,
        title=visit.course_title,
        label=visit.course_label,
        history=list(visit.course_history) or None,
        claimed_history=list(visit.claimed_history) or None,
    )


def _user_fields(visit: Visit) -> dict[str, Any]:
    return _known(canvas_user_id=visit.canvas_user_id, name=visit.name, avatar_url=visit.avatar_url)


def _enrollment_fields(visit: Visit) -> dict[str, Any]:
    return {
        "role": visit.role,
        "is_teaching_assistant": visit.is_teaching_assistant,
        "is_test": visit.is_test,
        "is_administrator": visit.is_administrator,
        "workflow_state": EnrollmentState.ACTIVE,
        "last_launch_at": utc_now(),
    }


def _known(**values: object) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
