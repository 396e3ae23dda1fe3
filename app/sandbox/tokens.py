"""Access tokens for the services, and the assertions with which tools ask for them."""

import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any

from app.sandbox.config import SandboxConfig
from app.sandbox.errors import OAuthError, ServiceError
from app.sandbox.signed import FetchJson, OnceOnly, UntrustedError, issuer_of, read_signed
from app.sandbox.tools import Tool, Tools

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_CLAIMS = ("exp", "iat", "jti", "iss", "sub", "aud")
MAX_ASSERTION_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A bearer token with whose it is, what it allows and until when."""

    value: str
    client_id: str
    scopes: frozenset[str]
    expires_at: float


class TokenStore:
    """Tokens given out and assertions seen, in memory and safe between threads."""

    def __init__(self, lifetime: int) -> None:
        self._lifetime = lifetime
        self._lock = RLock()
        self._tokens: dict[str, AccessToken] = {}
        self._assertions = OnceOnly()

    def issue(self, scopes: Iterable[str], client_id: str) -> AccessToken:
        """Give out a token."""
        expires_at = time.time() + self._lifetime
        token = AccessToken(secrets.token_urlsafe(32), client_id, frozenset(scopes), expires_at)
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
        return self._assertions.take(jti, expires_at)


def grant(
    form: Mapping[str, str], *, config: SandboxConfig, tools: Tools, store: TokenStore, fetch: FetchJson
) -> AccessToken:
    """Answer a token request. Raises `OAuthError` in the words of RFC 6749.

    A scope that the administrator has not granted fails the whole request, as in Canvas.
    """
    if form.get("grant_type") != "client_credentials":
        raise OAuthError("unsupported_grant_type", "grant_type must be client_credentials")
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise OAuthError("invalid_request", f"client_assertion_type must be {ASSERTION_TYPE}")
    tool, claims = _verified(form.get("client_assertion", ""), config, tools, fetch)
    scopes = frozenset(form.get("scope", "").split())
    if not scopes or not scopes <= set(tool.scopes):
        raise OAuthError("invalid_scope", f"scope must name some of: {' '.join(tool.scopes)}")
    if not store.take_assertion(f"{tool.client_id} {claims['jti']}", float(claims["exp"])):
        raise OAuthError("invalid_client", "The assertion's jti has been used before", status=401)
    return store.issue(scopes, tool.client_id)


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


def _verified(
    assertion: str, config: SandboxConfig, tools: Tools, fetch: FetchJson
) -> tuple[Tool, dict[str, Any]]:
    try:
        tool = tools.find(issuer_of(assertion))
        claims = read_signed(
            assertion, tool=tool, audience=config.token_url, require=ASSERTION_CLAIMS, fetch=fetch
        )
    except (UntrustedError, LookupError) as error:
        raise OAuthError("invalid_client", f"The assertion is not valid: {error}", status=401) from error
    _check_assertion(claims)
    return tool, claims


def _check_assertion(claims: Mapping[str, Any]) -> None:
    if claims["sub"] != claims["iss"]:
        raise OAuthError("invalid_client", "The assertion's sub is not the client", status=401)
    expires, issued = float(claims["exp"]), float(claims["iat"])
    if max(expires, time.time()) - issued > MAX_ASSERTION_SECONDS:
        raise OAuthError("invalid_client", "The assertion lives for too long", status=401)
