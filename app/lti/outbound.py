"""Requests of the tool to platforms: bounded in time and size, over https, never redirected.

An address that somebody else chose (dynamic registration) is asked through a session that reaches public hosts alone.
"""

import io
import json
import logging
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from http.cookiejar import DefaultCookiePolicy
from ipaddress import ip_address, ip_network
from typing import Any, Generic, Protocol, TypeVar, cast

import requests
from requests.adapters import HTTPAdapter
from requests_hardened.ip_filter import InvalidIPAddress
from requests_hardened.ip_filter_adapter import IPFilterAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, MaxRetryError

from app.lti.addresses import is_protected, without_query
from app.lti.models import RegistrationSource
from app.text import clean_line

USER_AGENT = "AI-Experiences (LTI 1.3 tool)"
CONNECT_SECONDS = 3
TOTAL_SECONDS = 4.5
MAX_BYTES = 256 * 1024
MAX_REASON = 300

# What the filter of `requests_hardened` lets through: IPv4 in IPv6's old form, IPv6's old site addresses, and the
# address at which Azure serves its machines.
_PRIVATE_TOO = [ip_network(name) for name in ("::/96", "fec0::/10", "168.63.129.16/32")]

_Answer = TypeVar("_Answer")

# At level DEBUG it would write whole addresses, tokens in their queries included.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)


class OutboundError(Exception):
    """An answer that could not be had, or is no JSON. The message is for the log."""


class ForbiddenAddressError(requests.RequestException):
    """An address that the tool does not ask: not https, or private where only public ones are asked."""


class TooLargeError(requests.RequestException):
    """An answer larger than the session reads."""


class OutboundSession(requests.Session):
    """A session of `requests` that keeps the rules, safe for several threads.

    Plain http is for this machine and where `production` is False only. A request, name look-up included, takes
    `total_seconds` at most and its answer is read up to `max_bytes`; all that goes wrong is a
    `requests.RequestException`. A session with `public_only` refuses hosts whose address is private, as resolved for
    that very request (in development, loopback is let through).
    """

    def __init__(
        self,
        *,
        production: bool,
        public_only: bool = False,
        total_seconds: float = TOTAL_SECONDS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        super().__init__()
        self._production, self._total_seconds, self._max_bytes = production, total_seconds, max_bytes
        # Compressed answers could be larger than they look.
        self.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.auth = _as_given
        for scheme in ("http", "https"):
            adapter = _PublicAdapter(scheme == "https", not production) if public_only else _Adapter()
            self.mount(f"{scheme}://", adapter)

    def fetch_json(self, url: str, *, headers: dict[str, str] | None = None) -> Any:  # noqa: ANN401 - whatever came
        """GET the JSON at `url`. Raises `OutboundError`."""
        return self._ask_json("GET", url, headers=headers)

    def post_json(self, url: str, body: object, *, headers: dict[str, str] | None = None) -> Any:  # noqa: ANN401
        """POST `body` as JSON and return the JSON that answers. Raises `OutboundError`."""
        return self._ask_json("POST", url, json=body, headers=headers)

    def check_address(self, url: str) -> None:
        """Raise `OutboundError` unless the session may ask `url`. Asks nothing but the name's address."""
        try:
            request = self.prepare_request(requests.Request("GET", url))
            self._refuse_unless_safe(request)
            adapter = cast(HTTPAdapter, self.get_adapter(request.url or ""))
            look_up = adapter.build_connection_pool_key_attributes
            _Exchange(lambda: look_up(request, verify=True)).result(self._total_seconds)
        except (OSError, ValueError) as error:
            raise OutboundError(_line(url, error)) from error

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # noqa: ANN401
        """Send a request and read its answer whole. Raises a `requests.RequestException`."""
        # The time-out of a read stands behind the whole one, for a connection that could not be cut.
        kwargs |= {"stream": True, "timeout": (CONNECT_SECONDS, 2 * self._total_seconds)}
        send = super().send
        try:
            self._refuse_unless_safe(request)
            return _Exchange(lambda: self._read(send(request, **kwargs))).result(self._total_seconds)
        except InvalidIPAddress as error:
            raise ForbiddenAddressError(f"{error} is a private address", request=request) from error
        except requests.RequestException:
            raise
        except TimeoutError as error:
            raise requests.Timeout(f"no whole answer in {self._total_seconds} s", request=request) from error
        except (HTTPError, OSError, ValueError) as error:
            raise requests.ConnectionError(repr(error), request=request) from error

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Follow none: an answer of 3xx is given back as it is."""

    def _refuse_unless_safe(self, request: requests.PreparedRequest) -> None:
        if not is_protected(request.url or "", production=self._production):
            raise ForbiddenAddressError("not an https address", request=request)

    def _read(self, response: requests.Response) -> requests.Response:
        with response:
            body = response.raw.read(self._max_bytes + 1, decode_content=False)
        if len(body) > self._max_bytes:
            raise TooLargeError(f"more than {self._max_bytes} bytes", response=response)
        response.raw = io.BytesIO(body)
        return response

    def _ask_json(self, method: str, url: str, **how: Any) -> Any:  # noqa: ANN401 - whatever came
        try:
            response = self.request(method, url, **how)
            if not response.ok or response.is_redirect:
                said = clean_line(response.content.decode(errors="replace"), MAX_REASON)
                raise OutboundError(
                    f"{without_query(url):.300}: answered {response.status_code} {said or response.reason}"
                )
            return json.loads(response.content)
        except (requests.RequestException, ValueError, RecursionError) as error:
            raise OutboundError(_line(url, error)) from error


class Asked(Protocol):
    """Whoever is asked: a platform, or a program that uses the API."""

    @property
    def source(self) -> RegistrationSource:
        """Who wrote its addresses down."""


class Outbound:
    """The sessions for platforms: one that registered itself is asked at public hosts alone.

    An administrator wrote the others' addresses down, and may have meant private ones. ``limits`` are those of
    `OutboundSession`.
    """

    def __init__(self, *, production: bool, allow_private: bool = False, **limits: Any) -> None:  # noqa: ANN401
        self._trusting = OutboundSession(production=production, **limits)
        self._wary = OutboundSession(production=production, public_only=not allow_private, **limits)

    def to(self, asked: Asked) -> OutboundSession:
        """Return the session with which to ask somebody."""
        return self._wary if asked.source is RegistrationSource.REGISTRATION else self._trusting


def _line(url: str, error: Exception) -> str:
    """Say in a line for the log what went wrong, without what the errors of `requests` repeat of the address."""
    if isinstance(error, requests.RequestException) and isinstance(error, ValueError):
        return f"{without_query(url):.300}: not an address"
    cause = error.args[0] if error.args else None
    told = cause.reason if isinstance(cause, MaxRetryError) else error
    return f"{without_query(url):.300}: {told!r:.{MAX_REASON}}"


def _as_given(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Let no ~/.netrc put its password into a request, as `requests` would."""
    return request


class _Exchange(Generic[_Answer]):
    """One request in a thread of its own, for `requests` ends neither a slow look-up nor an answer that drips.

    Where the time is up the connection is cut, so that the thread ends too.
    """

    _running = threading.local()

    def __init__(self, call: Callable[[], _Answer]) -> None:
        self._answer: Future[_Answer] = Future()
        self._plugs: list[socket.socket] = []
        self._over = False
        threading.Thread(target=self._run, args=(call,), name="outbound", daemon=True).start()

    def result(self, seconds: float) -> _Answer:
        """Wait for the answer. Raises `TimeoutError`, and whatever the request raised."""
        try:
            return self._answer.result(seconds)
        except TimeoutError:
            self._over = True
            for plug in self._plugs:
                with suppress(OSError):
                    plug.shutdown(socket.SHUT_RDWR)
            raise

    @classmethod
    def watch(cls, connection: socket.socket) -> None:
        """Note a connection that this thread's request uses."""
        exchange: _Exchange[Any] = cls._running.exchange
        exchange._plugs.append(socket.socket(fileno=os.dup(connection.fileno())))
        if exchange._over:
            raise TimeoutError("connected too late")

    def _run(self, call: Callable[[], _Answer]) -> None:
        self._running.exchange = self
        try:
            self._answer.set_result(call())
        except Exception as error:
            self._answer.set_exception(error)
        finally:
            for plug in self._plugs:
                plug.close()


class _HttpConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        connection = super()._new_conn()
        _Exchange.watch(connection)
        return connection

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        if self.sock:
            _Exchange.watch(self.sock)  # one kept from an earlier exchange
        super().request(*args, **kwargs)


class _HttpsConnection(_HttpConnection, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}


class _PublicAdapter(_Adapter, IPFilterAdapter):
    def build_connection_pool_key_attributes(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        host, pool = super().build_connection_pool_key_attributes(*args, **kwargs)
        address = ip_address(host["host"].strip("[]"))
        if not address.is_loopback and any(address in network for network in _PRIVATE_TOO):
            raise InvalidIPAddress(address)
        return host, pool
