"""An answer in its shape, and what it took, attempts of no use with it."""

from typing import Any

import pytest
from pydantic import BaseModel

from app.conversations.structured import UnansweredError, ask
from app.llm.interface import Completion, ModelError, ModelErrorCode, StructuredRequest
from app.text import estimate_tokens
from app.usage.budgets import Tokens
from tests.unit.conversations.talk import Model

COUNTED = ModelError(ModelErrorCode.BAD_ANSWER, end=Completion("stub", 20_000, 4_000))


class Colour(BaseModel):
    """What is asked for."""

    name: str


def question() -> StructuredRequest:
    return StructuredRequest("Judge.", "Hello", "colour", {}, "c")


def taken(*answers: Any) -> list[Tokens]:
    """Return what each attempt of a model has taken that did not answer."""
    with pytest.raises(UnansweredError) as raised:
        ask(Model(*answers), question(), Colour)
    return list(raised.value.tokens)


@pytest.mark.parametrize("code", [ModelErrorCode.UNREACHABLE, ModelErrorCode.BUSY, ModelErrorCode.REFUSED])
def test_a_model_that_has_not_read_the_question_has_taken_nothing(code: ModelErrorCode) -> None:
    assert taken(ModelError(code)) == [Tokens(0)]


def test_a_model_that_is_silent_has_read_the_question() -> None:
    silent = ModelError(ModelErrorCode.TIMEOUT)
    assert taken(silent) == [Tokens(estimate_tokens("Judge.Hello") + estimate_tokens(""), estimated=True)]


def test_an_answer_of_no_use_is_counted_as_its_server_says() -> None:
    assert taken(COUNTED) == [Tokens(24_000), Tokens(24_000)]


def test_a_first_attempt_counts_whatever_becomes_of_the_second() -> None:
    assert taken(COUNTED, ModelError(ModelErrorCode.BUSY)) == [Tokens(24_000), Tokens(0)]
    answered = ask(Model(COUNTED, {"name": "red"}), question(), Colour)
    assert answered.data == Colour(name="red")
    first, second = answered.tokens
    assert first == Tokens(24_000)
    assert second.estimated
    assert second.used > estimate_tokens("Judge.Hello")
