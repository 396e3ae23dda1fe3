"""Feedback on replies: a like, or a dislike with a reason, given on one's own conversation alone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlmodel import Session, select, update
from werkzeug.test import TestResponse

from app.conversations.feedback import (
    MAX_FEEDBACK,
    MessageFeedback,
    ReplyNotCompleteError,
    Vote,
    feedback_of,
    give_feedback,
    remove_feedback,
    withdraw_feedback,
)
from app.conversations.models import Conversation, Message, MessageState
from app.courses.models import Course, Role, User
from app.errors import InvalidInputError, NotFoundError
from app.identity import Identity
from app.sandbox import Sandbox
from tests.support.fake_model import FakeModel
from tests.support.people import Visitor, events

AMARA, LIAM = "amara.diallo", "liam.oconnor"
Open = Callable[[], AbstractContextManager[Session]]


@pytest.fixture
def conversation_id(teacher: Visitor, student: Visitor, fake_model: FakeModel) -> int:
    """A conversation with an opening, a message and a reply."""
    fake_model.reply_with("I am angry.")
    conversation_id = student.start(teacher.write_experience())
    student.send(conversation_id, "Hello")
    return conversation_id


@pytest.fixture
def transaction(app: Flask) -> Open:
    @contextmanager
    def begin() -> Iterator[Session]:
        with app.app_context(), app.extensions["database"].transaction() as db:
            yield db

    return begin


@pytest.fixture
def amara(app: Flask, sandbox: Sandbox, conversation_id: int) -> Identity:
    return identity(app, sandbox.person(AMARA).sub)


@pytest.fixture
def liam(app: Flask, sandbox: Sandbox) -> Identity:
    Visitor.launch(app, sandbox, LIAM)
    return identity(app, sandbox.person(LIAM).sub)


def identity(app: Flask, sub: str) -> Identity:
    with app.extensions["database"].snapshot() as db:
        user = db.exec(select(User).where(User.sub == sub)).one()
        return Identity(user=user, course=db.exec(select(Course)).one(), role=Role.STUDENT)


def messages(db: Session) -> list[Message]:
    return list(db.exec(select(Message).order_by(Message.id)))


def conversation(db: Session) -> Conversation:
    return db.exec(select(Conversation)).one()


def test_a_dislike_is_kept_with_its_reason(transaction: Open, amara: Identity) -> None:
    with transaction() as db:
        reply = messages(db)[-1]
        given = give_feedback(
            db, amara, conversation(db), reply.id, "disliked", feedback_message=" Too\r\nrude. "
        )
        assert (given.message_id, given.user_id) == (reply.id, amara.user.id)
        assert (given.vote, given.feedback_message) == (Vote.DISLIKED, "Too\nrude.")


def test_a_second_vote_replaces_the_first(transaction: Open, amara: Identity) -> None:
    with transaction() as db:
        reply = messages(db)[-1]
        first = give_feedback(db, amara, conversation(db), reply.id, "disliked", feedback_message="Rude.")
    with transaction() as db:
        second = give_feedback(db, amara, conversation(db), reply.id, "liked")
    with transaction() as db:
        kept = db.exec(select(MessageFeedback)).one()
    assert kept.id == first.id == second.id
    assert (kept.vote, kept.feedback_message) == (Vote.LIKED, "")
    assert kept.created_at == first.created_at
    assert kept.updated_at > first.updated_at


@pytest.mark.parametrize("vote", ["", "LIKED", "loved", None, 1, ["liked"], {"liked": True}], ids=repr)
def test_a_vote_that_is_none_is_refused_by_its_field(
    transaction: Open, amara: Identity, vote: object
) -> None:
    with transaction() as db, pytest.raises(InvalidInputError) as refusal:
        give_feedback(db, amara, conversation(db), messages(db)[-1].id, vote)
    assert {name: found[0].type for name, found in refusal.value.errors.items()} == {"vote": "inclusion"}


def test_a_reason_may_be_as_long_as_the_limit_and_no_longer(transaction: Open, amara: Identity) -> None:
    with transaction() as db:
        reply = messages(db)[-1]
        give_feedback(db, amara, conversation(db), reply.id, "disliked", feedback_message="ß" * MAX_FEEDBACK)
    with transaction() as db, pytest.raises(InvalidInputError) as refusal:
        give_feedback(
            db, amara, conversation(db), reply.id, "liked", feedback_message="x" * (MAX_FEEDBACK + 1)
        )
    assert refusal.value.errors["feedback_message"][0].limit == MAX_FEEDBACK


def test_only_a_reply_takes_feedback(transaction: Open, amara: Identity) -> None:
    with transaction() as db:
        _opening, own, reply = messages(db)
        for message_id in (own.id, reply.id + 1000):
            with pytest.raises(NotFoundError):
                give_feedback(db, amara, conversation(db), message_id, "liked")


@pytest.mark.parametrize("state", [state for state in MessageState if state is not MessageState.COMPLETE])
def test_only_a_whole_reply_takes_feedback(transaction: Open, amara: Identity, state: MessageState) -> None:
    with transaction() as db:
        reply = messages(db)[-1]
        db.execute(update(Message).where(Message.id == reply.id).values(state=state))
    with transaction() as db, pytest.raises(ReplyNotCompleteError):
        give_feedback(db, amara, conversation(db), reply.id, "liked")


def test_nobody_votes_on_another_persons_conversation(
    transaction: Open, amara: Identity, liam: Identity
) -> None:
    with transaction() as db:
        reply = messages(db)[-1]
        with pytest.raises(NotFoundError):
            give_feedback(db, liam, conversation(db), reply.id, "liked")
        with pytest.raises(NotFoundError):
            withdraw_feedback(db, liam, conversation(db), reply.id)
        assert db.exec(select(MessageFeedback)).all() == []


def test_feedback_is_removed_by_its_id_once_and_by_its_giver_alone(
    transaction: Open, amara: Identity, liam: Identity
) -> None:
    with transaction() as db:
        given = give_feedback(db, amara, conversation(db), messages(db)[-1].id, "liked")
    with transaction() as db:
        with pytest.raises(NotFoundError):
            remove_feedback(db, liam, conversation(db), given.id)
        remove_feedback(db, amara, conversation(db), given.id)
        with pytest.raises(NotFoundError):
            remove_feedback(db, amara, conversation(db), given.id)
        assert db.exec(select(MessageFeedback)).all() == []


def test_feedback_is_not_removed_through_another_conversation(
    transaction: Open, amara: Identity, student: Visitor, teacher: Visitor
) -> None:
    other_id = student.start(teacher.write_experience(title="Another"))
    with transaction() as db:
        first, other = db.exec(select(Conversation).order_by(Conversation.id)).all()
        assert other.id == other_id
        reply = db.exec(select(Message).where(Message.conversation_id == first.id)).first()
        given = give_feedback(db, amara, first, reply.id, "liked")
        with pytest.raises(NotFoundError):
            remove_feedback(db, amara, other, given.id)


def test_all_feedback_is_read_by_one_query(
    transaction: Open, amara: Identity, count_queries: Callable[[Callable[[], object]], int]
) -> None:
    with transaction() as db:
        opening, own, reply = messages(db)
        give_feedback(db, amara, conversation(db), opening.id, "liked")
        give_feedback(db, amara, conversation(db), reply.id, "disliked")
    with transaction() as db:
        found = feedback_of(db, [opening, own, reply])
        assert {message_id: feedback.vote for message_id, feedback in found.items()} == {
            opening.id: Vote.LIKED,
            reply.id: Vote.DISLIKED,
        }
        assert count_queries(lambda: feedback_of(db, [opening, own, reply])) == 1
        assert feedback_of(db, []) == {}


def shown(teacher: Visitor, path: str) -> list[str]:
    given = teacher.page(path).select("[data-testid=feedback]")
    return [" ".join(each.get_text(" ").split()) for each in given]


def test_a_teacher_reads_what_was_thought_of_each_reply(
    transaction: Open, amara: Identity, teacher: Visitor, conversation_id: int
) -> None:
    with transaction() as db:
        opening, _own, reply = messages(db)
        give_feedback(db, amara, conversation(db), opening.id, "liked")
        reason = "<b>Rude</b>"
        give_feedback(db, amara, conversation(db), reply.id, "disliked", feedback_message=reason)
        experience_id = conversation(db).experience_id
    for path in (f"/conversations/{conversation_id}/transcript", f"/experiences/{experience_id}/transcripts"):
        assert shown(teacher, path) == ["Liked", "Disliked <b>Rude</b>"]


def block(student: Visitor, experience_id: int, number: int = -1) -> BeautifulSoup:
    """Return what the chat page shows under one of the replies, the last one unless told."""
    page = student.page(f"/experiences/{experience_id}/conversation")
    return page.select("[data-testid=message-persona]")[number].select_one("[data-feedback]")


def pressed(shown: BeautifulSoup) -> list[str]:
    return [button["data-control"] for button in shown.select("[aria-pressed=true]")]


def press(student: Visitor, shown: BeautifulSoup, control: str, **fields: str) -> TestResponse:
    """Press a button of a block as a browser without JavaScript does."""
    button = shown.select_one(f"[data-control={control}]")
    form = button.find_parent("form")
    data = {field["name"]: field["value"] for field in form.select("input")} | fields
    if button.get("name"):
        data[button["name"]] = button["value"]
    return student.client.post(form["action"], data=data, headers={"Accept": "text/html"})


@pytest.fixture
def experience_id(transaction: Open, conversation_id: int) -> int:
    with transaction() as db:
        return conversation(db).experience_id


def test_every_whole_reply_can_be_liked_and_disliked_and_nothing_else(
    student: Visitor, experience_id: int
) -> None:
    page = student.page(f"/experiences/{experience_id}/conversation")
    assert len(page.select("[data-testid=message-persona] [data-feedback]")) == 2
    assert page.select("[data-testid=message-student] [data-feedback]") == []


def test_a_button_stays_pressed_until_it_is_pressed_again(
    transaction: Open, student: Visitor, experience_id: int
) -> None:
    answer = press(student, block(student, experience_id), "liked")
    assert answer.status_code == 303
    assert answer.location.endswith("#message-3")
    assert pressed(block(student, experience_id)) == ["liked"]
    assert pressed(block(student, experience_id, 0)) == []
    press(student, block(student, experience_id), "disliked")
    assert pressed(block(student, experience_id)) == ["disliked"]
    press(student, block(student, experience_id), "disliked")
    assert pressed(block(student, experience_id)) == []


def test_a_dislike_asks_for_a_reason_and_keeps_it(student: Visitor, experience_id: int) -> None:
    press(student, block(student, experience_id), "disliked")
    assert (
        press(student, block(student, experience_id), "reason", feedback_message="Rude.").status_code == 303
    )
    shown = block(student, experience_id)
    assert shown.select_one("textarea").text.strip() == "Rude."
    assert pressed(shown) == ["disliked"]


def test_a_script_gets_the_block_as_it_is_now(
    student: Visitor, conversation_id: int, experience_id: int
) -> None:
    answer = student.post(
        f"/conversations/{conversation_id}/messages/3/feedback",
        {"vote": "disliked"},
        headers={"Accept": "application/json"},
    )
    assert pressed(BeautifulSoup(answer.json["html"], "html.parser")) == ["disliked"]


def test_a_reason_that_is_too_long_is_given_back(
    student: Visitor, conversation_id: int, experience_id: int
) -> None:
    reason = "x" * (MAX_FEEDBACK + 1)
    answer = student.post(
        f"/conversations/{conversation_id}/messages/3/feedback",
        {"vote": "disliked", "feedback_message": reason},
        headers={"Accept": "text/html"},
    )
    assert answer.status_code == 400
    assert [area.text.strip() for area in BeautifulSoup(answer.text, "html.parser").select("textarea")] == [
        reason
    ]


def test_another_students_reply_is_not_there(app: Flask, sandbox: Sandbox, conversation_id: int) -> None:
    liam = Visitor.launch(app, sandbox, LIAM)
    for vote in ("liked", ""):
        answer = liam.post(f"/conversations/{conversation_id}/messages/3/feedback", {"vote": vote})
        assert answer.status_code == 404


def test_a_reply_that_has_just_been_written_can_be_liked(student: Visitor, conversation_id: int) -> None:
    done = events(student.send(conversation_id, "And now?", key="two"))[-1][1]
    assert BeautifulSoup(done["html"], "html.parser").select_one("[data-feedback]")
