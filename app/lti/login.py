"""Third-party initiated login (LTI Security Framework 1.1, section 5.1.1): one row binds what a launch must match."""

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from flask import Response
from pylti1p3.contrib.flask import FlaskCookieService, FlaskOIDCLogin, FlaskRequest
from pylti1p3.contrib.flask.session import FlaskSessionService
from pylti1p3.exception import OIDCException
from sqlalchemy import delete, update
from sqlmodel import Session, col

from app.database import utc_now
from app.lti.models import Login, Platform
from app.lti.platforms import OnePlatform, find_deployment, find_platform
from app.lti.refusals import (
    CookieMissingError,
    IncompleteLoginError,
    StateRefusedError,
    UnknownDeploymentError,
)

LOGIN_LIFETIME = timedelta(minutes=10)
LAUNCH_PATH = "/lti/launch"
MAX_URL = 2000
MAX_PARAMETER = 8000


def start_login(session: Session, params: dict[str, str], app_url: str) -> Response:
    """Answer a login request with a redirect to the platform, and write down what its launch must match.

    Raises a `LaunchRefusedError`.
    """
    if not all(value.isprintable() and len(value) <= MAX_PARAMETER for value in params.values()):
        raise IncompleteLoginError(log="a parameter is too long or holds control characters")
    if not params.get("iss"):
        raise IncompleteLoginError(log="iss missing")
    _check_target(params.get("target_link_uri"), app_url)
    platform = find_platform(session, params["iss"], params.get("client_id"))
    _check_deployment(session, platform, params)
    record, cookies = _PendingLogin(), LoginCookie()
    request = FlaskRequest(session={}, request_data=params, request_is_secure=True)
    login = FlaskOIDCLogin(request, OnePlatform(platform), session_service=record, cookie_service=cookies)
    try:
        response: Response = login.redirect(app_url + LAUNCH_PATH)
    except OIDCException as error:
        raise IncompleteLoginError(log=str(error)) from error
    session.add(
        Login(
            state=cookies.state,
            nonce=record.nonce,
            platform_id=platform.id,
            target_link_uri=params.get("target_link_uri"),
        )
    )
    _forget_old_logins(session)
    return response


def take_login(session: Session, state: str | None, cookies: Mapping[str, str]) -> Login:
    """Take the login that `state` names, once and for all, for the browser that began it.

    One statement marks it used, so two workers cannot both take it. Raises a `LaunchRefusedError`.
    """
    if not state or not state.isprintable():
        raise StateRefusedError(log="state missing")
    if cookies.get(LoginCookie.name_for(state)) != state:
        raise CookieMissingError(log="no login cookie for this state")
    taken = session.scalars(
        update(Login)
        .where(
            col(Login.state) == state,
            col(Login.used_at).is_(None),
            col(Login.created_at) > utc_now() - LOGIN_LIFETIME,
        )
        .values(used_at=utc_now())
        .returning(Login)
    ).one_or_none()
    if taken is None:
        raise StateRefusedError(log="state unknown, used before or too old")
    return taken


class LoginCookie(FlaskCookieService):
    """The cookie that binds a login to its browser; it travels to the launch address alone."""

    def __init__(self) -> None:
        self.state = ""

    @staticmethod
    def name_for(state: str) -> str:
        """Return the name of a state's cookie."""
        return f"login-{state}"

    def set_cookie(self, name: str, value: str | int, exp: int | None = None) -> None:
        """Keep the state that pylti1p3 made; `update_response` writes it."""
        self.state = str(value)

    def update_response(self, response: Response) -> None:
        """Set the cookie so that it works in a frame on another site (partitioned, RFC 6265bis)."""
        response.set_cookie(
            self.name_for(self.state),
            self.state,
            max_age=int(LOGIN_LIFETIME.total_seconds()),
            path=LAUNCH_PATH,
            secure=True,
            httponly=True,
            samesite="None",
            partitioned=True,
        )


class _PendingLogin(FlaskSessionService):
    """Catches the nonce that pylti1p3 makes, which goes into the same row as the state."""

    def __init__(self) -> None:
        self.nonce = ""

    def save_nonce(self, nonce: str) -> None:
        self.nonce = nonce


def _check_target(target: str | None, app_url: str) -> None:
    """Refuse a target on another origin: the tool is no open redirect."""
    if not target:
        return
    try:
        parts, ours = urlsplit(target), urlsplit(app_url)
    except ValueError as error:
        raise IncompleteLoginError(log="target_link_uri is not an address") from error
    if (parts.scheme, parts.netloc) != (ours.scheme, ours.netloc) or len(target) > MAX_URL:
        raise IncompleteLoginError(log=f"target_link_uri {target!r:.300}")


def _check_deployment(session: Session, platform: Platform, params: dict[str, str]) -> None:
    deployment_id = params.get("lti_deployment_id") or params.get("deployment_id")
    if deployment_id and find_deployment(session, platform.id, deployment_id) is None:
        raise UnknownDeploymentError(log=f"deployment {deployment_id!r:.300} of platform {platform.id}")


def _forget_old_logins(session: Session) -> None:
    session.execute(delete(Login).where(col(Login.created_at) < utc_now() - 6 * LOGIN_LIFETIME))
