"""The platforms' public keys, fetched with time-outs and kept for a while."""

import math
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, cast

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from app.lti.keys import ALGORITHM
from app.lti.models import Platform
from app.lti.outbound import Asked, Outbound, OutboundError, OutboundSession

FRESH_SECONDS = 3600
STALE_SECONDS = 24 * 3600
REFETCH_PAUSE_SECONDS = 60
FAILURE_PAUSE_SECONDS = 10
PATIENCE_SECONDS = 0.5
PUBLIC_MEMBERS = ("kty", "n", "e")  # of an RSA key (RFC 7518, section 6.3.1)


class KeySetError(Exception):
    """A key set that cannot be had; the message is for the log."""


class UnknownKeyError(KeySetError):
    """A key that is not in its platform's key set."""


class KeyHolder(Asked, Protocol):
    """Whoever publishes public keys: a platform, or a program that uses the API."""

    @property
    def key_set_url(self) -> str:
        """The address of the keys."""


@dataclass(frozen=True, slots=True)
class _Kept:
    key_set: dict[str, Any]
    fetched_at: float


class KeySets:
    """Key sets by address, shared by the launches of one process.

    One is fetched anew after an hour, and for an unknown ``kid`` at once but once a minute at most; while the platform
    is out of reach, keys up to a day old serve on, and it is left alone for ten seconds at a time. One launch fetches;
    others that need the same set wait for what it brings: half a second at most where an old one holds the key, which a
    platform that answers may have withdrawn.
    """

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._kept: dict[str, _Kept] = {}
        self._failed_at: dict[str, float] = {}
        self._asked_anew_at: dict[str, float] = {}
        self._fetching: dict[str, threading.Lock] = {}
        self._renewals: dict[str, threading.Thread] = {}
        self._starting = threading.Lock()

    def public_key(self, platform: Platform, kid: str) -> rsa.RSAPublicKey:
        """Return the platform's key `kid`. Raises `UnknownKeyError`, or another `KeySetError`."""
        url = platform.key_set_url
        named = (key for key in self.get(platform, kid)["keys"] if key.get("kid") == kid)
        found = next((key for key in named if key.get("alg", ALGORITHM) == ALGORITHM), None)
        if found is None:
            raise UnknownKeyError(f"{url}: no key {kid!r:.100} for {ALGORITHM}")
        try:
            key = RSAAlgorithm.from_jwk({name: found[name] for name in PUBLIC_MEMBERS})
        except (jwt.PyJWTError, LookupError, ValueError, TypeError) as error:
            raise KeySetError(f"{url}: the key {kid!r:.100} cannot be used: {error!r:.200}") from error
        return cast(rsa.RSAPublicKey, key)

    def get(self, holder: KeyHolder, kid: str) -> dict[str, Any]:
        """Return the holder's key set, one that holds `kid` if it can be had. Raises `KeySetError`."""
        url, http = holder.key_set_url, self._outbound.to(holder)
        kept = self._kept.get(url)
        if kept and _holds(kept, kid) and _serves_on(kept):
            if not _is_fresh(kept):
                self._renewal(url, http).join(PATIENCE_SECONDS)
            return self._kept[url].key_set
        with self._fetching.setdefault(url, threading.Lock()):
            kept = self._kept.get(url)
            if kept and _is_fresh(kept) and (_holds(kept, kid) or not self._may_ask_anew(url)):
                return kept.key_set
            try:
                return self._fetch_unless_down(url, http)
            except KeySetError:
                if kept and _serves_on(kept):
                    return kept.key_set
                raise

    def _renewal(self, url: str, http: OutboundSession) -> threading.Thread:
        """Return the thread in which a key set is fetched anew: one at a time."""
        with self._starting:
            thread = self._renewals.get(url)
            if thread is None or not thread.is_alive():
                thread = threading.Thread(target=self._renew, args=(url, http), name="key set", daemon=True)
                self._renewals[url] = thread
                thread.start()
        return thread

    def _renew(self, url: str, http: OutboundSession) -> None:
        with self._fetching.setdefault(url, threading.Lock()), suppress(KeySetError):
            if not _is_fresh(self._kept[url]):
                self._fetch_unless_down(url, http)

    def _may_ask_anew(self, url: str) -> bool:
        if _since(self._asked_anew_at.get(url)) < REFETCH_PAUSE_SECONDS:
            return False
        self._asked_anew_at[url] = time.monotonic()
        return True

    def _fetch_unless_down(self, url: str, http: OutboundSession) -> dict[str, Any]:
        if _since(self._failed_at.get(url)) < FAILURE_PAUSE_SECONDS:
            raise KeySetError(f"{url}: did not answer a moment ago")
        try:
            key_set = _fetch(url, http)
        except KeySetError:
            self._failed_at[url] = time.monotonic()
            raise
        self._kept[url] = _Kept(key_set, time.monotonic())
        return key_set


def _fetch(url: str, http: OutboundSession) -> dict[str, Any]:
    try:
        key_set = http.fetch_json(url)
    except OutboundError as error:
        raise KeySetError(str(error)) from error
    if not _is_key_set(key_set):
        raise KeySetError(f"{url}: not a key set")
    return key_set


def _holds(kept: _Kept, kid: str) -> bool:
    return any(key.get("kid") == kid for key in kept.key_set["keys"])


def _is_fresh(kept: _Kept) -> bool:
    return _age(kept) <= FRESH_SECONDS


def _serves_on(kept: _Kept) -> bool:
    return _age(kept) < STALE_SECONDS


def _age(kept: _Kept) -> float:
    return _since(kept.fetched_at)


def _since(moment: float | None) -> float:
    return math.inf if moment is None else time.monotonic() - moment


def _is_key_set(value: object) -> TypeGuard[dict[str, Any]]:
    keys = value.get("keys") if isinstance(value, dict) else None
    return isinstance(keys, list) and all(isinstance(key, dict) for key in keys)
