"""Sessions of launches: every page of a launch lives under `/launches/<id>`, and so does its cookie."""

import hmac
import secrets
from datetime import timedelta
from hashlib import sha256
from typing import Any, cast

from flask import Blueprint, Flask, Request, Response, g, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from flask_babel import lazy_gettext as _l
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import bindparam, delete, update
from sqlmodel import Session, col, select

from app.courses.models import Course, Enrollment, EnrollmentState, User
from app.database import database, insert_row, utc_now
from app.errors import SessionEndedError
from app.identity import Identity, keeps_rights
from app.lti.claims import LaunchClaims
from app.lti.masking import masked
from app.lti.models import Deployment, Launch, LineItem, Platform, RegistrationState
from app.secret import hash_of, new_secret
from app.web import current_settings

LAUNCHES_PATH = "/launches"
TOUCH_EVERY = timedelta(minutes=1)
LIFETIME = timedelta(hours=24)
REMEMBERED = timedelta(days=30)  # for so long the set-up page tells what launches brought
FORGET_ONE_IN = 50  # launches, at which old ones are forgotten
KEY_MARK = "~"  # parts a launch's id from its key in an address
CSRF = "csrf_token"  # under which Flask-WTF looks for a session's token
_ROLE_CHANGED = _l("Your role in this course has changed. Open AI Experiences again from your course.")


class KeyedSession(SecureCookieSession):
    """The session of a launch whose address carries its key, for a browser that keeps no cookies.

    It lasts for one request.
    """


class LaunchSessions(SecureCookieSessionInterface):
    """Flask's signed cookie, confined to one launch's pages so that tabs never mix; none where the address is keyed.

    A launch's CSRF token is derived from its id by the application's secret, and given to those alone who bring its
    cookie or key. It is in no cookie: a browser keeps 10 KiB of them for a site within a platform's pages.
    """

    _signer: URLSafeTimedSerializer | None = None

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """Return what signs the cookie, made once: Flask would make it anew to read and to write each."""
        self._signer = self._signer or super().get_signing_serializer(app)
        return self._signer

    def get_cookie_path(self, app: Flask) -> str:
        """Return the folder of the launch that this request opens or belongs to."""
        return f"{LAUNCHES_PATH}/{g.get('launch_id', '')}"

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Read the cookie, or make do with the address."""
        path_id = request.path.removeprefix(f"{LAUNCHES_PATH}/").partition("/")[0]
        if KEY_MARK in path_id:
            return KeyedSession({CSRF: csrf_token_of(str(app.secret_key), path_id)})
        session = super().open_session(app, request)
        if not session or session.get("launch") != path_id:
            return session
        return self.session_class({**session, CSRF: csrf_token_of(str(app.secret_key), path_id)})

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Set the cookie, unless the address is enough."""
        if isinstance(session, KeyedSession):
            return
        stored = self.session_class({name: value for name, value in session.items() if name != CSRF})
        stored.modified, stored.accessed = session.modified, session.accessed
        super().save_session(app, stored, response)


def open_launch(
    db: Session,
    enrollment: Enrollment,
    deployment: Deployment,
    claims: LaunchClaims,
    line_item: LineItem | None,
    *,
    keeps_cookies: bool,
) -> tuple[Launch, str]:
    """Begin a launch's session in the database; return it with the id that its addresses carry."""
    key = None if keeps_cookies else new_secret()
    launch = Launch(
        id=secrets.token_urlsafe(12),
        platform_id=deployment.platform_id,
        deployment_id=deployment.id,
        user_id=enrollment.user_id,
        course_id=enrollment.course_id,
        line_item_id=line_item.id if line_item else None,
        role=enrollment.role,
        key_hash=hash_of(key) if key else None,
        locale=claims.locale,
        deep_linking=dict(claims.deep_linking) if claims.deep_linking else None,
        received=masked(claims.received) if enrollment.is_administrator else None,
    )
    insert_row(db, launch)
    if secrets.randbelow(FORGET_ONE_IN) == 0:
        db.execute(delete(Launch).where(col(Launch.created_at) < utc_now() - REMEMBERED))
    return launch, f"{launch.id}{KEY_MARK}{key}" if key else launch.id


def hand_cookie_to(launch: Launch) -> None:
    """Give this browser the cookie of a launch."""
    g.launch_id = launch.id
    session.clear()
    session["launch"] = launch.id


def current_launch() -> Launch:
    """Return the launch that this request belongs to."""
    return cast(Launch, g.launch)


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
    launch_id, _, key = g.launch_id.partition(KEY_MARK)
    if not key and session.get("launch") != launch_id:
        raise SessionEndedError(log="no cookie for this launch")
    if key and request.headers.get("Sec-Fetch-Site") in {"cross-site", "same-site"}:
        raise SessionEndedError(log="another site led to a keyed address")
    with database().snapshot() as db:
        g.launch, g.identity = _resume(db, launch_id, key)
    launch = current_launch()
    g.locale = launch.locale
    if utc_now() - launch.last_seen_at > TOUCH_EVERY:
        with database().transaction() as db:
            db.execute(update(Launch).where(col(Launch.id) == launch.id).values(last_seen_at=utc_now()))


# Built once: it is asked with every request.
_LAUNCH = (
    select(Launch, User, Course, Enrollment)
    .join(User, col(User.id) == Launch.user_id)
    .join(Course, col(Course.id) == Launch.course_id)
    .join(Enrollment, (col(Enrollment.user_id) == User.id) & (col(Enrollment.course_id) == Course.id))
    .join(Platform, col(Platform.id) == Launch.platform_id)
    .join(Deployment, col(Deployment.id) == Launch.deployment_id)
    .where(
        col(Launch.id) == bindparam("launch_id"),
        col(Launch.key_hash).is_not_distinct_from(bindparam("key_hash")),
        col(Launch.last_seen_at) > bindparam("seen_after"),
        col(Launch.created_at) > bindparam("begun_after"),
        Enrollment.workflow_state == EnrollmentState.ACTIVE,
        Platform.workflow_state == RegistrationState.ACTIVE,
        Deployment.workflow_state == RegistrationState.ACTIVE,
    )
)


def _resume(db: Session, launch_id: str, key: str) -> tuple[Launch, Identity]:
    row = db.exec(
        _LAUNCH,
        params={
            "launch_id": launch_id,
            "key_hash": hash_of(key) if key else None,
            "seen_after": utc_now() - timedelta(minutes=current_settings().session_idle_minutes),
            "begun_after": utc_now() - LIFETIME,
        },
    ).first()
    if row is None:
        raise SessionEndedError(log="launch unknown, idle too long, or its platform was removed")
    launch, user, course, enrollment = row
    # The role is the latest launch's or roster's: who has lost one loses it in every tab.
    if launch.role is not None and not keeps_rights(launch.role, enrollment.role):
        raise SessionEndedError(_ROLE_CHANGED, log=f"opened as {launch.role}, {enrollment.role} by now")
    return launch, Identity.enrolled(user, course, enrollment)


def csrf_token_of(secret_key: str, path_id: str) -> str:
    """Return what a launch's CSRF tokens are made of, by its id as its addresses carry it."""
    return hmac.new(secret_key.encode(), f"csrf {path_id}".encode(), sha256).hexdigest()
