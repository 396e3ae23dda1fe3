"""The platforms' public keys, fetched with time-outs and kept for a while."""

import math
import threading
import time
from dataclasses import dataclass
from typing import Any, TypeGuard

from app.lti.outbound import OutboundError, OutboundSession

FRESH_SECONDS = 3600
STALE_SECONDS = 24 * 3600
REFETCH_PAUSE_SECONDS = 60
FAILURE_PAUSE_SECONDS = 10


class KeySetError(Exception):
    """A key set that cannot be had; the message is for the log."""


@dataclass(frozen=True, slots=True)
class _Kept:
    key_set: dict[str, Any]
    fetched_at: float


class KeySets:
    """Key sets by address, shared by the launches of one process.

    One is fetched anew after an hour, and for an unknown ``kid`` once a minute at most; while the platform is out of
    reach, keys up to a day old serve on, and it is left alone for ten seconds at a time.
    """

    def __init__(self, http: OutboundSession) -> None:
        self._http = http
        self._kept: dict[str, _Kept] = {}
        self._failed_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def get(self, url: str, kid: str | None) -> dict[str, Any]:
        """Return the key set at `url`, one that holds `kid` if it can be had. Raises `KeySetError`."""
        with self._lock:
            kept = self._kept.get(url)
        if kept and not _wants_fetching(kept, kid):
            return kept.key_set
        try:
            return self._fetch_unless_down(url)
        except KeySetError:
            if kept and _age(kept) < STALE_SECONDS:
                return kept.key_set
            raise

    def _fetch_unless_down(self, url: str) -> dict[str, Any]:
        if time.monotonic() - self._failed_at.get(url, -math.inf) < FAILURE_PAUSE_SECONDS:
            raise KeySetError(f"{url}: did not answer a moment ago")
        try:
            key_set = self._fetch(url)
        except KeySetError:
            self._failed_at[url] = time.monotonic()
            raise
        with self._lock:
            self._kept[url] = _Kept(key_set, time.monotonic())
        return key_set

    def _fetch(self, url: str) -> dict[str, Any]:
        try:
            key_set = self._http.fetch_json(url)
        except OutboundError as error:
            raise KeySetError(str(error)) from error
        if not _is_key_set(key_set):
            raise KeySetError(f"{url}: not a key set")
        return key_set


def _wants_fetching(kept: _Kept, kid: str | None) -> bool:
    known = any(key.get("kid") == kid for key in kept.key_set["keys"])
    return _age(kept) > (FRESH_SECONDS if known else REFETCH_PAUSE_SECONDS)


def _age(kept: _Kept) -> float:
    return time.monotonic() - kept.fetched_at


def _is_key_set(value: object) -> TypeGuard[dict[str, Any]]:
    keys = value.get("keys") if isinstance(value, dict) else None
    return isinstance(keys, list) and all(isinstance(key, dict) for key in keys)
