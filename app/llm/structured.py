"""JSON answers: what schemas servers accept, and finding the JSON in what a model writes."""

from collections.abc import Mapping
from typing import Any

import orjson

from app.llm.interface import Completion, ModelError, ModelErrorCode, StructuredAnswer, StructuredRequest
from app.llm.model import Model, within_limit

# What every server understands in its strict mode. Limits of numbers and lengths are not among it everywhere.
KEYWORDS = frozenset({"type", "description", "enum", "const"})
LIMITS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems",
    "format", "pattern",
)  # fmt: skip


def strict_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema in the part of JSON Schema that strict servers accept.

    Every property is required and no other allowed; limits become words in the description.
    """
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    strict = {keyword: value for keyword, value in schema.items() if keyword in KEYWORDS}
    if limits := [f"{name}: {schema[name]}" for name in LIMITS if name in schema]:
        strict["description"] = " ".join(
            [*filter(None, [schema.get("description")]), f"({', '.join(limits)})"]
        )
    for keyword in ("$defs", "properties"):
        if keyword in schema:
            strict[keyword] = {name: strict_schema(part) for name, part in schema[keyword].items()}
    if "properties" in schema:
        strict |= {"required": list(schema["properties"]), "additionalProperties": False}
    if "items" in schema:
        strict["items"] = strict_schema(schema["items"])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        strict["anyOf"] = [strict_schema(choice) for choice in choices]
    return strict


def in_words(schema: Mapping[str, Any]) -> str:
    """Return what is added to the instructions of a model whose server takes no schema."""
    wanted = orjson.dumps(strict_schema(schema)).decode()
    return f"\n\nAnswer with one JSON object that fits this JSON Schema, and nothing else:\n{wanted}"


def whole(model: Model, request: StructuredRequest, deadline: float) -> tuple[str, Completion]:
    """Have a model answer, and read the answer to its end. Raises `ModelError`."""
    texts: list[str] = []
    for piece in within_limit(model.stream(request, deadline), request.max_tokens, model.name):
        if isinstance(piece, Completion):
            return "".join(texts), piece
        texts.append(piece)
    raise ModelError(ModelErrorCode.BAD_ANSWER, "the answer broke off")


def decoded(text: str, end: Completion) -> StructuredAnswer:
    """Decode an answer, whatever stands around its object, such as a code fence. Raises `ModelError`."""
    inner = text[max(text.find("{"), 0) : text.rfind("}") + 1]
    try:
        data = orjson.loads(inner)
    except orjson.JSONDecodeError as error:
        reason = "an answer that was cut off" if end.truncated else "an answer that is no JSON"
        raise ModelError(ModelErrorCode.BAD_ANSWER, reason) from error
    return StructuredAnswer(data, end.model, end.prompt_tokens, end.completion_tokens)
