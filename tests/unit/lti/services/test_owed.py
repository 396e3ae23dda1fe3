"""The threads that do what is owed to platforms."""

import threading
from collections.abc import Iterator

import pytest

from app.lti.services.owed import Owed


@pytest.fixture
def owed() -> Iterator[Owed]:
    owed = Owed()
    yield owed
    owed.stop()


def test_an_error_ends_no_thread_and_keeps_no_other_kind_waiting(
    owed: Owed, caplog: pytest.LogCaptureFixture
) -> None:
    failed, done = threading.Event(), threading.Event()

    def fail() -> bool:
        failed.set()
        raise RuntimeError("a mistake")

    def succeed() -> bool:
        done.set()
        return False

    owed.add(fail, succeed)
    for _ in range(2):
        owed.wake()
        assert failed.wait(5)
        assert done.wait(5)
        failed.clear()
        done.clear()
    assert "a mistake" in caplog.text


def test_slow_work_of_one_kind_keeps_neither_another_nor_its_own_waiting(owed: Owed) -> None:
    slow, others, done = threading.Event(), threading.Barrier(2), threading.Event()

    def read() -> bool:
        others.wait(5)  # passed only where two threads are at it
        slow.wait(10)
        return False

    def send() -> bool:
        done.set()
        return False

    owed.add(read, send, threads=2)
    owed.wake()
    assert done.wait(5)
    done.clear()
    owed.wake()
    assert done.wait(5)
    slow.set()


def test_stopping_waits_for_what_is_under_way_and_begins_nothing_more(owed: Owed) -> None:
    began, go_on, finished = threading.Event(), threading.Event(), []

    def work() -> bool:
        began.set()
        go_on.wait(5)
        finished.append("one")
        return True

    owed.add(work)
    owed.wake()
    assert began.wait(5)
    threading.Timer(0.3, go_on.set).start()
    owed.stop()
    assert finished == ["one"]
    owed.wake()
    assert finished == ["one"]
