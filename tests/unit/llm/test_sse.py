from itertools import chain

import pytest

from app.llm.sse import LONGEST_EVENT, EventTooLongError, read_events

STREAM = 'data: {"a":"Grüße 🎉"}\r\n\r\n: keep-alive\n\nevent: x\ndata:two\ndata: lines\n\ndata: [DONE]\n\n'.encode()
EVENTS = ['{"a":"Grüße 🎉"}'.encode(), b"two\nlines", b"[DONE]"]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_events_survive_any_cut(size: int) -> None:
    blocks = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]

    assert list(chain.from_iterable(read_events(blocks))) == EVENTS


def test_events_of_one_block_come_together() -> None:
    assert list(read_events([b"data: one\n\ndata: two\n\ndata: th", b"ree\n\n"])) == [
        [b"one", b"two"],
        [b"three"],
    ]


def test_the_last_event_needs_no_empty_line() -> None:
    assert list(read_events([b"data: one\n\ndata: two"])) == [[b"one"], [b"two"]]


def test_a_line_without_end_is_not_kept() -> None:
    with pytest.raises(EventTooLongError):
        list(read_events([b"x" * (LONGEST_EVENT + 1)]))


def test_an_event_without_end_is_not_kept() -> None:
    with pytest.raises(EventTooLongError):
        list(read_events([b"data: " + b"x" * 994 + b"\n"] * (LONGEST_EVENT // 900)))
