"""The rules of an experience's fields."""

import pytest

from app.errors import InvalidInputError
from app.experiences.rules import check_fields

GOOD = {"title": "T", "pedagogical_guidance": "G", "learning_objectives": ["O"]}


def test_only_what_is_required_is_required() -> None:
    fields = check_fields(GOOD)
    assert (fields.title, fields.description, fields.opening_line) == ("T", "", "")


def test_text_is_cleaned() -> None:
    fields = check_fields(
        GOOD | {"title": " a\n b ", "facts": "x\r\ny\x00", "learning_objectives": ["", " a\nb "]}
    )
    assert (fields.title, fields.facts, fields.learning_objectives) == ("a b", "x\ny", ["a b"])


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("title", "", "blank"),
        ("title", None, "blank"),
        ("title", 7, "blank"),
        ("title", "x" * 256, "too_long"),
        ("pedagogical_guidance", " ", "blank"),
        ("description", "x" * 10_001, "too_long"),
        ("learning_objectives", [], "blank"),
        ("learning_objectives", ["x"] * 11, "too_many"),
        ("learning_objectives", ["x" * 5_000] * 3, "too_long"),
    ],
)
def test_each_broken_rule_is_named(name: str, value: object, kind: str) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        check_fields(GOOD | {name: value})
    assert [error.type for error in refusal.value.errors[name]] == [kind]


def test_every_broken_rule_is_named_at_once() -> None:
    with pytest.raises(InvalidInputError) as refusal:
        check_fields({})
    assert set(refusal.value.errors) == {"title", "pedagogical_guidance", "learning_objectives"}
