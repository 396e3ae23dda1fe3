"""Ending an application within the tests' own process."""

import threading

from flask import Flask

PATIENCE = 10
BACKGROUND = ("reply", "warm-up", "judge", "evaluation", "moderation")


def end(app: Flask) -> None:
    """End what an application does in the background, as a worker that goes does, then close its connections."""
    app.extensions["owed"].stop()
    app.extensions["replies"].drain(0)
    for thread in threading.enumerate():
        if thread.name.startswith(BACKGROUND):
            thread.join(PATIENCE)
    app.extensions["meter"].store()
    app.extensions["database"].engine.dispose()
