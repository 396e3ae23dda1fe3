"""The embedded model in its own process on this machine (see `app.llm.embedded`)."""

import logging
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, Final
from zlib import crc32

import orjson

from app.llm.embedded.facts import MODEL_NAME, QUESTION_SLOT, SLOT_TOKENS, SLOTS
from app.llm.embedded.state import Stage, StateReader
from app.llm.guard import Guard, OutOfCharacterError
from app.llm.http import Answer, StreamingClient, Timeouts, bearer
from app.llm.interface import (
    ChatRequest,
    Completion,
    ModelError,
    ModelErrorCode,
    ModelStatus,
    Readiness,
    StructuredRequest,
)
from app.llm.model import Pieces, Request, noted
from app.llm.roleplay import (
    CAUTIOUS,
    OTHER,
    REPLY_TOKENS,
    USUAL,
    compose_prompt,
    compose_question,
    persona_name,
)
from app.llm.structured import strict_schema
from app.llm.turns import words_of

SAMPLING: Final[dict[str, Any]] = {
    "temperature": 0.4,
    "top_p": 0.9,
    "min_p": 0.05,
    "repeat_penalty": 1.05,
    "stop": ["<|im_end|>", "\n"],
}
# A judgement is not to depend on luck.
SOBER: Final[dict[str, Any]] = {"temperature": 0, "stop": ["<|im_end|>"]}
# A second attempt at the same temperature tends to end in the same words.
BOLDER = {"temperature": 0.8}
ATTEMPTS: Final[tuple[dict[str, Any], ...]] = ({}, BOLDER)
# Without this the last event repeats the whole prompt.
FIELDS = ["content", "stop", "stop_type", "tokens_predicted", "tokens_evaluated"]
DEFLECTIONS = (
    "Sorry, I lost my thread for a moment. What were you saying?",
    "Hm, I'm not sure what to say to that. Could you put it another way?",
    "Let me think about that. Could you ask me something else meanwhile?",
)
READINESS = {
    Stage.FETCHING: Readiness.PREPARING,
    Stage.LOADING: Readiness.PREPARING,
    Stage.READY: Readiness.READY,
    Stage.UNAVAILABLE: Readiness.UNAVAILABLE,
}

OK: Final = 200
# More than the schema of any question takes.
SCHEMA_TOKENS: Final = 700
TOO_LONG = "exceed_context_size_error"

logger = logging.getLogger(__name__)


class LocalModel:
    """Plays personas with the embedded model, and answers questions by it as well as it can."""

    name = MODEL_NAME
    # Its slots are smaller, but it fits conversations into them itself, from the short form of the persona
    # and so that what the model has already read stays usable. Nothing needs to be cut before.
    context_tokens = 32_768
    # A question goes as it is, with its schema in words, into a slot of its own.
    question_tokens = SLOT_TOKENS - SCHEMA_TOKENS

    def __init__(self, state_file: Path, timeouts: Timeouts) -> None:
        self._state = StateReader(state_file)
        self._turn = timeouts.turn
        # On loopback a new connection costs nothing, and the server gives up kept ones after seconds.
        self._client = StreamingClient(timeouts, keep_alive=False)
        self._priming = [Lock() for _ in range(SLOTS)]

    def status(self) -> ModelStatus:
        """Say what the model's process last said of itself."""
        state = self._state.current()
        progress = state.progress if READINESS[state.stage] is Readiness.PREPARING else None
        readiness = READINESS[state.stage]
        return ModelStatus(MODEL_NAME, readiness, embedded=True, progress=progress, detail=state.detail)

    def stream(self, request: Request, deadline: float) -> Pieces:
        """See `Model.stream`."""
        if isinstance(request, StructuredRequest):
            return noted(request, MODEL_NAME, self._answer(request, deadline))
        return noted(request, MODEL_NAME, self._speak(request, deadline))

    def prime(self, request: ChatRequest) -> None:
        """Let the model read the conversation so far, so that its next reply begins at once. Never fails.

        Takes seconds; meant for a thread beside the page. A slot that is being primed already is left alone.
        """
        lock = self._priming[slot_of(request.conversation)]
        if not lock.acquire(blocking=False):
            return
        try:
            self._read_ahead(request)
        except ModelError as error:
            logger.debug("priming failed: %s", error.code)
        finally:
            lock.release()

    def _read_ahead(self, request: ChatRequest) -> None:
        answer = self._ask(request, {"n_predict": 0}, monotonic() + self._turn, cue=False)
        try:
            for _ in answer.events():
                pass
        finally:
            answer.close()

    def _speak(self, request: ChatRequest, deadline: float) -> Pieces:
        """Yield the reply a few words behind: what is out of character is never seen."""
        for attempt in ATTEMPTS:
            guard = _guard(request)
            try:
                yield from self._attempt(request, guard, attempt, deadline)
                return
            except OutOfCharacterError:
                logger.info("the embedded model fell out of character")
                if guard.shown:
                    yield guard.end_at_sentence()
                    yield Completion(MODEL_NAME, truncated=True)
                    return
        yield _deflection(request)
        yield Completion(MODEL_NAME)

    def _attempt(self, request: ChatRequest, guard: Guard, bolder: dict[str, Any], deadline: float) -> Pieces:
        options = {"n_predict": min(request.max_tokens, REPLY_TOKENS)} | bolder
        answer = self._ask(request, options, deadline)
        try:
            yield from _read_reply(answer, guard)
        finally:
            answer.close()

    def _ask(
        self, request: ChatRequest, options: dict[str, Any], deadline: float, *, cue: bool = True
    ) -> Answer:
        """Post the prompt; if it turns out too long for the slot, once more one that cannot be."""
        options = SAMPLING | {"id_slot": slot_of(request.conversation)} | options
        answer = self._post(request, compose_prompt(request, USUAL, cue=cue), options, deadline)
        if answer.status == OK:
            return answer
        error, complaint = _refusal(answer, request)
        if TOO_LONG not in complaint:
            raise error
        cautious = compose_prompt(request, CAUTIOUS, cue=cue)
        return _accepted(self._post(request, cautious, options, deadline), request)

    def _answer(self, request: StructuredRequest, deadline: float) -> Pieces:
        options = SOBER | {
            "id_slot": QUESTION_SLOT,
            "n_predict": request.max_tokens,
            "json_schema": strict_schema(request.schema),
        }
        answer = _accepted(self._post(request, compose_question(request), options, deadline), request)
        try:
            yield from _read_answer(answer)
        finally:
            answer.close()

    def _post(self, request: Request, prompt: str, options: dict[str, Any], deadline: float) -> Answer:
        state = self._state.current()
        if state.stage is not Stage.READY or state.port is None:
            raise ModelError(ModelErrorCode.UNREACHABLE, state.detail)
        always = {"prompt": prompt, "stream": True, "response_fields": FIELDS, "cache_prompt": True}
        url = f"http://127.0.0.1:{state.port}/completion"
        headers = bearer(state.api_key)
        return self._client.post(url, always | options, headers=headers, deadline=deadline, asked=request)


def slot_of(conversation: str) -> int:
    """Return the slot that a conversation always comes back to, since its prompt is kept there."""
    return crc32(conversation.encode()) % SLOTS


def _accepted(answer: Answer, request: Request) -> Answer:
    """Return an answer that is one, or raise what it is instead."""
    if answer.status == OK:
        return answer
    raise _refusal(answer, request)[0]


def _refusal(answer: Answer, request: Request) -> tuple[ModelError, str]:
    try:
        return answer.refusal(words_of(request))
    finally:
        answer.close()


def _guard(request: ChatRequest) -> Guard:
    return Guard(request.brief, (line.text for line in request.lines), [OTHER, persona_name(request)])


def _read_reply(answer: Answer, guard: Guard) -> Pieces:
    for data in answer.events():
        event = _parse(data)
        if text := guard.take(event.get("content", "")):
            yield text
        if event.get("stop"):
            yield from _end_reply(event, guard)
            return
    raise ModelError(ModelErrorCode.BAD_ANSWER, "the reply broke off")


def _end_reply(event: dict[str, Any], guard: Guard) -> Pieces:
    truncated = event.get("stop_type") == "limit"
    rest = guard.end_at_sentence() if truncated else guard.end()
    if not guard.shown.strip():
        # To say nothing is as wrong as to say the wrong thing, and deserves another attempt too.
        raise OutOfCharacterError
    if rest:
        yield rest
    yield _completion(event)


def _read_answer(answer: Answer) -> Pieces:
    for data in answer.events():
        event = _parse(data)
        if text := event.get("content"):
            yield text
        if event.get("stop"):
            yield _completion(event)
            return
    raise ModelError(ModelErrorCode.BAD_ANSWER, "the answer broke off")


def _completion(event: dict[str, Any]) -> Completion:
    truncated = event.get("stop_type") == "limit"
    return Completion(MODEL_NAME, event.get("tokens_evaluated"), event.get("tokens_predicted"), truncated)


def _parse(data: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        event = None
    if not isinstance(event, dict) or "error" in event:
        raise ModelError(ModelErrorCode.BAD_ANSWER, "an event that is no completion")
    return event


def _deflection(request: ChatRequest) -> str:
    return DEFLECTIONS[len(request.lines) % len(DEFLECTIONS)]
