"""Words in spite of their disguises."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.conversations.safety.words import TOKEN, is_end, plain, readings, whole_tokens
from app.text import is_blank


def words(text: str) -> list[str]:
    return [token[0] for token in TOKEN.finditer(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I don't", ["I", "don't"]),
        ("k i l l  m e e", ["k i l l", "m e e"]),
        ("d.i.e now", ["d.i.e", "now"]),
        ("I a person", ["I", "a", "person"]),
        ("k i l l myself", ["k i l l", "myself"]),
        ("well... then", ["well", "then"]),
        ("Stop. Go!", ["Stop", ".", "Go", "!"]),
        ("one\ntwo\n\nthree", ["one", "two", "\n\n", "three"]),
        ("f**k and su\u00adicide", ["f**k", "and", "su\u00adicide"]),
        ("'quoted' *starred*", ["quoted", "starred"]),
        ("snake_case", ["snake", "case"]),
        ("k\u3164ill \u3164 me \u2800 now", ["k\u3164ill", "me", "now"]),
        (
            "ki\ufe0fl\U000e0061l \u200b m\u0335\u0321\u0322\u0323e",
            ["ki\ufe0fl\U000e0061l", "m\u0335\u0321\u0322\u0323e"],
        ),
    ],
)
def test_a_text_is_cut_into_words_and_ends_of_sentences(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "whole", "rest"),
    [
        ("Go on, ki", ["Go", "on"], "ki"),
        ("kill'", [], "kill'"),
        ("kill-", ["kill"], ""),
        ("Oh k i", ["Oh"], "k i"),
        ("k i lo", ["k", "i"], "lo"),
        ("Stop.", ["Stop"], "."),
        ("Stop. ", ["Stop", "."], ""),
        ("one\n ", ["one"], "\n "),
        ("one $", ["one"], "$"),
    ],
)
def test_what_may_go_on_is_left(text: str, whole: list[str], rest: str) -> None:
    tokens, begun = whole_tokens(text, 0)
    assert [token[0] for token in tokens] == whole
    assert text[begun:] == rest


@settings(deadline=None)
@given(st.lists(st.sampled_from([*"aki .-*'\n@$!", "ill", "\u200b", "\u0301"]), max_size=30))
def test_however_a_text_grows_its_words_are_those_of_the_whole(pieces: list[str]) -> None:
    text, begun, read = "", 0, []
    for piece in pieces:
        text += piece
        tokens, begun = whole_tokens(text, begun)
        read += [token[0] for token in tokens]
    rest = words(text)[len(read) :]
    assert read + rest == words(text)
    assert all(word in text[begun:] for word in rest)


@pytest.mark.parametrize(
    ("word", "form"),
    [
        ("DON\u2019T", "dont"),
        ("Überdrüssig", "uberdrussig"),
        ("e\u0301te\u0301", "ete"),
        ("straße", "strasse"),
        ("cœur", "coeur"),
        ("\U0001d4ed\U0001d4f2\U0001d4ee", "die"),
        ("ki\u200bll", "kill"),
        ("ki\u200b\u200b\u200b\u200bll", "kill"),
        ("k\u200ei\u2061l\u180el", "kill"),
        ("k\u3164i\u1160l\uffa0l", "kill"),
        ("k\u2800i\ufff9l\U0001bca0l", "kill"),
        ("ki\ufe0fl\U000e0061l", "kill"),
        ("k\u0335\u0321\u0322\u0323ill", "kill"),
        ("k i l l", "kill"),
        ("\uff44\uff49\uff45", "die"),
    ],
)
def test_a_word_is_made_plain(word: str, form: str) -> None:
    assert plain(word) == form


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("k1ll", "kill"),
        ("ki1l", "kill"),
        ("m0rir", "morir"),
        ("$uicide", "suicide"),
        ("dieeee", "die"),
        ("killll", "kill"),
    ],
)
def test_a_disguised_word_has_its_reading_among_others(word: str, meant: str) -> None:
    assert meant in list(readings(word))


def test_a_number_is_no_word_in_disguise() -> None:
    assert list(readings("1945")) == ["1945"]


@settings(deadline=None)
@given(st.text())
def test_whatever_is_written_is_cut_without_a_gap_in_its_letters(text: str) -> None:
    kept = "".join(words(text))
    assert all(char in kept for char in text if char.isalnum() and not is_blank(char))
    assert all(is_end(word) or plain(word) or not word[-1].isalpha() for word in words(text))
