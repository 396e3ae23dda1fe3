"""How an answer is read, block by block."""

import socket
from collections.abc import Sequence
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest

from app.llm.http import (
    FULL_BYTES,
    LONGEST_PAUSE_SECONDS,
    PAUSE_SECONDS,
    READS_A_SECOND,
    Answer,
    Timeouts,
    pause_seconds,
)
from app.llm.wires import Watch, Wire

WORD, MUCH = b"data: word\n\n", b"data: " + b"x" * FULL_BYTES + b"\n\n"


class Response:
    """What a server has sent, a block at each reading."""

    status = 200
    connection: Any = None

    def __init__(self, blocks: Sequence[bytes]) -> None:
        self._blocks = iter(blocks)

    def read1(self, _most: int) -> bytes:
        return next(self._blocks, b"")

    def close(self) -> None:
        pass


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    made: list[float] = []
    monkeypatch.setattr("app.llm.http.sleep", made.append)
    return made


def answer(blocks: Sequence[bytes], beside: set[Answer]) -> Answer:
    now = monotonic()
    return Answer(Response(blocks), Timeouts(5, 5, 5, 60), beside, Wire(now + 60, Watch()), asked_at=now)


def test_a_server_that_sends_much_at_once_is_not_paused_for(pauses: list[float]) -> None:
    texts = list(answer([WORD, MUCH, WORD], set()).texts(bytes.decode))
    assert texts == ["word", "x" * FULL_BYTES, "word"]
    assert pauses == [PAUSE_SECONDS] * 2


def test_who_has_many_answers_open_pauses_longer(pauses: list[float]) -> None:
    beside: set[Answer] = set()
    first, *others = [answer([WORD], beside) for _ in range(300)]
    list(first.texts(bytes.decode))
    for each in others:
        each.close()
    list(answer([WORD], beside).texts(bytes.decode))
    assert pauses == [300 / READS_A_SECOND, PAUSE_SECONDS]


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [(1, PAUSE_SECONDS), (100, PAUSE_SECONDS), (250, 0.25), (5_000, LONGEST_PAUSE_SECONDS)],
)
def test_no_pause_is_too_short_or_too_long(answers: int, seconds: float) -> None:
    assert pause_seconds(answers) == seconds


@pytest.mark.parametrize("is_read", [True, False], ids=["to its end", "in part"])
def test_an_answer_that_is_read_to_its_end_has_no_more_to_do_with_its_connection(
    pauses: list[float], is_read: bool
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        response = Response([WORD, WORD])
        response.connection = None if is_read else SimpleNamespace(sock=ours)
        wire = Wire(monotonic() + 60, Watch())
        wire.hold(ours)
        reading = Answer(response, Timeouts(5, 5, 5, 60), set(), wire, asked_at=monotonic())
        next(reading.texts(bytes.decode))
        wire.cut()
        theirs.setblocking(False)
        if is_read:
            with pytest.raises(BlockingIOError):
                theirs.recv(1)  # whoever has the connection now is not cut off
        else:
            assert theirs.recv(1) == b""
        reading.close()
