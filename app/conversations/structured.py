"""Asking a model for an answer of a certain shape."""

from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.llm.interface import ModelAdapter, ModelError, ModelErrorCode, StructuredAnswer, StructuredRequest

AGAIN = (
    "\n\nYour last answer did not have the form that was asked for: {problem}. Give the whole answer again."
)
Shape = TypeVar("Shape", bound=BaseModel)


def ask(
    model: ModelAdapter,
    request: StructuredRequest,
    shape: type[Shape],
    **context: Any,  # noqa: ANN401 - pydantic's
) -> tuple[Shape, StructuredAnswer]:
    """Return the answer in its shape and as it came. Asks once more where it has another shape, or is no JSON.

    ``context`` is what the shape's validators need to know. Raises `ModelError`.
    """
    try:
        return _ask(model, request, shape, context)
    except ModelError as error:
        if error.code is not ModelErrorCode.BAD_ANSWER:
            raise
        again = replace(request, prompt=request.prompt + AGAIN.format(problem=error.detail))
    return _ask(model, again, shape, context)


def _ask(
    model: ModelAdapter, request: StructuredRequest, shape: type[Shape], context: dict[str, Any]
) -> tuple[Shape, StructuredAnswer]:
    answer = model.answer(request)
    try:
        return shape.model_validate(answer.data, context=context), answer
    except ValidationError as error:
        raise ModelError(ModelErrorCode.BAD_ANSWER, _describe(error)) from None


def _describe(error: ValidationError) -> str:
    """Say what is wrong and where, without a word of the answer."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems[:5])
