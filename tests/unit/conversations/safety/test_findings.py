"""What fits around what was found, and where it stands then."""

import pytest

from app.conversations.safety.findings import Category, Finding, Severity, fit_around


def found(text: str, words: str, category: Category = Category.SELF_HARM) -> Finding:
    start = text.index(words)
    return Finding(category, Severity.HIGH, start, start + len(words))


@pytest.mark.parametrize("before", [0, 5, 60, 400])
@pytest.mark.parametrize("after", [0, 5, 60, 400])
def test_what_fits_stands_around_what_was_found(before: int, after: int) -> None:
    text = f"{'a' * before}(die){'z' * after}"
    fitted, (moved,) = fit_around(found(text, "(die)"), text, [found(text, "(die)")], 100)
    assert len(fitted) <= 100
    assert fitted[moved.start : moved.end] == "(die)"
    assert fitted.startswith("…") is not text.startswith(fitted[:5])
    assert fitted.endswith("…") is not text.endswith(fitted[-5:])


def test_what_does_not_stand_in_it_is_left_out_and_what_reaches_beyond_ends_with_it() -> None:
    text = f"(die){'a' * 90}(kill){'a' * 90}(beat)"
    die = found(text, "(die)")
    others = [found(text, "(kill)", Category.VIOLENCE), found(text, "(beat)", Category.ABUSE)]
    fitted, moved = fit_around(die, text, [die, *others], 100)
    assert [(each.category, fitted[each.start : each.end]) for each in moved] == [
        (Category.SELF_HARM, "(die)"),
        (Category.VIOLENCE, "(ki"),
    ]
