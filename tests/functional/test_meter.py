"""What models take is noted at once and in the database within a second, also after the database has failed."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest
from flask import Flask
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlmodel import Session, func, select

from app.database import Database
from app.usage import meter as module
from app.usage.budgets import Tokens
from app.usage.meter import TokenMeter
from app.usage.models import CourseTokens
from tests.support.people import Visitor
from tests.support.server import wait_until

NEVER = 3600.0


@pytest.fixture
def database(app: Flask) -> Database:
    return app.extensions["database"]


@pytest.fixture
def experience_id(teacher: Visitor) -> int:
    return teacher.write_experience()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep meters from storing by themselves."""
    monkeypatch.setattr(module, "STORE_EVERY", NEVER)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STORE_EVERY", 0.01)


@pytest.fixture
def meter(database: Database) -> TokenMeter:
    return TokenMeter(database)


def totals(database: Database) -> tuple[int, int]:
    """Return the tokens in the database and, of them, those estimated."""
    with database.snapshot() as session:
        sums = session.exec(select(func.sum(CourseTokens.used), func.sum(CourseTokens.estimated))).one()
    return sums[0] or 0, sums[1] or 0


@pytest.fixture
def broken(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A database that takes nothing as long as the list holds True."""
    state, real = [True], database.statements

    def statements() -> AbstractContextManager[Session]:
        if state[-1]:
            raise OperationalError("INSERT", {}, Exception("gone"))
        return real()

    monkeypatch.setattr(database, "statements", statements)
    return state


@pytest.mark.usefixtures("slow")
def test_what_was_noted_is_written_together(
    database: Database, meter: TokenMeter, experience_id: int
) -> None:
    meter.note(experience_id, Tokens(30), Tokens(4, estimated=True))
    meter.note(experience_id, Tokens(6))
    assert totals(database) == (0, 0)
    meter.store()
    assert totals(database) == (40, 4)
    meter.store()
    assert totals(database) == (40, 4)


@pytest.mark.usefixtures("quick")
def test_what_was_noted_is_written_by_itself_again_and_again(
    database: Database, meter: TokenMeter, experience_id: int
) -> None:
    for times in (1, 2):
        meter.note(experience_id, Tokens(30))
        wait_until(lambda times=times: totals(database) == (30 * times, 0))
        wait_until(lambda: not meter._waits)


@pytest.mark.usefixtures("quick")
def test_notes_of_many_threads_are_all_counted(
    database: Database, meter: TokenMeter, experience_id: int
) -> None:
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: meter.note(experience_id, Tokens(7)), range(200)))
    wait_until(lambda: totals(database) == (1_400, 0))


@pytest.mark.usefixtures("slow")
def test_what_takes_nothing_is_not_noted(meter: TokenMeter, experience_id: int) -> None:
    meter.note(experience_id)
    meter.note(experience_id, Tokens(0))
    assert not meter._waits


@pytest.mark.usefixtures("slow")
def test_what_the_database_did_not_take_is_kept(
    database: Database, meter: TokenMeter, experience_id: int, broken: list[bool]
) -> None:
    meter.note(experience_id, Tokens(30), Tokens(4, estimated=True))
    with pytest.raises(OperationalError):
        meter.store()
    meter.note(experience_id, Tokens(6))
    broken.append(False)
    meter.store()
    assert totals(database) == (40, 4)


@pytest.mark.usefixtures("quick")
def test_a_database_that_comes_back_is_told_by_itself(
    database: Database,
    meter: TokenMeter,
    experience_id: int,
    broken: list[bool],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        meter.note(experience_id, Tokens(30))
        wait_until(lambda: caplog.records)
    broken.append(False)
    wait_until(lambda: totals(database) == (30, 0))


@pytest.mark.usefixtures("slow")
def test_what_can_never_be_written_is_let_go(
    database: Database, meter: TokenMeter, experience_id: int
) -> None:
    meter.note(experience_id, Tokens(30))
    meter.note(experience_id + 1, Tokens(1))
    with pytest.raises(IntegrityError):
        meter.store()
    meter.store()
    assert totals(database) == (30, 0)


@pytest.mark.usefixtures("slow")
def test_who_stores_waits_for_whoever_is_at_it(
    database: Database, meter: TokenMeter, experience_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, at_it, go_on = database.statements, threading.Event(), threading.Event()

    def statements() -> AbstractContextManager[Session]:
        at_it.set()
        assert go_on.wait(10)
        return real()

    monkeypatch.setattr(database, "statements", statements)
    meter.note(experience_id, Tokens(30))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(meter.store)
        assert at_it.wait(10)
        second = pool.submit(meter.store)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.2)
        go_on.set()
        first.result(timeout=10)
        second.result(timeout=10)
    assert totals(database) == (30, 0)


@pytest.mark.usefixtures("slow")
def test_a_process_that_goes_writes_what_was_noted(
    app: Flask, database: Database, experience_id: int
) -> None:
    app.extensions["meter"].note(experience_id, Tokens(30))
    app.extensions["replies"].drain(0)
    assert totals(database) == (30, 0)
