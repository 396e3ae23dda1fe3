"""The models that may answer, in order: each is tried again, or given up for the next, until one begins to speak."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from secrets import SystemRandom
from time import monotonic, sleep
from typing import TypeVar

from app.llm.circuit import Circuit, CircuitOpenError
from app.llm.interface import (
    ChatRequest,
    Completion,
    ModelError,
    ModelErrorCode,
    ModelStatus,
    Readiness,
    StructuredAnswer,
    StructuredRequest,
)
from app.llm.model import Model, Pieces, Request
from app.llm.structured import decoded, whole

BACKOFF_SECONDS = 0.5
# A model is not waited for longer than this while another one could answer.
IMPATIENCE_SECONDS = 3.0
# Nor longer than this where there is none, half a minute that a server asks for included: somebody waits before an
# empty page, and may try again.
PATIENCE_SECONDS = 35.0
# Whoever was silent for so long that it counts as a failure will hardly be quicker now.
POINTLESS = frozenset({ModelErrorCode.TIMEOUT})

Answered = TypeVar("Answered")

logger = logging.getLogger(__name__)
dice = SystemRandom()


class GuardedModel:
    """A model behind its circuit breaker."""

    def __init__(self, model: Model, circuit: Circuit) -> None:
        self.name = model.name
        self._model = model
        self._circuit = circuit

    def stream(self, request: Request, deadline: float) -> Pieces:
        """See `Model.stream`. Raises `CircuitOpenError` where the model is to be left alone."""
        self._circuit.admit()
        with self._watched(request), closing(self._model.stream(request, deadline)) as pieces:
            yield next(pieces)
            self._circuit.succeeded()
            yield from pieces

    @contextmanager
    def _watched(self, request: Request) -> Iterator[None]:
        try:
            yield
        except ModelError as error:
            if not request.attempts.given_up:  # a model that nobody waits for has not failed
                self._circuit.failed(error)
            raise


class ModelChain:
    """Plays personas and answers questions with the first of its models that can.

    ``turn`` is seconds for a whole reply, waits and all; ``retries`` is how often each model is asked again.
    """

    def __init__(self, models: Sequence[Model], *, context_tokens: int, turn: float, retries: int) -> None:
        self.context_tokens = context_tokens
        self._models = models
        self._turn = turn
        self._retries = retries

    def status(self) -> ModelStatus:
        """Say ready: whether a server answers shows in the turns, and a page is not to wait for it."""
        return ModelStatus(self._models[0].name, Readiness.READY)

    def stream(self, request: ChatRequest) -> Iterator[str | Completion]:
        """Yield the reply as it is written. Once a model has begun to speak, no other can end its sentence."""
        deadline = request.began_at + self._turn
        first, rest = self._first_to_answer(
            request, lambda model: _begun(model.stream(request, deadline)), deadline
        )
        with closing(rest):
            yield first
            yield from rest

    def answer(self, request: StructuredRequest) -> StructuredAnswer:
        """Return the model's whole answer; nobody has seen a part of it, so one that breaks off is asked for anew."""
        deadline = monotonic() + self._turn
        text, end = self._first_to_answer(request, lambda model: whole(model, request, deadline), deadline)
        return decoded(text, end)

    def _first_to_answer(
        self, request: Request, ask: Callable[[Model], Answered], deadline: float
    ) -> Answered:
        errors: list[ModelError] = []
        for model in self._models:
            is_last = model is self._models[-1]
            try:
                return self._persist(model, request, ask, _patience(deadline, is_last=is_last))
            except ModelError as error:
                left_alone = isinstance(error, CircuitOpenError)
                logger.log(logging.DEBUG if left_alone else logging.WARNING, "%s: %s", model.name, error)
                errors.append(error)
            if request.attempts.given_up or monotonic() >= deadline:
                break
        # The one that gives hope, if there is one.
        raise max(errors, key=lambda error: error.retryable)

    def _persist(
        self, model: Model, request: Request, ask: Callable[[Model], Answered], patience: float
    ) -> Answered:
        """Ask until the model answers, refuses, or would have to be waited for beyond ``patience``.

        Nobody is asked again for a request that was given up meanwhile.
        """
        for tries in range(self._retries):
            try:
                return ask(model)
            except CircuitOpenError:
                raise
            except ModelError as error:
                wait = _wait_before_retry(error, tries)
                if not error.retryable or error.code in POINTLESS or monotonic() + wait > patience:
                    raise
                logger.info("%s is asked again in %.1f s: %s", model.name, wait, error)
                sleep(wait)
                if request.attempts.given_up:
                    raise
        return ask(model)


def _begun(pieces: Pieces) -> tuple[str | Completion, Pieces]:
    return next(pieces), pieces


def _patience(deadline: float, *, is_last: bool) -> float:
    """Return until when a model is waited for: half of the turn is left for its answer."""
    now = monotonic()
    half = now + (deadline - now) / 2
    return min(half, now + (PATIENCE_SECONDS if is_last else IMPATIENCE_SECONDS))


def _wait_before_retry(error: ModelError, tries: int) -> float:
    """Back off at random, so that a class whose model stumbled does not come back in the same moment."""
    return (error.retry_after or 0) + dice.uniform(0, BACKOFF_SECONDS * 2**tries)
