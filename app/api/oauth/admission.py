"""Whose tokens count: programs and people whose platform, deployment and place in a course are still active."""

from typing import Any

from sqlalchemy import ColumnElement, exists, func
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from app.courses.models import Course, Enrollment, EnrollmentState
from app.lti.models import Deployment, Platform, RegistrationState


def admits(deployment_id: Any) -> ColumnElement[bool]:  # noqa: ANN401 - a column or a number
    """Return the condition that some active deployment opens the courses of the one that `deployment_id` names."""
    open_one = aliased(Deployment)
    return exists().where(
        func.coalesce(open_one.home_id, open_one.id) == deployment_id,
        col(open_one.workflow_state) == RegistrationState.ACTIVE,
    )


def is_admitted(session: Session, user_id: int, deployment_id: int) -> bool:
    """Tell whether a person has an active place in a course that an active deployment opens."""
    place = (
        select(Enrollment.id)
        .join(Course, col(Course.id) == Enrollment.course_id)
        .join(Platform, col(Platform.id) == Course.platform_id)
        .where(
            Enrollment.user_id == user_id,
            Enrollment.workflow_state == EnrollmentState.ACTIVE,
            Course.deployment_id == deployment_id,
            Platform.workflow_state == RegistrationState.ACTIVE,
            admits(deployment_id),
        )
    )
    return session.exec(place.limit(1)).first() is not None
