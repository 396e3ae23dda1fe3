"""Access tokens for the services, and the assertions with which the tool asks for them."""

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any

import jwt
import requests

from app.sandbox.config import SandboxConfig
from app.sandbox.errors import OAuthError, ServiceError

NRPS = "https://purl.imsglobal.org/spec/lti-nrps/scope/contextmembership.readonly"
LINE_ITEM = "https://purl.imsglobal.org/spec/lti-ags/scope/lineitem"
LINE_ITEM_READONLY = "https://purl.imsglobal.org/spec/lti-ags/scope/lineitem.readonly"
RESULT_READONLY = "https://purl.imsglobal.org/spec/lti-ags/scope/result.readonly"
SCORE = "https://purl.imsglobal.org/spec/lti-ags/scope/score"
GRADE_SCOPES = (LINE_ITEM, LINE_ITEM_READONLY, RESULT_READONLY, SCORE)
SCOPES = (*GRADE_SCOPES, NRPS)

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FETCH_SECONDS = 5
MAX_ASSERTION_SECONDS = 3600
LEEWAY_SECONDS = 5

FetchJson = Callable[[str], Mapping[str, Any]]


def fetch_json(url: str) -> Mapping[str, Any]:
    """Read a JSON object over HTTP, in a time that a waiting person can bear."""
    answer = requests.get(url, timeout=FETCH_SECONDS, headers={"Accept": "application/json"})
    answer.raise_for_status()
    content = answer.json()
    if not isinstance(content, dict):
        raise ValueError(f"{url} does not answer with a JSON object")
    return content


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token with what it allows and until when."""

    value: str
    scopes: frozenset[str]
    expires_at: float


class TokenStore:
    """Tokens given out and assertions seen, in memory and safe between threads."""

    def __init__(self, lifetime: int) -> None:
        self._lifetime = lifetime
        self._lock = RLock()
        self._tokens: dict[str, AccessToken] = {}
        self._assertions: dict[str, float] = {}

    def issue(self, scopes: Iterable[str]) -> AccessToken:
        """Give out a token."""
        token = AccessToken(secrets.token_urlsafe(32), frozenset(scopes), time.time() + self._lifetime)
        with self._lock:
            self._tokens[token.value] = token
        return token

    def find(self, value: str) -> AccessToken | None:
        """A token that is known and has not expired."""
        with self._lock:
            token = self._tokens.get(value)
            if token is not None and token.expires_at <= time.time():
                del self._tokens[value]
                return None
            return token

    def expire_all(self) -> None:
        """Make every token given out so far useless."""
        with self._lock:
            self._tokens.clear()

    def take_assertion(self, jti: str, expires_at: float) -> bool:
        """Note an assertion's id; False where it was used before."""
        with self._lock:
            now = time.time()
            self._assertions = {key: until for key, until in self._assertions.items() if until > now}
            fresh = jti not in self._assertions
            self._assertions[jti] = expires_at + LEEWAY_SECONDS
            return fresh


def grant(
    form: Mapping[str, str], *, config: SandboxConfig, store: TokenStore, fetch: FetchJson
) -> AccessToken:
    """Answer a token request. Raises `OAuthError` in the words of RFC 6749."""
    if form.get("grant_type") != "client_credentials":
        raise OAuthError("unsupported_grant_type", "grant_type must be client_credentials")
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise OAuthError("invalid_request", f"client_assertion_type must be {ASSERTION_TYPE}")
    scopes = frozenset(form.get("scope", "").split()) & frozenset(SCOPES)
    if not scopes:
        raise OAuthError("invalid_scope", f"scope must name at least one of: {' '.join(SCOPES)}")
    claims = _verified(form.get("client_assertion", ""), config, fetch)
    if not store.take_assertion(claims["jti"], float(claims["exp"])):
        raise OAuthError("invalid_client", "The assertion's jti has been used before", status=401)
    return store.issue(scopes)


def check_bearer(header: str, accepted: Iterable[str], store: TokenStore) -> AccessToken:
    """The token of an ``Authorization`` header. Raises `ServiceError` 401, or 403 without a scope."""
    scheme, _, value = header.partition(" ")
    token = store.find(value.strip()) if scheme.lower() == "bearer" else None
    if token is None:
        challenge = {"WWW-Authenticate": 'Bearer realm="sandbox", error="invalid_token"'}
        raise ServiceError(401, "Invalid access token", headers=challenge)
    if token.scopes.isdisjoint(accepted):
        raise ServiceError(403, "Insufficient permissions: the access token lacks the scope")
    return token


def _verified(assertion: str, config: SandboxConfig, fetch: FetchJson) -> dict[str, Any]:
    try:
        key = _tool_key(jwt.get_unverified_header(assertion), config, fetch)
        claims: dict[str, Any] = jwt.decode(
            assertion,
            key,
            algorithms=["RS256"],
            audience=config.token_url,
            issuer=config.client_id,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iat", "jti", "iss", "sub", "aud"]},
        )
    except (jwt.PyJWTError, KeyError) as error:
        raise OAuthError("invalid_client", f"The assertion is not valid: {error}", status=401) from error
    _check_assertion(claims, config)
    return claims


def _check_assertion(claims: Mapping[str, Any], config: SandboxConfig) -> None:
    if claims["sub"] != config.client_id:
        raise OAuthError("invalid_client", "The assertion's sub is not the client", status=401)
    expires, issued = float(claims["exp"]), float(claims["iat"])
    if max(expires, time.time()) - issued > MAX_ASSERTION_SECONDS:
        raise OAuthError("invalid_client", "The assertion lives for too long", status=401)


def _tool_key(header: Mapping[str, Any], config: SandboxConfig, fetch: FetchJson) -> jwt.PyJWK:
    try:
        key_set = jwt.PyJWKSet.from_dict(dict(fetch(config.tool_key_set_url)))
    except (requests.RequestException, ValueError, jwt.PyJWTError) as error:
        reason = f"The tool's key set at {config.tool_key_set_url} cannot be read"
        raise OAuthError("invalid_client", reason, status=401) from error
    return key_set[str(header.get("kid", ""))]
