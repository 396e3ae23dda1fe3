"""Who asks, and in which course: the bearer of a token, or the person of a launch."""

from collections.abc import Sequence
from datetime import timedelta

from flask import request
from flask_babel import lazy_gettext as _l
from sqlalchemy import and_, bindparam, exists, func, or_, select, update
from sqlmodel import Session, col

from app.api.errors import ScopeError, UnauthenticatedError
from app.api.oauth.models import AccessToken
from app.courses.models import ADMINISTERS, Course, Enrollment, EnrollmentState, Role, User
from app.database import database, utc_now
from app.errors import ConflictError, NotFoundError
from app.identity import Identity, Right
from app.lti.models import CourseServices, Deployment, Platform, RegistrationState
from app.lti.services.running import rosters
from app.lti.sessions import current_identity
from app.secret import hash_of

TOUCH_EVERY = timedelta(minutes=1)
# No class list says that somebody no longer administers the platform; that they come no more, their launches do.
ADMINISTERS_FOR = timedelta(days=30)
CONTEXT_MARK = "lti_context_id:"
_BEARER = "bearer "

Place = tuple[User, Course | None, Enrollment | None, CourseServices | None]
_Row = tuple[AccessToken, User, Course | None, Enrollment | None, CourseServices | None]


class AmbiguousCourseError(ConflictError):
    """A Canvas course id that several schools or installations of one registration use."""

    code = "ambiguous_course"
    message = _l(
        "Several courses have this id. Name the course by lti_context_id:…, or use a token of one deployment."
    )


def find_token(course_id: str) -> tuple[AccessToken, Sequence[Place]]:
    """Return the request's token and the courses that it may mean by `course_id`, each with the person's place in it
    and what the platform offers for it.

    Raises `UnauthenticatedError` without a token that is good.
    """
    with database().snapshot() as session:
        rows = _find(session, token_sent(), course_id)
    if not rows:
        raise UnauthenticatedError(log="token unknown, revoked or expired")
    token = rows[0][0]
    _touch(token)
    return token, [(user, course, place, services) for _token, user, course, place, services in rows]


def bearer_identity(token: AccessToken, places: Sequence[Place], scope: str) -> Identity:
    """Return who a token stands for in the course that is meant: of several, the only one in which its person is.

    A service is an administrator of the courses that it reaches; a person is what they are in the course now, for which
    the class list is read in the background where it is old. Raises `ScopeError` without the scope, `NotFoundError` for
    a course that the token does not reach, `AmbiguousCourseError`.
    """
    if token.scopes is not None and scope not in token.scopes:
        raise ScopeError(log=f"token {token.id} lacks {scope}")
    reached = [
        (user, course, place, services)
        for user, course, place, services in places
        if course and (place or token.is_service)
    ]
    if not reached:
        raise NotFoundError(log="a course that the token does not reach")
    if len(reached) > 1:
        raise AmbiguousCourseError(log=f"{len(reached)} courses")
    user, course, place, services = reached[0]
    if place is None:
        return Identity(user=user, course=course, role=Role.ADMINISTRATOR)
    identity = Identity.enrolled(user, course, place)
    if services is not None and identity.may(Right.WRITE_EXPERIENCES):
        rosters().begin(services)
    return identity


def launch_identity(course_id: str) -> Identity:
    """Return who the launch stands for, where the path names its course. Raises `NotFoundError`."""
    identity = current_identity()
    course = identity.course
    if course_id not in {course.canvas_course_id, f"{CONTEXT_MARK}{course.context_id}"}:
        raise NotFoundError(log="not the launch's course")
    return identity


def token_sent() -> str:
    """Return the token that the request carries (RFC 6750, section 2.1). Raises `UnauthenticatedError` without one."""
    header = request.headers.get("Authorization", "")
    if header[: len(_BEARER)].lower() != _BEARER:
        raise UnauthenticatedError(log="no bearer token")
    return header[len(_BEARER) :].strip()


_admitting_deployment = (
    exists()
    .where(
        func.coalesce(Deployment.home_id, Deployment.id) == Course.deployment_id,
        col(Deployment.workflow_state) == RegistrationState.ACTIVE,
    )
    .correlate(Course)
)
_named = or_(
    col(Course.canvas_course_id) == bindparam("canvas_course_id"),
    col(Course.context_id) == bindparam("context_id"),
)
# Built once: it is asked with every request. One row for each course that may be meant, one without any for none.
_TOKEN = (
    select(AccessToken, User, Course, Enrollment, CourseServices)
    .join(User, col(User.id) == AccessToken.user_id)
    .join(Platform, col(Platform.id) == AccessToken.platform_id)
    .outerjoin(
        Course,
        and_(
            _named,
            col(Course.platform_id) == AccessToken.platform_id,
            func.coalesce(AccessToken.deployment_id, Course.deployment_id) == Course.deployment_id,
            _admitting_deployment,
        ),
    )
    .outerjoin(
        Enrollment,
        and_(
            col(Enrollment.course_id) == Course.id,
            col(Enrollment.user_id) == User.id,
            col(Enrollment.workflow_state) == EnrollmentState.ACTIVE,
            or_(~ADMINISTERS, col(Enrollment.last_launch_at) > bindparam("administering_since")),
        ),
    )
    .outerjoin(CourseServices, col(CourseServices.course_id) == Course.id)
    .where(
        col(AccessToken.token_hash) == bindparam("token_hash"),
        col(AccessToken.revoked_at).is_(None),
        or_(col(AccessToken.expires_at).is_(None), col(AccessToken.expires_at) > bindparam("now")),
        col(Platform.workflow_state) == RegistrationState.ACTIVE,
    )
)


def _find(session: Session, token: str, course_id: str) -> Sequence[_Row]:
    is_context, now = course_id.startswith(CONTEXT_MARK), utc_now()
    rows = session.execute(
        _TOKEN,
        {
            "token_hash": hash_of(token),
            "canvas_course_id": None if is_context else course_id,
            "context_id": course_id.removeprefix(CONTEXT_MARK) if is_context else None,
            "now": now,
            "administering_since": now - ADMINISTERS_FOR,
        },
    )
    return [tuple(row) for row in rows]


def _touch(token: AccessToken) -> None:
    if token.last_used_at is None or utc_now() - token.last_used_at > TOUCH_EVERY:
        with database().transaction() as session:
            session.execute(
                update(AccessToken).where(col(AccessToken.id) == token.id).values(last_used_at=utc_now())
            )
