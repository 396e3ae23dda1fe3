"""Text from outside."""

import sys
import unicodedata

import pytest

from app.text import clean_line, clean_text, folded, is_blank, with_blanks_as_spaces


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
    "hidden",
    [
        *"\u00ad\u200b\u200e\u2061\u180e\ufe0f\U000e0061\ufeff",
        *"\u115f\u1160\u3164\uffa0\u2800\ufff0\ufff9\ufffb\ufffc\U0001bca0\U0001bca3\U000e0fff",
    ],
)
def test_text_is_compared_without_case_width_and_what_nobody_sees(hidden: str) -> None:
    assert folded(f"Stra{hidden}\u00dfe \uff21") == "strasse a"
    assert folded("PLAIN") == "plain"


# The ranges of Default_Ignorable_Code_Point in Unicode's DerivedCoreProperties.txt, which are stable.
IGNORABLE = (
    "AD 34F 61C 115F-1160 17B4-17B5 180B-180F 200B-200F 202A-202E 2060-206F 3164 FE00-FE0F FEFF FFA0 FFF0-FFF8 "
    "1BCA0-1BCA3 1D173-1D17A E0000-E0FFF"
)


def test_all_that_unicode_calls_ignorable_is_unseen() -> None:
    for span in IGNORABLE.split():
        first, _, last = span.partition("-")
        assert is_blank("".join(map(chr, range(int(first, 16), int(last or first, 16) + 1)))), span


def test_every_other_letter_is_kept() -> None:
    letters = [char for char in map(chr, range(sys.maxunicode + 1)) if char.isalnum()]
    assert [char for char in letters if not folded(char)] == ["\u115f", "\u1160", "\u3164", "\uffa0"]


def test_korean_is_kept_however_it_is_composed() -> None:
    assert folded("한국어") == folded(unicodedata.normalize("NFD", "한국어")) == "한국어"


def test_what_nobody_sees_does_not_part_a_letter_from_its_accent() -> None:
    assert folded("e\u200b\u0301") == "é"


@pytest.mark.parametrize(
    "text", ["", " \n\t", "\u00a0\u3000\u2028", "\u200b\ufeff", "\u3164 \u2800", "\U000e0061", "\x00\x1b"]
)
def test_a_text_of_which_nobody_sees_anything_is_blank(text: str) -> None:
    assert is_blank(text)


@pytest.mark.parametrize("text", ["a", ".", "\u3164한", "\u200b\U0001f642\ufe0f", "\u2801"])
def test_a_text_of_which_something_is_seen_is_not_blank(text: str) -> None:
    assert not is_blank(text)


def test_what_looks_like_a_space_is_made_one() -> None:
    assert with_blanks_as_spaces("a\u3164b\u2800c\u200bd") == "a b c\u200bd"
    assert with_blanks_as_spaces("plain") == "plain"
