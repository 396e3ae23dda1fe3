"""Finding phrases: all of them, only them, and in a time that nobody can stretch."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from app.conversations.safety import automaton
from app.conversations.safety.automaton import Automaton, Match
from app.conversations.safety.notation import read_phrase

WORDS = ["ape", "bee", "cat", "dog", "."]
# The same phrases in the notation and as regular expressions over words that each end in a space.
PHRASES = {
    "ape bee": "ape bee ",
    "ape (bee|cat dog) ape": "ape (?:bee |cat dog )ape ",
    "bee [cat] dog": "bee (?:cat )?dog ",
    "cat ... ape": "cat (?:[a-z]+ ){0,3}ape ",
    "^ dog [ape|bee cat] dog": r"(?:(?<=\A)|(?<=\. ))dog (?:ape |bee cat )?dog ",
    "dog dog": "dog dog ",
}


def searcher(*phrases: str) -> Automaton:
    read = [(read_phrase(phrase, {}), label) for label, phrase in enumerate(phrases)]
    return Automaton(read, matters=lambda label: True)


@settings(deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_it_finds_the_phrases_that_a_regular_expression_finds(words: list[str]) -> None:
    text = "".join(f"{word} " for word in words)
    found = {match.label for match in ALL.find(text)}
    assert found == {label for label, pattern in enumerate(PHRASES.values()) if re.search(pattern, text)}


ALL = searcher(*PHRASES)


def test_a_match_says_where_it_stands() -> None:
    text = "Well. I really want to go home."
    (match,) = searcher("i [really] want to go").find(text)
    assert text[match.start : match.end] == "I really want to go"


def test_of_overlapping_beginnings_the_first_counts() -> None:
    assert searcher("ape ... bee").find("ape ape ape bee") == [Match(0, 0, 15)]


def test_an_empty_line_ends_no_phrase_and_may_begin_a_sentence() -> None:
    found = searcher("ape bee", "^ cat dog")
    assert found.find("dog ape\n \nbee\n\n") == [Match(0, 4, 13)]
    assert found.find("dog\n\ncat\n\ndog") == [Match(1, 5, 13)]


def test_words_that_no_phrase_has_are_all_one() -> None:
    found = searcher("ape bee")
    assert found.kind_of("zebra") is found.kind_of("xylophone")


def test_it_forgets_what_it_has_learned_before_that_fills_the_memory(monkeypatch) -> None:
    monkeypatch.setattr(automaton, "_MOST_STEPS", 20)
    found = searcher(*PHRASES)
    for text in (
        "ape bee",
        "cat dog ape",
        "bee cat dog",
        "dog ape dog",
        "cat bee bee ape",
        "dog dog",
        "ape bee",
    ):
        assert {match.label for match in found.find(text)} == {match.label for match in ALL.find(text)}
    assert len(found._states) < 20


def test_only_phrases_that_matter_cost_a_second_look() -> None:
    read = [(read_phrase("ape bee", {}), 0), (read_phrase("not ape bee", {}), 1)]
    found = Automaton(read, matters=lambda label: label == 0)
    assert found.find("not ape cat") == []
    assert {match.label for match in found.find("not ape bee")} == {0, 1}
