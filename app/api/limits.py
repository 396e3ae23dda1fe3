"""How much may be asked of the API in the time: a leaky bucket for each token and each person, as Canvas keeps them.

Who asks pours the request's cost into their buckets. A bucket holds what its rate allows in a minute, and leaks at that
rate; a request that would overflow one is refused and pours nothing. `X-Rate-Limit-Remaining` says how much fits in.

Buckets stand in the memory of each worker, or in Redis (`REDIS_URL`) for all workers and machines together. While Redis
cannot be reached, each worker counts on its own: no request fails for it.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

from flask import Flask

from app.settings import Settings, SettingsError

logger = logging.getLogger(__name__)
MINUTE = 60.0  # seconds in which a full bucket leaks away
SLACK = 1e-6  # of rounding
# An answer of Redis may take so long, and where it takes longer it is asked again after so long, in seconds.
REDIS_TIMEOUT = 0.25
REDIS_PAUSE = 5.0
WARN_EVERY = 60.0
KEY_PREFIX = "ai-experiences:rate:"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody stands after a request: the cost that still fits in, and the seconds to wait if it was refused."""

    remaining: float
    cost: float
    retry_after: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What an answer says of it, in Canvas's headers."""
        told = {"X-Rate-Limit-Remaining": f"{self.remaining:.1f}", "X-Request-Cost": f"{self.cost:.1f}"}
        return told if self.retry_after is None else told | {"Retry-After": str(self.retry_after)}


class Buckets(Protocol):
    """Where buckets stand. Fill is measured in the seconds that it takes to leak away, at most `MINUTE`."""

    def pour(self, seconds: Mapping[str, float]) -> tuple[bool, list[float]]:
        """Fill each bucket by so much, or none where one would overflow; return which, and how full they are now."""


class Limits:
    """The rates of one process. ``rates`` are costs a minute by what a key begins with: ``token`` or ``user``."""

    def __init__(self, rates: Mapping[str, float], buckets: Buckets) -> None:
        self._rates, self._buckets = rates, buckets

    def take(self, *keys: str, cost: float = 1.0) -> Standing:
        """Ask for a request of those that the keys name (``token:7``, ``user:3``), which all must have room for it."""
        speeds = [self._rates[key.partition(":")[0]] / MINUTE for key in keys]
        wanted = {key: cost / speed for key, speed in zip(keys, speeds, strict=True)}
        poured, full = self._buckets.pour(wanted)
        remaining = min((MINUTE - fill) * speed for fill, speed in zip(full, speeds, strict=True))
        if poured:
            return Standing(max(remaining, 0.0), cost)
        wait = max(fill + more - MINUTE for fill, more in zip(full, wanted.values(), strict=True))
        return Standing(max(remaining, 0.0), cost, retry_after=max(1, ceil(wait)))


class MemoryBuckets:
    """Buckets of this process alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._empty_at: dict[str, float] = {}
        self._tidy_at = clock() + MINUTE
        self._lock = threading.Lock()

    def pour(self, seconds: Mapping[str, float]) -> tuple[bool, list[float]]:
        """Fill each bucket by so much, or none where one would overflow; return which, and how full they are now."""
        with self._lock:
            now = self._clock()
            if now > self._tidy_at:
                self._tidy(now)
            full = [max(self._empty_at.get(key, now) - now, 0.0) for key in seconds]
            after = [fill + more for fill, more in zip(full, seconds.values(), strict=True)]
            if max(after) > MINUTE + SLACK:
                return False, full
            self._empty_at.update((key, now + fill) for key, fill in zip(seconds, after, strict=True))
            return True, after

    def _tidy(self, now: float) -> None:
        """Drop the buckets that are empty."""
        self._empty_at = {key: empty_at for key, empty_at in self._empty_at.items() if empty_at > now}
        self._tidy_at = now + MINUTE


class RedisBuckets:
    """Buckets in Redis; in this process's memory while Redis cannot be reached."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Connect at the first request. Raises `SettingsError` without Redis's client or for what is no address."""
        client, self._errors = _connect(url)
        self._script = client.register_script(_POUR)
        self._own, self._clock = MemoryBuckets(clock), clock
        self._ask_at = self._warn_at = clock()

    def pour(self, seconds: Mapping[str, float]) -> tuple[bool, list[float]]:
        """Fill each bucket by so much, or none where one would overflow; return which, and how full they are now."""
        if self._clock() < self._ask_at:
            return self._own.pour(seconds)
        try:
            poured, *full = self._script([f"{KEY_PREFIX}{key}" for key in seconds], list(seconds.values()))
        except self._errors as error:
            self._note_failure(error)
            return self._own.pour(seconds)
        return bool(poured), [float(fill) for fill in full]

    def _note_failure(self, error: Exception) -> None:
        now = self._clock()
        self._ask_at = now + REDIS_PAUSE
        if now >= self._warn_at:
            self._warn_at = now + WARN_EVERY
            logger.warning(
                "Redis cannot be reached (%s): each worker counts on its own", type(error).__name__
            )


def init_app(app: Flask, settings: Settings) -> None:
    """Give the application its `Limits`. Raises `SettingsError` where `REDIS_URL` cannot be used."""
    buckets = RedisBuckets(settings.redis_url) if settings.redis_url else MemoryBuckets()
    rates = {
        "token": settings.api_token_requests_per_minute,
        "user": settings.api_user_requests_per_minute,
    }
    app.extensions["api_limits"] = Limits(rates, buckets)


def _connect(url: str) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return a client of Redis, and the errors that it raises where it cannot reach it."""
    try:
        import redis
    except ImportError as error:
        raise SettingsError(
            "REDIS_URL is set, and Redis's client is not installed: pip install 'ai-experiences[redis]'"
        ) from error
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # Once again at once: a connection may have been closed since it was used.
    again = Retry(NoBackoff(), retries=1)
    try:
        client = redis.Redis.from_url(
            url, socket_timeout=REDIS_TIMEOUT, socket_connect_timeout=REDIS_TIMEOUT, retry=again
        )
    except ValueError as error:
        raise SettingsError(
            "REDIS_URL is no address of a Redis, such as redis://:password@host:6379/0"
        ) from error
    return client, (redis.RedisError, OSError)


# Redis's own clock is the same for all machines. A key goes when its bucket is empty.
_POUR = f"""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local full, poured = {{}}, 1
for number, key in ipairs(KEYS) do
  full[number] = math.max((tonumber(redis.call('GET', key)) or now) - now, 0)
  if full[number] + ARGV[number] > {MINUTE + SLACK} then poured = 0 end
end
for number, key in ipairs(KEYS) do
  if poured == 1 then
    full[number] = full[number] + ARGV[number]
    redis.call('SET', key, string.format('%.6f', now + full[number]), 'PX', math.ceil(full[number] * 1000) + 1)
  end
  full[number] = tostring(full[number])
end
return {{poured, unpack(full)}}
"""
