"""Which models answer, by the settings."""

import logging
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

from app.llm.anthropic import anthropic_model
from app.llm.chain import GuardedModel, ModelChain
from app.llm.choice import LlmProvider, ModelChoice
from app.llm.circuit import Circuit
from app.llm.http import StreamingClient, Timeouts
from app.llm.interface import (
    ChatRequest,
    Completion,
    ModelAdapter,
    ModelError,
    ModelErrorCode,
    ModelStatus,
    Readiness,
    StructuredAnswer,
    StructuredRequest,
)
from app.llm.local import LocalModel
from app.llm.model import Model
from app.llm.openai import openai_model
from app.llm.scripted import ScriptedAdapter
from app.llm.structured import decoded, whole
from app.settings import Settings

SERVED: dict[LlmProvider, Callable[[ModelChoice, StreamingClient], Model]] = {
    LlmProvider.OPENAI: openai_model,
    LlmProvider.ANTHROPIC: anthropic_model,
}

logger = logging.getLogger(__name__)


class LocalOrScriptedAdapter:
    """Plays personas with the embedded model when it is ready, otherwise as the scripted persona."""

    def __init__(
        self, local: LocalModel, scripted: ScriptedAdapter, turn: float, *, context_tokens: int
    ) -> None:
        self.context_tokens = context_tokens
        self._local = local
        self._scripted = scripted
        self._turn = turn

    def status(self) -> ModelStatus:
        """Say who speaks now; while the embedded model is on its way, how far it is."""
        local = self._local.status()
        if local.readiness is Readiness.READY:
            return local
        preparing = local.readiness is Readiness.PREPARING
        return ModelStatus(
            self._scripted.status().name,
            Readiness.PREPARING if preparing else Readiness.READY,
            scripted=True,
            progress=local.progress,
            detail=local.detail,
        )

    def stream(self, request: ChatRequest) -> Iterator[str | Completion]:
        """Yield the reply of whoever speaks now; the completion names the speaker."""
        if not self._is_ready:
            yield from self._scripted.stream(request)
            return
        speaking = False
        try:
            for piece in self._local.stream(request, request.began_at + self._turn):
                speaking = True
                yield piece
        except ModelError as error:
            # A process that died a moment ago; once it has begun to speak, nobody else can end its sentence.
            if speaking or error.code is not ModelErrorCode.UNREACHABLE:
                raise
            logger.warning("the embedded model does not answer: %s", error.detail)
            yield from self._scripted.stream(request)

    def answer(self, request: StructuredRequest) -> StructuredAnswer:
        """Return the answer of whoever speaks now."""
        if not self._is_ready:
            return self._scripted.answer(request)
        return decoded(*whole(self._local, request, monotonic() + self._turn))

    def prime(self, request: ChatRequest) -> None:
        """See `LocalModel.prime`."""
        self._local.prime(request)

    @property
    def _is_ready(self) -> bool:
        return self._local.status().readiness is Readiness.READY


def build_adapter(settings: Settings) -> ModelAdapter:
    """Return what plays the personas: LLM_MODEL, with LLM_FALLBACKS behind it."""
    return _adapter(settings, settings.conversation_models, LocalModel.context_tokens)


def build_judge(settings: Settings) -> ModelAdapter:
    """Return what gives structured answers: LLM_JUDGE_MODEL, with LLM_FALLBACKS behind it.

    It has circuit breakers of its own: a judge that fails does not silence the personas.
    """
    return _adapter(settings, settings.judge_models, LocalModel.question_tokens)


def prime(adapter: ModelAdapter, request: ChatRequest) -> None:
    """Let a slow model read the conversation so far, before its next reply is asked for.

    Takes seconds where it does anything, so call it beside the page, not within it. Never fails.
    """
    if isinstance(adapter, LocalOrScriptedAdapter):
        adapter.prime(request)


def _adapter(settings: Settings, choices: Sequence[ModelChoice], local_tokens: int) -> ModelAdapter:
    match choices[0].provider:
        case LlmProvider.SCRIPTED:
            return ScriptedAdapter(settings.llm_scripted_pause)
        case LlmProvider.LOCAL:
            local = LocalModel(settings.local_model_state, Timeouts.from_settings(settings))
            scripted = ScriptedAdapter(settings.llm_scripted_pause)
            turn = settings.llm_turn_timeout
            return LocalOrScriptedAdapter(local, scripted, turn, context_tokens=local_tokens)
        case _:
            return _chain(settings, choices)


def _chain(settings: Settings, choices: Sequence[ModelChoice]) -> ModelChain:
    client = StreamingClient(Timeouts.from_settings(settings))

    def guarded(choice: ModelChoice) -> GuardedModel:
        model = _model(settings, choice, client)
        circuit = Circuit(
            model.name, failures=settings.llm_circuit_failures, seconds=settings.llm_circuit_seconds
        )
        return GuardedModel(model, circuit)

    return ModelChain(
        [guarded(choice) for choice in choices],
        context_tokens=settings.llm_context_tokens,
        turn=settings.llm_turn_timeout,
        retries=settings.llm_retries,
    )


def _model(settings: Settings, choice: ModelChoice, client: StreamingClient) -> Model:
    if choice.provider is LlmProvider.LOCAL:
        return LocalModel(settings.local_model_state, Timeouts.from_settings(settings))
    return SERVED[choice.provider](choice, client)
