"""Third-party initiated login (LTI Security Framework 1.1, section 5.1.1): one row binds what a launch must match.

The browser that begins a login keeps a secret, in a cookie and, where the platform offers it, in the platform's own
storage (LTI Platform Storage 1.0); the launch must bring it back.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask import Response
from pylti1p3.contrib.flask import FlaskCookieService, FlaskOIDCLogin, FlaskRequest
from pylti1p3.contrib.flask.session import FlaskSessionService
from pylti1p3.exception import OIDCException
from sqlalchemy import bindparam, delete, update
from sqlmodel import Session, col

from app.database import insert_row, utc_now
from app.lti.addresses import same_origin
from app.lti.models import MAX_URL, Login, Platform, RegistrationState
from app.lti.refusals import (
    AnotherBrowserError,
    DeploymentNotApprovedError,
    IncompleteLoginError,
    StateRefusedError,
)
from app.lti.registration.platforms import OnePlatform, find_registration
from app.lti.tool import LAUNCH_PATH
from app.secret import hash_of, new_secret

LOGIN_LIFETIME = timedelta(minutes=10)
# A cookie that works in a frame on another site (partitioned, RFC 6265bis).
_COOKIE: dict[str, Any] = {
    "path": "/lti",
    "secure": True,
    "httponly": True,
    "samesite": "None",
    "partitioned": True,
}
STORAGE_TARGET = "lti_storage_target"
# Sent by this tool's own page: whoever came from a deployment that is not known wants it to be approved.
ASKS_FOR_APPROVAL = "ask_for_approval"
# What a login request may say (Security Framework 1.1, section 5.1.1.1; Core 1.3, 4.1; Platform Storage 1.0; Canvas).
PARAMETERS = (
    *("iss", "client_id", "login_hint", "target_link_uri", "lti_message_hint"),
    *("lti_deployment_id", "deployment_id", STORAGE_TARGET),
)
MAX_PARAMETER = 4000
MAX_REQUEST = 8000
_FORGET_ONE_IN = 20


@dataclass(frozen=True, slots=True)
class StartedLogin:
    """A login that has begun: where the browser goes next, and the secret that it is to keep until the launch.

    ``request`` is what the platform asked.
    """

    state: str
    secret: str = field(repr=False)
    authorization_url: str
    request: Mapping[str, str]


def start_login(
    session: Session, params: Mapping[str, str], app_url: str, *, auto_approve: bool = False
) -> StartedLogin:
    """Write down what the launch that answers a login request must match.

    Raises a `LaunchRefusedError`.
    """
    request = {name: params[name] for name in PARAMETERS if params.get(name)}
    _check_parameters(request, app_url)
    deployment_id = request.get("lti_deployment_id") or request.get("deployment_id")
    platform, state_there = find_registration(
        session, request["iss"], request.get("client_id"), deployment_id
    )
    if deployment_id and not auto_approve and ASKS_FOR_APPROVAL not in params:
        _check_deployment(platform, deployment_id, state_there, request)
    state, nonce, authorization_url = _authorization(platform, request, app_url)
    started = StartedLogin(
        state=state,
        secret=new_secret(),
        authorization_url=authorization_url,
        request=request,
    )
    login = Login(
        state=state,
        nonce=nonce,
        platform_id=platform.id,
        browser_hash=hash_of(started.secret),
        request=request,
    )
    insert_row(session, login)
    if secrets.randbelow(_FORGET_ONE_IN) == 0:
        session.execute(delete(Login).where(col(Login.created_at) < utc_now() - 6 * LOGIN_LIFETIME))
    return started


def pending_login(session: Session, state: str | None) -> Login:
    """Find a login that may still be answered, without taking it. Raises `StateRefusedError`."""
    login = session.get(Login, state) if state and state.isprintable() else None
    if login is None or login.used_at is not None or login.created_at <= utc_now() - LOGIN_LIFETIME:
        raise StateRefusedError(log="state missing, unknown, used before or too old")
    return login


# Built once: each launch runs it.
_TAKE = (
    update(Login)
    .where(
        col(Login.state) == bindparam("named"),
        col(Login.browser_hash) == bindparam("kept_by"),
        col(Login.used_at).is_(None),
        col(Login.created_at) > bindparam("begun_after"),
    )
    .values(used_at=bindparam("now"))
    .returning(Login)
    .execution_options(synchronize_session=False)
)


def take_login(session: Session, state: str | None, secret: str) -> Login:
    """Take the login that `state` names, once and for all, for the browser that keeps its secret.

    One statement marks it used, so two workers cannot both take it. Raises a `LaunchRefusedError`.
    """
    if not state or not state.isprintable():
        raise StateRefusedError(log="state missing")
    now = utc_now()
    names = {"named": state, "kept_by": hash_of(secret), "begun_after": now - LOGIN_LIFETIME, "now": now}
    taken = session.scalars(_TAKE, names).one_or_none()
    if taken is None:
        pending_login(session, state)
        raise AnotherBrowserError(log="the login's secret is another browser's")
    return taken


def cookie_name(state: str) -> str:
    """Return the name of the cookie that keeps a login's secret."""
    return f"login-{state}"


def set_login_cookie(response: Response, started: StartedLogin) -> None:
    """Give the browser its secret."""
    seconds = int(LOGIN_LIFETIME.total_seconds())
    response.set_cookie(cookie_name(started.state), started.secret, max_age=seconds, **_COOKIE)


def drop_login_cookie(response: Response, state: str) -> None:
    """Have the browser forget the secret of a login that was taken: there is room for some cookies only."""
    response.delete_cookie(cookie_name(state), **_COOKIE)


def _check_parameters(request: Mapping[str, str], app_url: str) -> None:
    if not all(value.isprintable() and len(value) <= MAX_PARAMETER for value in request.values()):
        raise IncompleteLoginError(log="a parameter is too long or holds control characters")
    if sum(len(name) + len(value) for name, value in request.items()) > MAX_REQUEST:
        raise IncompleteLoginError(log="the request is too long")
    if not request.get("iss"):
        raise IncompleteLoginError(log="iss missing")
    target = request.get("target_link_uri")
    if target and (len(target) > MAX_URL or not same_origin(target, app_url)):
        raise IncompleteLoginError(log=f"target_link_uri {target!r:.300}")


def _check_deployment(
    platform: Platform, deployment_id: str, state: RegistrationState | None, request: Mapping[str, str]
) -> None:
    if state is None:
        raise DeploymentNotApprovedError(platform, deployment_id, ask_again=request)
    if state is not RegistrationState.ACTIVE:
        waits = state is RegistrationState.PENDING
        raise DeploymentNotApprovedError(platform, deployment_id, waits=waits)


def _authorization(platform: Platform, request: Mapping[str, str], app_url: str) -> tuple[str, str, str]:
    """Have pylti1p3 make state, nonce and the authorization request (Security Framework 1.1, section 5.1.1.2)."""
    nonce, state = _NonceCatcher(), _StateCatcher()
    login = FlaskOIDCLogin(
        FlaskRequest(session={}, request_data=dict(request), request_is_secure=True),
        OnePlatform(platform),
        session_service=nonce,
        cookie_service=state,
    )
    try:
        url: str = login.get_redirect_object(app_url + LAUNCH_PATH).get_redirect_url()
    except OIDCException as error:
        raise IncompleteLoginError(log=str(error)) from error
    return state.caught, nonce.caught, url


class _NonceCatcher(FlaskSessionService):
    """Catches the nonce that pylti1p3 makes, which goes into the same row as the state."""

    caught = ""

    def __init__(self) -> None:
        """Need no request."""

    def save_nonce(self, nonce: str) -> None:
        self.caught = nonce


class _StateCatcher(FlaskCookieService):
    """Catches the state that pylti1p3 makes; `set_login_cookie` sets the cookie."""

    caught = ""

    def __init__(self) -> None:
        """Need no request."""

    def set_cookie(self, name: str, value: str | int, exp: int | None = None) -> None:
        self.caught = str(value)
