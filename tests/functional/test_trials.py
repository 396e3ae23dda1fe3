"""*Try it as a student*, and Canvas's student view: the same engine, in no figure."""

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlmodel import select

from app.conversations.models import Conversation, Message
from app.experiences.models import Experience
from app.lti.models import Score
from app.sandbox import Sandbox
from tests.support.api import Script
from tests.support.fake_model import FakeModel
from tests.support.people import Visitor, events

ROLES = "https://purl.imsglobal.org/spec/lti/claim/roles"
INSTRUCTOR = "http://purl.imsglobal.org/vocab/lis/v2/membership#Instructor"
TRIERS = ["miriam.okafor", "test.student.1101"]


@pytest.fixture(params=TRIERS)
def trier(request: pytest.FixtureRequest, app: Flask, sandbox: Sandbox) -> Visitor:
    return Visitor.launch(app, sandbox, request.param)


@pytest.fixture
def trial(trier: Visitor, experience_id: int) -> int:
    """A trial that was held, answered and finished."""
    conversation_id = trier.start(experience_id)
    trier.send(conversation_id, "A trial's words")
    trier.post(f"/conversations/{conversation_id}/finish")
    return conversation_id


@pytest.fixture
def experience_id(teacher: Visitor) -> int:
    return teacher.write_experience()


def rows(app: Flask, model: type) -> list:
    with app.extensions["database"].snapshot() as db:
        return list(db.exec(select(model)))


def test_a_trial_streams_is_judged_and_stored_as_a_students(
    app: Flask, trier: Visitor, experience_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with("What do you want?")
    conversation_id = trier.start(experience_id)
    last = events(trier.send(conversation_id, "Hello"))[-1][1]
    assert last["state"] == "complete"
    assert app.extensions["judges"].wait_for(conversation_id, 10)
    assert [message.text for message in rows(app, Message)][1:] == ["Hello", "What do you want?"]
    (conversation,) = rows(app, Conversation)
    assert conversation.is_preview
    assert len(fake_model.questions) == 1


def test_a_trial_is_in_no_class_and_no_count(teacher: Visitor, experience_id: int, trial: int) -> None:
    page = teacher.page(f"/experiences/{experience_id}")
    assert _counts(page) == _counts(teacher.page(f"/experiences/{_another(teacher)}"))
    assert "A trial's words" not in page.text
    assert "A trial's words" not in teacher.page(f"/experiences/{experience_id}/transcripts").text


def test_a_trial_is_no_transcript(teacher: Visitor, trial: int) -> None:
    assert teacher.get(f"/conversations/{trial}/transcript").status_code == 404
    assert teacher.post(f"/conversations/{trial}/grade", {"points": "1"}).status_code == 404


def test_a_trial_starts_nothing_and_is_handed_in_nowhere(
    app: Flask, teacher: Visitor, experience_id: int, trial: int
) -> None:
    (experience,) = rows(app, Experience)
    assert experience.started_at is None
    assert rows(app, Score) == []
    assert teacher.post(f"/experiences/{experience_id}/unpublish").status_code == 303
    assert not rows(app, Experience)[0].published


def test_the_api_counts_no_trial(
    app: Flask, sandbox: Sandbox, teacher: Visitor, experience_id: int, trial: int
) -> None:
    script = Script.of(app, sandbox.person("miriam.okafor").sub)
    (listed,) = script.get("").json
    assert listed["completed_count"] == 0
    conversations = script.get(f"/{experience_id}/ai_conversations").json
    snapshot = conversations["snapshot"]
    assert (snapshot["completed"], snapshot["in_progress"]) == (0, 0)
    assert not any(each["has_conversation"] for each in conversations["conversations"])
    for path in ("ai_conversations", "conversations"):
        assert script.get(f"/{experience_id}/{path}/{trial}").status_code == 404
    assert script.get(f"/{experience_id}/conversations/{trial}/evaluation").status_code == 404


def test_who_has_tried_it_and_is_a_student_now_has_begun_nothing(
    app: Flask, sandbox: Sandbox, teacher: Visitor, experience_id: int
) -> None:
    was_teacher = Visitor.launch(app, sandbox, "amara.diallo", **{ROLES: [INSTRUCTOR]})
    trial = was_teacher.start(experience_id)
    was_teacher.send(trial, "A trial's words")
    was_teacher.post(f"/conversations/{trial}/finish")
    student = Visitor.launch(app, sandbox, "amara.diallo")
    assert student.page(f"/experiences/{experience_id}/conversation").select_one("[data-testid=start]")
    assert "Not started" in student.page("/shelf").text
    script = Script.of(app, sandbox.person("miriam.okafor").sub)
    assert script.get("").json[0]["completed_count"] == 0
    snapshot = script.get(f"/{experience_id}/ai_conversations").json["snapshot"]
    assert (snapshot["completed"], snapshot["in_progress"]) == (0, 0)
    row = teacher.page(f"/experiences/{experience_id}").select_one("[data-testid=student-row]")
    assert "Not started" in row.text
    assert student.start(experience_id) != trial


def _another(teacher: Visitor) -> int:
    """Return an experience that nobody has opened."""
    return teacher.write_experience(title="Untouched")


def _counts(page: BeautifulSoup) -> str:
    return " ".join(page.select_one("[data-testid=counts]").text.split())
