"""A reply is looked at while it is written."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.conversations.safety.findings import Category
from app.conversations.safety.lists import list_check
from app.conversations.safety.watch import UnsafeReplyError, Watch
from app.llm.interface import Speaker

LISTED = list_check().by_speaker[Speaker.PERSONA]
UNSAFE = "I am tired of this. You should just kill yourself. Good day."
EXCUSED = "Please don't kill yourself over this homework. I mean it."
PIECES = st.lists(
    st.sampled_from(
        [
            "You ",
            "should ",
            "kill ",
            "your",
            "self",
            ". ",
            "not ",
            "please ",
            "don't ",
            "I am ",
            "angry",
            "\n\n",
            " ki",
            "ll ",
            "-",
            ",",
            ".",
            "*",
            "k i",
            " l l",
            "\n",
            "\u200b",
        ]
    ),
    max_size=25,
)


def watch(pieces: list[str]) -> tuple[str, Watch | UnsafeReplyError]:
    """Return what was shown, and the watch or what it raised."""
    watching, shown = Watch(LISTED), ""
    try:
        for piece in pieces:
            shown += watching.take(piece)
        return shown + watching.end(), watching
    except UnsafeReplyError as error:
        return shown, error


def cut(text: str, length: int) -> list[str]:
    return [text[start : start + length] for start in range(0, len(text), length)]


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 100])
def test_an_unsafe_reply_ends_before_its_phrase_is_shown(length: int) -> None:
    shown, error = watch(cut(UNSAFE, length))
    assert isinstance(error, UnsafeReplyError)
    assert [finding.category for finding in error.findings] == [Category.SELF_HARM]
    assert "kill" not in shown
    assert UNSAFE.startswith(shown)
    assert error.text.startswith(shown)


@pytest.mark.parametrize("length", [1, 4, 100])
def test_an_exception_is_waited_for(length: int) -> None:
    shown, watching = watch(cut(EXCUSED, length))
    assert shown == EXCUSED
    assert isinstance(watching, Watch)
    assert list(watching.findings) == []


def test_a_word_that_is_a_phrase_by_itself_is_not_shown_in_part() -> None:
    shown, error = watch(["You ", "fag", "got", ", go."])
    assert isinstance(error, UnsafeReplyError)
    assert "fag" not in shown


@pytest.mark.parametrize("length", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("reply", "hidden"),
    [
        ("Suicide-toi, personne ne te regrettera.", "toi"),
        ("Tue-toi ! Vraiment.", "toi"),
        ("Go,kill,yourself,now ok.", "yourself"),
        ("Honestly, you-should-kill-yourself now.", "kill"),
        ("Kill yourself\u2014really.", "yourself"),
        ("You should **kill** **yourself** now.", "kill"),
        ("You should k i l l yourself now.", "yourself"),
        ("You should\n\nkill\n\nyourself.\n\nNow.", "kill"),
        ("You should k\u200eill your\u2061self now.", "your"),
        ("You should kill your\U000e0020self now.", "kill"),
    ],
)
def test_what_stands_between_words_and_in_them_does_not_hide_a_phrase(
    reply: str, hidden: str, length: int
) -> None:
    shown, error = watch(cut(reply, length))
    assert isinstance(error, UnsafeReplyError)
    assert hidden not in shown


def test_what_is_worth_a_look_is_shown_and_told() -> None:
    shown, watching = watch(cut("I will kill you, traitor! So says the king.", 4))
    assert shown == "I will kill you, traitor! So says the king."
    assert [finding.category for finding in watching.findings] == [Category.VIOLENCE]


@settings(deadline=None)
@given(PIECES)
def test_however_a_reply_is_cut_the_outcome_is_that_of_the_whole(pieces: list[str]) -> None:
    text = "".join(pieces)
    shown, outcome = watch(pieces)
    found = LISTED.look_at(text)
    assert isinstance(outcome, UnsafeReplyError) == any(finding.is_high for finding in found)
    if isinstance(outcome, Watch):
        assert shown == text
        assert list(outcome.findings) == found
    assert text.startswith(shown)


@pytest.mark.parametrize("first", ["Good", "You", "Banana "])
def test_the_first_word_is_shown_at_once(first: str) -> None:
    assert Watch(LISTED).take(first) == first


def test_a_piece_costs_some_microseconds_however_long_the_reply_has_become() -> None:
    pieces = cut("The bill is wrong, and you know it as well as I do. " * 60, 4)

    def cost() -> float:
        watching, began = Watch(LISTED), time.thread_time()
        for piece in pieces:
            watching.take(piece)
        return (time.thread_time() - began) / len(pieces)

    assert min(cost() for _ in range(5)) < 0.0001
