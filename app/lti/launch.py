"""A launch message, verified: pylti1p3 parses it, and what it leaves open is checked here (LTI Core 1.3, section 5)."""

import json
import math
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from flask_babel import lazy_gettext as _l
from pylti1p3.contrib.flask import FlaskMessageLaunch, FlaskRequest
from pylti1p3.exception import LtiException
from sqlalchemy import bindparam
from sqlmodel import Session, select

from app.courses.models import Role
from app.courses.service import record_visit
from app.database import Database
from app.identity import RIGHTS, Right
from app.lti.ahead import take_over
from app.lti.claims import CLAIM, LaunchClaims, MessageType, parse_claims
from app.lti.key_sets import KeySetError, KeySets, UnknownKeyError
from app.lti.keys import ALGORITHM
from app.lti.login import STORAGE_TARGET, take_login
from app.lti.models import MAX_ID, Deployment, Launch, Login, Platform, RegistrationState
from app.lti.offered import record_instance, record_offer
from app.lti.refusals import (
    AnotherBrowserError,
    DeploymentNotApprovedError,
    IncompleteTokenError,
    PlatformKeysError,
    TokenRefusedError,
    UnknownPlatformError,
    UnreadableTokenError,
    WritersOnlyError,
)
from app.lti.registration.platforms import note_deployment, to_registration
from app.lti.services.grades import hand_in_late
from app.lti.sessions import open_launch

LEEWAY_SECONDS = 60
MAX_AGE_SECONDS = 3600
MAX_TOKEN_CHARACTERS = 100_000
JWS_PARTS = 3

_TOO_LONG = _l("The platform posted an id_token longer than any launch needs.")
_NOT_THREE_PARTS = _l("The platform posted an id_token without the three parts of a signed message.")
_NOT_BASE64 = _l("The platform posted an id_token whose parts are not base64url.")
_NOT_JSON = _l("The platform posted an id_token whose header or claims are not JSON objects.")


_PLATFORM = select(Platform).where(Platform.id == bindparam("id"))  # built once, for every launch


@dataclass(frozen=True, slots=True)
class Answer:
    """What a browser posts to the launch address, with the secret that its login left with it.

    ``keeps_cookies`` is False where the secret came back from the platform's storage.
    """

    state: str
    id_token: str
    secret: str
    keeps_cookies: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """A launch that was let in. ``path_id`` names it in addresses; without cookies it carries the launch's key."""

    launch: Launch
    path_id: str
    claims: LaunchClaims


def receive_launch(
    database: Database, key_sets: KeySets, answer: Answer, app_url: str, *, auto_approve: bool = False
) -> Opened:
    """Take the login that a launch answers, verify the token, write down who came where, begin a session.

    One short transaction, and none open while the platform's keys are fetched. Raises a `LaunchRefusedError`.
    """
    with database.statements() as session:
        login = take_login(session, answer.state, answer.secret)
        platform = session.exec(_PLATFORM, params={"id": login.platform_id}).one()
    if not answer.keeps_cookies and STORAGE_TARGET not in login.request:
        raise AnotherBrowserError(log="the platform offered no storage from which the secret could come")
    if platform.workflow_state is not RegistrationState.ACTIVE:
        raise UnknownPlatformError(
            platform.issuer, platform.client_id, log=f"platform {platform.id} was removed"
        )
    body = verify_launch(platform, login, answer.id_token, key_sets)
    claims = parse_claims(body, app_url)
    deployment_id = _deployment_id(body)
    with database.transaction() as session:
        deployment = note_deployment(session, platform, deployment_id, approve=auto_approve)
        record_instance(deployment, claims)
        opened = (
            _enter(session, platform, deployment, claims, keeps_cookies=answer.keeps_cookies)
            if deployment.workflow_state is RegistrationState.ACTIVE
            else None
        )
    if opened is None:
        waits = deployment.workflow_state is RegistrationState.PENDING
        raise DeploymentNotApprovedError(platform, deployment_id, waits=waits)
    return opened


def verify_launch(platform: Platform, login: Login, id_token: str, key_sets: KeySets) -> Mapping[str, Any]:
    """Return the claims of an id_token that answers `login`. May fetch the platform's keys.

    Raises a `LaunchRefusedError`.
    """
    if len(id_token) > MAX_TOKEN_CHARACTERS:
        raise UnreadableTokenError(_TOO_LONG, log=f"id_token of {len(id_token)} characters")
    launch = _Launch(platform, login, id_token, key_sets)
    try:
        claims: Mapping[str, Any] = launch.validate().get_launch_data()
    except LtiException as error:
        raise TokenRefusedError(log=str(error)) from error
    asked = login.request.get("target_link_uri")
    if asked and claims.get(CLAIM + "target_link_uri", asked) != asked:
        raise IncompleteTokenError("target_link_uri", log="target_link_uri is not the login's")
    return claims


def _deployment_id(claims: Mapping[str, Any]) -> str:
    deployment_id = claims.get(CLAIM + "deployment_id")
    if not isinstance(deployment_id, str) or not deployment_id.strip() or not deployment_id.isprintable():
        raise IncompleteTokenError("deployment_id", log="deployment_id missing or not text")
    if len(deployment_id) > MAX_ID or not deployment_id.isascii():
        raise IncompleteTokenError(
            "deployment_id", log="deployment_id longer than 255 characters or not ASCII"
        )
    return deployment_id


def _enter(
    session: Session, platform: Platform, deployment: Deployment, claims: LaunchClaims, *, keeps_cookies: bool
) -> Opened:
    if claims.message_type is MessageType.DEEP_LINKING:
        _require_writer(claims)
    enrollment = record_visit(session, platform.id, deployment.courses_of, claims.visit, take_over=take_over)
    line_item = record_offer(session, platform, enrollment.course_id, claims)
    if line_item is not None and claims.visit.role is Role.STUDENT:
        hand_in_late(session, line_item, enrollment.user_id)
    launch, path_id = open_launch(
        session, enrollment, deployment, claims, line_item, keeps_cookies=keeps_cookies
    )
    return Opened(launch, path_id, claims)


def _require_writer(claims: LaunchClaims) -> None:
    if Right.WRITE_EXPERIENCES not in RIGHTS[claims.visit.role]:
        raise WritersOnlyError(log=f"deep linking by a {claims.visit.role}")


# pylti1p3 would make one for each launch, to fetch keys with; here `KeySets` does.
_UNUSED = requests.Session()


class _Launch(FlaskMessageLaunch):
    """pylti1p3's validation with its holes closed. State and deployment are checked against the database outside."""

    def __init__(self, platform: Platform, login: Login, id_token: str, key_sets: KeySets) -> None:
        form = {"id_token": id_token, "state": login.state}
        super().__init__(
            FlaskRequest(cookies={}, session={}, request_data=form, request_is_secure=True),
            None,
            requests_session=_UNUSED,
        )
        self._platform, self._login, self._key_sets = platform, login, key_sets

    def validate_state(self) -> "_Launch":
        return self

    def validate_jwt_format(self) -> "_Launch":
        header, claims = _read_parts(self._get_id_token())
        self._jwt = cast(Any, {"header": header, "body": claims})
        return self

    def validate_nonce(self) -> "_Launch":
        if self._claims.get("nonce") != self._login.nonce:
            raise TokenRefusedError(log="nonce is not the one of this login")
        return self

    def validate_registration(self) -> "_Launch":
        self._registration = to_registration(self._platform)
        audience, party = self._claims.get("aud"), self._claims.get("azp")
        if isinstance(audience, list) and len(audience) > 1 and party is None:
            raise TokenRefusedError(log="several audiences without azp")
        if party is not None and party != self._platform.client_id:
            raise TokenRefusedError(log="azp is another's")
        return self

    def validate_jwt_signature(self) -> "_Launch":
        try:
            jwt.decode(
                self._get_id_token(),
                self._public_key(),
                algorithms=[ALGORITHM],
                audience=self._platform.client_id,
                issuer=self._platform.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud"]},
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise TokenRefusedError(log=str(error)) from error
        if not all(_is_number(self._claims[name]) for name in ("exp", "iat")):
            raise TokenRefusedError(log="exp or iat is not a number")
        # Compared, not subtracted: JSON's numbers may be larger than any float.
        if self._claims["iat"] < time.time() - MAX_AGE_SECONDS - LEEWAY_SECONDS:
            raise TokenRefusedError(log="issued more than an hour ago")
        return self

    def _public_key(self) -> rsa.RSAPublicKey:
        """Return the platform's key that the header names. Where else the header says that keys are, does not count."""
        kid = self._header.get("kid")
        if not isinstance(kid, str) or not kid:
            raise TokenRefusedError(log="no kid")
        try:
            return self._key_sets.public_key(self._platform, kid)
        except UnknownKeyError as error:
            raise TokenRefusedError(log=str(error)) from error
        except KeySetError as error:
            raise PlatformKeysError(log=str(error)) from error

    def validate_deployment(self) -> "_Launch":
        return self

    def validate_message(self) -> "_Launch":
        return self

    def save_launch_data(self) -> "_Launch":
        return self

    @property
    def _claims(self) -> dict[str, Any]:
        return cast(dict[str, Any], self._jwt.get("body", {}))

    @property
    def _header(self) -> dict[str, Any]:
        return cast(dict[str, Any], self._jwt.get("header", {}))


def _read_parts(id_token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a token's header and claims, not verified (RFC 7515, section 3.1). Raises `UnreadableTokenError`."""
    parts = id_token.split(".")
    if len(parts) != JWS_PARTS:
        raise UnreadableTokenError(_NOT_THREE_PARTS, log=f"id_token of {len(parts)} parts")
    try:
        texts = [urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts[:2]]
    except ValueError as error:
        raise UnreadableTokenError(_NOT_BASE64, log=f"id_token: {error}") from error
    try:
        header, claims = (json.loads(text, parse_float=_finite, parse_constant=_finite) for text in texts)
    except (ValueError, RecursionError) as error:
        raise UnreadableTokenError(_NOT_JSON, log=f"id_token is no JSON: {error}") from error
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise UnreadableTokenError(_NOT_JSON, log="id_token: header or claims not an object")
    return header, claims


def _finite(text: str) -> float:
    """Read a number, but none that JSON lacks (RFC 8259, section 6), which not every database stores."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.100} is no number")
    return number


def _is_number(value: object) -> bool:
    """Tell a NumericDate (RFC 7519, section 2) from what only reads like one."""
    return isinstance(value, int | float) and not isinstance(value, bool)
