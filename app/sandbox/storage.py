"""State that outlives a restart, in JSON files."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Generic, TypeVar

from pydantic import TypeAdapter

from app.files import write_private

Content = TypeVar("Content")
log = logging.getLogger(__name__)


class JsonFile(Generic[Content]):
    """A value that is held in memory, shared between threads, and written whole after every change."""

    def __init__(self, path: Path, shape: TypeAdapter[Content], empty: Callable[[], Content]) -> None:
        self._path = path
        self._adapter = shape
        self._lock = RLock()
        self._content = self._read(empty)

    @contextmanager
    def reading(self) -> Iterator[Content]:
        """The value, which nobody changes meanwhile."""
        with self._lock:
            yield self._content

    @contextmanager
    def changing(self) -> Iterator[Content]:
        """The value to change in place. It is written when the block ends well."""
        with self._lock:
            yield self._content
            write_private(self._path, self._adapter.dump_json(self._content))

    def _read(self, empty: Callable[[], Content]) -> Content:
        try:
            return self._adapter.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return empty()
        except ValueError:
            log.warning("%s is damaged; the sandbox starts without it", self._path)
            return empty()
