"""A launch message, verified: pylti1p3 parses it, and what it leaves open is checked here (LTI Core 1.3, section 5)."""

import time
from collections.abc import Mapping
from typing import Any, cast

import jwt
from pylti1p3.contrib.flask import FlaskMessageLaunch, FlaskRequest
from pylti1p3.exception import LtiException
from pylti1p3.registration import TKeySet
from sqlmodel import Session

from app.courses.service import record_visit
from app.database import Database
from app.lti.claims import CLAIM, parse_claims
from app.lti.key_sets import KeySetError, KeySets
from app.lti.login import take_login
from app.lti.models import Deployment, Launch, Login, Platform, RegistrationState
from app.lti.platforms import find_deployment, to_registration
from app.lti.refusals import (
    LaunchRefusedError,
    PlatformKeysError,
    TokenRefusedError,
    UnknownDeploymentError,
    UnknownPlatformError,
    UnsupportedMessageError,
)
from app.lti.sessions import open_launch

LEEWAY_SECONDS = 60
MAX_AGE_SECONDS = 3600
MAX_TOKEN_CHARACTERS = 100_000
ALGORITHM = "RS256"


def receive_launch(
    database: Database, key_sets: KeySets, form: Mapping[str, str], cookies: Mapping[str, str]
) -> Launch:
    """Take the login that a launch answers, verify the token, write down who came where, begin a session.

    Two short transactions, none open while the platform's keys are fetched. Raises a `LaunchRefusedError`.
    """
    if "error" in form:
        raise LaunchRefusedError(log=f"the platform answered {form['error']!r:.200}")
    with database.transaction() as session:
        login = take_login(session, form.get("state"), cookies)
        platform = session.get_one(Platform, login.platform_id)
    if platform.workflow_state is not RegistrationState.ACTIVE:
        raise UnknownPlatformError(log=f"platform {platform.id} was removed")
    body = verify_launch(platform, login, form.get("id_token", ""), key_sets)
    claims = parse_claims(body)
    with database.transaction() as session:
        deployment = require_deployment(session, platform, body)
        enrollment = record_visit(session, platform.id, claims.visit)
        return open_launch(session, enrollment, platform.id, deployment.id, claims)


def verify_launch(platform: Platform, login: Login, id_token: str, key_sets: KeySets) -> Mapping[str, Any]:
    """Return the claims of an id_token that answers `login`. May fetch the platform's keys.

    Raises a `LaunchRefusedError`.
    """
    if len(id_token) > MAX_TOKEN_CHARACTERS:
        raise TokenRefusedError(log=f"id_token of {len(id_token)} characters")
    launch = _Launch(platform, login, id_token, key_sets)
    try:
        claims: Mapping[str, Any] = launch.validate().get_launch_data()
    except LtiException as error:
        raise TokenRefusedError(log=str(error)) from error
    return claims


def require_deployment(session: Session, platform: Platform, claims: Mapping[str, Any]) -> Deployment:
    """Return the platform's deployment that the launch names. Raises `UnknownDeploymentError`."""
    deployment_id = claims.get(CLAIM + "deployment_id")
    if not isinstance(deployment_id, str) or not deployment_id.isprintable():
        raise TokenRefusedError(log="deployment_id missing or not text")
    deployment = find_deployment(session, platform.id, deployment_id)
    if deployment is None:
        raise UnknownDeploymentError(log=f"deployment {deployment_id!r:.300} of platform {platform.id}")
    return deployment


class _Launch(FlaskMessageLaunch):
    """pylti1p3's validation with its holes closed. State and deployment are checked against the database outside."""

    def __init__(self, platform: Platform, login: Login, id_token: str, key_sets: KeySets) -> None:
        form = {"id_token": id_token, "state": login.state}
        super().__init__(
            FlaskRequest(cookies={}, session={}, request_data=form, request_is_secure=True), None
        )
        self._platform, self._login, self._key_sets = platform, login, key_sets

    def validate_state(self) -> "_Launch":
        return self

    def validate_nonce(self) -> "_Launch":
        if not isinstance(self._claims, dict):
            raise TokenRefusedError(log="claims are not an object")
        if self._claims.get("nonce") != self._login.nonce:
            raise TokenRefusedError(log="nonce is not the one of this login")
        return self

    def validate_registration(self) -> "_Launch":
        self._registration = to_registration(self._platform)
        audience = self._claims.get("aud")
        if isinstance(audience, list) and len(audience) > 1 and "azp" not in self._claims:
            raise TokenRefusedError(log="several audiences without azp")
        if self._claims.get("azp", self._platform.client_id) != self._platform.client_id:
            raise TokenRefusedError(log="azp is another's")
        return self

    def fetch_public_key(self, key_set_url: str) -> TKeySet:
        try:
            return cast(TKeySet, self._key_sets.get(key_set_url, self._header.get("kid")))
        except KeySetError as error:
            raise PlatformKeysError(log=str(error)) from error

    def validate_jwt_signature(self) -> "_Launch":
        if not isinstance(self._header, dict):
            raise TokenRefusedError(log="header is not an object")
        public_key, _ = self.get_public_key()
        try:
            jwt.decode(
                self._get_id_token(),
                public_key,
                algorithms=[ALGORITHM],
                audience=self._platform.client_id,
                issuer=self._platform.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "iss", "aud"]},
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError) as error:
            raise TokenRefusedError(log=str(error)) from error
        if not all(_is_number(self._claims[name]) for name in ("exp", "iat")):
            raise TokenRefusedError(log="exp or iat is not a number")
        if time.time() - self._claims["iat"] > MAX_AGE_SECONDS + LEEWAY_SECONDS:
            raise TokenRefusedError(log="issued more than an hour ago")
        return self

    def validate_deployment(self) -> "_Launch":
        return self

    def validate_message(self) -> "_Launch":
        if self._claims.get(CLAIM + "version") != "1.3.0":
            raise UnsupportedMessageError(log=f"version {self._claims.get(CLAIM + 'version')!r:.100}")
        kind = self._claims.get(CLAIM + "message_type")
        if kind != "LtiResourceLinkRequest":
            raise UnsupportedMessageError(log=f"message_type {kind!r:.100}")
        return self

    def save_launch_data(self) -> "_Launch":
        return self

    @property
    def _claims(self) -> dict[str, Any]:
        return cast(dict[str, Any], self._jwt.get("body", {}))

    @property
    def _header(self) -> dict[str, Any]:
        return cast(dict[str, Any], self._jwt.get("header", {}))


def _is_number(value: object) -> bool:
    """Tell a NumericDate (RFC 7519, section 2) from what only reads like one."""
    return isinstance(value, int | float) and not isinstance(value, bool)
