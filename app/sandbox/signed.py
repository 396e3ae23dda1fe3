"""What a tool has signed: assertions for tokens, and deep linking responses."""

import time
from collections.abc import Callable, Iterable, Mapping
from threading import RLock
from typing import Any

import jwt
import requests

from app.sandbox.tools import Tool

FETCH_SECONDS = 5
LEEWAY_SECONDS = 5

FetchJson = Callable[[str], Mapping[str, Any]]


class UntrustedError(Exception):
    """A token that does not prove to be the tool's; the message says why."""


def fetch_json(url: str) -> Mapping[str, Any]:
    """Read a JSON object over HTTP, in a time that a waiting person can bear."""
    answer = requests.get(url, timeout=FETCH_SECONDS, headers={"Accept": "application/json"})
    answer.raise_for_status()
    content = answer.json()
    if not isinstance(content, dict):
        raise ValueError(f"{url} does not answer with a JSON object")
    return content


def read_signed(
    token: str, *, tool: Tool, audience: str, require: Iterable[str], fetch: FetchJson
) -> dict[str, Any]:
    """The claims of a token, after its signature, issuer, audience and dates. Raises `UntrustedError`."""
    try:
        key = _key(str(jwt.get_unverified_header(token).get("kid", "")), tool, fetch)
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            audience=audience,
            issuer=tool.client_id,
            leeway=LEEWAY_SECONDS,
            options={"require": [*require]},
        )
    except (jwt.PyJWTError, KeyError) as error:
        raise UntrustedError(str(error)) from error
    return claims


def issuer_of(token: str) -> str:
    """Who a token says that it is from, before anything is verified. Raises `UntrustedError`."""
    try:
        return str(jwt.decode(token, options={"verify_signature": False}).get("iss", ""))
    except jwt.PyJWTError as error:
        raise UntrustedError(str(error)) from error


class OnceOnly:
    """Ids that work once, such as nonces, remembered until what carries them expires."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._used: dict[str, float] = {}

    def take(self, used: str, expires_at: float) -> bool:
        """Note an id; False where it was used before."""
        with self._lock:
            now = time.time()
            self._used = {key: until for key, until in self._used.items() if until > now}
            fresh = used not in self._used
            self._used[used] = expires_at + LEEWAY_SECONDS
            return fresh


def _key(kid: str, tool: Tool, fetch: FetchJson) -> jwt.PyJWK:
    try:
        key_set = jwt.PyJWKSet.from_dict(dict(fetch(tool.key_set_url)))
    except (requests.RequestException, ValueError, jwt.PyJWTError) as error:
        raise UntrustedError(f"the tool's key set at {tool.key_set_url} cannot be read") from error
    return key_set[kid]
