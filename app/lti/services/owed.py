"""What is owed to platforms (rosters to read, scores to send), done apart from any request.

One thread a process, until a job runner takes it over. What is due stands in the database, where any process finds it:

    owed = Owed()
    rosters = Rosters(database, services, owed.wake)
    owed.add(rosters.work)
"""

import atexit
import logging
import random
import threading
from collections.abc import Callable

from flask import Flask

logger = logging.getLogger(__name__)
POLL_SECONDS = 15.0
JITTER = (0.7, 1.3)  # so that processes started together do not ask the database together

Work = Callable[[], bool]
"""Does one thing that is due, in short transactions of its own; False where nothing is."""


class Owed:
    """The thread that does what is due, when it is woken and every 15 seconds or so.

    Kinds of work take turns, so that a long list of one keeps no other waiting; an error ends neither.
    """

    def __init__(self) -> None:
        self._works: list[Work] = []
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def init_app(self, app: Flask) -> None:
        """Start with the first request: a process that serves none, or forks before it does, needs no thread.

        A process that is asked to end finishes what it has begun; otherwise it would be due again with its lease's end.
        """
        app.extensions["owed"] = self
        app.before_request(self.start)
        atexit.register(self.stop)

    def add(self, *works: Work) -> None:
        """Take on kinds of work."""
        self._works.extend(works)

    def start(self) -> None:
        """Start the thread unless it runs. It looks for what is due after a while, or when woken."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._stopping.is_set() or (self._thread is not None and self._thread.is_alive()):
                return
            self._thread = threading.Thread(target=self._run, name="owed", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Have what is due done now. What became due must have been committed."""
        self._woken.set()
        self.start()

    def stop(self) -> None:
        """Begin nothing new, and wait for what is under way."""
        self._stopping.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(POLL_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.wait(POLL_SECONDS * random.uniform(*JITTER))  # noqa: S311 - no secret
            self._woken.clear()
            while not self._stopping.is_set() and self._take_turns():
                pass

    def _take_turns(self) -> bool:
        done = [_attempt(work) for work in self._works]
        return any(done)


def _attempt(work: Work) -> bool:
    try:
        return work()
    except Exception:
        logger.exception("work that is owed to a platform failed")
        return False
