"""What a launch names is opened, and nothing that no launch names."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlmodel import Session, select
from werkzeug.test import TestResponse

from app.conversations.models import Conversation
from app.courses.models import Course
from app.lti.models import LineItem
from app.sandbox import Sandbox
from tests.support.people import Visitor

LINE_ITEM = "https://school.example/line_items/1"
BEGAN, DID_NOT = "amara.diallo", "liam.oconnor"


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "experience=0",
        f"experience={'9' * 30}",
        "experience=%C2%B2",
        f"conversation={'9' * 30}",
        "conversation=-1",
        "person=1",
        "person=%00&line_item=https://school.example/1",
        "person=1&line_item=%00",
    ],
)
def test_an_address_that_no_launch_made_opens_nothing(teacher: Visitor, student: Visitor, asked: str) -> None:
    for visitor in (teacher, student):
        assert visitor.get(f"/open?{asked}").status_code == 404


@pytest.fixture
def experience_id(teacher: Visitor, student: Visitor, db: Session) -> int:
    """An experience with a column in the gradebook, which one student has begun."""
    experience_id = teacher.write_experience()
    course_id = db.exec(select(Course.id)).one()
    db.add(LineItem(course_id=course_id, experience_id=experience_id, url=LINE_ITEM))
    db.commit()
    student.start(experience_id)
    return experience_id


@pytest.fixture
def open_work(app: Flask, sandbox: Sandbox, experience_id: int) -> Callable[[str, str], TestResponse]:
    """Return what opens, as somebody, another's work in the column. Both have been here before."""
    Visitor.launch(app, sandbox, DID_NOT)

    def open_as(who: str, whose: str) -> TestResponse:
        asked = {"person": sandbox.person(whose).sub, "line_item": LINE_ITEM}
        return Visitor.launch(app, sandbox, who).get("/open", query_string=asked)

    return open_as


@pytest.mark.parametrize("whose", [BEGAN, DID_NOT])
@pytest.mark.parametrize("who", ["yusuf.demir", "elena.petrova", "grace.diallo"])
def test_whether_another_has_begun_is_not_told_to_those_who_read_no_transcripts(
    open_work: Callable[[str, str], TestResponse], who: str, whose: str
) -> None:
    assert open_work(who, whose).status_code == 404


@pytest.mark.parametrize(
    ("who", "whose", "page"),
    [
        (BEGAN, BEGAN, "/conversation"),
        (DID_NOT, DID_NOT, "/conversation"),
        ("miriam.okafor", BEGAN, "/transcript"),
        ("miriam.okafor", DID_NOT, "/experiences/"),
    ],
)
def test_work_is_opened_for_its_author_and_for_those_who_read_transcripts(
    open_work: Callable[[str, str], TestResponse], who: str, whose: str, page: str
) -> None:
    answer = open_work(who, whose)
    assert answer.status_code == 302
    assert page in answer.location


def test_the_gradebook_opens_what_was_handed_in_also_where_another_attempt_has_begun(
    app: Flask, open_work: Callable[[str, str], TestResponse], student: Visitor, experience_id: int
) -> None:
    with app.extensions["database"].snapshot() as session:
        first = session.exec(select(Conversation.id)).one()
    student.send(first, "Here it is.")
    student.post(f"/conversations/{first}/finish")
    student.start(experience_id, instead_of=first)
    assert open_work("miriam.okafor", BEGAN).location.endswith(f"/conversations/{first}/transcript")
