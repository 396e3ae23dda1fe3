"""A course's tokens of the month: asked for before a model is called, counted after, across workers."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime

import pytest
from flask import Flask
from sqlmodel import select

from app.courses.models import Course, Role, User
from app.database import Database
from app.errors import ForbiddenError
from app.experiences.models import Experience
from app.identity import Identity
from app.llm.interface import Attempt, ChatRequest, Completion, Line, Speaker, StructuredRequest
from app.llm.scripted import SCRIPTED_NAME
from app.lti.models import Deployment
from app.settings import Settings
from app.text import estimate_tokens
from app.usage import budgets
from app.usage.budgets import (
    BudgetUsedUpError,
    MonthOfUse,
    Tokens,
    record_tokens,
    require_budget,
    set_budget,
    tokens_of,
    use_of,
)
from app.usage.models import CourseTokens

CHAT = ChatRequest("You are Kim.", "", "Kim", "", (Line(Speaker.STUDENT, "Hello"),), "c")
JUDGEMENT = StructuredRequest("Judge.", "Hello", "findings", {}, "c")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what sets the date, which stands still otherwise."""

    def set_clock(*moment: int) -> None:
        monkeypatch.setattr(budgets, "utc_now", lambda: datetime(*moment, tzinfo=UTC))

    set_clock(2026, 2, 15)
    return set_clock


@pytest.fixture
def database(app: Flask) -> Iterator[Database]:
    """The database of an application with two courses, 1 and 2, whose experiences have the same ids."""
    with app.app_context():
        database: Database = app.extensions["database"]
        with database.transaction() as session:
            deployment = session.exec(select(Deployment)).first()
            for number in (1, 2):
                course = {"platform_id": deployment.platform_id, "deployment_id": deployment.id}
                session.add(Course(id=number, context_id=str(number), **course))
                session.flush()
                session.add(Experience(id=number, course_id=number, title="T", pedagogical_guidance="G"))
        yield database


@pytest.fixture
def use(database: Database) -> Callable[..., None]:
    def use(tokens: int, experience_id: int = 1, *, estimated: bool = False) -> None:
        with database.transaction() as session:
            record_tokens(session, experience_id, Tokens(tokens, estimated))

    return use


@pytest.fixture
def decide(database: Database) -> Callable[[int | None], None]:
    """Return what sets course 1's budget, as an administrator."""

    def decide(tokens: int | None) -> None:
        with database.transaction() as session:
            set_budget(session, _identity(is_administrator=True), tokens)

    return decide


def _identity(role: Role = Role.TEACHER, *, is_administrator: bool = False) -> Identity:
    course = Course(id=1, platform_id=1, deployment_id=1, context_id="1")
    user = User(id=1, platform_id=1, sub="1")
    return Identity(user=user, course=course, role=role, is_administrator=is_administrator)


def ask(database: Database, experience_id: int = 1) -> None:
    with database.transaction() as session:
        require_budget(session, experience_id)


def refused(database: Database, experience_id: int = 1) -> BudgetUsedUpError:
    with pytest.raises(BudgetUsedUpError) as refusal:
        ask(database, experience_id)
    return refusal.value


def test_without_a_budget_a_course_uses_as_much_as_it_likes(database: Database, use: Callable) -> None:
    use(10**12)
    ask(database)


def test_a_budget_holds_from_the_moment_when_it_is_used_up(
    database: Database, use: Callable, decide: Callable
) -> None:
    decide(100)
    use(99)
    ask(database)
    use(1)
    assert refused(database).code == "budget_used_up"


def test_a_budget_of_nothing_lets_no_model_be_called(database: Database, decide: Callable) -> None:
    decide(0)
    refused(database)


def test_the_answer_says_when_the_month_ends_and_that_trying_again_does_not_help(
    database: Database, use: Callable, decide: Callable, clock: Callable
) -> None:
    decide(1)
    clock(2026, 12, 31, 23, 59, 30)
    use(1)
    refusal = refused(database)
    assert (refusal.status, refusal.retryable, refusal.headers) == (429, False, {"Retry-After": "30"})


def test_one_course_does_not_use_anothers_budget(database: Database, use: Callable, decide: Callable) -> None:
    decide(1)
    use(5, experience_id=2)
    ask(database, 1)


def test_each_month_begins_anew(database: Database, use: Callable, decide: Callable, clock: Callable) -> None:
    decide(1)
    use(1)
    clock(2026, 3, 1)
    ask(database)


def test_a_courses_own_budget_wins_over_the_setting_until_it_is_taken_back(
    app: Flask, settings: Settings, database: Database, use: Callable, decide: Callable
) -> None:
    app.config["SETTINGS"] = settings.model_copy(update={"course_tokens_per_month": 10})
    use(10)
    refused(database)
    decide(11)
    ask(database)
    decide(None)
    refused(database)


def test_a_budget_is_changed_in_place(database: Database, use: Callable, decide: Callable) -> None:
    decide(1)
    decide(2)
    use(1)
    ask(database)


def test_only_administrators_decide(database: Database) -> None:
    with database.transaction() as session, pytest.raises(ForbiddenError):
        set_budget(session, _identity(Role.TEACHER), 5)


def test_twenty_at_once_are_all_counted(database: Database, use: Callable) -> None:
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(use, [7] * 20))
    with database.snapshot() as session:
        assert use_of(session, session.get_one(Course, 1)).this_month.used == 140
        assert len(session.exec(select(CourseTokens.part)).all()) == min(20, budgets.PARTS)


def test_what_was_used_is_told_by_month_with_what_is_an_estimate(
    database: Database, use: Callable, decide: Callable, clock: Callable
) -> None:
    clock(2026, 1, 31)
    use(5)
    clock(2026, 2, 1)
    use(20)
    use(10, estimated=True)
    decide(30)
    with database.snapshot() as session:
        found = use_of(session, session.get_one(Course, 1))
    assert found.this_month == MonthOfUse(date(2026, 2, 1), used=30, estimated=10)
    assert found.months == [found.this_month, MonthOfUse(date(2026, 1, 1), used=5)]
    assert (found.budget, found.own_budget, found.used_up) == (30, 30, True)


def test_a_course_that_has_used_nothing_says_so(database: Database) -> None:
    with database.snapshot() as session:
        found = use_of(session, session.get_one(Course, 1))
    assert (found.months, found.budget) == ([MonthOfUse(date(2026, 2, 1))], None)


def test_months_of_more_than_a_year_ago_are_forgotten(
    database: Database, use: Callable, clock: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for year in (2024, 2025):
        clock(year, 2, 1)
        use(1)
    clock(2026, 2, 15)
    monkeypatch.setattr(budgets, "FORGET_EVERY", 1)
    use(1)
    with database.snapshot() as session:
        months = [each.month.year for each in use_of(session, session.get_one(Course, 1)).months]
    assert months == [2026, 2025]


def test_tokens_are_as_the_server_counted_them() -> None:
    end = Completion("gpt", prompt_tokens=30, completion_tokens=12)
    assert tokens_of(Attempt("gpt", CHAT.asked, "whatever", end)) == Tokens(42)


@pytest.mark.parametrize(
    ("request_", "asked"),
    [(CHAT, "You are Kim.Hello"), (JUDGEMENT, "Judge.Hello")],
    ids=["reply", "judgement"],
)
@pytest.mark.parametrize("counts", [{}, {"prompt_tokens": 3}, {"completion_tokens": 3}], ids=str)
def test_where_a_server_does_not_count_tokens_are_estimated(
    request_: ChatRequest | StructuredRequest, asked: str, counts: dict[str, int]
) -> None:
    tokens = tokens_of(Attempt("gpt", request_.asked, "I am angry.", Completion("gpt", **counts)))
    assert tokens == Tokens(estimate_tokens(asked) + estimate_tokens("I am angry."), estimated=True)


def test_the_scripted_persona_costs_nothing() -> None:
    assert tokens_of(Attempt(SCRIPTED_NAME, CHAT.asked, "I am angry.")) == Tokens(0)


def test_what_no_model_has_read_costs_nothing() -> None:
    assert tokens_of(Attempt("gpt", CHAT.asked, unread=True)) == Tokens(0)
