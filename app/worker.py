"""A gunicorn worker that loses no reply when it goes."""

from __future__ import annotations

import gc
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING

from gunicorn.workers.ggevent import GeventWorker

# This is read before gevent patches the standard library, which the application must not be.
if TYPE_CHECKING:
    from app.conversations.replies import Replies

LOOK_EVERY = 0.25
# Of the graceful timeout, so much is kept for storing what is not whole: at its end the worker is killed.
SETTLING_SECONDS = 5
# Python would look through what hundreds of replies under way are made of after each 700 objects more, which was up to
# a tenth of a worker's CPU. The benchmark of chats shows no more memory for it.
GARBAGE_AFTER = (20_000, 20, 50)


class Worker(GeventWorker):
    """A gevent worker that, when it is told to go, waits for replies as it does for requests.

    Replies are written beside the requests, and one may have no reader. Those that are not whole when the time is up
    are stored as far as they have come; their readers are told, and the worker ends by itself.
    """

    hurried = False

    def run(self) -> None:
        """Serve until told to go, and stay until no reply is under way."""
        farewell = threading.Thread(target=self._say_farewell, name="farewell", daemon=True)
        farewell.start()
        gc.freeze()  # what the application is made of is never garbage, and need not be looked through for it
        gc.set_threshold(*GARBAGE_AFTER)
        try:
            super().run()
        finally:
            self.alive = False  # an orphan, whose arbiter was killed, leaves without being told
            farewell.join()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """Wait for nothing: somebody has pressed Ctrl+C."""
        self.hurried = True
        super().handle_quit(sig, frame)

    def _say_farewell(self) -> None:
        while self.alive:
            time.sleep(LOOK_EVERY)
        if replies := self._replies():
            patience = 0 if self.hurried else self.cfg.graceful_timeout - SETTLING_SECONDS
            replies.drain(max(0, patience))

    def _replies(self) -> Replies | None:
        """Return the application's replies; None for an application without."""
        extensions: dict[str, Replies] = getattr(self.wsgi, "extensions", {})
        return extensions.get("replies")
