"""What one person may do in a day, as the API refuses more."""

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.api import Script
from tests.support.fake_model import FakeModel
from tests.support.judging import assessment
from tests.support.people import Visitor

pytestmark = pytest.mark.usefixtures("noon", "unread_lists")


@pytest.fixture
def path(app: Flask, teacher: Visitor) -> str:
    """Where the conversations of an experience are, of which a person begins, sends and has evaluated one a day."""
    ones = {"daily_starts": 1, "daily_messages": 1, "daily_evaluations": 1}
    app.config["SETTINGS"] = app.config["SETTINGS"].model_copy(update=ones)
    return f"/{teacher.write_experience()}/conversations"


@pytest.fixture
def conversation(students_script: Script, path: str) -> str:
    return f"{path}/{students_script.post(path).json['id']}"


def assert_too_many(response: TestResponse) -> None:
    assert response.status_code == 429
    assert set(response.json) == {"error", "code", "retryable", "reference_id"}
    assert (response.json["code"], response.json["retryable"]) == ("rate_limited", True)
    assert not any(character.isdigit() for character in response.json["error"])
    assert 0 < int(response.headers["Retry-After"]) <= 24 * 3600


def test_a_start_too_many_begins_nothing(students_script: Script, path: str, conversation: str) -> None:
    assert_too_many(students_script.post(path))
    assert f"{path}/{students_script.get(path).json['id']}" == conversation


def test_a_message_too_many_is_not_sent(
    students_script: Script, path: str, conversation: str, fake_model: FakeModel
) -> None:
    fake_model.reply_with("Well?")
    assert students_script.post(f"{conversation}/messages", json={"message": "One"}).status_code == 200
    assert_too_many(students_script.post(f"{conversation}/messages", json={"message": "Two"}))
    assert len(students_script.get(path).json["messages"]) == 3


def test_an_evaluation_too_many_leaves_the_one_that_is_there(
    teachers_script: Script, students_script: Script, conversation: str, fake_model: FakeModel
) -> None:
    fake_model.reply_with("Well?")
    students_script.post(f"{conversation}/messages", json={"message": "One"})
    fake_model.judge_by(lambda _request: assessment(objectives=2))
    evaluated = teachers_script.get(f"{conversation}/evaluation")
    assert evaluated.status_code == 200, evaluated.text
    assert_too_many(teachers_script.get(f"{conversation}/evaluation?again=true"))
    assert teachers_script.get(f"{conversation}/evaluation").json == evaluated.json
