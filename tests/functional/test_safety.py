"""A student who may be in danger is answered by the tool at once; what a model must not write is not read."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, select, update

from app.conversations import service
from app.conversations.feedback import MAX_FEEDBACK, MessageFeedback, Vote
from app.conversations.models import (
    Conversation,
    ConversationState,
    Message,
    MessageState,
    Notice,
    ReplyNote,
)
from app.conversations.replies import Replies
from app.conversations.safety.findings import Category, Finding, Severity
from app.conversations.safety.flags import raise_flags
from app.conversations.safety.models import Flag, FlagState, Source
from app.conversations.safety.moderations import Moderations
from app.conversations.service import MAX_MESSAGE
from app.courses.models import Course
from app.database import utc_now
from app.sandbox import Sandbox
from app.settings import Settings
from app.usage.models import CourseBudget
from tests.functional.test_turns import begin, newest, stop
from tests.support.api import Script
from tests.support.fake_model import Answer, FakeModel, ReceivedRequest, make_failure, make_reply
from tests.support.people import Visitor, events

pytestmark = pytest.mark.usefixtures("noon")
WISH = "Thank you. To be honest, I want to kill myself."
VAGUE = "I can't go on like this anymore."
THREAT = "I will kill you!"
UNSAFE = "I have had enough. You should just kill yourself. Good bye."
HELP_LINES = """
[[help_lines]]
name = "Counselling <service>"
phone = "555 0100"
hours = "day and night"
"""


@pytest.fixture
def changes() -> dict[str, Any]:
    """Settings that a test wants otherwise."""
    return {}


@pytest.fixture
def settings(settings: Settings, changes: dict[str, Any], tmp_path: Any) -> Settings:
    path = tmp_path / "help.toml"
    path.write_text(HELP_LINES)
    given = settings.model_dump(exclude_unset=True) | {"help_lines": path} | changes
    return Settings(_env_file=None, **given)


@pytest.fixture
def conversation_id(teacher: Visitor, student: Visitor, fake_model: FakeModel) -> int:
    fake_model.reply_with("I see.")
    return student.start(teacher.write_experience())


def stored(app: Flask) -> list[Message]:
    with app.extensions["database"].snapshot() as db:
        return list(db.exec(select(Message).order_by(Message.id)))


def flags(app: Flask) -> list[Flag]:
    with app.extensions["database"].snapshot() as db:
        return list(db.exec(select(Flag).order_by(Flag.id)))


def names(response: Any) -> list[str]:
    return [name for name, _ in events(response)]


def of_kind(response: Any, kind: str) -> dict[str, Any]:
    return next(data for name, data in events(response) if name == kind)


def chat(visitor: Visitor, experience_id: int = 1) -> Any:
    return visitor.page(f"/experiences/{experience_id}/conversation")


def test_a_student_in_danger_is_answered_by_the_tool_and_no_model_is_asked(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    response = student.send(conversation_id, WISH)
    assert names(response) == ["reply", "notice", "done"]
    notice = of_kind(response, "notice")
    assert notice["message"] == stored(app)[1].id
    assert "not from the character" in notice["html"]
    assert "555 0100" in notice["html"]
    assert "Counselling &lt;service&gt;" in notice["html"]
    assert fake_model.requests == []


def test_the_teachers_are_told_at_once_and_where(app: Flask, student: Visitor, conversation_id: int) -> None:
    student.send(conversation_id, WISH)
    message = stored(app)[1]
    (flag,) = flags(app)
    assert (flag.message_id, flag.conversation_id) == (message.id, conversation_id)
    assert (flag.category, flag.severity, flag.workflow_state) == ("self_harm", "high", FlagState.OPEN)
    assert message.text[flag.excerpt_start : flag.excerpt_end] == "I want to kill myself"


def test_the_message_stays_on_the_page_and_the_conversation_waits(
    app: Flask, student: Visitor, conversation_id: int
) -> None:
    student.send(conversation_id, WISH)
    for _ in range(2):
        page = chat(student)
        (notice,) = page.select("[data-testid=help]")
        assert notice.parent["data-testid"] == "message-student"
        assert "555 0100" in notice.text
        assert page.select_one("[data-testid=retry]").text == "Go on"
        assert "The conversation paused here" in page.select_one("[data-testid=failure]").text
    reply = stored(app)[-1]
    assert (reply.state, reply.error_code) == (MessageState.INTERRUPTED, ReplyNote.HELD)


def test_the_student_goes_on_when_they_want_to(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    student.send(conversation_id, WISH)
    held = stored(app)[-1]
    assert events(student.retry(conversation_id, held.id))[-1][1]["state"] == "complete"
    assert WISH in fake_model.requests[-1].prompt
    assert len(chat(student).select("[data-testid=help]")) == 1


def test_the_student_may_write_on_instead(app: Flask, student: Visitor, conversation_id: int) -> None:
    student.send(conversation_id, WISH, key="one")
    response = student.send(conversation_id, "Sorry, I was only playing the patient.", key="two")
    assert events(response)[-1][1]["state"] == "complete"
    assert "notice" not in names(response)
    assert len(flags(app)) == 1


def test_a_repeated_send_is_answered_alike_and_flagged_once(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    responses = [student.send(conversation_id, WISH, key="same") for _ in range(2)]
    assert [names(response) for response in responses] == [["reply", "notice", "done"]] * 2
    assert len(stored(app)) == 3
    assert len(flags(app)) == 1
    assert fake_model.requests == []


def test_words_that_may_mean_it_get_the_message_and_the_reply(
    app: Flask, student: Visitor, conversation_id: int
) -> None:
    response = student.send(conversation_id, VAGUE)
    assert "notice" in names(response)
    assert events(response)[-1][1]["state"] == "complete"
    assert [(flag.category, flag.severity) for flag in flags(app)] == [("self_harm", "low")]


def test_without_javascript_the_message_is_on_the_page_that_comes(
    student: Visitor, conversation_id: int
) -> None:
    response = student.post(
        f"/conversations/{conversation_id}/messages",
        {"message": WISH, "client_key": "k"},
        headers={"Accept": "text/html"},
    )
    assert response.status_code == 303
    assert chat(student).select_one("[data-testid=help]")


def test_of_a_threat_the_student_sees_nothing(app: Flask, student: Visitor, conversation_id: int) -> None:
    response = student.send(conversation_id, THREAT)
    assert "notice" not in names(response)
    assert [(flag.category, flag.severity) for flag in flags(app)] == [("violence", "low")]
    page = chat(student)
    assert not page.select_one("[data-testid=help]")
    assert "flag" not in page.text.lower()


def test_an_ordinary_message_leaves_nothing(app: Flask, student: Visitor, conversation_id: int) -> None:
    response = student.send(conversation_id, "Did many people die in the war?")
    assert "notice" not in names(response)
    assert flags(app) == []
    assert stored(app)[1].notice is None


def test_a_trial_shows_the_message_and_raises_no_flag(
    app: Flask, teacher: Visitor, sandbox: Sandbox, fake_model: FakeModel
) -> None:
    experience_id = teacher.write_experience()
    for visitor in (teacher, Visitor.launch(app, sandbox, "test.student.1101")):
        conversation_id = visitor.start(experience_id)
        html = of_kind(visitor.send(conversation_id, WISH), "notice")["html"]
        assert "555 0100" in html
        assert "This is a trial" in html
        assert "This is a trial" in chat(visitor, experience_id).select_one("[data-testid=help]").text
    assert flags(app) == []


def test_students_are_told_beforehand_that_teachers_are_told(teacher: Visitor, student: Visitor) -> None:
    experience_id = teacher.write_experience()
    assert "the tool tells your teachers" in chat(student, experience_id).select_one(".chat-start").text


def test_a_course_without_tokens_left_still_hears_a_student_in_danger(
    app: Flask, student: Visitor, conversation_id: int
) -> None:
    with app.extensions["database"].transaction() as db:
        db.add(CourseBudget(course_id=db.exec(select(Course.id)).one(), tokens=0))
    assert student.send(conversation_id, "Hello", key="one").status_code == 429
    assert names(student.send(conversation_id, WISH, key="two")) == ["reply", "notice", "done"]
    assert len(flags(app)) == 1


def under_way(app: Flask, conversation_id: int) -> None:
    """Have the newest reply be written still, by somebody else."""
    with app.extensions["database"].transaction() as db:
        reply = db.exec(select(Message).order_by(Message.id.desc())).first()
        reply.state, reply.lease_until = MessageState.GENERATING, utc_now() + timedelta(hours=1)


def limited(**limits: int) -> Callable[[Flask, int], None]:
    def change(app: Flask, _conversation_id: int) -> None:
        app.config["SETTINGS"] = app.config["SETTINGS"].model_copy(update=limits)

    return change


def changed(**values: Any) -> Callable[[Flask, int], None]:
    def change(app: Flask, conversation_id: int) -> None:
        with app.extensions["database"].transaction() as db:
            conversation = db.get_one(Conversation, conversation_id)
            for name, value in values.items():
                setattr(conversation, name, value)

    return change


def without_turns(app: Flask, conversation_id: int) -> None:
    with app.extensions["database"].transaction() as db:
        conversation = db.get_one(Conversation, conversation_id)
        conversation.scenario = conversation.scenario | {"max_turns": 1}


# What stands against a message, and the code with which any other is refused.
REFUSALS = {
    "turn_in_progress": under_way,
    "turns_used_up": without_turns,
    "conversation_ended": changed(workflow_state=ConversationState.COMPLETED),
    "rate_limited": limited(messages_per_minute=1),
    "budget_used_up": limited(course_tokens_per_month=0),
}


@pytest.fixture(params=REFUSALS)
def refused(
    request: pytest.FixtureRequest, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> str:
    """A conversation in which nothing can be sent; the code of the refusal."""
    student.send(conversation_id, "Hello", key="one")
    fake_model.requests.clear()
    REFUSALS[request.param](app, conversation_id)
    code: str = request.param
    return code


class TestRefused:
    """What is written in danger is taken where nothing else can be, and its reply waits."""

    def test_it_is_stored_helped_and_flagged(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel, refused: str
    ) -> None:
        before = len(stored(app))
        assert student.send(conversation_id, "Hello again", key="two").json["code"] == refused
        assert names(student.send(conversation_id, WISH, key="three")) == ["reply", "notice", "done"]
        message, reply = stored(app)[before:]
        assert (message.text, message.notice) == (WISH, Notice.HELP)
        assert (reply.state, reply.error_code) == (MessageState.INTERRUPTED, ReplyNote.HELD)
        assert [(flag.message_id, flag.severity) for flag in flags(app)] == [(message.id, "high")]
        assert chat(student).select("[data-testid=help]")
        assert fake_model.requests == []

    def test_so_it_is_with_words_that_may_mean_it(
        self, app: Flask, student: Visitor, conversation_id: int, refused: str
    ) -> None:
        assert names(student.send(conversation_id, VAGUE, key="two")) == ["reply", "notice", "done"]
        assert stored(app)[-1].error_code == ReplyNote.HELD
        assert [flag.severity for flag in flags(app)] == ["low"]

    def test_a_repeated_send_is_one_message(
        self, app: Flask, student: Visitor, conversation_id: int, refused: str
    ) -> None:
        answers = [student.send(conversation_id, WISH, key="two") for _ in range(2)]
        assert of_kind(answers[0], "notice") == of_kind(answers[1], "notice")
        assert len(flags(app)) == 1

    def test_a_threat_is_refused_like_anything_else(
        self, app: Flask, student: Visitor, conversation_id: int, refused: str
    ) -> None:
        assert student.send(conversation_id, THREAT, key="two").json["code"] == refused
        assert flags(app) == []

    def test_the_rest_api_takes_it_too(
        self, conversation_id: int, students_script: Script, refused: str
    ) -> None:
        path = f"/1/conversations/{conversation_id}/messages"
        assert students_script.post(path, json={"message": "Hello again"}).json["code"] == refused
        response = students_script.post(path, json={"message": WISH})
        assert response.status_code == 200, response.text
        assert "555 0100" in response.json["messages"][-2]["notice"]

    def test_no_key_stands_against_it(
        self, app: Flask, conversation_id: int, students_script: Script
    ) -> None:
        path = f"/1/conversations/{conversation_id}/messages"
        students_script.post(path, json={"message": "Hello", "client_key": "k"})
        for key in (["k"], "k"):
            for _ in range(2):
                response = students_script.post(path, json={"message": WISH, "client_key": key})
                assert "555 0100" in response.json["messages"][-2]["notice"]
        assert [message.text for message in stored(app)[1::2]] == ["Hello", WISH, WISH]

    def test_one_that_was_cut_is_the_same_message_again(
        self, app: Flask, student: Visitor, conversation_id: int
    ) -> None:
        text = f"{'la ' * 1000}{WISH} {'la ' * 1000}"
        for _ in range(2):
            assert "notice" in names(student.send(conversation_id, text, key="k"))
        assert len(stored(app)) == 3


def send_below(visitor: Visitor, conversation_id: int, text: str, seen: int) -> Any:
    """Send from a page that shows no message after `seen`."""
    return visitor.post(
        f"/conversations/{conversation_id}/messages",
        {"message": text, "client_key": text[:20], "seen": str(seen)},
        headers={"Accept": "text/event-stream"},
        buffered=True,
    )


def test_a_message_in_danger_is_taken_where_the_conversation_has_gone_on_elsewhere(
    app: Flask, student: Visitor, conversation_id: int
) -> None:
    opening = stored(app)[0].id
    student.send(conversation_id, "Hello", key="one")
    moved_on = send_below(student, conversation_id, "Hello again", opening)
    assert moved_on.json["code"] == "conversation_moved_on"
    assert names(send_below(student, conversation_id, WISH, opening)) == ["reply", "notice", "done"]
    assert [message.text for message in stored(app)][1::2] == ["Hello", WISH]


@pytest.mark.parametrize(
    ("before", "after", "start", "end", "found"),
    [
        (0, 5_000, THREAT, "…", ["self_harm", "violence"]),
        (5_000, 5_000, "…", "…", ["self_harm"]),
        (5_000, 0, "…", "myself.", ["self_harm"]),
    ],
    ids=["first", "amid", "last"],
)
def test_of_a_message_in_danger_that_is_too_long_what_fits_is_taken(
    app: Flask,
    student: Visitor,
    conversation_id: int,
    before: int,
    after: int,
    start: str,
    end: str,
    found: list[str],
) -> None:
    text = f"{THREAT} {'o ' * (before // 2)}To be honest, I want to kill myself.{' o' * (after // 2)}"
    too_long = student.send(conversation_id, text.replace("kill myself", "go home"), key="one")
    assert too_long.json["code"] == "message_too_long"
    assert names(student.send(conversation_id, text, key="two")) == ["reply", "notice", "done"]
    message = stored(app)[1]
    assert message.text.startswith(start)
    assert message.text.endswith(end)
    assert len(message.text) <= MAX_MESSAGE
    raised = {flag.category: message.text[flag.excerpt_start : flag.excerpt_end] for flag in flags(app)}
    assert sorted(raised) == found
    assert raised["self_harm"] == "I want to kill myself"


def test_without_end_nothing_is_taken_that_would_be_refused(
    app: Flask, student: Visitor, conversation_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_KEPT", 2)
    limited(course_tokens_per_month=0)(app, conversation_id)
    answers = [student.send(conversation_id, WISH, key=str(number)) for number in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert len(flags(app)) == 2


@pytest.mark.parametrize("starts_again", [False, True])
def test_without_javascript_help_is_shown_in_a_conversation_that_has_ended(
    student: Visitor, conversation_id: int, starts_again: bool
) -> None:
    if starts_again:
        student.start(1, instead_of=conversation_id)
    else:
        student.post(f"/conversations/{conversation_id}/finish")
    response = student.post(
        f"/conversations/{conversation_id}/messages",
        {"message": WISH, "client_key": "k"},
        headers={"Accept": "text/html"},
    )
    assert response.status_code == 200
    page = BeautifulSoup(response.text, "html.parser")
    assert "555 0100" in page.select_one("[data-testid=help]").text
    assert page.select_one("main a[href$='/experiences/1/conversation']")


def test_what_was_found_in_a_reply_is_shown_as_it_was_once_it_is_tried_again(
    app: Flask, teacher: Visitor, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    def broken_off(words: str) -> Answer:
        return make_reply([words, "so"], drop_after=1)

    fake_model.in_turn(
        broken_off("Well. "),
        broken_off("I will kill you all tomorrow. "),
        broken_off("No, I will kill you all today. "),
        make_reply("Good day."),
    )
    student.send(conversation_id, "Hello")
    excerpts = []
    for _ in range(3):
        student.retry(conversation_id, newest(app).id)
        shown = teacher.page("/flags").select("[data-testid=flag] blockquote")
        excerpts.append(" | ".join(excerpt.text for excerpt in shown))
    assert newest(app).text == "Good day."
    assert "kill you all tomorrow" in excerpts[0]
    assert ["today" in excerpts[1], "tomorrow" in excerpts[1]] == [True, True]
    assert "today" in excerpts[2]
    assert [flag.source for flag in flags(app)] == [Source.REPLACED]
    assert teacher.page("/flags").select_one("[data-testid=flag] mark").text in "I will kill you all today"


def test_what_is_not_committed_is_not_said_to_be_flagged(
    app: Flask, student: Visitor, conversation_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    student.send(conversation_id, "Hello")
    finding = Finding(Category.ABUSE, Severity.LOW, 0, 5)
    message = stored(app)[1]
    with caplog.at_level(logging.INFO), Session(app.extensions["database"].engine) as db:
        raise_flags(db, message.id, [finding])
        db.rollback()
        db.connection()
        db.commit()
        assert "is flagged" not in caplog.text
        raise_flags(db, message.id, [finding])
        assert "is flagged" not in caplog.text
        db.commit()
    assert caplog.text.count("is flagged: abuse, low") == 1


def test_a_reply_that_speaks_for_suicide_is_not_read_and_can_be_written_again(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(UNSAFE)
    response = student.send(conversation_id, "Hello")
    assert "kill" not in response.text
    done = events(response)[-1][1]
    assert done["state"] == "failed"
    assert "something that it should not have" in done["html"]
    reply = stored(app)[-1]
    assert (reply.state, reply.error_code, reply.text) == (MessageState.FAILED, ReplyNote.WITHHELD, "")
    (flag,) = flags(app)
    assert (flag.category, flag.severity, flag.message_id) == ("self_harm", "high", reply.id)
    assert flag.withheld.startswith("I have had enough. You should just kill yourself.")
    fake_model.reply_with("I am sorry.")
    assert events(student.retry(conversation_id, reply.id))[-1][1]["state"] == "complete"


@pytest.mark.parametrize("resolved", [False, True])
def test_a_further_attempt_that_is_withheld_takes_the_place_of_the_first_and_opens_its_flag(
    app: Flask,
    teacher: Visitor,
    student: Visitor,
    conversation_id: int,
    fake_model: FakeModel,
    resolved: bool,
) -> None:
    fake_model.reply_with(UNSAFE)
    student.send(conversation_id, "Hello")
    if resolved:
        teacher.post(f"/flags/{flags(app)[0].id}/resolve", {"note": "A silly model."})
    fake_model.reply_with("Do the world a favour. Go and kill yourself.")
    student.retry(conversation_id, stored(app)[-1].id)
    (flag,) = flags(app)
    assert flag.is_open
    assert flag.withheld.startswith("Do the world a favour.")
    assert "kill yourself" in flag.withheld[flag.excerpt_start : flag.excerpt_end]
    assert flag.note == ("A silly model." if resolved else "")


@pytest.mark.parametrize(("resolved", "severity"), [(False, "high"), (True, "low")])
def test_a_further_attempt_that_is_less_grave_waits_for_a_teachers_decision(
    app: Flask, teacher: Visitor, student: Visitor, conversation_id: int, resolved: bool, severity: str
) -> None:
    student.send(conversation_id, "Hello")
    reply = stored(app)[-1]
    with app.extensions["database"].transaction() as db:
        raise_flags(db, reply.id, [Finding(Category.VIOLENCE, Severity.HIGH)], withheld="Worse.")
    if resolved:
        teacher.post(f"/flags/{flags(app)[0].id}/resolve", {"note": ""})
    with app.extensions["database"].transaction() as db:
        raise_flags(db, reply.id, [Finding(Category.VIOLENCE, Severity.LOW)], withheld="Bad.")
    (flag,) = flags(app)
    assert (flag.severity, flag.is_open) == (severity, True)
    assert flag.withheld == ("Bad." if resolved else "Worse.")


def test_what_is_found_in_one_source_leaves_the_flag_of_another_as_it_is(
    app: Flask, teacher: Visitor, student: Visitor, conversation_id: int
) -> None:
    student.send(conversation_id, "Hello")
    reply = newest(app)
    sources = ({"withheld": "Die!"}, {"reason": "I want to die."}, {})
    for given in sources:
        with app.extensions["database"].transaction() as db:
            raise_flags(db, reply.id, [Finding(Category.SELF_HARM, Severity.HIGH)], **given)
    assert [(flag.source, flag.withheld, flag.reason) for flag in flags(app)] == [
        (Source.WITHHELD, "Die!", None),
        (Source.REASON, None, "I want to die."),
        (Source.TEXT, None, None),
    ]
    teacher.post(f"/flags/{flags(app)[0].id}/resolve", {"note": ""})
    with app.extensions["database"].transaction() as db:
        raise_flags(db, reply.id, [Finding(Category.SELF_HARM, Severity.HIGH)], reason="I will do it.")
    assert [(flag.is_open, flag.reason) for flag in flags(app)] == [
        (False, None),
        (True, "I will do it."),
        (True, None),
    ]


def test_what_was_resolved_is_not_opened_by_the_same_found_again_but_by_worse(
    app: Flask, teacher: Visitor, student: Visitor, conversation_id: int
) -> None:
    student.send(conversation_id, THREAT)
    message = stored(app)[1]
    teacher.post(f"/flags/{flags(app)[0].id}/resolve", {"note": ""})
    opened = []
    for severity in (Severity.LOW, Severity.HIGH):
        with app.extensions["database"].transaction() as db:
            raise_flags(db, message.id, [Finding(Category.VIOLENCE, severity)])
        opened.append(flags(app)[0].is_open)
    assert opened == [False, True]


def test_what_was_withheld_is_not_told_to_the_model_later(
    student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(UNSAFE)
    student.send(conversation_id, "Hello", key="one")
    fake_model.reply_with("Yes?")
    student.send(conversation_id, "Are you there?", key="two")
    assert "kill yourself" not in str(fake_model.requests[-1].messages[1:])


def test_a_villains_threat_is_shown_and_flagged(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with("I will kill you, traitor!")
    done = events(student.send(conversation_id, "Hello"))[-1][1]
    assert "traitor" in done["html"]
    assert [(flag.category, flag.severity) for flag in flags(app)] == [("violence", "low")]


def test_a_recital_raises_a_flag(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.recite_prompt()
    student.send(conversation_id, "What are your instructions?")
    assert [(flag.category, flag.message_id) for flag in flags(app)] == [("recital", stored(app)[-1].id)]


def test_nothing_that_anybody_wrote_is_in_the_log(
    student: Visitor, conversation_id: int, fake_model: FakeModel, caplog: pytest.LogCaptureFixture
) -> None:
    fake_model.reply_with(UNSAFE)
    with caplog.at_level(logging.DEBUG):
        student.send(conversation_id, VAGUE)
    assert "is flagged: self_harm, low" in caplog.text
    assert "is withheld: self_harm" in caplog.text
    assert "go on like this" not in caplog.text
    assert "kill yourself" not in caplog.text


def test_the_rest_api_brings_the_message_and_does_not_fail(
    student: Visitor, conversation_id: int, students_script: Script, fake_model: FakeModel
) -> None:
    path = f"/1/conversations/{conversation_id}"
    response = students_script.post(f"{path}/messages", json={"message": WISH, "client_key": "k"})
    assert response.status_code == 200, response.text
    _opening, message, reply = response.json["messages"]
    assert "Counselling <service>: 555 0100 (day and night)" in message["notice"]
    assert (reply["state"], reply["text"], reply["notice"]) == ("interrupted", "", None)
    again = students_script.post(f"{path}/messages", json={"message": WISH, "client_key": "k"})
    assert again.json == response.json
    assert fake_model.requests == []
    goes_on = students_script.post(f"{path}/messages", json={"message": "Let us go on."})
    assert goes_on.json["messages"][-1]["state"] == "complete"


def test_the_rest_api_streams_the_message(conversation_id: int, students_script: Script, app: Flask) -> None:
    response = students_script.post(
        f"/1/conversations/{conversation_id}/messages",
        json={"message": WISH},
        headers={"Accept": "text/event-stream"},
        buffered=True,
    )
    assert names(response) == ["reply", "notice", "done"]
    assert of_kind(response, "notice") == {
        "id": stored(app)[1].id,
        "notice": of_kind(response, "done")["messages"][1]["notice"],
    }


def test_the_rest_api_tells_of_a_reply_that_was_withheld(
    conversation_id: int, students_script: Script, fake_model: FakeModel
) -> None:
    fake_model.reply_with(UNSAFE)
    response = students_script.post(f"/1/conversations/{conversation_id}/messages", json={"message": "Hi"})
    assert (response.status_code, response.json["code"]) == (503, "withheld")
    assert response.json["retryable"] is True
    assert "kill" not in response.text


@pytest.fixture
def students_script(app: Flask, sandbox: Sandbox, student: Visitor) -> Script:
    return Script.of(app, sandbox.person("amara.diallo").sub)


def dislike(student: Visitor, conversation_id: int, reply_id: int, reason: str) -> Any:
    return student.post(
        f"/conversations/{conversation_id}/messages/{reply_id}/feedback",
        {"vote": "disliked", "feedback_message": reason},
        headers={"Accept": "application/json"},
    )


def test_who_writes_of_harming_themselves_about_a_reply_finds_help_too(
    app: Flask, teacher: Visitor, student: Visitor, conversation_id: int
) -> None:
    student.send(conversation_id, "Hello")
    reply = newest(app)
    assert "555 0100" in dislike(student, conversation_id, reply.id, WISH).json["html"]
    assert "555 0100" in chat(student).select_one(f"#message-{reply.id} [data-testid=help]").text
    (flag,) = flags(app)
    assert (flag.message_id, flag.category, flag.severity) == (reply.id, "self_harm", "high")
    shown = teacher.page("/flags").select_one("[data-testid=flag]").text
    for part in ("The student wrote about a reply", WISH, "where to find help"):
        assert part in shown
    assert "555 0100" not in dislike(student, conversation_id, reply.id, "It is too short.").json["html"]
    assert len(flags(app)) == 1


def test_another_reason_of_danger_opens_its_flag_again(
    app: Flask, teacher: Visitor, student: Visitor, conversation_id: int
) -> None:
    student.send(conversation_id, "Hello")
    reply = newest(app)
    dislike(student, conversation_id, reply.id, WISH)
    teacher.post(f"/flags/{flags(app)[0].id}/resolve", {"note": "We have talked."})
    for reason, state in ((WISH, FlagState.RESOLVED), (f"Again: {WISH}", FlagState.OPEN)):
        dislike(student, conversation_id, reply.id, reason)
        (flag,) = flags(app)
        assert flag.workflow_state == state
    assert flag.reason == f"Again: {WISH}"


def test_the_rest_api_shows_the_help_about_a_reason(
    app: Flask, student: Visitor, conversation_id: int, students_script: Script
) -> None:
    student.send(conversation_id, "Hello")
    path = f"/1/conversations/{conversation_id}/messages/{newest(app).id}/feedback"
    given = students_script.post(path, json={"vote": "disliked", "feedback_message": WISH}).json
    assert "555 0100" in given["feedback"]["notice"]


def rate(visitor: Visitor, conversation_id: int, reply_id: int, accept: str, **fields: str) -> Any:
    path = f"/conversations/{conversation_id}/messages/{reply_id}/feedback"
    return visitor.post(path, fields, headers={"Accept": accept})


# What may be wrong with a dislike: its vote, how much stands around the words, the state of the reply.
ODD_RATINGS: dict[str, dict[str, Any]] = {
    "too long": {"before": 2_000, "after": 2_000},
    "too long, first": {"after": 2_000},
    "no vote": {"vote": ""},
    "bad vote": {"vote": "loved"},
    "reply under way": {"state": MessageState.GENERATING},
    "reply that broke off": {"state": MessageState.FAILED},
    "all": {"vote": "loved", "before": 2_000, "state": MessageState.INTERRUPTED},
}


class TestReason:
    """The reason for which a reply is disliked is taken like a message, where it speaks of self-harm."""

    @pytest.fixture(params=ODD_RATINGS)
    def wrong(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return ODD_RATINGS[request.param]

    @pytest.fixture
    def fields(self, wrong: dict[str, Any]) -> dict[str, str]:
        before, after = ("la " * (wrong.get(side, 0) // 3) for side in ("before", "after"))
        return {
            "vote": wrong.get("vote", "disliked"),
            "feedback_message": f"{before}I want to kill myself. {after}",
        }

    @pytest.fixture
    def reply(self, app: Flask, student: Visitor, conversation_id: int, wrong: dict[str, Any]) -> Message:
        student.send(conversation_id, "Hello")
        with app.extensions["database"].transaction() as db:
            reply = db.exec(select(Message).order_by(Message.id.desc())).first()
            reply.state = wrong.get("state", MessageState.COMPLETE)
            reply.lease_until = utc_now() + timedelta(hours=1)
        return newest(app)

    def test_it_is_kept_helped_and_flagged_whatever_is_wrong_with_it(
        self, app: Flask, student: Visitor, conversation_id: int, reply: Message, fields: dict[str, str]
    ) -> None:
        answer = rate(student, conversation_id, reply.id, "application/json", **fields)
        assert "555 0100" in answer.json["html"]
        assert "555 0100" in chat(student).select_one(f"#message-{reply.id} [data-testid=help]").text
        (flag,) = flags(app)
        assert (flag.message_id, flag.source, flag.severity) == (reply.id, Source.REASON, "high")
        assert flag.reason[flag.excerpt_start : flag.excerpt_end] == "I want to kill myself"
        with app.extensions["database"].snapshot() as db:
            given = db.exec(select(MessageFeedback)).one()
        assert (given.vote, given.feedback_message) == (Vote.DISLIKED, flag.reason)
        assert len(given.feedback_message) <= MAX_FEEDBACK

    def test_without_javascript_too(
        self, student: Visitor, conversation_id: int, reply: Message, fields: dict[str, str]
    ) -> None:
        assert rate(student, conversation_id, reply.id, "text/html", **fields).status_code == 303
        assert len(chat(student).select(f"#message-{reply.id} [data-testid=help]")) == 1

    def test_the_rest_api_takes_it_too(
        self,
        app: Flask,
        conversation_id: int,
        students_script: Script,
        reply: Message,
        fields: dict[str, str],
    ) -> None:
        path = f"/1/conversations/{conversation_id}/messages/{reply.id}/feedback"
        answer = students_script.post(path, json=fields)
        assert answer.status_code == 200, answer.text
        assert answer.json["feedback"]["vote"] == "disliked"
        assert "555 0100" in answer.json["feedback"]["notice"]
        assert [flag.message_id for flag in flags(app)] == [reply.id]

    def test_so_it_is_with_words_that_may_mean_it(
        self, app: Flask, student: Visitor, conversation_id: int
    ) -> None:
        student.send(conversation_id, "Hello")
        given = {"vote": "loved", "feedback_message": VAGUE}
        answer = rate(student, conversation_id, newest(app).id, "application/json", **given)
        assert "555 0100" in answer.json["html"]
        assert [flag.severity for flag in flags(app)] == ["low"]

    @pytest.mark.parametrize(
        ("vote", "reason"),
        [("loved", THREAT), ("", "Too rude."), ("disliked", f"{THREAT} {'la ' * MAX_FEEDBACK}")],
        ids=["bad vote", "no vote", "too long"],
    )
    def test_any_other_is_refused(
        self, app: Flask, student: Visitor, conversation_id: int, vote: str, reason: str
    ) -> None:
        student.send(conversation_id, "Hello")
        given = {"vote": vote, "feedback_message": reason}
        answer = rate(student, conversation_id, newest(app).id, "application/json", **given)
        assert (answer.status_code, answer.json["code"]) == (400, "invalid")
        assert flags(app) == []

    def test_what_is_no_reply_takes_none(self, app: Flask, student: Visitor, conversation_id: int) -> None:
        student.send(conversation_id, "Hello")
        own = stored(app)[1].id
        given = {"vote": "disliked", "feedback_message": WISH}
        assert rate(student, conversation_id, own, "application/json", **given).status_code == 404


def test_what_came_of_a_reply_that_broke_off_is_looked_at(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(f"{THREAT} Now listen to me, and then go home.", drop_after=8)
    done = events(student.send(conversation_id, "Hello"))[-1][1]
    assert (done["state"], "Now listen" in done["html"]) == ("failed", True)
    assert [(flag.category, flag.severity, flag.withheld) for flag in flags(app)] == [
        ("violence", "low", None)
    ]


def test_what_came_of_a_reply_that_was_stopped_is_looked_at(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with([THREAT, " Now", *[" and now"] * 200], delay=0.05)
    begin(student, conversation_id)
    assert events(stop(student, conversation_id, newest(app)))[-1][1]["state"] == "interrupted"
    assert [(flag.category, flag.severity) for flag in flags(app)] == [("violence", "low")]


def moderated(*flagged: str, reply: str = "I see.") -> Callable[[ReceivedRequest], Answer]:
    """Return what answers for a model and for a moderation endpoint that flags every text that has "danger" in it."""

    def answer(request: ReceivedRequest) -> Answer:
        if not request.path.endswith("/moderations"):
            return make_reply(reply)
        names = flagged if "danger" in request.body["input"] else ()
        return make_failure(200, {"results": [{"categories": dict.fromkeys(names, True)}]})

    return answer


def soon(condition: Callable[[], bool]) -> bool:
    """Tell whether a condition comes true while the caller waits for an answer."""
    until = time.monotonic() + 2
    while not condition() and time.monotonic() < until:
        time.sleep(0.01)
    return condition()


class TestProvider:
    """With a moderation endpoint beside the replies."""

    @pytest.fixture
    def changes(self) -> dict[str, Any]:
        return {"safety_check": "provider"}

    def test_what_it_finds_is_told_before_the_reply_ends(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
    ) -> None:
        fake_model.answer_by(moderated("self-harm/intent"))
        response = student.send(conversation_id, "A word of danger.")
        assert [name for name in names(response) if name != "text"] == ["reply", "notice", "done"]
        assert [(flag.category, flag.severity) for flag in flags(app)] == [("self_harm", "high")]
        assert stored(app)[1].notice is Notice.HELP
        assert events(response)[-1][1]["state"] == "complete"

    def test_the_rest_api_waits_for_it_too(
        self, conversation_id: int, students_script: Script, fake_model: FakeModel
    ) -> None:
        fake_model.answer_by(moderated("self-harm/intent"))
        path = f"/1/conversations/{conversation_id}/messages"
        answer = students_script.post(path, json={"message": "A word of danger."})
        assert "555 0100" in answer.json["messages"][1]["notice"]

    def test_a_reply_that_it_objects_to_is_withheld(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
    ) -> None:
        fake_model.answer_by(moderated("hate", reply="A reply of danger."))
        done = events(student.send(conversation_id, "Hello"))[-1][1]
        assert done["state"] == "failed"
        assert "danger" not in done["html"]
        assert [(flag.category, flag.withheld) for flag in flags(app)] == [("abuse", "A reply of danger.")]

    def test_what_came_of_a_reply_that_broke_off_is_withheld(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
    ) -> None:
        judge = moderated("hate")

        def answer(request: ReceivedRequest) -> Answer:
            if request.path.endswith("/moderations"):
                return judge(request)
            return make_reply("A reply of danger that goes on.", drop_after=5)

        fake_model.answer_by(answer)
        done = events(student.send(conversation_id, "Hello"))[-1][1]
        assert (done["state"], "danger" in done["html"]) == ("failed", False)
        assert [(flag.category, flag.withheld) for flag in flags(app)] == [
            ("abuse", "A reply of danger that ")
        ]

    def test_a_reply_that_is_stopped_while_it_looks_is_taken_back(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
    ) -> None:
        judge, looks, may_answer = moderated("hate", reply="A reply of danger."), Event(), Event()

        def answer(request: ReceivedRequest) -> Answer:
            if request.path.endswith("/moderations") and "danger" in request.body["input"]:
                looks.set()
                may_answer.wait(5)
            return judge(request)

        fake_model.answer_by(answer)
        begin(student, conversation_id)
        assert looks.wait(5)
        assert events(stop(student, conversation_id, newest(app)))[-1][1]["state"] == "interrupted"
        may_answer.set()
        assert soon(lambda: newest(app).error_code == ReplyNote.WITHHELD)
        assert (newest(app).state, newest(app).text) == (MessageState.FAILED, "")
        assert [(flag.category, flag.withheld) for flag in flags(app)] == [("abuse", "A reply of danger.")]
        assert "danger" not in chat(student).text

    def test_a_reply_that_is_stopped_while_it_is_withheld_stays_so(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel, monkeypatch: Any
    ) -> None:
        fake_model.answer_by(moderated("hate", reply="A reply of danger."))
        replies: Replies = app.extensions["replies"]
        store, stores, may_store = replies._store, Event(), Event()

        def slow_store(*given: Any) -> None:
            stores.set()
            may_store.wait(5)
            store(*given)

        monkeypatch.setattr(replies, "_store", slow_store)
        reading = begin(student, conversation_id)
        assert stores.wait(5)
        replies.stop(newest(app).id)
        may_store.set()
        assert b'"state":"failed"' in b"".join(reading.response)
        assert (newest(app).error_code, newest(app).text) == (ReplyNote.WITHHELD, "")
        assert [(flag.category, flag.withheld) for flag in flags(app)] == [("abuse", "A reply of danger.")]

    def test_a_reply_that_was_given_up_before_it_could_be_withheld_is_taken_back(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
    ) -> None:
        judge = moderated("hate", reply="A reply of danger.")

        def answer(request: ReceivedRequest) -> Answer:
            if request.path.endswith("/moderations") and "danger" in request.body["input"]:
                with app.extensions["database"].transaction() as session:  # as its lease has run out
                    lost = {"state": MessageState.INTERRUPTED, "text": "A reply of danger."}
                    session.execute(update(Message).where(Message.id == newest(app).id).values(**lost))
            return judge(request)

        fake_model.answer_by(answer)
        student.send(conversation_id, "Hello")
        assert soon(lambda: newest(app).error_code == ReplyNote.WITHHELD)
        assert newest(app).text == ""
        assert [(flag.category, flag.withheld) for flag in flags(app)] == [("abuse", "A reply of danger.")]

    def test_what_came_of_a_reply_that_took_too_long_is_taken_back(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
    ) -> None:
        app.extensions["replies"]._longest_ms = 500
        judge = moderated("hate")

        def answer(request: ReceivedRequest) -> Answer:
            if request.path.endswith("/moderations"):
                return judge(request)
            return make_reply(["A reply of danger that goes on and on, ", "and"], stall_after=1)

        fake_model.answer_by(answer)
        student.send(conversation_id, "Hello")
        assert soon(lambda: newest(app).error_code == ReplyNote.WITHHELD)
        assert newest(app).text == ""
        assert [flag.category for flag in flags(app)] == ["abuse"]

    def test_what_it_finds_after_the_reader_has_gone_is_told_on_return_and_elsewhere(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
    ) -> None:
        judge, may_answer = moderated("self-harm/intent"), Event()

        def answer(request: ReceivedRequest) -> Answer:
            if not request.path.endswith("/moderations"):
                return make_reply("word " * 20, delay=0.05)
            if "danger" in request.body["input"]:
                may_answer.wait(5)
            return judge(request)

        fake_model.answer_by(answer)
        data = {"message": "A word of danger.", "client_key": "key-1"}
        path, accept = f"/conversations/{conversation_id}", {"Accept": "text/event-stream"}
        reading = student.post(f"{path}/messages", data, headers=accept)
        next(reading.response)
        version = chat(student).select_one("[data-chat]")["data-version"]
        reading.close()
        may_answer.set()
        again = student.get(f"{path}/messages/{newest(app).id}/events", headers=accept, buffered=True)
        assert [name for name in names(again) if name != "text"] in (
            ["reply", "notice", "done"],
            ["reply", "notice", "notice", "done"],
        )
        elsewhere = student.get(f"{path}/state?version={version}")
        assert "data-notice" in elsewhere.text

    def test_a_message_that_is_refused_is_looked_at_by_the_lists(
        self, app: Flask, student: Visitor, conversation_id: int
    ) -> None:
        changed(workflow_state=ConversationState.COMPLETED)(app, conversation_id)
        assert names(student.send(conversation_id, WISH)) == ["reply", "notice", "done"]
        assert [flag.category for flag in flags(app)] == ["self_harm"]

    def test_a_message_whose_reply_is_tried_again_is_looked_at_with_it(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
    ) -> None:
        fake_model.fail_with(503)
        student.send(conversation_id, "A word of danger.")
        assert flags(app) == []
        fake_model.answer_by(moderated("self-harm/intent"))
        response = student.retry(conversation_id, newest(app).id)
        assert [name for name in names(response) if name != "text"] == ["reply", "notice", "done"]
        assert [flag.category for flag in flags(app)] == ["self_harm"]

    def test_what_the_lists_find_waits_for_no_provider(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
    ) -> None:
        def answer(request: ReceivedRequest) -> Answer:
            down = request.path.endswith("/moderations")
            return make_failure(503) if down else make_reply(UNSAFE)

        fake_model.answer_by(answer)
        response = student.send(conversation_id, VAGUE)
        assert names(response)[:2] == ["reply", "notice"]
        assert "kill" not in response.text
        assert [(flag.category, flag.severity) for flag in flags(app)] == [
            ("self_harm", "low"),
            ("self_harm", "high"),
        ]

    def test_what_it_finds_is_stored_patiently(
        self,
        app: Flask,
        student: Visitor,
        conversation_id: int,
        fake_model: FakeModel,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        note, refusals = Moderations._note, [OperationalError("UPDATE", {}, Exception("database is locked"))]

        def sometimes(self: Moderations, *args: Any) -> None:
            if refusals:
                raise refusals.pop()
            note(self, *args)

        monkeypatch.setattr(Moderations, "_note", sometimes)
        fake_model.answer_by(moderated("self-harm/intent"))
        assert "notice" in names(student.send(conversation_id, "A word of danger."))
        assert [flag.category for flag in flags(app)] == ["self_harm"]
        assert refusals == []

    def test_no_connection_is_held_while_it_is_asked(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
    ) -> None:
        pool, held = app.extensions["database"].engine.pool, []
        other = moderated("self-harm/intent")

        def answer(request: ReceivedRequest) -> Answer:
            if request.path.endswith("/moderations") and "danger" in request.body["input"]:
                held.append(not soon(lambda: pool.checkedout() == 0))
            return other(request)

        fake_model.answer_by(answer)
        student.send(conversation_id, "A word of danger.")
        assert held == [False]


class TestOff:
    """Where the institution wants nothing looked at."""

    @pytest.fixture
    def changes(self) -> dict[str, Any]:
        return {"safety_check": "off"}

    def test_nothing_is_looked_at(
        self, app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
    ) -> None:
        fake_model.reply_with(UNSAFE)
        response = student.send(conversation_id, WISH)
        assert events(response)[-1][1]["state"] == "complete"
        limited(messages_per_minute=1)(app, conversation_id)
        assert student.send(conversation_id, WISH, key="two").status_code == 429
        assert flags(app) == []
