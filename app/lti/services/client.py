"""Requests to a platform's services on behalf of the tool: access tokens, answers, pages.

Tokens follow the 1EdTech Security Framework 1.1, section 4.1 (a signed assertion for an access token); the roster
(NRPS 2.0) and grades (AGS 2.0) build on this. `app.lti.services.owed` has the threads that talk to platforms:

    services = PlatformServices(key_ring, production=True)
    answer = services.request(platform, [SCORE_SCOPE], "POST", url, json=score, content_type=SCORE_TYPE)
    for page in services.pages(platform, [ROSTER_SCOPE], url, accept=MEMBERS_TYPE): ...

No database session may be held meanwhile. Every failure is a `ServiceError`, whose text is a line for a teacher.
"""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin

import orjson
import requests
from pylti1p3.exception import LtiServiceException
from pylti1p3.service_connector import ServiceConnector
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from app.lti.addresses import same_origin
from app.lti.keys import KeyRing, PrivateKeyError, SigningKey
from app.lti.models import Platform
from app.lti.outbound import ForbiddenAddressError, Outbound, OutboundSession, TooLargeError
from app.lti.registration.platforms import to_registration
from app.text import N_, clean_line

logger = logging.getLogger(__name__)
TOTAL_SECONDS = 15.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
EXPIRY_MARGIN_SECONDS = 60
BUSY = timedelta(minutes=1)  # where a platform does not say for how long
MAX_BUSY = timedelta(hours=1)
MAX_PAGES = 1000
LIST_SECONDS = 120.0  # after which no other page is asked for; the last may take a minute, tokens renewed
MAX_REASON = 200


SCOPE_REFUSED = N_("The platform's administrators do not let the tool use this service.")


class ServiceError(Exception):
    """A service that did not do what it was asked for. Its text is one line without secrets.

    Texts of this tool are message ids: pass them through `gettext` in Python, not in a template, which would read a
    platform's percent signs as format. ``retry_after`` is for how long the platform wants to be left alone.
    """

    retry_after = timedelta()


class ServiceBusyError(ServiceError):
    """The platform asks to be left alone for a while (429, or 503 that says for how long)."""

    def __init__(self, reason: str, retry_after: timedelta) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class ServiceUnavailableError(ServiceError):
    """The platform cannot be reached, takes too long, or fails by itself (5xx). Worth another try later."""


class ServiceRefusedError(ServiceError):
    """The platform does not want the request as it is; ``status`` is None where the tool did not even send it."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class ScopeRefusedError(ServiceRefusedError):
    """The platform's administrators do not let the tool use this service."""


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """What a service answered: the JSON of its body, None where there is none, and the address of the next page."""

    body: Any
    next_url: str | None


@dataclass(frozen=True, slots=True)
class _AccessToken:
    value: str = field(repr=False)
    expires_at: float

    @property
    def good(self) -> bool:
        return time.monotonic() < self.expires_at - EXPIRY_MARGIN_SECONDS

    @property
    def header(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.value}"}


_TokenKey = tuple[int, tuple[str, ...]]


class PlatformServices:
    """The services of all platforms, for one process. Access tokens stay in memory, by platform and scopes."""

    def __init__(self, key_ring: KeyRing, *, production: bool, allow_private: bool = False) -> None:
        self._key_ring = key_ring
        self._outbound = Outbound(
            production=production,
            allow_private=allow_private,
            total_seconds=TOTAL_SECONDS,
            max_bytes=MAX_ANSWER_BYTES,
        )
        self._tokens: dict[_TokenKey, _AccessToken] = {}
        self._lock = threading.Lock()

    def request(
        self,
        platform: Platform,
        scopes: Sequence[str],
        method: str,
        url: str,
        *,
        json: object = None,
        content_type: str | None = None,
        accept: str = "application/json",
    ) -> ServiceAnswer:
        """Send a request with an access token for `scopes`; one that the platform no longer takes is renewed once.

        Raises a `ServiceError`.
        """
        headers = {"Accept": accept} | ({"Content-Type": content_type} if content_type else {})
        data = None if json is None else orjson.dumps(json)
        http = self._outbound.to(platform)
        token = self._access_token(platform, scopes)
        response = _send(http, method, url, data, headers | token.header)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            self._forget(platform, scopes, token)
            token = self._access_token(platform, scopes)
            response = _send(http, method, url, data, headers | token.header)
        _raise_for_status(response)
        return ServiceAnswer(_json(response), _next_url(response, url))

    def pages(
        self, platform: Platform, scopes: Sequence[str], url: str, *, accept: str = "application/json"
    ) -> Iterator[Any]:
        """Yield the body of each page of a list, following ``Link: rel="next"`` (RFC 8288) within the same origin.

        Raises a `ServiceError`, after the pages that could be read, where one fails, the list leads elsewhere, or it
        takes longer than two minutes (with the last page, three at most).
        """
        until = time.monotonic() + LIST_SECONDS
        read: set[str] = set()
        following: str | None = url
        while following:
            if not same_origin(following, url):
                raise ServiceRefusedError(N_("The list goes on at another address, which is not followed."))
            if time.monotonic() > until:
                raise ServiceUnavailableError(N_("The platform took too long to answer."))
            if following in read or len(read) == MAX_PAGES:
                raise ServiceRefusedError(N_("The list has no end."))
            read.add(following)
            answer = self.request(platform, scopes, "GET", following, accept=accept)
            yield answer.body
            following = answer.next_url

    def _access_token(self, platform: Platform, scopes: Sequence[str]) -> _AccessToken:
        key = _token_key(platform, scopes)
        with self._lock:
            kept = self._tokens.get(key)
        if kept and kept.good:
            return kept
        fresh = self._request_token(platform, scopes)
        with self._lock:
            self._tokens[key] = fresh
        return fresh

    def _forget(self, platform: Platform, scopes: Sequence[str], token: _AccessToken) -> None:
        with self._lock:
            if self._tokens.get(_token_key(platform, scopes)) is token:
                del self._tokens[_token_key(platform, scopes)]

    def _request_token(self, platform: Platform, scopes: Sequence[str]) -> _AccessToken:
        try:
            key = self._key_ring.signing_key(platform.private_key_file)
            connector = _Connector(platform, key, self._outbound.to(platform))
            value = connector.get_access_token(scopes)
        except PrivateKeyError as error:
            logger.error("no access token for platform %s: %s", platform.id, error)
            raise ServiceUnavailableError(N_("The tool's own key cannot be used.")) from error
        except LtiServiceException as error:
            _raise_for_token(error.response)
            raise ServiceUnavailableError(N_("The platform gave no access token.")) from error
        except requests.RequestException as error:
            raise _unreachable(error) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ServiceUnavailableError(N_("The platform gave no access token.")) from error
        return _AccessToken(value, time.monotonic() + connector.lifetime)


class _Connector(ServiceConnector):
    """pylti1p3's request for an access token. Its own cache, by issuer and scopes, would mix clients of one issuer."""

    lifetime = 0.0

    def __init__(self, platform: Platform, key: SigningKey, http: requests.Session) -> None:
        registration = to_registration(platform).set_tool_private_key(key.pem)
        super().__init__(registration, http)
        self._kid = key.kid

    def encode_jwt(self, message: dict[str, str | int], private_key: str, headers: dict[str, str]) -> str:
        return super().encode_jwt(message, private_key, {**headers, "kid": self._kid})

    def _get_cached_access_token(self, scope_key: str) -> None:
        return None

    def _cache_access_token(self, scope_key: str, access_token: str, expires_in: float) -> None:
        if not isinstance(access_token, str) or not access_token.isascii():
            raise ValueError("access_token is not text")
        self.lifetime = float(expires_in)


def _send(
    http: OutboundSession, method: str, url: str, data: bytes | None, headers: Mapping[str, str]
) -> requests.Response:
    try:
        return http.request(method, url, data=data, headers=headers)
    except requests.RequestException as error:
        raise _unreachable(error) from error


def _token_key(platform: Platform, scopes: Sequence[str]) -> _TokenKey:
    return platform.id, tuple(sorted(scopes))


def _raise_for_token(response: requests.Response) -> None:
    """Raise what an answer without an access token means (RFC 6749, section 5.2)."""
    body = _json(response)
    if isinstance(body, Mapping) and body.get("error") == "invalid_scope":
        raise ScopeRefusedError(SCOPE_REFUSED, response.status_code)
    _raise_for_status(response)


def _raise_for_status(response: requests.Response) -> None:
    status = response.status_code
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return
    busy = response.headers.get("Retry-After") if status == HTTPStatus.SERVICE_UNAVAILABLE else ""
    if status == HTTPStatus.TOO_MANY_REQUESTS or busy:
        raise ServiceBusyError(N_("The platform is busy."), _retry_after(response))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        raise ServiceUnavailableError(N_("The platform is out of order."))
    if "insufficient_scope" in response.headers.get("WWW-Authenticate", ""):  # RFC 6750, section 3.1
        raise ScopeRefusedError(SCOPE_REFUSED, status)
    words = f"{status} {_words(_json(response)) or response.reason}"
    raise ServiceRefusedError(clean_line(words, MAX_REASON) or str(status), status)


def _unreachable(error: requests.RequestException) -> ServiceError:
    if isinstance(error, ForbiddenAddressError):
        return ServiceRefusedError(
            N_("The service's address does not begin with https://, or is a private one.")
        )
    if isinstance(error, TooLargeError):
        return ServiceRefusedError(N_("The platform's answer is too long."))
    if isinstance(error, requests.Timeout):
        return ServiceUnavailableError(N_("The platform took too long to answer."))
    return ServiceUnavailableError(N_("The platform could not be reached."))


def _retry_after(response: requests.Response) -> timedelta:
    """Return for how long the platform wants to be left alone (RFC 9110, section 10.2.3)."""
    try:
        seconds = Retry().parse_retry_after(response.headers["Retry-After"])
    except (KeyError, InvalidHeader):
        return BUSY
    return timedelta(seconds=min(max(seconds, 1), MAX_BUSY.total_seconds()))


def _words(body: object) -> str | None:
    """Find a sentence in an error's JSON; platforms differ in where they put it."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return next(filter(None, map(_words, body)), None)
    if isinstance(body, Mapping):
        names = ("error_description", "message", "detail", "error", "errors")
        return next(filter(None, (_words(body.get(name)) for name in names)), None)
    return None


def _json(response: requests.Response) -> Any:  # noqa: ANN401 - whatever the platform sent
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None


def _next_url(response: requests.Response, url: str) -> str | None:
    following = response.links.get("next", {}).get("url")
    try:
        return urljoin(url, following) if following else None
    except ValueError as error:
        raise ServiceRefusedError(N_("The list goes on at an address that is none.")) from error
