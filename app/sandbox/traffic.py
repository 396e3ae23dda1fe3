"""The requests that reach the platform, and those that are going to fail."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from threading import RLock

from flask import Response, json

MAX_REMEMBERED = 20_000
# What programs ask, as opposed to the pages that people open.
SERVICES = ("/api/lti/courses/", "/api/lti/security/", "/api/lti/registrations", "/login/oauth2/")
UNREMEMBERED = ("/static/", "/images/")


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request that has come."""

    method: str
    path: str
    query: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outage:
    """One service request that is going to be slow, to fail, or to get a strange answer."""

    status: int | None
    headers: Mapping[str, str]
    body: str | None
    path_contains: str
    method: str | None
    delay: float

    def concerns(self, method: str, path: str) -> bool:
        """Whether this is the request to fail."""
        return self.path_contains in path and self.method in {None, method}

    def meet(self) -> Response | None:
        """Wait for the delay; the answer to give then, None for the usual one."""
        time.sleep(self.delay)
        if self.status is None:
            return None
        answer = Response(self._text(), status=self.status, content_type="application/json; charset=utf-8")
        answer.headers.update(self.headers)
        return answer

    def _text(self) -> str:
        if self.body is not None:
            return self.body
        message = "The service is out of order for a moment"
        return json.dumps({"errors": {"type": f"http_{self.status}", "message": message}})


class Traffic:
    """What has been asked so far, and what is to fail next. Safe between threads."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._requests: deque[RequestRecord] = deque(maxlen=MAX_REMEMBERED)
        self._outages: list[Outage] = []

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """The requests that have come, oldest first."""
        with self._lock:
            return tuple(self._requests)

    def clear(self) -> None:
        """Forget the requests that have come and the outages that are due."""
        with self._lock:
            self._requests.clear()
            self._outages.clear()

    def schedule(self, outage: Outage, times: int) -> None:
        """Let the next requests that it concerns meet an outage."""
        with self._lock:
            self._outages.extend([outage] * times)

    def note(self, request: RequestRecord) -> Outage | None:
        """Remember a request, and take the outage that is due for it."""
        if request.path.startswith(UNREMEMBERED):
            return None
        with self._lock:
            self._requests.append(request)
            if not request.path.startswith(SERVICES):
                return None
            due = (outage for outage in self._outages if outage.concerns(request.method, request.path))
            outage = next(due, None)
            if outage is not None:
                self._outages.remove(outage)
            return outage
