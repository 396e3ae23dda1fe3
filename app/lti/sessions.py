"""Sessions of launches: every page of a launch lives under `/launches/<id>`, and so does its cookie."""

import secrets
from datetime import timedelta
from typing import Any, cast

from flask import Blueprint, Flask, current_app, g, session
from flask.sessions import SecureCookieSessionInterface
from sqlalchemy import update
from sqlmodel import Session, col, select

from app.courses.models import Course, Enrollment, User
from app.database import database, utc_now
from app.errors import SessionEndedError
from app.identity import Identity
from app.lti.claims import LaunchClaims
from app.lti.models import Deployment, Launch, Platform, RegistrationState

LAUNCHES_PATH = "/launches"
TOUCH_EVERY = timedelta(minutes=1)
LIFETIME = timedelta(hours=24)


class LaunchCookie(SecureCookieSessionInterface):
    """Flask's signed cookie, confined to one launch's pages so that tabs never mix."""

    def get_cookie_path(self, app: Flask) -> str:
        """Return the folder of the launch that this request opens or belongs to."""
        return f"{LAUNCHES_PATH}/{g.get('launch_id', '')}"


def open_launch(
    db: Session, enrollment: Enrollment, platform_id: int, deployment_id: int, claims: LaunchClaims
) -> Launch:
    """Begin a launch's session in the database."""
    launch = Launch(
        id=secrets.token_urlsafe(12),
        platform_id=platform_id,
        deployment_id=deployment_id,
        user_id=enrollment.user_id,
        course_id=enrollment.course_id,
        resource_link_id=claims.resource_link_id,
        locale=claims.locale,
    )
    db.add(launch)
    return launch


def hand_cookie_to(launch: Launch) -> None:
    """Give this browser the cookie of a launch."""
    g.launch_id = launch.id
    session.clear()
    session["launch"] = launch.id


def current_identity() -> Identity:
    """Return who is acting in this request."""
    return cast(Identity, g.identity)


def launch_blueprint(name: str, import_name: str) -> Blueprint:
    """Return a blueprint whose pages belong to a launch: without its cookie they answer `SessionEndedError`."""
    blueprint = Blueprint(name, import_name, url_prefix=f"{LAUNCHES_PATH}/<launch_id>")
    blueprint.url_value_preprocessor(_remember_launch)
    blueprint.url_defaults(_stay_in_launch)
    blueprint.before_request(_require_launch)
    return blueprint


def _remember_launch(_endpoint: str | None, values: dict[str, Any] | None) -> None:
    g.launch_id = (values or {}).pop("launch_id", "")


def _stay_in_launch(_endpoint: str, values: dict[str, Any]) -> None:
    values.setdefault("launch_id", g.get("launch_id"))


def _require_launch() -> None:
    """Resume the launch in short transactions of its own, so that the view begins without one."""
    if session.get("launch") != g.launch_id:
        raise SessionEndedError(log="no cookie for this launch")
    with database().snapshot() as db:
        launch, g.identity = _resume(db, g.launch_id)
    g.locale = launch.locale
    if utc_now() - launch.last_seen_at > TOUCH_EVERY:
        with database().transaction() as db:
            db.execute(update(Launch).where(col(Launch.id) == launch.id).values(last_seen_at=utc_now()))


def _resume(db: Session, launch_id: str) -> tuple[Launch, Identity]:
    idle = timedelta(minutes=current_app.config["SETTINGS"].session_idle_minutes)
    row = db.exec(
        select(Launch, User, Course, Enrollment)
        .join(User, col(User.id) == Launch.user_id)
        .join(Course, col(Course.id) == Launch.course_id)
        .join(Enrollment, (col(Enrollment.user_id) == User.id) & (col(Enrollment.course_id) == Course.id))
        .join(Platform, col(Platform.id) == Launch.platform_id)
        .join(Deployment, col(Deployment.id) == Launch.deployment_id)
        .where(
            Launch.id == launch_id,
            Launch.last_seen_at > utc_now() - idle,
            Launch.created_at > utc_now() - LIFETIME,
            Platform.workflow_state == RegistrationState.ACTIVE,
            Deployment.workflow_state == RegistrationState.ACTIVE,
        )
    ).first()
    if row is None:
        raise SessionEndedError(log="launch unknown, idle too long, or its platform was removed")
    launch, user, course, enrollment = row
    # The role is the latest launch's: who has lost one loses it in every tab.
    return launch, Identity(user=user, course=course, role=enrollment.role, is_test=enrollment.is_test)
