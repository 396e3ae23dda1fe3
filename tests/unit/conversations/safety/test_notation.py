"""The notation in which phrases are written."""

import pytest

from app.conversations.safety.automaton import Automaton
from app.conversations.safety.notation import NotationError, read_phrase, read_sets


def finds(phrase: str, text: str, sets: dict[str, list[str]] | None = None) -> bool:
    read = read_phrase(phrase, read_sets(sets or {}))
    return bool(Automaton([(read, 0)], matters=lambda label: True).find(text))


@pytest.mark.parametrize(
    ("phrase", "found", "not_found"),
    [
        ("want to go", "I want to go home", "I want to"),
        ("go*", "she is going", "ago"),
        ("(cat|small dog)", "a small dog", "a small horse"),
        ("very [very] good", "very very good", "very much good"),
        ("not ... good", "not at all so good", "not at all so very good"),
        ("not ... good", "not good", "good"),
        ("^ go", "Stay. Go", "I go"),
        ("(^|please) go", "Please go", "we go"),
        ("{they} go", "people go", "we go"),
        ("don't", "I don\u2019t", "done"),
        ("café", "CAFÉ", "coffee"),
    ],
)
def test_a_phrase_finds_what_it_says(phrase: str, found: str, not_found: str) -> None:
    sets = {"word": ["people"], "they": ["they", "{word}"]}
    assert finds(phrase, found, sets)
    assert not finds(phrase, not_found, sets)


def test_a_phrase_ends_with_its_sentence() -> None:
    assert not finds("want to die", "That is what I want to. Die Rechnung, bitte.")


@pytest.mark.parametrize(
    "phrase", ["", "(a", "a)", "a|b", "(a|)", "[", "{unknown} a", "a {they", "()", "(a|b]"], ids=repr
)
def test_what_cannot_be_read_is_refused(phrase: str) -> None:
    with pytest.raises(NotationError):
        read_phrase(phrase, {})


def test_a_set_refers_only_to_those_before_it() -> None:
    with pytest.raises(NotationError, match="no set before it is called later"):
        read_sets({"early": ["{later}"], "later": ["x"]})
