"""Text from outside."""

import pytest

from app.text import clean_line, clean_text, folded


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("  Ada \n Byron ", "Ada Byron"),
        ("a\x00b", "a b"),
        ("\u202egnp.exe", "gnp.exe"),
        ("x" * 300, "x" * 9 + "…"),
        ("\ud800", None),
        ("   ", None),
        (None, None),
        (7, None),
        (["x"], None),
        ("Zoë 🦉", "Zoë 🦉"),
    ],
)
def test_a_line(value: object, line: str | None) -> None:
    assert clean_line(value, 10) == line


def test_text_keeps_its_lines() -> None:
    assert clean_text(" a\r\nb\rc\x00\td \n") == "a\nb\nc\td"


@pytest.mark.parametrize(
    "hidden", ["\u00ad", "\u200b", "\u200e", "\u2061", "\u180e", "\ufe0f", "\U000e0061", "\ufeff"]
)
def test_text_is_compared_without_case_width_and_what_nobody_sees(hidden: str) -> None:
    assert folded(f"Stra{hidden}\u00dfe \uff21") == "strasse a"
    assert folded("PLAIN") == "plain"
