"""The small file through which the embedded model's process says how far it is and where it listens."""

import os
import tempfile
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Stage(StrEnum):
    """How far the embedded model's process is."""

    FETCHING = "fetching"
    LOADING = "loading"
    READY = "ready"
    UNAVAILABLE = "unavailable"


class State(BaseModel):
    """What the process last said. ``detail`` is a sentence for people, ``api_key`` opens the port."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    stage: Stage
    progress: float | None = Field(default=None, ge=0, le=1)
    port: int | None = None
    api_key: str | None = Field(default=None, repr=False)
    pid: int = Field(default_factory=os.getpid)
    detail: str = ""


NOT_STARTED = State(stage=Stage.UNAVAILABLE, pid=0, detail="The embedded model is not running.")
GONE = State(stage=Stage.UNAVAILABLE, pid=0, detail="The embedded model has stopped unexpectedly.")


def write_state(path: Path, state: State) -> None:
    """Replace the file in one step, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes the file 0600, so the key is never readable by others, not even for a moment.
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(state.model_dump_json(exclude_none=True))
        Path(unfinished).replace(path)
    except OSError:
        Path(unfinished).unlink(missing_ok=True)
        raise


class StateReader:
    """Reads the state file, and parses it only when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._state = NOT_STARTED

    def current(self) -> State:
        """Return what the process says now. One that is gone, or that wrote no file, is unavailable."""
        try:
            self._refresh()
        except OSError:
            return NOT_STARTED
        state = self._state
        return state if state.stage is Stage.UNAVAILABLE or _is_alive(state.pid) else GONE

    def _refresh(self) -> None:
        found = self._path.stat()
        seen = found.st_mtime_ns, found.st_ino
        if seen != self._seen:
            self._state = _parse(self._path.read_bytes())
            self._seen = seen


def _parse(content: bytes) -> State:
    try:
        return State.model_validate_json(content)
    except ValidationError:
        return NOT_STARTED


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
