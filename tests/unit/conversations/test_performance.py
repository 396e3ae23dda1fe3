"""What becomes of what a model writes, before it is a reply."""

from collections.abc import Iterator

import pytest

from app.conversations.performance import DEFLECTION, Played, ReplyGuard, play
from app.conversations.recital import Secret
from app.conversations.safety.findings import Category, Finding, Severity
from app.conversations.safety.lists import list_check
from app.conversations.safety.watch import UnsafeReplyError, Watch
from app.llm.interface import (
    ChatRequest,
    Completion,
    ModelError,
    ModelErrorCode,
    ModelStatus,
    Readiness,
    Speaker,
)
from app.llm.model import Pieces, noted

SECRET = Secret("3fa94c1b77de", "Nothing that anybody would say.")
RECITAL = ["Fine: ", "3fa94c", "1b77de", " and the rest"]
DONE = Completion("a-model", 7, 5)


class Playing:
    """A model that writes what a test tells it, one list of pieces for each request."""

    context_tokens = 1_000

    def __init__(self, *attempts: list[str | Completion | ModelError]) -> None:
        self.attempts, self.asked = list(attempts), []

    def status(self) -> ModelStatus:
        return ModelStatus("a-model", Readiness.READY)

    def stream(self, request: ChatRequest) -> Iterator[str | Completion]:
        self.asked.append(request.instructions)
        return noted(request, "a-model", self._write())

    def _write(self) -> Pieces:
        for piece in self.attempts.pop(0):
            if isinstance(piece, ModelError):
                raise piece
            yield piece


def asking() -> ChatRequest:
    return ChatRequest(
        instructions="Play.", brief="", persona_name="", facts="", lines=(), conversation="c", max_tokens=10
    )


def guard() -> ReplyGuard:
    return ReplyGuard(SECRET, Watch(list_check().by_speaker[Speaker.PERSONA]))


def played(model: Playing) -> tuple[Played, str]:
    """Return the reply, and what was shown while it was written."""
    shown: list[str] = []
    return play(model, asking(), guard, shown.append), "".join(shown)


def test_a_reply_is_shown_as_it_comes_and_stored_without_the_space_around_it() -> None:
    reply, shown = played(Playing([" Good ", "day. ", DONE]))
    assert shown == "Good day. "
    assert reply == Played("Good day.", DONE)


def test_a_recital_is_replaced_by_another_attempt_that_is_told_not_to() -> None:
    model = Playing([*RECITAL, DONE], ["What ", "do you mean?", DONE])
    reply, shown = played(model)
    assert reply == Played("What do you mean?", DONE, recited=True)
    assert shown == "Fine: "
    assert model.asked[0] == "Play."
    assert model.asked[1].startswith("Play.\n\nJust now:")


@pytest.mark.parametrize(
    "second", [[*RECITAL, DONE], ["", DONE], [ModelError(ModelErrorCode.BUSY)]], ids=["again", "none", "busy"]
)
def test_a_recital_whose_second_attempt_is_no_better_is_replaced_by_a_prepared_line(second: list) -> None:
    reply, _ = played(Playing([*RECITAL, DONE], second))
    assert (reply.text, reply.recited) == (DEFLECTION, True)


@pytest.mark.parametrize(
    ("second", "end"),
    [(["What?", DONE], DONE), ([ModelError(ModelErrorCode.BUSY)], None)],
    ids=["answered", "busy"],
)
def test_every_attempt_that_a_reply_takes_is_told(second: list, end: Completion | None) -> None:
    model, request = Playing([*RECITAL, DONE], second), asking()
    play(model, request, guard, lambda _piece: None)
    assert [attempt.asked for attempt in request.attempts] == [(asked,) for asked in model.asked]
    assert [attempt.text for attempt in request.attempts] == ["Fine: 3fa94c1b77de", "What?" if end else ""]
    assert [attempt.end for attempt in request.attempts] == [None, end]


@pytest.mark.parametrize("pieces", [["words" * 10] * 100, ["word!" * 1_000]], ids=["many", "huge"])
def test_a_reply_without_end_is_cut(pieces: list[str]) -> None:
    reply, _ = played(Playing(pieces))
    assert reply.completion == Completion("a-model", truncated=True)
    assert len(reply.text) == 120


@pytest.mark.parametrize(
    "text", [" \n", "\u200b\u3164", "&#8203;&nbsp;", "[](https://example.org)", "\u2800"]
)
def test_a_reply_of_which_nobody_sees_anything_has_failed(text: str) -> None:
    with pytest.raises(ModelError, match="empty"):
        played(Playing([text, DONE]))


def test_nobody_who_waits_ends_the_call() -> None:
    def show(_piece: str) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        play(Playing(["Good ", "day.", DONE]), asking(), guard, show)


@pytest.mark.parametrize(
    ("pieces", "unread"),
    [
        ([ModelError(ModelErrorCode.BUSY)], True),
        ([ModelError(ModelErrorCode.TIMEOUT)], False),
        (["Good ", ModelError(ModelErrorCode.UNREACHABLE)], False),
    ],
    ids=["never taken up", "silent", "broken off"],
)
def test_an_attempt_that_failed_tells_whether_the_model_has_read_anything(pieces: list, unread: bool) -> None:
    request = asking()
    with pytest.raises(ModelError):
        play(Playing(pieces), request, guard, lambda _piece: None)
    assert [attempt.unread for attempt in request.attempts] == [unread]


def test_what_is_found_is_told_by_its_place_in_the_reply_as_it_is_kept() -> None:
    reply, _ = played(Playing(["\n\n ", " I will ", "kill you all.", DONE]))
    assert reply.text == "I will kill you all."
    [finding] = reply.findings
    assert "kill" in reply.text[finding.start : finding.end]


def test_a_reply_that_is_unfit_to_be_read_ends_before_it_is_shown() -> None:
    shown: list[str] = []
    model = Playing(["Well. ", "You should ", "kill your", "self. ", "Bye.", DONE])
    with pytest.raises(UnsafeReplyError) as unsafe:
        play(model, asking(), guard, shown.append)
    assert "".join(shown) == "Well. You"
    assert unsafe.value.text == "Well. You should kill yourself. "


def test_a_reply_is_told_with_what_is_worth_a_look_in_it() -> None:
    reply, shown = played(Playing(["I will ", "kill you, ", "traitor!", DONE]))
    assert shown == reply.text == "I will kill you, traitor!"
    assert reply.findings == (Finding(Category.VIOLENCE, Severity.LOW, 0, 15),)


def test_what_takes_the_place_of_a_recital_is_looked_at_too() -> None:
    with pytest.raises(UnsafeReplyError):
        played(Playing([*RECITAL, DONE], ["Kill yourself.", DONE]))
