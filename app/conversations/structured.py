"""Asking a model for an answer of a certain shape."""

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from app.llm.interface import ModelAdapter, ModelError, ModelErrorCode, StructuredRequest
from app.usage.budgets import Tokens, tokens_of, tokens_of_failure

AGAIN = (
    "\n\nYour last answer did not have the form that was asked for: {problem}. Give the whole answer again."
)
MOST_PROBLEMS = 5
NOTHING = Tokens(0)
Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Answered(Generic[Shape]):
    """An answer in its shape, the model that gave it, and what it took, in two attempts if need be."""

    data: Shape
    model: str
    tokens: Tokens


@dataclass
class UnansweredError(ModelError):
    """No answer, or none in its shape; ``tokens`` is what the attempts took."""

    tokens: Tokens = NOTHING


def ask(
    model: ModelAdapter,
    request: StructuredRequest,
    shape: type[Shape],
    **context: Any,  # noqa: ANN401 - pydantic's
) -> Answered[Shape]:
    """Return the answer in its shape. Asks once more where it has another, or is no JSON.

    ``context`` is what the shape's validators need to know. Raises `UnansweredError`.
    """
    try:
        return _ask(model, request, shape, context)
    except UnansweredError as error:
        if error.code is not ModelErrorCode.BAD_ANSWER:
            raise
        again = replace(request, prompt=request.prompt + AGAIN.format(problem=error.detail))
        return _ask(model, again, shape, context, before=error.tokens)


def _ask(
    model: ModelAdapter,
    request: StructuredRequest,
    shape: type[Shape],
    context: dict[str, Any],
    before: Tokens = NOTHING,
) -> Answered[Shape]:
    try:
        answer = model.answer(request)
    except ModelError as error:
        tokens = _sum(before, tokens_of_failure(request, error))
        raise UnansweredError(
            error.code, error.detail, error.retryable, error.retry_after, tokens=tokens
        ) from error
    tokens = _sum(before, tokens_of(request, answer, orjson.dumps(answer.data).decode()))
    try:
        return Answered(shape.model_validate(answer.data, context=context), answer.model, tokens)
    except ValidationError as error:
        raise UnansweredError(ModelErrorCode.BAD_ANSWER, _describe(error), tokens=tokens) from None


def _sum(before: Tokens, more: Tokens) -> Tokens:
    return Tokens(before.used + more.used, before.estimated or more.estimated)


def _describe(error: ValidationError) -> str:
    """Say what is wrong and where, without a word of the answer."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)[:MOST_PROBLEMS]
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
