"""Teachers see who is where and read what was said."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from bs4 import BeautifulSoup
from flask import Flask

from app.conversations.models import Conversation
from app.sandbox import Sandbox
from tests.support.fake_model import FakeModel
from tests.support.judging import finding, findings, wait_for_judge
from tests.support.people import HISTORY, Visitor


@pytest.fixture
def experience_id(app: Flask, sandbox: Sandbox, teacher: Visitor, fake_model: FakeModel) -> int:
    """One student has finished, one is at it, one has only come by, and two do not count."""
    experience_id = teacher.write_experience()
    fake_model.reply_with("You are *right*.")
    for who, finishes in (("amara.diallo", True), ("liam.oconnor", False), ("test.student.1101", True)):
        visitor = Visitor.launch(app, sandbox, who)
        conversation_id = visitor.start(experience_id)
        visitor.send(conversation_id, f"I am <{who}>")
        if finishes:
            visitor.post(f"/conversations/{conversation_id}/finish")
    Visitor.launch(app, sandbox, "chloe.tran")
    Visitor.launch(app, sandbox, "grace.diallo")
    return experience_id


def class_page(teacher: Visitor, experience_id: int) -> BeautifulSoup:
    """Open the class, and look again until its list has been read."""
    until = time.monotonic() + 20
    while (page := teacher.page(f"/experiences/{experience_id}")).select_one("[data-reading]"):
        assert time.monotonic() < until, "the class list is still being read"
    return page


def rows(page: BeautifulSoup) -> list[list[str]]:
    table = page.select("[data-testid=student-row]")
    cells = [[cell.text.strip() for cell in row.select("th, td")] for row in table]
    return [[name, status, messages] for name, status, _objectives, messages, *_ in cells]


def test_the_class_shows_every_student_and_only_students(teacher: Visitor, experience_id: int) -> None:
    page = class_page(teacher, experience_id)
    assert rows(page) == [
        ["Amara Diallo", "Completed", "1"],
        ["Chloe Tran", "Not started", ""],
        ["Jonas Lindqvist", "Not started", ""],
        ["Liam O'Connor", "In progress", "1"],
        ["Sofía Hernández-Castillo", "Not started", ""],
        ["Thị Mai Nguyễn", "Not started", ""],
        ["Yusuf Demir", "Not started", ""],
    ]
    counts = page.select_one("[data-testid=counts]").text
    assert " ".join(counts.split()) == "5 not started · 1 in progress · 1 completed"


def test_the_class_shows_how_many_objectives_each_student_has_covered(
    app: Flask, sandbox: Sandbox, teacher: Visitor, fake_model: FakeModel
) -> None:
    experience_id = teacher.write_experience()
    for who, quote in (("amara.diallo", "I hear that this is annoying"), ("liam.oconnor", "")):
        visitor = Visitor.launch(app, sandbox, who)
        conversation_id = visitor.start(experience_id)
        fake_model.judge_with(findings(finding(1, 2, quote)))
        visitor.send(conversation_id, f"{quote} for you.")
        wait_for_judge(app, conversation_id)
    shown = {
        row.th.text.split()[0]: [part.text for part in row.select("[data-testid=row-objectives] span")]
        for row in class_page(teacher, experience_id).select("[data-testid=student-row]")
    }
    assert shown["Amara"] == ["1 of 2", "1 of 2 objectives covered"]
    assert shown["Liam"] == ["0 of 2", "0 of 2 objectives covered"]
    assert shown["Chloe"] == []


def test_a_transcript_shows_both_sides_with_times_and_model(teacher: Visitor, experience_id: int) -> None:
    link = teacher.page(f"/experiences/{experience_id}").select_one("[data-testid=student-row] a")["href"]
    page = teacher.page(link.removeprefix(teacher.root))
    assert "I am <amara.diallo>" in page.text
    assert page.select_one(".message-persona em").text == "right"
    assert len(page.select(".message time[datetime]")) == 3
    assert "Kim Berger" in page.text


def test_the_page_to_print_holds_every_students_conversation(teacher: Visitor, experience_id: int) -> None:
    page = teacher.page(f"/experiences/{experience_id}/transcripts")
    assert [section.h2.text for section in page.select("[data-testid=transcript]")] == [
        "Amara Diallo",
        "Liam O'Connor",
    ]


def test_a_transcript_lists_earlier_attempts(app: Flask, sandbox: Sandbox, teacher: Visitor) -> None:
    experience_id = teacher.write_experience()
    student = Visitor.launch(app, sandbox, "amara.diallo")
    first = student.start(experience_id)
    student.send(first, "My first attempt")
    second = student.start(experience_id, instead_of=first)
    page = teacher.page(f"/conversations/{second}/transcript")
    assert [item.text.strip() for item in page.select(".attempts li")] == ["Attempt 1", "Attempt 2"]
    assert "My first attempt" in teacher.page(f"/experiences/{experience_id}/transcripts").text
    assert teacher.page(f"/experiences/{experience_id}").select("[data-testid=student-row] td")[3].text == "2"
    assert "left for a new start" in teacher.page(f"/conversations/{first}/transcript").text


def test_the_class_shows_that_another_attempt_is_under_way(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    experience_id = teacher.write_experience()
    student = Visitor.launch(app, sandbox, "amara.diallo")
    first = student.start(experience_id)
    student.send(first, "My first attempt")
    student.post(f"/conversations/{first}/finish")

    def row() -> Any:
        return teacher.page(f"/experiences/{experience_id}").select_one("[data-testid=student-row]")

    assert not row().select_one("[data-testid=goes-on]")
    second = student.start(experience_id, instead_of=first)
    with app.extensions["database"].transaction() as session:
        session.get_one(Conversation, second).updated_at = datetime(2031, 2, 3, 4, 5, tzinfo=UTC)
    assert row().select_one("[data-testid=goes-on]")["href"].endswith(f"/conversations/{second}/transcript")
    assert "2031-02-03 04:05 UTC" in row().text
    student.post(f"/conversations/{second}/finish")
    assert not row().select_one("[data-testid=goes-on]")


def test_who_begins_again_has_handed_in_the_attempt_before_all_the_same(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    experience_id = teacher.write_experience()
    student = Visitor.launch(app, sandbox, "amara.diallo")
    first = student.start(experience_id)
    student.send(first, "My first attempt")
    student.post(f"/conversations/{first}/finish")
    student.start(experience_id, instead_of=first)
    row = teacher.page(f"/experiences/{experience_id}").select_one("[data-testid=student-row]")
    assert "Completed" in row.text
    assert row.select("td")[3].text == "2"
    assert row.select_one("a")["href"].endswith(f"/conversations/{first}/transcript")


@pytest.mark.parametrize("who", ["amara.diallo", "grace.diallo", "elena.petrova"])
def test_students_observers_and_designers_read_no_transcripts(
    app: Flask, sandbox: Sandbox, experience_id: int, who: str
) -> None:
    visitor = Visitor.launch(app, sandbox, who)
    assert visitor.get("/conversations/1/transcript").status_code == 403
    assert visitor.get(f"/experiences/{experience_id}/transcripts").status_code == 403


def test_a_designer_sees_the_experience_without_the_class(
    app: Flask, sandbox: Sandbox, experience_id: int
) -> None:
    page = Visitor.launch(app, sandbox, "elena.petrova").page(f"/experiences/{experience_id}")
    assert "Amara" not in page.text


def test_another_courses_transcript_is_not_there(app: Flask, sandbox: Sandbox, experience_id: int) -> None:
    other = Visitor.launch(app, sandbox, "jonas.lindqvist", HISTORY)
    assert other.get("/conversations/1/transcript").status_code == 404


def test_the_class_costs_a_constant_number_of_queries(
    app: Flask, sandbox: Sandbox, teacher: Visitor, count_queries
) -> None:
    experience_id = teacher.write_experience()

    def cost() -> tuple[int, int]:
        return tuple(
            count_queries(lambda path=path: teacher.get(path))
            for path in (f"/experiences/{experience_id}", f"/experiences/{experience_id}/transcripts")
        )

    Visitor.launch(app, sandbox, "amara.diallo").start(experience_id)
    class_page(teacher, experience_id)
    one = cost()
    for who in ("liam.oconnor", "mai.nguyen", "chloe.tran", "yusuf.demir"):
        Visitor.launch(app, sandbox, who).start(experience_id)
    assert cost() == one
