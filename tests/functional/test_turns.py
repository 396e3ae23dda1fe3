"""Turns that are stopped, left, raced for and seen from two places: nothing is lost, doubled or forked."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from bs4 import BeautifulSoup, Tag
from flask import Flask
from sqlalchemy.exc import IntegrityError
from sqlmodel import select
from werkzeug.test import TestResponse

from app import create_app
from app.conversations.live import LiveReply
from app.conversations.models import Conversation, Message, MessageState
from app.conversations.safety.flags import raise_flags
from app.conversations.safety.models import Flag
from app.llm.interface import ChatRequest, ModelError, ModelErrorCode
from app.llm.model import Pieces
from app.sandbox import Sandbox
from app.settings import Settings
from tests.support.applications import end
from tests.support.fake_model import FakeModel, Silence
from tests.support.people import EXPERIENCE, Visitor, events
from tests.support.server import wait_until


class Refusing:
    """A model that cannot be had."""

    name = "first"

    def stream(self, _request: ChatRequest, _deadline: float) -> Pieces:
        raise ModelError(ModelErrorCode.UNREACHABLE)


ENDLESS = {"reply": [f"word{number} " for number in range(600)], "delay": 0.05}


@pytest.fixture
def experience_id(teacher: Visitor) -> int:
    return teacher.write_experience()


@pytest.fixture
def conversation_id(student: Visitor, experience_id: int) -> int:
    return student.start(experience_id)


@pytest.fixture
def another_worker(settings: Settings) -> Iterator[Flask]:
    app = create_app(settings)
    yield app
    end(app)


def begin(student: Visitor, conversation_id: int, key: str = "key-1") -> TestResponse:
    """Send a message and return the answer with the first words of the reply read."""
    response = student.post(
        f"/conversations/{conversation_id}/messages",
        {"message": "Count!", "client_key": key},
        headers={"Accept": "text/event-stream"},
    )
    while b"event: text" not in next(response.response):
        pass
    return response


def stop(student: Visitor, conversation_id: int, reply: Message) -> TestResponse:
    path = f"/conversations/{conversation_id}/messages/{reply.id}/stop"
    return student.post(path, headers={"Accept": "text/event-stream"}, buffered=True)


def newest(app: Flask) -> Message:
    with app.extensions["database"].snapshot() as db:
        return db.exec(select(Message).order_by(Message.id.desc())).first()


def message(app: Flask, message_id: int) -> Message:
    with app.extensions["database"].snapshot() as db:
        return db.get_one(Message, message_id)


def said(app: Flask, conversation_id: int) -> list[tuple[str, str]]:
    with app.extensions["database"].snapshot() as db:
        query = select(Message).where(Message.conversation_id == conversation_id).order_by(Message.id)
        return [(message.speaker, message.text) for message in db.exec(query)]


def at_once(*calls: Callable[[], TestResponse]) -> list[TestResponse]:
    """Make calls at the same moment, each in a thread of its own."""
    answers: dict[int, TestResponse] = {}
    gate = threading.Barrier(len(calls))

    def make(number: int) -> None:
        gate.wait()
        answers[number] = calls[number]()

    threads = [threading.Thread(target=make, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(len(calls))]


def test_a_stopped_reply_keeps_what_came_and_can_be_tried_again(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(**ENDLESS)
    reading = begin(student, conversation_id)
    last = events(stop(student, conversation_id, newest(app)))[-1][1]
    assert "word0" in last["html"]
    failure = BeautifulSoup(last["html"], "html.parser").select_one("[data-testid=failure] p")
    assert failure.text == "This reply was stopped. Leave it as it is, or try again."
    assert b'"state":"interrupted"' in b"".join(reading.response)
    reply = newest(app)
    assert (reply.state, reply.error_code) == ("interrupted", "stopped")
    assert reply.text.startswith("word0")
    assert fake_model.requests[-1].hung_up.wait(5)
    fake_model.reply_with("One, two, three.")
    student.post(f"/conversations/{conversation_id}/messages/{reply.id}/retry")
    assert said(app, conversation_id)[-1] == ("persona", "One, two, three.")


def test_a_stopped_reply_can_be_answered_as_it_is(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(**ENDLESS)
    begin(student, conversation_id)
    stop(student, conversation_id, newest(app))
    kept = newest(app).text
    fake_model.reply_with("As you like.")
    student.send(conversation_id, "That is enough.", key="two")
    told = [each["content"] for each in fake_model.requests[-1].messages]
    assert told[-3:] == ["Count!", kept, "That is enough."]


def test_a_finished_conversation_says_of_a_stopped_reply_only_what_is(
    student: Visitor, experience_id: int, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(**ENDLESS)
    begin(student, conversation_id)
    student.post(f"/conversations/{conversation_id}/finish")

    def failure() -> Tag | None:
        return student.page(f"/experiences/{experience_id}/conversation").select_one("[data-testid=failure]")

    wait_until(lambda: failure() is not None)
    assert failure().text.strip() == "This reply was stopped."


def test_the_transcript_shows_where_a_reply_was_stopped_and_what_it_ran_on(
    student: Visitor, teacher: Visitor, conversation_id: int, fake_model: FakeModel, app: Flask
) -> None:
    fake_model.reply_with(**ENDLESS)
    begin(student, conversation_id)
    stop(student, conversation_id, newest(app))
    page = teacher.page(f"/conversations/{conversation_id}/transcript").text
    assert "word0" in page
    assert "The student stopped the reply here." in page
    assert "version 1 of the experience, 2 of the prompt" in page


def test_a_reply_that_another_worker_writes_is_stopped_within_seconds(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel, another_worker: Flask
) -> None:
    fake_model.reply_with(**ENDLESS)
    reading = begin(student, conversation_id)
    elsewhere = student.once_more(another_worker)
    last = events(stop(elsewhere, conversation_id, newest(app)))[-1][1]
    assert last["state"] == "interrupted"
    assert b'"state":"interrupted"' in b"".join(reading.response)
    assert fake_model.requests[-1].hung_up.wait(5)


def test_a_reply_is_stopped_while_the_model_is_silent(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(["One, ", "two, ", "three"], stall_after=2)
    begin(student, conversation_id)
    stop(student, conversation_id, newest(app))
    reply = newest(app)
    assert (reply.state, reply.error_code) == ("interrupted", "stopped")
    assert reply.text.startswith("One")
    fake_model.hang_up()


def test_a_reply_whose_model_takes_longer_than_it_may_ends_for_its_readers(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    app.extensions["replies"]._longest_ms = 500
    fake_model.reply_with(["Hello ", "there"], stall_after=1)
    reading = begin(student, conversation_id)
    assert b'"state":"failed"' in b"".join(reading.response)
    reply = newest(app)
    assert (reply.state, reply.error_code, reply.text) == ("failed", "model_timeout", "Hello")
    assert fake_model.requests[-1].hung_up.wait(5)


def test_a_stop_hangs_up_on_a_model_that_says_nothing(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.in_turn(Silence())
    data = {"message": "Count!", "client_key": "key-1"}
    path = f"/conversations/{conversation_id}/messages"
    reading = student.post(path, data, headers={"Accept": "text/event-stream"})
    next(reading.response)
    wait_until(lambda: fake_model.requests)
    stop(student, conversation_id, newest(app))
    assert fake_model.requests[-1].hung_up.wait(5)
    assert newest(app).state == "interrupted"
    assert len(fake_model.requests) == 1
    reading.close()


def test_a_reply_that_is_stopped_before_a_model_is_asked_asks_none(
    app: Flask,
    student: Visitor,
    conversation_id: int,
    fake_model: FakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    replies = app.extensions["replies"]
    request = replies._request

    def stopped_meanwhile(live: LiveReply) -> object:
        replies.stop(live.reply_id)
        return request(live)

    monkeypatch.setattr(replies, "_request", stopped_meanwhile)
    last = events(student.send(conversation_id, "Count!"))[-1][1]
    assert last["state"] == "interrupted"
    assert newest(app).error_code == "stopped"
    assert fake_model.requests == []


def test_a_stopped_reply_bears_the_name_of_the_model_that_wrote_it(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    first = app.extensions["replies"]._model._models[0]
    app.extensions["replies"]._model._models = [Refusing(), first]
    fake_model.reply_with(**ENDLESS)
    begin(student, conversation_id)
    stop(student, conversation_id, newest(app))
    assert newest(app).model == first.name


def test_the_lease_of_a_reply_is_renewed_while_the_model_is_silent(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.conversations.replies.SAVE_EVERY", 0.1)
    monkeypatch.setattr("app.conversations.replies.RENEW_EVERY", 0.2)
    fake_model.reply_with(["One, ", "two, ", "three"], stall_after=2)
    begin(student, conversation_id)
    lease = newest(app).lease_until
    wait_until(lambda: newest(app).lease_until > lease + timedelta(seconds=1))
    stop(student, conversation_id, newest(app))
    assert newest(app).lease_until is None
    fake_model.hang_up()


def test_of_more_replies_than_are_saved_at_once_all_are_saved(
    app: Flask,
    sandbox: Sandbox,
    student: Visitor,
    experience_id: int,
    conversation_id: int,
    fake_model: FakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.conversations.replies.SAVE_EVERY", 60)
    monkeypatch.setattr("app.conversations.replies.SAVED_AT_ONCE", 1)
    fake_model.reply_with(["One, ", "two, ", "three"], stall_after=2)
    other = Visitor.launch(app, sandbox, "liam.oconnor")
    under_way = []
    for who, conversation in (student, conversation_id), (other, other.start(experience_id)):
        begin(who, conversation)
        under_way.append(newest(app))
    assert [reply.text for reply in under_way] == ["", ""]
    replies = app.extensions["replies"]
    replies._save(list(replies._live.values()))
    assert all(message(app, reply.id).text.startswith("One") for reply in under_way)
    fake_model.hang_up()


def test_without_javascript_stopping_leads_back_to_the_page(
    app: Flask, student: Visitor, experience_id: int, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(**ENDLESS)
    begin(student, conversation_id)
    page = student.page(f"/experiences/{experience_id}/conversation")
    form = page.select_one("form:has([data-testid=stop])")
    response = student.client.post(form["action"], data={"csrf_token": student.csrf})
    assert response.status_code == 303
    assert "This reply was stopped." in student.page(f"/experiences/{experience_id}/conversation").text


def test_what_is_whole_cannot_be_stopped_any_more(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with("Done.")
    student.send(conversation_id, "Hello")
    assert events(stop(student, conversation_id, newest(app)))[-1][1]["state"] == "complete"
    assert newest(app).text == "Done."


def test_an_older_reply_that_is_stopped_stops_no_newer_one(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    student.send(conversation_id, "Hello", key="one")
    older = newest(app)
    fake_model.reply_with(["One ", "two ", "three."], delay=0.1)
    reading = begin(student, conversation_id, key="two")
    stop(student, conversation_id, older)
    assert b'"state":"complete"' in b"".join(reading.response)


@pytest.mark.parametrize("how", ["start again", "finish"])
def test_leaving_a_conversation_stops_its_reply(
    app: Flask,
    student: Visitor,
    experience_id: int,
    conversation_id: int,
    fake_model: FakeModel,
    how: str,
) -> None:
    fake_model.reply_with(**ENDLESS)
    begin(student, conversation_id)
    reply = newest(app)
    if how == "finish":
        student.post(f"/conversations/{conversation_id}/finish")
    else:
        student.start(experience_id, instead_of=conversation_id)
    wait_until(lambda: message(app, reply.id).state == "interrupted")
    assert message(app, reply.id).error_code == "stopped"
    assert message(app, reply.id).text.startswith("word0")
    assert fake_model.requests[-1].hung_up.wait(5)


def test_two_tabs_that_send_at_once_make_one_turn(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(["One ", "two ", "three."], delay=0.1)
    other = student.once_more(app)
    answers = at_once(
        lambda: student.send(conversation_id, "From here", key="here"),
        lambda: other.send(conversation_id, "From there", key="there"),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json["code"] == "turn_in_progress"
    assert len(said(app, conversation_id)) == 3


def test_the_database_takes_no_second_reply_under_way(
    app: Flask, student: Visitor, conversation_id: int
) -> None:
    replies = [
        Message(conversation_id=conversation_id, speaker="persona", state=MessageState.GENERATING)
        for _ in range(2)
    ]
    with pytest.raises(IntegrityError), app.extensions["database"].transaction() as db:
        db.add_all(replies)


def test_no_connection_is_held_while_a_reply_is_written(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(**ENDLESS)
    reading = begin(student, conversation_id)
    held = []
    for _ in range(10):
        next(reading.response)
        held.append(app.extensions["database"].engine.pool.checkedout())
    assert min(held) == 0  # now and then what there is of the reply is saved
    stop(student, conversation_id, newest(app))


def test_two_starts_at_once_make_one_conversation(app: Flask, student: Visitor, experience_id: int) -> None:
    other = student.once_more(app)
    at_once(*(lambda visitor=visitor: visitor.post(_start(experience_id)) for visitor in (student, other)))
    with app.extensions["database"].snapshot() as db:
        assert len(db.exec(select(Conversation)).all()) == 1


def test_stop_and_finish_and_the_last_word_at_once_leave_one_end(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(["One ", "two ", "three."], delay=0.05)
    reading = begin(student, conversation_id)
    reply, other = newest(app), student.once_more(app)
    at_once(
        lambda: stop(student, conversation_id, reply),
        lambda: other.post(f"/conversations/{conversation_id}/finish"),
    )
    last = b"".join(reading.response)
    assert last.count(b"event: done") == 1
    reply = newest(app)
    assert reply.text
    assert (reply.state, reply.error_code) in {("complete", None), ("interrupted", "stopped")}
    with app.extensions["database"].snapshot() as db:
        assert db.get_one(Conversation, conversation_id).workflow_state == "completed"
    assert student.send(conversation_id, "One more", key="late").status_code == 409


def test_a_message_below_an_old_page_is_not_taken(
    app: Flask, student: Visitor, experience_id: int, conversation_id: int, fake_model: FakeModel
) -> None:
    other = student.once_more(app)
    page = other.page(f"/experiences/{experience_id}/conversation")
    seen = page.select_one("[name=seen]")["value"]
    student.send(conversation_id, "From here", key="here")
    form = {"message": "From there", "client_key": "there", "seen": seen}
    refused = other.post(f"/conversations/{conversation_id}/messages", form)
    assert refused.status_code == 409
    assert "has gone on elsewhere" in refused.text
    assert "From there" in refused.text
    assert len(said(app, conversation_id)) == 3
    assert len(fake_model.requests) == 1


def test_a_repeated_send_is_no_message_below_an_old_page(
    app: Flask, student: Visitor, conversation_id: int
) -> None:
    form = {"message": "Hello", "client_key": "same", "seen": str(newest(app).id)}
    for _ in range(2):
        answer = student.post(
            f"/conversations/{conversation_id}/messages",
            form,
            headers={"Accept": "text/event-stream"},
            buffered=True,
        )
        assert events(answer)[-1][1]["state"] == "complete"
    assert len(said(app, conversation_id)) == 3


def test_an_open_page_learns_what_was_said_elsewhere(
    app: Flask, student: Visitor, experience_id: int, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with("I hear you.")
    version = _version_shown(student, experience_id)
    assert _state(student, conversation_id, version).status_code == 204
    student.send(conversation_id, "Hello")
    fresh = _state(student, conversation_id, version)
    assert "Hello" in fresh.text
    assert "I hear you." in fresh.text
    assert EXPERIENCE["opening_line"] in fresh.text


def test_an_open_page_learns_of_the_end(student: Visitor, experience_id: int, conversation_id: int) -> None:
    student.send(conversation_id, "Hello")
    version = _version_shown(student, experience_id)
    student.start(experience_id, instead_of=conversation_id)
    fresh = _state(student, conversation_id, version).text
    assert "This conversation has ended. It was not handed in." in fresh
    assert "data-active" not in fresh


def test_nobody_else_learns_how_a_conversation_stands(
    teacher: Visitor, student: Visitor, conversation_id: int
) -> None:
    assert _state(teacher, conversation_id, "").status_code == 404


def test_asking_how_it_stands_costs_the_same_few_queries_in_a_long_conversation(
    app: Flask,
    student: Visitor,
    experience_id: int,
    conversation_id: int,
    count_queries: Callable[[Callable[[], object]], int],
) -> None:
    version = _version_shown(student, experience_id)
    short = count_queries(lambda: _state(student, conversation_id, version))
    with app.extensions["database"].transaction() as db:
        db.add_all(Message(conversation_id=conversation_id, speaker="persona", text="Hm.") for _ in range(50))
    version = _version_shown(student, experience_id)
    assert count_queries(lambda: _state(student, conversation_id, version)) == short <= 5


def _start(experience_id: int) -> str:
    return f"/experiences/{experience_id}/conversations"


def _version_shown(visitor: Visitor, experience_id: int) -> str:
    return visitor.page(f"/experiences/{experience_id}/conversation").select_one("[data-chat]")[
        "data-version"
    ]


def _state(visitor: Visitor, conversation_id: int, version: str) -> TestResponse:
    return visitor.get(f"/conversations/{conversation_id}/state", query_string={"version": version})


@pytest.mark.parametrize("leave", ["finish", "again"])
def test_leaving_while_a_flagged_reply_ends_keeps_nobody_waiting_for_the_other(
    app: Flask,
    student: Visitor,
    experience_id: int,
    conversation_id: int,
    fake_model: FakeModel,
    monkeypatch: pytest.MonkeyPatch,
    leave: str,
) -> None:
    fake_model.reply_with("I will kill you!")
    ending = threading.Event()

    def slowly(*arguments: object, **more: object) -> None:
        ending.set()
        time.sleep(0.5)  # the reply's row is written, its flag is not
        raise_flags(*arguments, **more)

    monkeypatch.setattr("app.conversations.replies.raise_flags", slowly)
    sending = threading.Thread(target=student.send, args=(conversation_id, "Hello"))
    sending.start()
    assert ending.wait(10)
    other = student.once_more(app)
    if leave == "finish":
        left = other.post(f"/conversations/{conversation_id}/finish")
    else:
        again = {"instead_of": str(conversation_id)}
        left = other.post(f"/experiences/{experience_id}/conversations", again)
    sending.join()
    assert left.status_code == 303
    assert said(app, conversation_id)[-1][1] == "I will kill you!"
    with app.extensions["database"].snapshot() as db:
        assert len(db.exec(select(Flag)).all()) == 1
