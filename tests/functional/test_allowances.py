"""What one person may do in a day and in a minute: counted in the database, whoever counts."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlmodel import select

from app.database import Database
from app.errors import RateLimitedError
from app.settings import Settings
from app.usage import allowances
from app.usage.allowances import Kind, forget_old_uses, spend
from app.usage.models import Use

NOON = datetime(2026, 3, 4, 12, 0, 30, tzinfo=UTC)
AMARA, LIAM = 5, 6

Spend = Callable[..., None]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.engine.dispose()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Return what sets the clock, which stands still otherwise."""

    def set_clock(now: datetime) -> None:
        monkeypatch.setattr(allowances, "utc_now", lambda: now)

    set_clock(NOON)
    return set_clock


@pytest.fixture
def do(database: Database) -> Spend:
    """Return what does a thing as a request would, under the limits given."""

    def do(kind: Kind, user_id: int = AMARA, times: int = 1, **limits: int) -> None:
        for _ in range(times):
            with _limited(**limits), database.transaction() as session:
                spend(session, user_id, kind)

    return do


@contextmanager
def _limited(**limits: int) -> Iterator[None]:
    app = Flask(__name__)
    app.config["SETTINGS"] = Settings(_env_file=None, **limits)
    with app.app_context():
        yield


def counts(database: Database) -> dict[tuple[int, str], int]:
    with database.snapshot() as session:
        return {(use.user_id, use.kind): use.count for use in session.exec(select(Use))}


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (Kind.START, "daily_starts"),
        (Kind.MESSAGE, "daily_messages"),
        (Kind.EVALUATION, "daily_evaluations"),
        (Kind.MESSAGE, "messages_per_minute"),
        (Kind.RETRY, "messages_per_minute"),
    ],
    ids=str,
)
def test_as_many_as_the_limit_and_no_more(do: Spend, kind: Kind, limit: str) -> None:
    do(kind, times=3, **{limit: 3})
    with pytest.raises(RateLimitedError) as refusal:
        do(kind, **{limit: 3})
    assert (refusal.value.status, refusal.value.code, refusal.value.retryable) == (429, "rate_limited", True)
    assert not any(character.isdigit() for character in str(refusal.value.message))


def test_each_person_and_each_kind_is_counted_apart(do: Spend, database: Database) -> None:
    do(Kind.START, daily_starts=1)
    do(Kind.START, LIAM, daily_starts=1)
    do(Kind.EVALUATION, daily_starts=1)
    assert counts(database) == {
        (AMARA, "starts a day"): 1,
        (LIAM, "starts a day"): 1,
        (AMARA, "evaluations a day"): 1,
    }


def test_what_is_refused_is_not_counted_for_any_limit(do: Spend, database: Database) -> None:
    do(Kind.MESSAGE, messages_per_minute=1)
    with pytest.raises(RateLimitedError):
        do(Kind.MESSAGE, messages_per_minute=1)
    assert counts(database) == {(AMARA, "messages a day"): 1, (AMARA, "replies a minute"): 1}


@pytest.mark.parametrize(
    ("limit", "seconds"), [("daily_messages", 12 * 3600 - 30), ("messages_per_minute", 30)]
)
def test_the_answer_says_in_how_many_seconds_to_try_again(do: Spend, limit: str, seconds: int) -> None:
    do(Kind.MESSAGE, **{limit: 1})
    with pytest.raises(RateLimitedError) as refusal:
        do(Kind.MESSAGE, **{limit: 1})
    assert refusal.value.headers == {"Retry-After": str(seconds)}


@pytest.mark.parametrize(
    ("limit", "later"),
    [("daily_messages", timedelta(hours=12)), ("messages_per_minute", timedelta(seconds=30))],
    ids=str,
)
def test_counts_begin_anew_with_the_next_day_or_minute(
    do: Spend, clock: Callable[[datetime], None], limit: str, later: timedelta
) -> None:
    do(Kind.MESSAGE, times=2, **{limit: 2})
    clock(NOON + later)
    do(Kind.MESSAGE, times=2, **{limit: 2})
    with pytest.raises(RateLimitedError):
        do(Kind.MESSAGE, **{limit: 2})


def test_a_machine_whose_clock_is_behind_gives_nothing_back(
    do: Spend, clock: Callable[[datetime], None]
) -> None:
    do(Kind.MESSAGE, times=2, messages_per_minute=2)
    clock(NOON - timedelta(minutes=1))
    with pytest.raises(RateLimitedError):
        do(Kind.MESSAGE, messages_per_minute=2)


@pytest.mark.parametrize("limit", ["daily_messages", "messages_per_minute"])
def test_twenty_at_once_get_as_many_as_the_limit(do: Spend, database: Database, limit: str) -> None:
    def attempt(_: int) -> bool:
        try:
            do(Kind.MESSAGE, **{limit: 10})
        except RateLimitedError:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(attempt, range(20))) == 10
    assert set(counts(database).values()) == {10}


def test_old_counts_are_forgotten_and_new_ones_kept(
    do: Spend, database: Database, clock: Callable[[datetime], None]
) -> None:
    do(Kind.START)
    clock(NOON + timedelta(days=1))
    do(Kind.START, LIAM)
    clock(NOON + timedelta(days=2))
    with database.transaction() as session:
        forget_old_uses(session)
    assert counts(database) == {(LIAM, "starts a day"): 1}


def test_now_and_then_a_start_forgets(
    do: Spend, database: Database, clock: Callable[[datetime], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    do(Kind.START, LIAM)
    clock(NOON + timedelta(days=3))
    monkeypatch.setattr(allowances.secrets, "randbelow", lambda _: 0)
    do(Kind.START)
    assert counts(database) == {(AMARA, "starts a day"): 1}


@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)
def test_counts_are_forgotten_past_one_that_is_being_written(
    do: Spend, database: Database, clock: Callable[[datetime], None]
) -> None:
    """Two that write and forget at once must not wait for each other; in SQLite there is one writer at a time."""
    do(Kind.START)
    do(Kind.START, LIAM)
    clock(NOON + timedelta(days=3))
    with database.transaction() as writing, _limited():
        spend(writing, LIAM, Kind.EVALUATION)
        spend(writing, LIAM, Kind.START)
        with database.transaction() as forgetting:
            forget_old_uses(forgetting)
    assert counts(database) == {(LIAM, "starts a day"): 1, (LIAM, "evaluations a day"): 1}
