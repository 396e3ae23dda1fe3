"""Asking a model for an answer of a certain shape."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from app.llm.interface import ModelAdapter, ModelError, ModelErrorCode, StructuredRequest
from app.usage.budgets import Tokens, tokens_of

AGAIN = (
    "\n\nYour last answer did not have the form that was asked for: {problem}. Give the whole answer again."
)
MOST_PROBLEMS = 5
Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Answered(Generic[Shape]):
    """An answer in its shape, the model that gave it, and what each attempt at it took."""

    data: Shape
    model: str
    tokens: Sequence[Tokens]


@dataclass
class UnansweredError(ModelError):
    """No answer, or none in its shape; ``tokens`` is what each attempt took."""

    tokens: Sequence[Tokens] = ()


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
        return _ask(model, again, shape, context)


def _ask(
    model: ModelAdapter, request: StructuredRequest, shape: type[Shape], context: dict[str, Any]
) -> Answered[Shape]:
    try:
        answer = model.answer(request)
        data = shape.model_validate(answer.data, context=context)
    except ModelError as error:
        told = error.code, error.detail, error.retryable, error.retry_after
        raise UnansweredError(*told, tokens=_taken(request)) from error
    except ValidationError as error:
        raise UnansweredError(ModelErrorCode.BAD_ANSWER, _describe(error), tokens=_taken(request)) from None
    return Answered(data, answer.model, _taken(request))


def _taken(request: StructuredRequest) -> Sequence[Tokens]:
    return [tokens_of(attempt) for attempt in request.attempts]


def _describe(error: ValidationError) -> str:
    """Say what is wrong and where, without a word of the answer."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)[:MOST_PROBLEMS]
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
