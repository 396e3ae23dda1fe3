"""The student's own chat over the API."""

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.sandbox import Sandbox
from tests.support.api import Script
from tests.support.fake_model import FakeModel
from tests.support.people import Visitor, events

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def path(teacher: Visitor) -> str:
    """Where the conversations of a published experience are."""
    return f"/{teacher.write_experience()}/conversations"


@pytest.fixture
def conversation(students_script: Script, path: str) -> str:
    """Where a conversation that the student has begun is."""
    return f"{path}/{students_script.post(path).json['id']}"


def said(conversation: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message["role"], message["text"]) for message in conversation["messages"]]


def test_nothing_is_there_before_the_first_conversation(students_script: Script, path: str) -> None:
    response = students_script.get(path)
    assert (response.status_code, response.json) == (200, {})


def test_the_persona_speaks_first(students_script: Script, path: str) -> None:
    started = students_script.post(path)
    assert started.status_code == 201
    assert said(started.json) == [("Assistant", "My bill is wrong!")]
    progress = started.json["progress"]
    assert (progress["current"], progress["total"], progress["percentage"]) == (0, 2, 0)
    assert [each["objective"] for each in progress["objectives"]] == ["Listen actively", "Solve the problem"]
    assert students_script.get(path).json == started.json


def test_an_opening_that_the_model_writes_is_waited_for(
    students_script: Script, teacher: Visitor, fake_model: FakeModel
) -> None:
    fake_model.reply_with(["Good ", "evening."])
    experience_id = teacher.write_experience(opening_line="")
    started = students_script.post(f"/{experience_id}/conversations").json
    assert said(started) == [("Assistant", "Good evening.")]


@pytest.mark.parametrize("status", [401, 429, 500])
def test_of_an_opening_that_failed_nothing_is_said_to_be_saved(
    students_script: Script, student: Visitor, teacher: Visitor, fake_model: FakeModel, status: int
) -> None:
    experience_id = teacher.write_experience(opening_line="")
    fake_model.fail_with(status)
    failed = students_script.post(f"/{experience_id}/conversations")
    assert failed.status_code == 503
    page = student.page(f"/experiences/{experience_id}/conversation")
    for words in (failed.json["error"], page.select_one("[data-testid=failure]").text):
        assert "try again" in words
        assert "saved" not in words


def test_starting_again_ends_what_was_active(students_script: Script, path: str, conversation: str) -> None:
    again = students_script.post(path).json
    assert f"{path}/{again['id']}" != conversation
    refused = students_script.post(f"{conversation}/messages", json={"message": "Hello"})
    assert (refused.status_code, refused.json["code"]) == (409, "conversation_ended")


def test_a_key_that_no_database_stores_is_a_key(students_script: Script, path: str) -> None:
    key = {"data": r'{"client_key": "\ud800"}', "content_type": "application/json"}
    first, second = (students_script.post(path, **key) for _ in range(2))
    assert (first.status_code, first.json) == (201, second.json)


@pytest.mark.parametrize("send", ["header", "body"])
def test_a_repeated_start_begins_nothing_new(students_script: Script, path: str, send: str) -> None:
    key = {"headers": {"Idempotency-Key": "k"}} if send == "header" else {"json": {"client_key": "k"}}
    first, second = (students_script.post(path, **key) for _ in range(2))
    assert (first.status_code, first.json) == (second.status_code, second.json)


def test_an_integer_is_a_key_as_its_digits_are(students_script: Script, path: str, conversation: str) -> None:
    started = [students_script.post(path, json={"client_key": key}).json["id"] for key in (7, "7", 0, "0")]
    assert started[0] == started[1] != started[2] == started[3]
    messages = f"{path}/{started[3]}/messages"
    sent = [students_script.post(messages, json={"message": "Hi", "client_key": key}) for key in (7, "7")]
    assert sent[0].json == sent[1].json


@pytest.mark.parametrize("key", [1.5, True, ["k"], {"k": "k"}], ids=repr)
def test_what_is_no_key_is_refused(
    students_script: Script, path: str, conversation: str, fake_model: FakeModel, key: object
) -> None:
    invalid = {"attribute": "client_key", "type": "invalid", "message": "must be text or an integer"}
    refusal = (400, {"errors": {"client_key": [invalid]}})
    for address in (path, f"{conversation}/messages"):
        response = students_script.post(address, json={"message": "Hello", "client_key": key})
        assert (response.status_code, response.json) == refusal
    assert len(students_script.get(path).json["messages"]) == 1
    assert fake_model.requests == []


def test_a_message_is_answered_with_the_conversation(
    students_script: Script, conversation: str, fake_model: FakeModel
) -> None:
    fake_model.reply_with("Then *do* something.")
    response = students_script.post(f"{conversation}/messages", data={"message": "I am <b>sorry</b>."})
    assert response.status_code == 200
    assert said(response.json)[1:] == [("User", "I am <b>sorry</b>."), ("Assistant", "Then *do* something.")]
    assert {message["state"] for message in response.json["messages"]} == {"complete"}


def test_the_reply_streams(students_script: Script, conversation: str, fake_model: FakeModel) -> None:
    fake_model.reply_with(["Then ", "do ", "something."], delay=0.2)
    response = students_script.post(
        f"{conversation}/messages", json={"message": "Sorry."}, headers=STREAM, buffered=True
    )
    assert response.mimetype == "text/event-stream"
    names = [name for name, _data in events(response)]
    assert (names[0], names[-1], set(names[1:-1])) == ("reply", "done", {"text"})
    pieces = [data["text"] for name, data in events(response) if name == "text"]
    assert "".join(pieces) == "Then do something."
    assert said(events(response)[-1][1])[-1] == ("Assistant", "Then do something.")


def test_the_same_key_returns_the_same_turn(
    students_script: Script, conversation: str, fake_model: FakeModel
) -> None:
    fake_model.reply_with("Well?")
    body = {"message": "Sorry.", "client_key": "k"}
    first, second = (students_script.post(f"{conversation}/messages", json=body) for _ in range(2))
    assert first.json == second.json
    assert len(first.json["messages"]) == 3
    assert len(fake_model.requests) >= 1


def test_a_key_that_comes_with_another_text_is_refused(
    students_script: Script, path: str, conversation: str
) -> None:
    sent = {"message": "Sorry.\r\nReally.", "client_key": "k"}
    assert students_script.post(f"{conversation}/messages", json=sent).status_code == 200
    for text in ("Sorry.", "Sorry.\nReally!", "a" * 4001):
        other = students_script.post(f"{conversation}/messages", json=sent | {"message": text})
        assert (other.status_code, other.json["code"]) == (409, "client_key_reused")
        assert not other.json["retryable"]
    for text in (" Sorry.\nReally.\0", ""):
        same = students_script.post(f"{conversation}/messages", json=sent | {"message": text})
        assert same.status_code == 200, same.text
    assert len(students_script.get(path).json["messages"]) == 3


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "message is required"),
        ({"message": "  \n"}, 400, "message is required"),
        ({"message": None}, 400, "message is required"),
        ({"message": ["a"]}, 400, "message is required"),
        ({"message": "a" * 4001}, 422, None),
    ],
    ids=["absent", "blank", "null", "a list", "too long"],
)
def test_what_is_no_message_reaches_no_model(
    students_script: Script,
    conversation: str,
    fake_model: FakeModel,
    body: dict[str, Any],
    status: int,
    error: str | None,
) -> None:
    asked = len(fake_model.requests)
    response = students_script.post(f"{conversation}/messages", json=body)
    assert response.status_code == status
    assert error is None or response.json["error"] == error
    assert len(fake_model.requests) == asked


def test_no_key_of_a_message_is_that_of_the_start(students_script: Script, path: str) -> None:
    started = students_script.post(path, json={"client_key": "k"}).json
    for key in ("k", f"start-{sha256(b'k').hexdigest()}"[:64]):
        body = {"message": f"Sorry, {key}.", "client_key": key}
        assert students_script.post(f"{path}/{started['id']}/messages", json=body).status_code < 300


def test_a_key_of_any_length_tells_its_message_from_others(
    students_script: Script, conversation: str
) -> None:
    def send(key: str) -> int:
        body = {"message": "Sorry.", "client_key": key}
        return len(students_script.post(f"{conversation}/messages", json=body).json["messages"])

    assert [send("k" * length) for length in (65, 66, 65)] == [3, 5, 5]


def test_a_reply_that_failed_says_so_plainly_and_is_tried_again_by_the_same_key(
    students_script: Script, conversation: str, fake_model: FakeModel
) -> None:
    fake_model.fail_with(401, "the upstream's own words")
    body = {"message": "Sorry.", "client_key": "k"}
    failed = students_script.post(f"{conversation}/messages", json=body)
    assert failed.status_code == 503
    assert set(failed.json) == {"error", "code", "retryable", "reference_id"}
    assert "upstream" not in failed.text
    fake_model.reply_with("Well?")
    again = students_script.post(f"{conversation}/messages", json=body)
    assert again.status_code == 200, again.text
    assert said(again.json)[1:] == [("User", "Sorry."), ("Assistant", "Well?")]


@pytest.mark.parametrize("stream", [{}, STREAM], ids=["json", "stream"])
def test_a_reply_that_failed_before_others_came_is_told_as_it_stands(
    students_script: Script, conversation: str, fake_model: FakeModel, stream: dict[str, str]
) -> None:
    first, second = ({"message": text, "client_key": text} for text in ("One", "Two"))
    fake_model.fail_with(401)
    assert students_script.post(f"{conversation}/messages", json=first).status_code == 503
    fake_model.reply_with("Well?")
    assert students_script.post(f"{conversation}/messages", json=second).status_code == 200
    again = students_script.post(f"{conversation}/messages", json=first, headers=stream, buffered=True)
    assert again.status_code == 200, again.text
    shown = events(again)[-1][1] if stream else again.json
    assert [message["state"] for message in shown["messages"]] == [
        "complete",
        "complete",
        "failed",
        "complete",
        "complete",
    ]


def test_a_turn_of_a_conversation_that_has_ended_is_told_as_it_stands(
    students_script: Script, conversation: str, fake_model: FakeModel
) -> None:
    body = {"message": "Sorry.", "client_key": "k"}
    fake_model.fail_with(401)
    assert students_script.post(f"{conversation}/messages", json=body).status_code == 503
    students_script.delete(conversation)
    again = students_script.post(f"{conversation}/messages", json=body)
    assert again.status_code == 200, again.text
    assert (again.json["workflow_state"], again.json["messages"][-1]["state"]) == ("ended", "failed")


def test_a_start_whose_opening_failed_is_told_as_it_stands_once_the_student_has_written(
    students_script: Script, teacher: Visitor, fake_model: FakeModel
) -> None:
    path = f"/{teacher.write_experience(opening_line='')}/conversations"
    fake_model.fail_with(401)
    assert students_script.post(path, json={"client_key": "k"}).status_code == 503
    fake_model.reply_with("Well?")
    began = students_script.get(path).json["id"]
    students_script.post(f"{path}/{began}/messages", json={"message": "Hello?"})
    again = students_script.post(path, json={"client_key": "k"})
    assert (again.status_code, len(again.json["messages"])) == (201, 3)


def test_a_reply_that_fails_while_it_streams_ends_with_an_error(
    students_script: Script, conversation: str, fake_model: FakeModel
) -> None:
    fake_model.fail_with(401, "the upstream's own words")
    response = students_script.post(
        f"{conversation}/messages", json={"message": "Sorry."}, headers=STREAM, buffered=True
    )
    name, data = events(response)[-1]
    assert name == "error"
    assert set(data) == {"error", "code", "retryable", "reference_id"}
    assert "upstream" not in response.text


def test_of_two_messages_at_once_one_waits(
    app: Flask, students_script: Script, conversation: str, fake_model: FakeModel
) -> None:
    fake_model.reply_with(["One ", "thing."], delay=0.5)

    def send(text: str) -> TestResponse:
        script = Script(app.test_client(), students_script.token)
        return script.post(f"{conversation}/messages", json={"message": text})

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(send, ["One", "Two"]), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in answers] == [200, 409]
    assert {"code": "turn_in_progress", "retryable": True}.items() <= answers[1].json.items()


def test_ending_leaves_nothing_active(students_script: Script, path: str, conversation: str) -> None:
    ended = students_script.delete(conversation)
    assert ended.json == {"message": "Conversation ended successfully"}
    assert students_script.get(path).json == {}
    assert students_script.delete(conversation).status_code == 200, "ending twice is no mistake"


def test_a_conversation_is_not_there_under_another_experience(
    students_script: Script, teacher: Visitor, conversation: str
) -> None:
    other = f"/{teacher.write_experience()}/conversations/{conversation.rpartition('/')[2]}"
    assert students_script.post(f"{other}/messages", json={"message": "Hello"}).status_code == 404
    assert students_script.delete(other).status_code == 404


def test_feedback_is_given_changed_and_taken_back(
    students_script: Script, path: str, conversation: str
) -> None:
    (opening,) = students_script.get(path).json["messages"]
    feedback = f"{conversation}/messages/{opening['id']}/feedback"
    liked = students_script.post(feedback, json={"vote": "liked"}).json["feedback"]
    changed = students_script.post(feedback, data={"vote": "disliked", "feedback_message": "Too rude."})
    assert changed.json["feedback"]["id"] == liked["id"]
    (opening,) = students_script.get(path).json["messages"]
    assert (opening["feedback"]["vote"], opening["feedback"]["feedback_message"]) == ("disliked", "Too rude.")
    assert students_script.delete(f"{feedback}/{liked['id']}").json == {"success": True}
    (opening,) = students_script.get(path).json["messages"]
    assert opening["feedback"] is None
    assert students_script.delete(f"{feedback}/{liked['id']}").status_code == 404


def test_a_vote_that_is_none_is_refused(students_script: Script, path: str, conversation: str) -> None:
    (opening,) = students_script.get(path).json["messages"]
    response = students_script.post(
        f"{conversation}/messages/{opening['id']}/feedback", json={"vote": "loved"}
    )
    assert (response.status_code, list(response.json["errors"])) == (400, ["vote"])


@pytest.mark.parametrize("reason", [7, True, ["Too rude."], {"text": "Too rude."}], ids=repr)
def test_a_reason_that_is_no_text_is_refused(
    students_script: Script, path: str, conversation: str, reason: object
) -> None:
    (opening,) = students_script.get(path).json["messages"]
    body = {"vote": "disliked", "feedback_message": reason}
    response = students_script.post(f"{conversation}/messages/{opening['id']}/feedback", json=body)
    invalid = {"attribute": "feedback_message", "type": "invalid", "message": "must be text"}
    assert (response.status_code, response.json) == (400, {"errors": {"feedback_message": [invalid]}})
    assert students_script.get(path).json["messages"][0]["feedback"] is None


def test_teachers_try_it_and_count_nowhere(
    app: Flask, sandbox: Sandbox, teachers_script: Script, path: str
) -> None:
    assert teachers_script.post(path).status_code == 201
    listed = teachers_script.get(path.replace("/conversations", "/ai_conversations")).json
    assert listed["snapshot"]["in_progress"] == 0


def test_students_do_not_talk_about_what_is_not_published(students_script: Script, teacher: Visitor) -> None:
    path = f"/{teacher.write_experience(publish=False)}/conversations"
    assert students_script.post(path).status_code == 403
    assert students_script.get(path).status_code == 403
