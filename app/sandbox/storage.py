"""State that outlives a restart, in JSON files."""

import atexit
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock, Timer
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from app.files import write_private

Content = TypeVar("Content")
log = logging.getLogger(__name__)

# Changes that come together are written together.
WRITE_SECONDS = 0.2


class JsonFile(Generic[Content]):
    """A value that is held in memory, shared between threads, and written whole soon after a change."""

    def __init__(self, path: Path, shape: TypeAdapter[Content], empty: Callable[[], Content]) -> None:
        self._path = path
        self._adapter = shape
        self._lock = RLock()
        self._content = self._read(empty)
        self._writer: Timer | None = None

    @contextmanager
    def reading(self) -> Iterator[Content]:
        """The value, which nobody changes meanwhile."""
        with self._lock:
            yield self._content

    @contextmanager
    def changing(self) -> Iterator[Content]:
        """The value to change in place."""
        with self._lock:
            yield self._content
            self._write_soon()

    def save(self) -> None:
        """Write now what has changed."""
        with self._lock:
            if self._writer is None:
                return
            self._writer.cancel()
            self._writer = None
            write_private(self._path, self._adapter.dump_json(self._content))
        atexit.unregister(self.save)

    def _write_soon(self) -> None:
        if self._writer is None:
            self._writer = Timer(WRITE_SECONDS, self.save)
            self._writer.daemon = True
            self._writer.start()
            atexit.register(self.save)

    def _read(self, empty: Callable[[], Content]) -> Content:
        try:
            return self._adapter.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return empty()
        except ValueError:
            log.warning("%s is damaged; the sandbox starts without it", self._path)
            return empty()
