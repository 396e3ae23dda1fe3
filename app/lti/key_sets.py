"""The platforms' public keys, fetched with time-outs and kept for a while."""

import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeGuard

import requests
from urllib3.exceptions import HTTPError

FRESH_SECONDS = 3600
STALE_SECONDS = 24 * 3600
REFETCH_PAUSE_SECONDS = 60
FAILURE_PAUSE_SECONDS = 10
TIMEOUT_SECONDS = (2, 3)  # to connect, and between two pieces of the answer
TOTAL_SECONDS = 4.5
MAX_BYTES = 256 * 1024


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

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._failed_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._fetchers = ThreadPoolExecutor(4, thread_name_prefix="key-set")
        self._http = requests.Session()
        self._http.headers["User-Agent"] = "AI-Experiences (LTI 1.3 tool)"

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
        """Fetch in a thread that can be left behind: a time-out of `requests` ends no answer that drips."""
        try:
            key_set = self._fetchers.submit(self._get, url).result(TOTAL_SECONDS)
        except (requests.RequestException, HTTPError, OSError, ValueError, TimeoutError) as error:
            raise KeySetError(f"{url}: {error!r}") from error
        if not _is_key_set(key_set):
            raise KeySetError(f"{url}: not a key set")
        return key_set

    def _get(self, url: str) -> object:
        with self._http.get(url, timeout=TIMEOUT_SECONDS, stream=True) as response:
            response.raise_for_status()
            return json.loads(response.raw.read(MAX_BYTES + 1, decode_content=True))


def _wants_fetching(kept: _Kept, kid: str | None) -> bool:
    known = any(key.get("kid") == kid for key in kept.key_set["keys"])
    return _age(kept) > (FRESH_SECONDS if known else REFETCH_PAUSE_SECONDS)


def _age(kept: _Kept) -> float:
    return time.monotonic() - kept.fetched_at


def _is_key_set(value: object) -> TypeGuard[dict[str, Any]]:
    keys = value.get("keys") if isinstance(value, dict) else None
    return isinstance(keys, list) and all(isinstance(key, dict) for key in keys)
