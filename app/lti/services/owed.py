"""What is owed to platforms (rosters to read, scores to send), done apart from any request.

A few threads a process, until a job runner takes it over. What is due stands in the database, where any process
finds it:

    owed = Owed()
    rosters = Rosters(database, services, owed.wake)
    owed.add(rosters.work, threads=2)
"""

import atexit
import logging
import random
import threading
import time
from collections.abc import Callable

from flask import Flask

logger = logging.getLogger(__name__)
POLL_SECONDS = 15.0
JITTER = (0.7, 1.3)  # so that processes started together do not ask the database together

Work = Callable[[], bool]
"""Does one thing that is due, in short transactions of its own; False where nothing is.

Several threads may call it at once, so it leaves alone what would keep all of them at one slow platform.
"""


class Owed:
    """The threads that do what is due, when they are woken and every 15 seconds or so.

    Each kind of work has threads of its own, so that a long list of one keeps no other waiting; an error ends none.
    """

    def __init__(self) -> None:
        self._works: list[Work] = []
        self._workers: list[_Worker] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    def init_app(self, app: Flask) -> None:
        """Start with the first request: a process that serves none, or forks before it does, needs no thread.

        A process that is asked to end finishes what it has begun; otherwise it would be due again with its lease's end.
        """
        app.extensions["owed"] = self
        app.before_request(self.start)
        atexit.register(self.stop)

    def add(self, *works: Work, threads: int = 1) -> None:
        """Take on kinds of work, before the first request; each gets as many threads."""
        self._works += works * threads

    def start(self) -> None:
        """Start the threads unless they run. They look for what is due after a while, or when woken."""
        if self._is_running():
            return
        with self._lock:
            if self._stopping.is_set() or self._is_running():
                return
            workers = [_Worker(work, self._stopping) for work in self._works]
            for worker in workers:
                worker.start()
            self._workers = workers

    def wake(self) -> None:
        """Have what is due done now. What became due must have been committed."""
        self.start()
        self._wake_workers()

    def stop(self) -> None:
        """Begin nothing new, and wait for what is under way, 15 seconds at most."""
        atexit.unregister(self.stop)
        with self._lock:
            self._stopping.set()
        self._wake_workers()
        until = time.monotonic() + POLL_SECONDS
        for worker in self._workers:
            worker.join(max(0.0, until - time.monotonic()))

    def _is_running(self) -> bool:
        return any(worker.is_alive() for worker in self._workers)

    def _wake_workers(self) -> None:
        for worker in self._workers:
            worker.woken.set()


class _Worker(threading.Thread):
    """A thread that does one kind of work."""

    def __init__(self, work: Work, stopping: threading.Event) -> None:
        super().__init__(name="owed", daemon=True)
        self.woken = threading.Event()
        self._work, self._stopping = work, stopping

    def run(self) -> None:
        """Work whenever there is something to do, until the process ends."""
        while not self._stopping.is_set():
            self.woken.wait(POLL_SECONDS * random.uniform(*JITTER))  # noqa: S311 - no secret
            self.woken.clear()
            while not self._stopping.is_set() and self._attempt():
                pass

    def _attempt(self) -> bool:
        try:
            return self._work()
        except Exception:
            logger.exception("work that is owed to a platform failed")
            return False
