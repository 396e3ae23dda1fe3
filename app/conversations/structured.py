"""Asking a model for an answer of a certain shape."""

from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from app.llm.interface import ModelAdapter, ModelError, ModelErrorCode, StructuredRequest
from app.usage.budgets import Tokens, tokens_of

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
class WrongFormError(ModelError):
    """An answer that does not have its shape; ``tokens`` is what it took."""

    tokens: Tokens = NOTHING


def ask(
    model: ModelAdapter,
    request: StructuredRequest,
    shape: type[Shape],
    **context: Any,  # noqa: ANN401 - pydantic's
) -> Answered[Shape]:
    """Return the answer in its shape. Asks once more where it has another, or is no JSON.

    ``context`` is what the shape's validators need to know. Raises `ModelError`.
    """
    try:
        return _ask(model, request, shape, context)
    except ModelError as error:
        if error.code is not ModelErrorCode.BAD_ANSWER:
            raise
        again = replace(request, prompt=request.prompt + AGAIN.format(problem=error.detail))
        return _ask(model, again, shape, context, before=spent_on(error))


def spent_on(error: ModelError) -> Tokens:
    """Return what is known of the tokens that a failed attempt took."""
    return error.tokens if isinstance(error, WrongFormError) else NOTHING


def _ask(
    model: ModelAdapter,
    request: StructuredRequest,
    shape: type[Shape],
    context: dict[str, Any],
    before: Tokens = NOTHING,
) -> Answered[Shape]:
    answer = model.answer(request)
    spent = tokens_of(request, answer, orjson.dumps(answer.data).decode())
    tokens = Tokens(before.used + spent.used, before.estimated or spent.estimated)
    try:
        return Answered(shape.model_validate(answer.data, context=context), answer.model, tokens)
    except ValidationError as error:
        raise WrongFormError(ModelErrorCode.BAD_ANSWER, _describe(error), tokens=tokens) from None


def _describe(error: ValidationError) -> str:
    """Say what is wrong and where, without a word of the answer."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)[:MOST_PROBLEMS]
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
