"""Courses and people written down by a command ahead of the platform, and taken over when it sends them.

A launch takes over what stands for a Canvas id only where the platform vouches for that id: `app.lti.claims`.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, exists, or_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased
from sqlmodel import Session, SQLModel, col, select

from app.courses.ahead import placeholder_id
from app.courses.models import Course, Enrollment, EnrollmentState, Role, User
from app.courses.service import Visit
from app.database import upsert
from app.experiences.models import Experience
from app.lti.models import (
    CourseServices,
    Deployment,
    Launch,
    LineItem,
    Platform,
    RegistrationState,
    Score,
)
from app.lti.registration.platforms import PlatformConfigError, known_deployment
from app.lti.setup.people import make_one
from app.usage.budgets import PARTS
from app.usage.models import CourseBudget, CourseTokens

# All that refers to a course, besides enrollments and tokens that were used.
_BELONGINGS: tuple[tuple[type[SQLModel], Any], ...] = (
    (Experience, Experience.course_id),
    (LineItem, LineItem.course_id),
    (Score, Score.course_id),
    (Launch, Launch.course_id),
)
_ONE_A_COURSE: tuple[type[CourseServices] | type[CourseBudget], ...] = (CourseServices, CourseBudget)


def deployment_for(
    session: Session, platform: Platform, deployment_id: str | None, canvas_course_id: str
) -> Deployment:
    """Return the deployment that is named, or the one that has the course, or the only one that there is.

    Raises `PlatformConfigError` where it is not active, or cannot be told.
    """
    active = _active_deployments(session, platform)
    if deployment_id is not None:
        wanted = known_deployment(session, platform.id, deployment_id)
        if wanted.id not in {deployment.id for deployment in active}:
            raise PlatformConfigError(f"Deployment {deployment_id} may not launch the tool.")
        return wanted
    by_home = {deployment.courses_of: deployment for deployment in active}
    homes = set(by_home)
    if len(homes) > 1:
        known = select(Course.deployment_id).filter_by(
            platform_id=platform.id, canvas_course_id=canvas_course_id
        )
        having_it = session.exec(known).all()
        homes &= set(having_it)
    if len(homes) != 1:
        raise PlatformConfigError(
            "The platform has several deployments: say which one the course is in, by --deployment-id."
            if by_home
            else "The platform has no deployment that may launch the tool."
        )
    return by_home[homes.pop()]


def expect_person(
    session: Session,
    deployment: Deployment,
    *,
    canvas_course_id: str,
    canvas_user_id: str,
    role: Role,
) -> Enrollment:
    """Return somebody's place in a course, both by their Canvas ids, made where the platform has not sent them yet.

    Raises `PlatformConfigError` where they are in the course as something else.
    """
    course = _course(session, deployment, canvas_course_id)
    user = _user(session, deployment, course, canvas_user_id)
    place = session.exec(
        select(Enrollment).where(
            Enrollment.course_id == course.id,
            Enrollment.user_id == user.id,
            Enrollment.workflow_state == EnrollmentState.ACTIVE,
        )
    ).first()
    if place is None:
        return upsert(
            session,
            Enrollment,
            key={"course_id": course.id, "user_id": user.id},
            values={"role": role, "workflow_state": EnrollmentState.ACTIVE},
        )
    if place.role is not role:
        raise PlatformConfigError(
            f"User {canvas_user_id} is in course {canvas_course_id} as {place.role}, not {role}. "
            "That stays until the platform says otherwise."
        )
    return place


def take_over(session: Session, platform_id: int, deployment_id: int, visit: Visit) -> bool:
    """Make what stands for the Canvas ids of a visit the course and the person that the platform means by them.

    False where nothing does, which one query tells.
    """
    if not _is_expected(session, platform_id, deployment_id, visit):
        return False
    if visit.canvas_course_id is not None:
        _take_over_course(session, deployment_id, visit.canvas_course_id, visit.context_id)
    if visit.canvas_user_id is not None:
        _take_over_person(session, platform_id, deployment_id, visit.canvas_user_id, visit.sub)
    return True


# Whether a course or a person has been written down ahead. Built once: each first launch asks it.
_EXPECTED = select(
    or_(
        exists().where(
            col(Course.deployment_id) == bindparam("deployment_id"),
            col(Course.context_id) == bindparam("context_id"),
        ),
        exists().where(col(User.platform_id) == bindparam("platform_id"), col(User.sub) == bindparam("sub")),
    )
)


def _is_expected(session: Session, platform_id: int, deployment_id: int, visit: Visit) -> bool:
    course, person = visit.canvas_course_id, visit.canvas_user_id
    asked = {
        "platform_id": platform_id,
        "deployment_id": deployment_id,
        "context_id": None if course is None else placeholder_id(deployment_id, course),
        "sub": None if person is None else placeholder_id(deployment_id, person),
    }
    return bool(session.exec(_EXPECTED, params=asked).one())


def _active_deployments(session: Session, platform: Platform) -> Sequence[Deployment]:
    return session.exec(
        select(Deployment)
        .where(Deployment.platform_id == platform.id, Deployment.workflow_state == RegistrationState.ACTIVE)
        .order_by(col(Deployment.id).desc())
    ).all()


def _course(session: Session, deployment: Deployment, canvas_course_id: str) -> Course:
    home = deployment.courses_of
    known = session.exec(
        select(Course)
        .where(Course.deployment_id == home, Course.canvas_course_id == canvas_course_id)
        .order_by(col(Course.id).desc())
    ).first()
    return known or upsert(
        session,
        Course,
        key={"deployment_id": home, "context_id": placeholder_id(home, canvas_course_id)},
        values={"platform_id": deployment.platform_id, "canvas_course_id": canvas_course_id},
    )


def _user(session: Session, deployment: Deployment, course: Course, canvas_user_id: str) -> User:
    """Return a person who is in a course of the deployment: schools that share a client have people with equal ids."""
    home = deployment.courses_of
    known = session.exec(
        select(User)
        .join(Enrollment, col(Enrollment.user_id) == User.id)
        .join(Course, col(Course.id) == Enrollment.course_id)
        .where(
            User.platform_id == deployment.platform_id,
            User.canvas_user_id == canvas_user_id,
            col(User.merged_into_id).is_(None),
            Course.deployment_id == home,
        )
        .order_by((col(Course.id) == course.id).desc(), col(User.id).desc())
    ).first()
    return known or upsert(
        session,
        User,
        key={"platform_id": deployment.platform_id, "sub": placeholder_id(home, canvas_user_id)},
        values={"canvas_user_id": canvas_user_id},
    )


def _take_over_course(session: Session, deployment_id: int, canvas_course_id: str, context_id: str) -> None:
    expected = session.exec(
        select(Course)
        .where(
            Course.deployment_id == deployment_id,
            Course.context_id == placeholder_id(deployment_id, canvas_course_id),
        )
        .with_for_update()
    ).first()
    if expected is None or _rename(session, expected, context_id=context_id):
        return
    sent = session.exec(select(Course).filter_by(deployment_id=deployment_id, context_id=context_id)).one()
    _merge_courses(session, sent, expected)


def _take_over_person(
    session: Session, platform_id: int, deployment_id: int, canvas_user_id: str, sub: str
) -> None:
    expected = session.exec(
        select(User)
        .where(
            User.platform_id == platform_id,
            User.sub == placeholder_id(deployment_id, canvas_user_id),
            col(User.merged_into_id).is_(None),
        )
        .with_for_update()
    ).first()
    if expected is None or _rename(session, expected, sub=sub):
        return
    sent = session.exec(select(User).filter_by(platform_id=platform_id, sub=sub)).one()
    kept = session.get_one(User, sent.merged_into_id) if sent.merged_into_id else sent
    make_one(session, kept, expected)
    session.flush()
    session.expire_all()


def _rename(session: Session, expected: Course | User, **names: str) -> bool:
    """Give a row the id that the platform has for it; False where another row has that already."""
    try:
        with session.begin_nested():
            expected.sqlmodel_update(names)
            session.flush()
    except IntegrityError:
        return False
    return True


def _merge_courses(session: Session, kept: Course, other: Course) -> None:
    """Give all that belongs to a course to another, and remove the first."""
    for model, course_id in _BELONGINGS:
        _move(session, model, course_id, kept, other)
    for model in _ONE_A_COURSE:
        has_own = exists().where(col(aliased(model).course_id) == kept.id)
        _move(session, model, model.course_id, kept, other, ~has_own)
    _merge_enrollments(session, kept, other)
    # Counts of one month stay apart: they are summed where they are read.
    session.execute(
        update(CourseTokens)
        .where(col(CourseTokens.course_id) == other.id)
        .values(course_id=kept.id, part=CourseTokens.part + PARTS * other.id)
    )
    session.flush()
    session.execute(delete(Course).where(col(Course.id) == other.id))
    session.expire_all()


def _merge_enrollments(session: Session, kept: Course, other: Course) -> None:
    """Move the places of those who are not in the other course; in it, the platform has said what they are."""
    already = aliased(Enrollment)
    _move(
        session,
        Enrollment,
        Enrollment.course_id,
        kept,
        other,
        ~exists().where(col(already.course_id) == kept.id, col(already.user_id) == Enrollment.user_id),
    )


def _move(
    session: Session,
    model: type[SQLModel],
    course_id: Any,  # noqa: ANN401 - SQLModel declares columns as what they hold
    kept: Course,
    other: Course,
    *unless: ColumnElement[bool],
) -> None:
    """Give a course's rows to another, as far as they fit; what does not is removed."""
    held = col(course_id) == other.id
    for statement in (
        update(model).where(held, *unless).values({course_id: kept.id}),
        delete(model).where(held),
    ):
        session.execute(statement.execution_options(synchronize_session=False))
