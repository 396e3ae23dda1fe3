"""Grades: sent once in effect, shown as failed with the reason, tried again (LTI Assignment and Grade Services 2.0)."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlmodel import select

from app.database import utc_now
from app.lti.models import Score
from app.lti.services import client
from app.sandbox.gradebook import LineItem
from app.sandbox.people import Course
from tests.lti_certification.vocabulary import (
    STUDENT,
    TEACHER,
    Browser,
    Inside,
    Platform,
    Tool,
    accepted,
    cases,
    eventually,
    on_both_databases,
    text_of,
)

GRADE = {"points": "8", "maximum": "10", "comment": "Well asked."}
ENTRY = "[data-testid=grade-entry]"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tool wait for a platform's services for seconds only."""
    monkeypatch.setattr(client, "TOTAL_SECONDS", 3)


@pytest.fixture
def column(browser: Browser, course: Course) -> LineItem:
    """The column of an assignment that opens an experience, out of 20 points."""
    sandbox = browser.platform.sandbox
    experience_id = browser.enter(TEACHER, course.canvas_id).write_experience()
    url = f"{browser.tool.url}/lti/launch?experience={experience_id}"
    link = sandbox.links.add(course, title="Lab interview", url=url)
    fields = {"label": "Lab interview", "score_maximum": 20.0, "resource_link_id": link.id}
    return sandbox.gradebook.add_line_item(course, fields)


@pytest.fixture
def hand_in(browser: Browser, course: Course, column: LineItem) -> Callable[[], str]:
    """Return what has a student open the assignment, talk and finish; it returns the transcript's path."""

    def hold_and_finish() -> str:
        student = accepted(
            browser.launch(browser.platform.login(STUDENT, course.canvas_id, line_item=column))
        )
        experience = f"/experiences/{column_experience(browser, column)}"
        student.send(f"{experience}/conversations", instead_of="0")
        chat = student.page(f"{experience}/conversation").select_one("[data-chat]")
        assert chat is not None
        conversation = f"/conversations/{chat['data-conversation']}"
        student.send(f"{conversation}/messages", message="What is wrong with it?", client_key="key-1")
        eventually(lambda: student.post(f"{conversation}/finish").status_code == 303)
        return f"{conversation}/transcript"

    return hold_and_finish


def column_experience(browser: Browser, column: LineItem) -> str:
    course = browser.platform.sandbox.directory.course(column.course_id)
    link = browser.platform.sandbox.links.find(course, column.resource_link_id)
    assert link is not None
    return link.url.rpartition("=")[2]


def grade(teacher: Inside, transcript: str) -> None:
    seen = teacher.page(transcript).select_one("#seen")
    assert seen is not None
    teacher.send(transcript.replace("transcript", "grade"), seen=seen["value"], **GRADE)


def standing(teacher: Inside, transcript: str, words: str) -> str:
    """What the transcript says of the latest score, once it says so."""

    def look() -> str | None:
        said = text_of(teacher.page(transcript), ENTRY)
        return said if words in said else None

    return eventually(look)


def arrived(platform: Platform, column: LineItem) -> list[tuple[float | None, str]]:
    return [
        (score.score_given, score.grading_progress)
        for score in platform.sandbox.scores
        if score.line_item_id == column.id
    ]


@on_both_databases
def test_score_accepted_is_in_the_gradebook_once(
    browser: Browser, platform: Platform, course: Course, column: LineItem, hand_in: Callable[[], str]
) -> None:
    transcript = hand_in()
    teacher = browser.enter(TEACHER, course.canvas_id)
    standing(teacher, transcript, "In the gradebook")
    grade(teacher, transcript)
    standing(teacher, transcript, "8 of 10 points In the gradebook")
    assert arrived(platform, column) == [(None, "PendingManual"), (8, "FullyGraded")]


@pytest.mark.parametrize("status", [404, 409, 422])
def test_line_item_gone_is_shown_as_failed_with_the_reason_after(
    browser: Browser,
    platform: Platform,
    course: Course,
    column: LineItem,
    hand_in: Callable[[], str],
    status: int,
) -> None:
    transcript = hand_in()
    teacher = browser.enter(TEACHER, course.canvas_id)
    standing(teacher, transcript, "In the gradebook")
    platform.sandbox.gradebook.remove_line_item(course, column.id)
    platform.sandbox.fail_next(status, method="POST", path_contains="/scores")
    grade(teacher, transcript)
    assert "no longer in the gradebook" in standing(teacher, transcript, "Not in the gradebook")
    assert arrived(platform, column) == [(None, "PendingManual")]


LATER: dict[str, dict[str, Any]] = {
    "500": {"status": 500},
    "503": {"status": 503},
    "429": {"status": 429, "headers": {"Retry-After": "60"}},
    "time-out of a platform that takes it all the same": {"status": None, "delay": 4},
    "time-out of a platform that does not": {"status": 503, "delay": 4},
}


@cases("outage", LATER)
def test_is_retried_later_and_sent_once_in_effect_after(
    browser: Browser,
    tool: Tool,
    platform: Platform,
    course: Course,
    column: LineItem,
    hand_in: Callable[[], str],
    another_worker: Callable[[], Flask],
    outage: dict[str, Any],
) -> None:
    platform.sandbox.fail_next(**outage, method="POST", path_contains="/scores")
    transcript = hand_in()
    teacher = browser.enter(TEACHER, course.canvas_id)
    standing(teacher, transcript, "It is tried again by itself.")
    assert seconds_left(tool) > 25
    if outage["status"] is None:
        eventually(lambda: arrived(platform, column))
    tool.let_time_pass()
    another_worker().extensions["owed"].wake()
    standing(teacher, transcript, "In the gradebook")
    assert arrived(platform, column) == [(None, "PendingManual")]
    result = platform.sandbox.gradebook.result(column, platform.sandbox.person(STUDENT))
    assert result is not None
    assert result.attempt == 1


def seconds_left(tool: Tool) -> float:
    """How long the score that waits is to wait."""
    with tool.database.snapshot() as db:
        return (db.exec(select(Score.due_at)).one() - utc_now()).total_seconds()
