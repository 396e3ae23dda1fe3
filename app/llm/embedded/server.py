"""The embedded model's own process: it fetches the model, loads it and serves it on a loopback port."""

import fcntl
import logging
import os
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol, cast
from urllib.parse import urlsplit

from app.llm.embedded.errors import EmbeddedModelError
from app.llm.embedded.facts import ALL_SLOTS, SLOT_TOKENS
from app.llm.embedded.fetch import fetch_model
from app.llm.embedded.probe import check_runtime
from app.llm.embedded.state import NOT_STARTED, Stage, State, write_state
from app.settings import Settings

# Prompts of conversations that lost their slot; one takes some 28 KB a token, reading it anew takes seconds.
PROMPT_CACHE_MIB = 512
# Prompts are read in bites of this size; between them the other conversations get their next token.
BATCH_TOKENS = 256
# Progress is written when it has grown by this much, not at every block.
PROGRESS_STEP = 0.01

Tell = Callable[[State], None]
SignalHandler = Callable[[int, FrameType | None], None] | signal.Handlers

logger = logging.getLogger(__name__)


class RunningServer(Protocol):
    """A loaded model; it answers for as long as the object lives."""

    listening_address: str


class _StopRequested(BaseException):
    """SIGTERM or SIGINT came; like KeyboardInterrupt, no handler of errors is to swallow it."""


def run(settings: Settings) -> None:
    """Serve the embedded model until SIGTERM or SIGINT, which end the whole process.

    Returns where the model cannot be used, which is then told in the state file, and where another process
    serves it already. Raises `EmbeddedModelError` only if the state file cannot be written.
    """
    path = settings.local_model_state
    try:
        with _only_one_server(path) as first:
            if first:
                _serve_and_tell(settings, partial(write_state, path))
            else:
                logger.info("the embedded model is served by another process already")
    except OSError as error:
        raise EmbeddedModelError(f"The embedded model's state cannot be written to {path}.") from error


def _serve_and_tell(settings: Settings, tell: Tell) -> None:
    last_words = NOT_STARTED
    try:
        with _on_signals(_request_stop):
            _serve(settings, tell)
    except EmbeddedModelError as error:
        last_words = State(stage=Stage.UNAVAILABLE, detail=str(error))
        logger.warning("the embedded model is unavailable: %s", error)
    except _StopRequested:
        logger.info("the embedded model was stopped")
    except Exception:
        last_words = State(stage=Stage.UNAVAILABLE, detail="The embedded model could not be started.")
        logger.exception("the embedded model failed")
    finally:
        tell(last_words)


def _serve(settings: Settings, tell: Tell) -> None:
    tell(State(stage=Stage.FETCHING, progress=0, detail="The embedded model is being prepared."))
    check_runtime()
    model = fetch_model(settings, _progress_teller(tell))
    tell(State(stage=Stage.LOADING, progress=1, detail="The embedded model is being loaded."))
    api_key = secrets.token_urlsafe(32)
    server = load(model, api_key)
    try:
        tell(State(stage=Stage.READY, port=urlsplit(server.listening_address).port, api_key=api_key))
        logger.info("the embedded model is ready")
        threading.Event().wait()
    except _StopRequested:
        _leave_at_once(tell)


def load(model: Path, api_key: str) -> RunningServer:
    """Load the model and listen on a loopback port of the system's choice. Raises `EmbeddedModelError`."""
    # Here and not above: the runtime is optional and a hundred megabytes.
    runtime = import_module("xllamacpp")

    try:
        # Handlers in Python would have to wait until the model is loaded; so a signal ends it the hard way.
        with _on_signals(signal.SIG_DFL):
            parameters = runtime.CommonParams()
            parameters.model.path = str(model)
            _adjust(parameters, api_key)
            return cast(RunningServer, runtime.Server(parameters))
    except Exception as error:
        logger.warning("loading the embedded model failed: %s", error)
        raise EmbeddedModelError(
            "The embedded model's file could not be loaded; is there enough memory?"
        ) from error


def _adjust(parameters: object, api_key: str) -> None:
    wanted: dict[str, object] = {
        "hostnames": ["127.0.0.1"],
        "port": 0,
        "api_keys": [api_key],
        "n_parallel": ALL_SLOTS,
        "n_ctx": ALL_SLOTS * SLOT_TOKENS,
        "n_batch": BATCH_TOKENS,
        "n_ubatch": BATCH_TOKENS,
        "cache_ram_mib": PROMPT_CACHE_MIB,
        "no_extra_bufts": True,
        "fit_params": False,
        "endpoint_slots": False,
        "ui": False,
        "verbosity": 0,
    }
    for name, value in wanted.items():
        # What an older or newer runtime does not know is left at its default.
        if hasattr(parameters, name):
            setattr(parameters, name, value)


def _leave_at_once(tell: Tell) -> NoReturn:
    """End the process. To let go of the server in good order takes seconds while it computes."""
    tell(NOT_STARTED)
    logger.info("the embedded model was stopped")
    logging.shutdown()
    os._exit(0)


def _progress_teller(tell: Tell) -> Callable[[float], None]:
    told = 0.0

    def on_progress(progress: float) -> None:
        nonlocal told
        if progress - told >= PROGRESS_STEP:
            told = progress
            tell(
                State(stage=Stage.FETCHING, progress=progress, detail="The embedded model is being fetched.")
            )

    return on_progress


@contextmanager
def _only_one_server(state_file: Path) -> Iterator[bool]:
    state_file.parent.mkdir(parents=True, exist_ok=True)
    with state_file.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _request_stop(number: int, frame: FrameType | None) -> None:
    raise _StopRequested


@contextmanager
def _on_signals(handler: SignalHandler) -> Iterator[None]:
    kept = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, former in kept.items():
            signal.signal(number, former)
