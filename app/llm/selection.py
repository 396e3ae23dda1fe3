"""Which adapter answers, by the settings."""

import logging
from collections.abc import Callable, Iterator

from app.llm.http import Timeouts
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
from app.llm.local import LocalAdapter
from app.llm.openai import OpenAiAdapter
from app.llm.scripted import ScriptedAdapter
from app.settings import LlmProvider, Settings

logger = logging.getLogger(__name__)


class LocalOrScriptedAdapter:
    """Plays personas with the embedded model when it is ready, otherwise as the scripted persona."""

    context_tokens = LocalAdapter.context_tokens

    def __init__(self, local: LocalAdapter, scripted: ScriptedAdapter) -> None:
        self._local = local
        self._scripted = scripted

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
        if self._local.status().readiness is not Readiness.READY:
            yield from self._scripted.stream(request)
            return
        speaking = False
        try:
            for piece in self._local.stream(request):
                speaking = True
                yield piece
        except ModelError as error:
            # A process that died a moment ago; once it has begun to speak, nobody else can end its sentence.
            if speaking or error.code is not ModelErrorCode.UNREACHABLE:
                raise
            logger.warning("the embedded model does not answer: %s", error.detail)
            yield from self._scripted.stream(request)

    def answer(self, request: StructuredRequest) -> StructuredAnswer:
        """Answer as the script does."""
        return self._scripted.answer(request)

    def prime(self, request: ChatRequest) -> None:
        """See `LocalAdapter.prime`."""
        self._local.prime(request)


def build_adapter(settings: Settings) -> ModelAdapter:
    """Return the adapter that LLM_PROVIDER names."""
    return BUILDERS[settings.provider](settings)


def build_judge(settings: Settings) -> ModelAdapter:
    """Return the adapter for structured answers."""
    return build_adapter(settings)


def prime(adapter: ModelAdapter, request: ChatRequest) -> None:
    """Let a slow model read the conversation so far, before its next reply is asked for.

    Takes seconds where it does anything, so call it beside the page, not within it. Never fails.
    """
    if isinstance(adapter, LocalOrScriptedAdapter):
        adapter.prime(request)


def _scripted(settings: Settings) -> ScriptedAdapter:
    return ScriptedAdapter(settings.llm_scripted_pause)


def _local(settings: Settings) -> LocalOrScriptedAdapter:
    local = LocalAdapter(settings.local_model_state, Timeouts.from_settings(settings))
    return LocalOrScriptedAdapter(local, _scripted(settings))


BUILDERS: dict[LlmProvider, Callable[[Settings], ModelAdapter]] = {
    LlmProvider.OPENAI: OpenAiAdapter,
    LlmProvider.SCRIPTED: _scripted,
    LlmProvider.LOCAL: _local,
}
