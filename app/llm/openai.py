"""Models behind OpenAI's chat completions, which Azure, vLLM, Ollama and others speak too."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from app.llm.choice import ModelChoice
from app.llm.failures import failure_in_stream
from app.llm.http import StreamingClient, bearer
from app.llm.interface import StructuredRequest
from app.llm.model import Request
from app.llm.reply import Reply, count, parse
from app.llm.served import ServedModel
from app.llm.structured import in_words, strict_schema
from app.llm.turns import turns_of

LAST_EVENT = b"[DONE]"
# How a structured answer is asked for, best first; the last way is by words alone.
FORMATS: Final = ("json_schema", "json_object", None)
ABOUT_FORMAT = re.compile(r"response.?format|json_schema|json_object|structured.?output", re.IGNORECASE)
ABOUT_LIMIT = re.compile(r"\bmax_tokens\b")


def openai_model(choice: ModelChoice, client: StreamingClient) -> ServedModel:
    """Return a model of an OpenAI-compatible server."""
    return ServedModel(
        choice,
        client,
        path="chat/completions",
        headers=bearer(choice.api_key),
        dialect=OpenAiDialect(),
        reply=OpenAiReply,
    )


@dataclass(frozen=True, slots=True)
class OpenAiDialect:
    """What a server lets us say: newer models refuse ``max_tokens``, some servers ``stream_options`` or schemas."""

    limit: str = "max_tokens"
    usage: bool = True
    answer_format: str | None = FORMATS[0]

    def payload(self, model: str, request: Request) -> dict[str, Any]:
        """See `Dialect.payload`."""
        messages = [{"role": "system", "content": self._instructions(request)}, *turns_of(request)]
        payload = {"model": model, "messages": messages, "stream": True, self.limit: request.max_tokens}
        if self.usage:
            payload["stream_options"] = {"include_usage": True}
        if isinstance(request, StructuredRequest) and self.answer_format:
            payload["response_format"] = self._response_format(request)
        return payload

    def adapted(self, complaint: str, request: Request) -> Self | None:
        """See `Dialect.adapted`."""
        if self.usage and "stream_options" in complaint:
            return replace(self, usage=False)
        if self.limit == "max_tokens" and ABOUT_LIMIT.search(complaint):
            return replace(self, limit="max_completion_tokens")
        if isinstance(request, StructuredRequest) and self.answer_format and ABOUT_FORMAT.search(complaint):
            return replace(self, answer_format=FORMATS[FORMATS.index(self.answer_format) + 1])
        return None

    def _instructions(self, request: Request) -> str:
        if isinstance(request, StructuredRequest) and self.answer_format != "json_schema":
            return request.instructions + in_words(request.schema)
        return request.instructions

    def _response_format(self, request: StructuredRequest) -> dict[str, Any]:
        if self.answer_format != "json_schema":
            return {"type": self.answer_format}
        wanted = {"name": request.name, "schema": strict_schema(request.schema), "strict": True}
        return {"type": self.answer_format, "json_schema": wanted}


class OpenAiReply(Reply):
    """A reply in chunks of a chat completion."""

    def read(self, data: bytes) -> str | None:
        """See `Reply.read`."""
        if data == LAST_EVENT:
            self.done = True
            return None
        chunk = parse(data)
        if error := chunk.get("error"):
            raise failure_in_stream(error, self.private)
        self.note_model(chunk.get("model"))
        if usage := chunk.get("usage"):
            self.prompt_tokens = count(usage.get("prompt_tokens"), self.prompt_tokens)
            self.completion_tokens = count(usage.get("completion_tokens"), self.completion_tokens)
        return self._text(chunk.get("choices"))

    def _text(self, choices: list[dict[str, Any]] | None) -> str:
        if not choices:
            return ""
        self.note_finish(choices[0].get("finish_reason"))
        content = (choices[0].get("delta") or {}).get("content") or ""
        if isinstance(content, list):  # in parts, of which some are a model's thoughts
            content = "".join(part["text"] for part in content if part["type"] == "text")
        return str(content)
