"""PostgreSQL's driver where greenlets take the place of threads, as in gunicorn's workers."""

from typing import Any, TypeVar

import gevent
import psycopg
from psycopg.abc import PQGen
from psycopg.waiting import WAIT_R, WAIT_RW, WAIT_W

Result = TypeVar("Result")
READ, WRITE = 1, 2  # libev's
_EVENTS = {WAIT_R: READ, WAIT_W: WRITE, WAIT_RW: READ | WRITE}


class GreenConnection(psycopg.Connection[Any]):
    """A connection that waits for its server in gevent's hub.

    The driver by itself would wait in `select.poll` as gevent patches it, whose preparations take longer than the rest
    of the wait, ten times and more a request.
    """

    def wait(self, gen: PQGen[Result], interval: float = 0.0, timeout: float | None = None) -> Result:
        """See `psycopg.Connection.wait`. A server that goes ends the wait; with a `timeout`, the driver waits."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        try:
            wanted = next(gen)
            while True:
                _wait_for(self.pgconn.socket, _EVENTS[wanted])
                wanted = gen.send(wanted)
        except StopIteration as end:
            result: Result = end.value
            return result


def _wait_for(socket: int, events: int) -> None:
    hub = gevent.get_hub()
    watcher = hub.loop.io(socket, events)
    try:
        hub.wait(watcher)
    finally:
        watcher.close()
