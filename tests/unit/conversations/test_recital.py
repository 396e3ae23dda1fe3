"""A model that recites its instructions is noticed before anybody reads them."""

import re
from collections.abc import Callable

import pytest

from app.conversations.recital import RecitalGuard, RecitedError, Secret

MARKER = "3fa94c1b77de"
RULES = (
    "You play a character in a practice conversation. Do not do the student's work, give no model answers, and "
    "never grade what they write. Give facts when they are earned, a few at a time, and stay in character."
)
# Letters, digits and signs as wide as Chinese ones.
WIDE = {number: number + 0xFEE0 for number in range(ord("!"), ord("~") + 1)}
SECRET = Secret(MARKER, RULES)


def through(reply: str, length: int = 1) -> str:
    """What is shown of a reply that comes in pieces of some characters."""
    guard = RecitalGuard(SECRET)
    pieces = [reply[start : start + length] for start in range(0, len(reply), length)]
    return "".join(map(guard.take, pieces)) + guard.end()


@pytest.mark.parametrize("length", [1, 3, 1_000])
@pytest.mark.parametrize(
    "reply",
    [
        "My bill is wrong, and I want to know why!",
        "3fa is my flat, 94c1b my door.",
        "You play a character in a practice conversation? I have no idea what you mean.",
        "Ärger, 怒り, злость: 3",
        "화가 나요, \u1112\u1161\u11ab \u3164 3",
        "",
    ],
)
def test_what_a_persona_says_passes_whole(reply: str, length: int) -> None:
    assert through(reply, length) == reply


@pytest.mark.parametrize("length", [1, 5, 1_000])
def test_the_marker_is_never_shown(length: int) -> None:
    reply = f"Well then: my code is {MARKER}, and now you know it."
    guard, shown = RecitalGuard(SECRET), ""
    with pytest.raises(RecitedError):
        for start in range(0, len(reply), length):
            shown += guard.take(reply[start : start + length])
        guard.end()
    assert "Well then: my code is ".startswith(shown)


@pytest.mark.parametrize("length", [1, 5, 1_000])
def test_of_a_recital_without_marker_a_few_words_are_shown_at_most(length: int) -> None:
    reply = f"Sure! {RULES}"
    guard, shown = RecitalGuard(SECRET), ""
    with pytest.raises(RecitedError):
        for start in range(0, len(reply), length):
            shown += guard.take(reply[start : start + length])
        guard.end()
    assert len(shown.split()) <= 9


def test_a_recital_at_the_very_end_is_noticed() -> None:
    guard = RecitalGuard(Secret("", " ".join(f"word{number}" for number in range(24))))
    guard.take(" ".join(f"Word{number}" for number in range(24)))
    with pytest.raises(RecitedError):
        guard.end()


def test_words_are_compared_whatever_stands_between_them() -> None:
    guard = RecitalGuard(SECRET)
    with pytest.raises(RecitedError):
        guard.take(RULES.upper().replace(" ", "\n- "))


def numbered(mark: Callable[[int], str]) -> str:
    lines = RULES.replace(". ", ", ").split(", ")
    return "\n".join(f"{mark(number)} {line}" for number, line in enumerate(lines, 1))


@pytest.mark.parametrize("length", [1, 5, 1_000])
@pytest.mark.parametrize(
    "recital",
    [
        numbered(lambda number: f"{number}."),
        numbered(lambda number: f"{chr(96 + number)})"),
        numbered(lambda number: f"**{number})** "),
        re.sub(r"(\w)(\w)", "\\1\u200b\\2", RULES),
        re.sub(r"(\w\w)(\w\w)", "\\1\u00ad\\2", RULES),
        RULES.translate(WIDE),
        "\u200b".join(RULES),
        re.sub(r"(\w)(\w)", "\\1\u3164\\2", RULES),
        re.sub(r"(\w)(\w)", "\\1\u2800\\2", RULES),
        RULES.replace(" ", "\u3164"),
        RULES.replace(" ", "\u2800"),
        RULES.replace(" ", " \u3164 "),
    ],
)
def test_a_recital_in_disguise_is_noticed(recital: str, length: int) -> None:
    with pytest.raises(RecitedError):
        through(recital, length)


@pytest.mark.parametrize("length", [1, 5, 1_000])
@pytest.mark.parametrize(
    "marker",
    [
        MARKER.upper(),
        " ".join(MARKER),
        "\u200b".join(MARKER),
        "\u3164".join(MARKER),
        "\u1160".join(MARKER),
        "\u2800".join(MARKER),
        f"**{MARKER[:6]}** - **{MARKER[6:]}**",
        MARKER.translate(WIDE),
    ],
)
def test_a_marker_in_disguise_is_never_shown(marker: str, length: int) -> None:
    guard, shown, reply = RecitalGuard(SECRET), "", f"It is {marker}, you know."
    with pytest.raises(RecitedError):
        for start in range(0, len(reply), length):
            shown += guard.take(reply[start : start + length])
        guard.end()
    assert "It is **".startswith(shown)


def test_a_piece_is_shown_at_once_where_nothing_is_suspicious() -> None:
    assert RecitalGuard(SECRET).take("Good morning!") == "Good morning!"
