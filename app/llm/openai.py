"""The adapter for every server that speaks OpenAI's chat completions: Azure, vLLM, Ollama and others too."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import orjson

from app.llm.http import Answer, StreamingClient, Timeouts, discreet, error_message
from app.llm.interface import (
    ChatRequest,
    Completion,
    Line,
    ModelError,
    ModelErrorCode,
    ModelStatus,
    Readiness,
    Speaker,
    StructuredAnswer,
    StructuredRequest,
)
from app.settings import Settings
from app.text import clean_line

ROLES = {Speaker.STUDENT: "user", Speaker.PERSONA: "assistant"}
# Several servers answer nothing to a conversation without a user in it.
CUE = {"role": "user", "content": "(The conversation begins. Speak first.)"}
MAY_BE_DIALECT = frozenset({400, 422})
LAST_EVENT = b"[DONE]"
MAX_MODEL_NAME = 200
MAX_COUNT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server lets us say: newer models refuse ``max_tokens``, some servers ``stream_options``."""

    limit: str = "max_tokens"
    usage: bool = True

    def parameters(self, max_tokens: int) -> dict[str, Any]:
        """Return the parameters of a streaming request."""
        usage = {"stream_options": {"include_usage": True}} if self.usage else {}
        return {"stream": True, self.limit: max_tokens} | usage

    def adapted(self, complaint: str) -> Self | None:
        """Return the dialect without what the server complains of, or None if it is neither parameter."""
        if self.usage and "stream_options" in complaint:
            return replace(self, usage=False)
        if self.limit == "max_tokens" and re.search(r"\bmax_tokens\b", complaint):
            return replace(self, limit="max_completion_tokens")
        return None


class OpenAiAdapter:
    """Plays personas through an OpenAI-compatible server."""

    def __init__(self, settings: Settings) -> None:
        self.context_tokens = settings.llm_context_tokens
        self._model = settings.llm_model
        self._url = f"{settings.llm_base_url}/chat/completions"
        self._api_key = settings.llm_api_key
        self._client = StreamingClient(Timeouts.from_settings(settings))
        self._dialect = Dialect()

    def status(self) -> ModelStatus:
        """Say ready: whether the server answers shows in the turns, and a page is not to wait for it."""
        return ModelStatus(self._model, Readiness.READY)

    def stream(self, request: ChatRequest, more: dict[str, Any] | None = None) -> Iterator[str | Completion]:
        """Yield the reply as it is written, then what it cost."""
        answer = self._ask(request, more or {})
        try:
            yield from _read_reply(answer.events(), _Reply(self._model, self._private(request)))
            answer.finish()
        finally:
            answer.close()

    def answer(self, request: StructuredRequest) -> StructuredAnswer:
        """Return the model's JSON, read as it is written."""
        asked = {"name": request.name, "schema": request.schema, "strict": True}
        response_format = {"response_format": {"type": "json_schema", "json_schema": asked}}
        chat = ChatRequest(
            instructions=request.instructions,
            brief="",
            persona_name="",
            facts="",
            lines=(Line(Speaker.STUDENT, request.prompt),),
            conversation=request.conversation,
            max_tokens=request.max_tokens,
        )
        *pieces, end = self.stream(chat, response_format)
        if not isinstance(end, Completion):
            raise ModelError(ModelErrorCode.BAD_ANSWER, "the answer broke off")
        try:
            data = orjson.loads("".join(str(piece) for piece in pieces))
        except orjson.JSONDecodeError as error:
            raise ModelError(ModelErrorCode.BAD_ANSWER, "an answer that is no JSON") from error
        return StructuredAnswer(data, end.model, end.prompt_tokens, end.completion_tokens)

    def _ask(self, request: ChatRequest, more: dict[str, Any]) -> Answer:
        """Send the request, without what the server turns out not to know; what helped is remembered."""
        dialect = self._dialect
        while True:
            answer = self._client.post(
                self._url, self._payload(request, dialect) | more, api_key=self._api_key
            )
            if answer.status == 200:  # noqa: PLR2004
                self._dialect = dialect
                return answer
            dialect = self._adapted(dialect, answer, request)

    def _adapted(self, dialect: Dialect, answer: Answer, request: ChatRequest) -> Dialect:
        error, complaint = answer.refusal(self._private(request))
        answer.close()
        adapted = dialect.adapted(complaint) if answer.status in MAY_BE_DIALECT else None
        if adapted is None:
            raise error
        return adapted

    def _payload(self, request: ChatRequest, dialect: Dialect) -> dict[str, Any]:
        messages = [{"role": "system", "content": request.instructions}, *_in_turns(request.lines)]
        return {"model": self._model, "messages": messages} | dialect.parameters(request.max_tokens)

    def _private(self, request: ChatRequest) -> tuple[str, ...]:
        said = (line.text for line in request.lines)
        return (self._api_key or "", request.instructions, request.facts, *said)


@dataclass
class _Reply:
    """What is known of a reply while it is read."""

    model: str
    private: tuple[str, ...]
    spoken: bool = False
    done: bool = False
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def complete(self) -> bool:
        return self.done or self.finish_reason is not None

    def take(self, data: bytes) -> str:
        """Note what an event tells and return the text in it."""
        try:
            chunk = orjson.loads(data)
            if error := chunk.get("error"):
                raise self._failure(error)
            self.model = clean_line(chunk.get("model"), MAX_MODEL_NAME) or self.model
            self._note_usage(chunk.get("usage") or {})
            return self._text(chunk.get("choices"))
        except (orjson.JSONDecodeError, AttributeError, TypeError, LookupError) as error:
            raise ModelError(ModelErrorCode.BAD_ANSWER, "an event that is no chat completion") from error

    def completion(self) -> Completion:
        """Return how the reply ended, or raise if it did not end or says nothing."""
        if not self.complete:
            raise ModelError(ModelErrorCode.BAD_ANSWER, "the reply broke off")
        if not self.spoken:
            raise ModelError(
                ModelErrorCode.BAD_ANSWER, f"an empty reply (finish_reason {self.finish_reason})"
            )
        truncated = self.finish_reason == "length"
        return Completion(self.model, self.prompt_tokens, self.completion_tokens, truncated)

    def _text(self, choices: list[dict[str, Any]] | None) -> str:
        if not choices:
            return ""
        self.finish_reason = choices[0].get("finish_reason") or self.finish_reason
        text = (choices[0].get("delta") or {}).get("content") or ""
        self.spoken = self.spoken or bool(text.strip())
        return str(text)

    def _note_usage(self, usage: dict[str, Any]) -> None:
        self.prompt_tokens = _count(usage.get("prompt_tokens"), self.prompt_tokens)
        self.completion_tokens = _count(usage.get("completion_tokens"), self.completion_tokens)

    def _failure(self, error: object) -> ModelError:
        """Translate an error that comes in mid-stream, when the status has long been 200."""
        kind = f"{error.get('code')} {error.get('type')}".lower() if isinstance(error, dict) else ""
        busy = any(sign in kind for sign in ("429", "rate_limit", "overloaded"))
        code = ModelErrorCode.BUSY if busy else ModelErrorCode.BAD_ANSWER
        return ModelError(code, discreet(f"in mid-stream: {error_message({'error': error})}", self.private))


def _count(value: object, known: int | None) -> int | None:
    """Take a token count from outside; what is none leaves what is known."""
    return value if isinstance(value, int) and 0 <= value <= MAX_COUNT else known


def _read_reply(events: Iterator[bytes], reply: _Reply) -> Iterator[str | Completion]:
    try:
        for data in events:
            if data == LAST_EVENT:
                reply.done = True
                break
            if text := reply.take(data):
                yield text
    except ModelError:
        # What is lost after the last word is no loss.
        if not reply.complete:
            raise
    yield reply.completion()


def _in_turns(lines: Sequence[Line]) -> list[dict[str, str]]:
    """Write the lines so that user and assistant alternate, the user first: some chat templates accept nothing else."""
    turns = [] if lines and lines[0].speaker is Speaker.STUDENT else [dict(CUE)]
    for line in lines:
        if turns and turns[-1]["role"] == ROLES[line.speaker]:
            turns[-1]["content"] += f"\n\n{line.text}"
        else:
            turns.append({"role": ROLES[line.speaker], "content": line.text})
    return turns
