"""A circuit breaker: a model that keeps failing is left alone for a while, so that nobody waits for it in vain."""

import logging
from collections import deque
from threading import Lock
from time import monotonic

from app.llm.interface import ModelError, ModelErrorCode

# A model that refuses (a wrong key, a bad request) answers at once and has not failed, and one whose answer
# cannot be used may give a good one to the next question.
FAILURES = frozenset({ModelErrorCode.UNREACHABLE, ModelErrorCode.TIMEOUT, ModelErrorCode.BUSY})

logger = logging.getLogger(__name__)


class CircuitOpenError(ModelError):
    """The model was not asked: it has failed too often a moment ago."""


class Circuit:
    """Opens after ``failures`` in ``seconds``, if they are half of the calls or more.

    Then it lets one caller through every ``seconds``, and closes when a call is answered. Threads and greenlets may
    share it. ``name`` is for the log.
    """

    def __init__(self, name: str, *, failures: int, seconds: float) -> None:
        self._name = name
        self._failures = failures
        self._seconds = seconds
        self._lock = Lock()
        self._calls: deque[tuple[float, bool]] = deque()
        self._next_probe: float | None = None
        self._why = ModelErrorCode.BUSY  # what people are told while it is open: the last failure

    def admit(self) -> None:
        """Let a call through. Raises `CircuitOpenError` with the seconds until the next one may try."""
        with self._lock:
            if self._next_probe is None:
                return
            now = monotonic()
            if now < self._next_probe:
                wait = self._next_probe - now
                raise CircuitOpenError(self._why, "left alone after many failures", retry_after=wait)
            # Whatever becomes of this caller, the next one comes no sooner.
            self._next_probe = now + self._seconds

    def succeeded(self) -> None:
        """Note that the model has begun to answer."""
        self._answered()
        with self._lock:
            self._note(failed=False)

    def failed(self, error: ModelError) -> None:
        """Note that the model did not answer, or stopped in the middle."""
        if error.code not in FAILURES:
            self._answered()
            return
        with self._lock:
            self._note(failed=True)
            if self._next_probe is None and self._fails_mostly():
                logger.warning("%s fails and is left alone for %g s", self._name, self._seconds)
                self._next_probe = monotonic() + self._seconds
            self._why = error.code

    def _answered(self) -> None:
        """Close it: whoever answers, if only to refuse, can be asked again."""
        with self._lock:
            if self._next_probe is not None:
                logger.warning("%s answers again", self._name)
                self._next_probe = None
                self._calls.clear()

    def _note(self, *, failed: bool) -> None:
        now = monotonic()
        self._calls.append((now, failed))
        while self._calls[0][0] <= now - self._seconds:
            self._calls.popleft()

    def _fails_mostly(self) -> bool:
        failures = sum(failed for _, failed in self._calls)
        return failures >= max(self._failures, len(self._calls) / 2)
