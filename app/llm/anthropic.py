"""Models behind Anthropic's Messages API."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from app.llm.choice import ModelChoice
from app.llm.failures import failure_in_stream
from app.llm.http import StreamingClient
from app.llm.interface import StructuredRequest
from app.llm.model import Request
from app.llm.reply import Reply, count, parse
from app.llm.served import ServedModel
from app.llm.structured import strict_schema
from app.llm.turns import turns_of

API_VERSION = "2023-06-01"
ABOUT_FORMAT = re.compile(r"output_config|output.?format|structured.?output|json_schema", re.IGNORECASE)
# Marks the end of what the provider keeps ready for the next request with the same beginning.
CACHED: Final = {"cache_control": {"type": "ephemeral"}}
INPUT_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def anthropic_model(choice: ModelChoice, client: StreamingClient) -> ServedModel:
    """Return a model of Anthropic, or of a server that speaks like it."""
    key = {"x-api-key": choice.api_key} if choice.api_key else {}
    return ServedModel(
        choice,
        client,
        path="messages",
        headers={"anthropic-version": API_VERSION} | key,
        dialect=AnthropicDialect(),
        reply=AnthropicReply,
    )


@dataclass(frozen=True, slots=True)
class AnthropicDialect:
    """How JSON is asked for: models before 4.5 and some resellers take no schema, but fill in the form of a tool."""

    takes_schemas: bool = True

    def payload(self, model: str, request: Request) -> dict[str, Any]:
        """See `Dialect.payload`."""
        payload = {
            "model": model,
            "max_tokens": request.max_tokens,
            "system": [_text(request.instructions) | CACHED],
            "messages": _messages(request),
            "stream": True,
        }
        if isinstance(request, StructuredRequest):
            payload |= _by_schema(request) if self.takes_schemas else _by_tool(request)
        return payload

    def adapted(self, complaint: str, request: Request) -> Self | None:
        """See `Dialect.adapted`."""
        if isinstance(request, StructuredRequest) and self.takes_schemas and ABOUT_FORMAT.search(complaint):
            return replace(self, takes_schemas=False)
        return None


class AnthropicReply(Reply):
    """A reply in the events of a streamed message."""

    def read(self, data: bytes) -> str | None:
        """See `Reply.read`."""
        event = parse(data)
        if event["type"] == "content_block_delta":
            delta = event["delta"]
            # Thoughts have neither; a tool's form comes in pieces of JSON.
            return str(delta.get("text") or delta.get("partial_json") or "")
        return self._note(event)

    def _note(self, event: dict[str, Any]) -> str | None:
        match event["type"]:
            case "message_start":
                self._begin(event["message"])
            case "message_delta":
                self.note_finish(event["delta"].get("stop_reason"))
                usage = event.get("usage") or {}
                self.completion_tokens = count(usage.get("output_tokens"), self.completion_tokens)
            case "message_stop":
                self.done = True
                return None
            case "error":
                raise failure_in_stream(event["error"], self.private)
        return ""

    def _begin(self, message: dict[str, Any]) -> None:
        self.note_model(message.get("model"))
        usage = message.get("usage") or {}
        known = [tokens for name in INPUT_COUNTS if (tokens := count(usage.get(name))) is not None]
        self.prompt_tokens = sum(known) if known else None


def _messages(request: Request) -> list[dict[str, Any]]:
    """Write what was said. The whole of a conversation is kept ready, since its next turn begins with it."""
    *earlier, last = turns_of(request)
    if isinstance(request, StructuredRequest):
        return [*earlier, last]
    return [*earlier, last | {"content": [_text(last["content"]) | CACHED]}]


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _by_schema(request: StructuredRequest) -> dict[str, Any]:
    return {"output_config": {"format": {"type": "json_schema", "schema": strict_schema(request.schema)}}}


def _by_tool(request: StructuredRequest) -> dict[str, Any]:
    schema = strict_schema(request.schema)
    tool = {"name": request.name, "description": "Takes the answer.", "input_schema": schema}
    return {"tools": [tool], "tool_choice": {"type": "tool", "name": request.name}}
