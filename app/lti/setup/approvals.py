"""Deciding on pending deployments, by the administrators of the platform instance that they are of.

Schools may share a client (hosted Canvas): who administers one decides on none of another's. Where the platform does
not tell its instances apart (LTI Core 1.3, 5.4.2), nobody there decides on any deployment but their own.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, and_, func, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from app.courses.models import Course
from app.errors import ConflictError, NotFoundError
from app.identity import Identity, Right
from app.lti.models import Deployment, Launch, RegistrationState
from app.lti.registration.platforms import PlatformConfigError, approve_deployment, remove_deployment

logger = logging.getLogger(__name__)


class DecidedMeanwhileError(ConflictError):
    """Deciding on a deployment that waits no more."""

    code = "decided_meanwhile"
    message = _l("This deployment has been decided on meanwhile. Reload the page.")


class NotReplaceableError(ConflictError):
    """Giving a deployment the courses of another that it cannot have."""

    code = "not_replaceable"
    message = _l(
        "This deployment cannot open the other one's courses: it opens them already, or has courses of its own."
    )


@dataclass(frozen=True, slots=True)
class KnownDeployment:
    """A deployment that has been decided on, with how many courses it opens."""

    deployment: Deployment
    courses: int


@dataclass(frozen=True, slots=True)
class Approvals:
    """The deployments that wait, oldest first, and those whose courses one of them may take over."""

    pending: Sequence[Deployment]
    replaceable: Sequence[KnownDeployment]


def approvals_of(session: Session, identity: Identity, launch: Launch) -> Approvals:
    """List what is to be decided where the administrator's launch came from. One query. Raises `ForbiddenError`."""
    identity.require(Right.ADMINISTER_PLATFORM)
    courses_of = func.coalesce(Deployment.home_id, Deployment.id)
    found = session.exec(
        select(Deployment, func.count(col(Course.id)))
        .outerjoin(Course, col(Course.deployment_id) == courses_of)
        .where(_same_instance(launch))
        .group_by(col(Deployment.id))
        .order_by(col(Deployment.id))
    ).all()
    return Approvals(
        pending=[each for each, _courses in found if each.workflow_state is RegistrationState.PENDING],
        replaceable=[
            KnownDeployment(each, courses)
            for each, courses in found
            if each.workflow_state is not RegistrationState.PENDING and courses
        ],
    )


def approve(
    session: Session, identity: Identity, launch: Launch, deployment_id: int, replaces_id: int | None
) -> None:
    """Let a pending deployment's launches in; as one that replaces another, to that one's courses.

    Raises `ForbiddenError`, `NotFoundError`, `DecidedMeanwhileError` or `NotReplaceableError`.
    """
    deployment = _pending(session, identity, launch, deployment_id)
    replaced = _find(session, launch, replaces_id) if replaces_id is not None else None
    try:
        approve_deployment(session, deployment, replaced)
    except PlatformConfigError as error:
        raise NotReplaceableError(log=str(error)) from error
    logger.info("user %s approved deployment %s in place of %s", identity.user.id, deployment.id, replaces_id)


def refuse(session: Session, identity: Identity, launch: Launch, deployment_id: int) -> None:
    """Refuse a pending deployment's launches. Raises `ForbiddenError`, `NotFoundError` or `DecidedMeanwhileError`."""
    deployment = _pending(session, identity, launch, deployment_id)
    remove_deployment(deployment)
    logger.info("user %s refused deployment %s", identity.user.id, deployment.id)


def _pending(session: Session, identity: Identity, launch: Launch, deployment_id: int) -> Deployment:
    identity.require(Right.ADMINISTER_PLATFORM)
    deployment = _find(session, launch, deployment_id)
    if deployment.workflow_state is not RegistrationState.PENDING:
        raise DecidedMeanwhileError(log=f"deployment {deployment_id} is {deployment.workflow_state}")
    return deployment


def _find(session: Session, launch: Launch, deployment_id: int) -> Deployment:
    found = session.exec(
        select(Deployment).where(Deployment.id == deployment_id, _same_instance(launch)).with_for_update()
    ).first()
    if found is None:
        raise NotFoundError(log=f"deployment {deployment_id}")
    return found


def _same_instance(launch: Launch) -> ColumnElement[bool]:
    """Choose the deployments of the platform instance that a launch came from: no other where it is not known."""
    own = aliased(Deployment)
    guid = select(own.platform_guid).where(own.id == launch.deployment_id).scalar_subquery()
    return and_(
        col(Deployment.platform_id) == launch.platform_id,
        or_(col(Deployment.id) == launch.deployment_id, col(Deployment.platform_guid) == guid),
    )
