"""Hanging up on a model's server from outside: when a turn's time is over, or nobody waits for the answer any more.

A socket's own time-out begins anew with each byte: a server that sends one now and then would be listened to for ever.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from time import monotonic

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

LOOK_EVERY = 1.0

_dialling: ContextVar["Wire | None"] = ContextVar("dialling", default=None)


class Wire:
    """What one answer comes over. ``was_cut`` tells that we hung up, whatever the error that a reader then sees."""

    def __init__(self, deadline: float, watch: "Watch") -> None:
        self.deadline = deadline
        self.was_cut = False
        self._watch = watch
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def hold(self, held: socket.socket | None) -> None:
        """Take the socket over which the answer comes."""
        with self._lock:
            self._socket = held
        self._watch.add(self)
        if self.was_cut:
            self.cut()

    def let_go(self) -> None:
        """Have no more to do with the socket: another call may use it from now on."""
        with self._lock:
            self._socket = None
        self._watch.remove(self)

    def cut(self) -> None:
        """Hang up. Whoever reads finds the end of the answer."""
        with self._lock, suppress(OSError):
            self.was_cut = True
            if self._socket is not None:
                # Through a descriptor of its own: that of TLS may be in use by the reader just now.
                with socket.socket(fileno=os.dup(self._socket.fileno())) as same:
                    same.shutdown(socket.SHUT_RDWR)


class Watch:
    """Cuts wires whose time is over. Its thread runs only while there are any."""

    def __init__(self) -> None:
        self._wires: set[Wire] = set()
        self._changed = threading.Condition()
        self._is_running = False

    def add(self, wire: Wire) -> None:
        """Watch a wire until it is removed."""
        with self._changed:
            self._wires.add(wire)
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="wire-watch", daemon=True).start()

    def remove(self, wire: Wire) -> None:
        """Watch a wire no more."""
        with self._changed:
            self._wires.discard(wire)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(LOOK_EVERY)
                if not self._wires:
                    self._is_running = False
                    return
                overdue = {wire for wire in self._wires if wire.deadline < monotonic()}
                self._wires -= overdue
            for wire in overdue:
                wire.cut()


@contextmanager
def dialling(wire: Wire) -> Iterator[None]:
    """Let the connection over which a request goes out within the block be held by the wire."""
    token = _dialling.set(wire)
    try:
        yield
    finally:
        _dialling.reset(token)


def wired_pool(size: int) -> urllib3.PoolManager:
    """Return a pool of `size` connections a server that can be hung up on. It neither retries nor redirects."""
    pool = urllib3.PoolManager(maxsize=size, retries=False)
    pool.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return pool


class _HttpConnection(HTTPConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # urllib3's own differs as well
        _hold(self)
        return super().getresponse()


class _HttpsConnection(HTTPSConnection):
    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # urllib3's own differs as well
        _hold(self)
        return super().getresponse()


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


def _hold(connection: HTTPConnection) -> None:
    wire = _dialling.get()
    if wire is not None:
        wire.hold(connection.sock)
