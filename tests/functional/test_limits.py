"""What holds back a conversation: daily caps, a pace, a budget, a number of turns. Nothing that was typed is lost."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlmodel import func, select, update
from werkzeug.test import TestResponse

from app.conversations.models import Conversation, ConversationState, Message, MessageState
from app.usage import allowances
from app.usage.budgets import Tokens, record_tokens
from app.usage.models import CourseTokens, Use
from tests.support.fake_model import FakeModel
from tests.support.people import Visitor, events

Limit = Callable[..., None]


@pytest.fixture(autouse=True)
def _noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No day or minute ends while a test counts."""
    monkeypatch.setattr(allowances, "utc_now", lambda: datetime(2026, 3, 4, 12, tzinfo=UTC))


@pytest.fixture
def limit(app: Flask) -> Limit:
    """Return what changes the limits of the running application."""

    def limit(**limits: int) -> None:
        app.config["SETTINGS"] = app.config["SETTINGS"].model_copy(update=limits)

    return limit


@pytest.fixture
def experience_id(teacher: Visitor) -> int:
    return teacher.write_experience()


@pytest.fixture
def conversation_id(student: Visitor, experience_id: int) -> int:
    return student.start(experience_id)


def count(app: Flask, model: type) -> int:
    with app.extensions["database"].snapshot() as db:
        return int(db.exec(select(func.count()).select_from(model)).one())


def counted(app: Flask) -> dict[str, int]:
    with app.extensions["database"].snapshot() as db:
        return dict(db.exec(select(Use.kind, Use.count)).all())


def tokens(app: Flask) -> tuple[int, int]:
    """Return the tokens used and, of them, those estimated."""
    with app.extensions["database"].snapshot() as db:
        sums = func.sum(CourseTokens.used), func.sum(CourseTokens.estimated)
        return tuple(int(total or 0) for total in db.exec(select(*sums)).one())


def use_up(app: Flask, experience_id: int) -> None:
    with app.extensions["database"].transaction() as db:
        record_tokens(db, experience_id, Tokens(1_000))


def send_page(student: Visitor, conversation_id: int, text: str) -> TestResponse:
    """Send a message as a browser without JavaScript does."""
    path = f"/conversations/{conversation_id}/messages"
    return student.post(path, {"message": text, "client_key": text}, headers={"Accept": "text/html"})


def retry(student: Visitor, conversation_id: int, reply_id: int) -> TestResponse:
    path = f"/conversations/{conversation_id}/messages/{reply_id}/retry"
    return student.post(path, headers={"Accept": "text/event-stream"}, buffered=True)


def page(student: Visitor, experience_id: int) -> BeautifulSoup:
    return student.page(f"/experiences/{experience_id}/conversation")


def test_a_start_too_many_leaves_the_conversation_as_it_is(
    app: Flask, student: Visitor, experience_id: int, conversation_id: int, limit: Limit
) -> None:
    limit(daily_starts=1)
    answer = student.post(f"/experiences/{experience_id}/conversations", {"instead_of": str(conversation_id)})
    assert answer.status_code == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 24 * 3600
    with app.extensions["database"].snapshot() as db:
        assert db.exec(select(Conversation.workflow_state)).all() == [ConversationState.ACTIVE]
    assert counted(app)["starts a day"] == 1


def test_a_message_too_many_is_refused_and_given_back(
    app: Flask, student: Visitor, conversation_id: int, limit: Limit, fake_model: FakeModel
) -> None:
    limit(daily_messages=1)
    student.send(conversation_id, "One", key="one")
    answer = student.send(conversation_id, "Two", key="two")
    assert (answer.status_code, answer.json["code"], answer.json["retryable"]) == (429, "rate_limited", True)
    assert answer.headers["Retry-After"]
    assert "1" not in answer.json["error"]
    assert "Two" in send_page(student, conversation_id, "Two").text
    assert count(app, Message) == 3
    assert len(fake_model.requests) == 1


def test_a_repeated_send_is_counted_once_and_answered_over_the_limit(
    app: Flask, student: Visitor, conversation_id: int, limit: Limit
) -> None:
    limit(daily_messages=1)
    first = student.send(conversation_id, "One", key="same")
    second = student.send(conversation_id, "One", key="same")
    assert events(first)[0][1]["id"] == events(second)[0][1]["id"]
    assert counted(app)["messages a day"] == 1


def test_a_message_that_is_not_sent_is_not_counted(
    app: Flask, student: Visitor, conversation_id: int
) -> None:
    student.send(conversation_id, "One", key="one")
    with app.extensions["database"].transaction() as db:
        newest = db.exec(select(func.max(Message.id))).one()
        lease = datetime(2999, 1, 1, tzinfo=UTC)
        db.execute(
            update(Message)
            .where(Message.id == newest)
            .values(state=MessageState.GENERATING, lease_until=lease)
        )
    assert student.send(conversation_id, "Two", key="two").status_code == 409
    assert student.send(conversation_id, " ", key="three").status_code == 400
    assert counted(app)["messages a day"] == 1


def test_people_who_write_faster_than_people_do_wait(
    student: Visitor, conversation_id: int, limit: Limit
) -> None:
    limit(messages_per_minute=1)
    student.send(conversation_id, "One", key="one")
    answer = student.send(conversation_id, "Two", key="two")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")


def test_a_reply_tried_again_counts_for_the_pace_and_not_for_the_day(
    app: Flask, student: Visitor, conversation_id: int, limit: Limit, fake_model: FakeModel
) -> None:
    limit(messages_per_minute=2)
    fake_model.fail_with(401)
    reply_id = events(student.send(conversation_id, "One"))[0][1]["id"]
    assert retry(student, conversation_id, reply_id).status_code == 200
    assert retry(student, conversation_id, reply_id).status_code == 429
    assert counted(app)["messages a day"] == 1


def test_twenty_messages_at_once_are_as_many_as_the_cap_allows(
    app: Flask, student: Visitor, experience_id: int, teacher: Visitor, limit: Limit
) -> None:
    """In twenty conversations, which nothing else keeps apart; each browser request is a worker's of its own."""
    limit(daily_messages=10)
    others = [teacher.write_experience(title=f"Experience {number}") for number in range(20)]
    conversations = [student.start(each) for each in others]

    def send(conversation_id: int) -> int:
        browser = app.test_client()
        browser._cookies = student.client._cookies
        return Visitor(browser, student.root, student.csrf).send(conversation_id, "Hello").status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = list(pool.map(send, conversations))
    assert sorted(statuses) == [200] * 10 + [429] * 10


def test_a_reply_is_counted_as_its_server_says(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    student.send(conversation_id, "Hello")
    with app.extensions["database"].snapshot() as db:
        reply = db.exec(select(Message).order_by(Message.id.desc())).first()
    assert reply.prompt_tokens
    assert tokens(app) == (reply.prompt_tokens + reply.completion_tokens, 0)


def test_a_reply_that_broke_off_is_counted_by_an_estimate(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(["I am ", "angry"], drop_after=1)
    assert events(student.send(conversation_id, "Hello"))[-1][1]["state"] == "failed"
    used, estimated = tokens(app)
    assert used == estimated > 0


def test_a_model_that_never_answered_costs_nothing(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.fail_with(401)
    student.send(conversation_id, "Hello")
    assert tokens(app) == (0, 0)


def test_a_used_up_budget_stops_messages_retries_and_starts_and_keeps_what_was_typed(
    app: Flask,
    student: Visitor,
    experience_id: int,
    conversation_id: int,
    limit: Limit,
    fake_model: FakeModel,
) -> None:
    fake_model.fail_with(401)
    reply_id = events(student.send(conversation_id, "One"))[0][1]["id"]
    limit(course_tokens_per_month=1_000)
    use_up(app, experience_id)
    answer = student.send(conversation_id, "Two", key="two")
    assert (answer.status_code, answer.json["code"], answer.json["retryable"]) == (
        429,
        "budget_used_up",
        False,
    )
    assert int(answer.headers["Retry-After"]) > 0
    assert retry(student, conversation_id, reply_id).json["code"] == "budget_used_up"
    started = student.post(
        f"/experiences/{experience_id}/conversations", {"instead_of": str(conversation_id)}
    )
    assert started.status_code == 429
    assert "Three" in send_page(student, conversation_id, "Three").text
    assert count(app, Message) == 3
    assert counted(app) == {"starts a day": 1, "messages a day": 1, "replies a minute": 1}
