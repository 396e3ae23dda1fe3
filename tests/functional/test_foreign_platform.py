"""Launches, roster, grades and deep linking at a platform that is neither Canvas nor ours."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from flask import Flask
from sqlmodel import Session, col, select

from app.courses.models import Course, Enrollment, Role, User
from app.lti.models import RegistrationSource
from app.lti.registration.platforms import PlatformEntry, save_platform
from app.settings import Settings
from tests.support.fake_model import FakeModel
from tests.support.foreign_platform import (
    CHOICE,
    CLASS,
    COURSE_LINK,
    LINE_ITEMS_PATH,
    MEMBERS_PATH,
    MEMBERS_PER_PAGE,
    STUDENT,
    TEACHER,
    ForeignPlatform,
    Member,
    create_platform,
    read_form,
    serving,
)
from tests.support.people import EXPERIENCE, Visitor, login_answer
from tests.support.ports import free_port

ROWS = "[data-testid=student-row] th"


@pytest.fixture
def platform(settings: Settings) -> Iterator[ForeignPlatform]:
    platform = ForeignPlatform(f"http://127.0.0.1:{free_port()}", settings.app_url)
    with serving(create_platform(platform), platform.url):
        yield platform


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The tool on a port of its own: the platform fetches its keys."""
    return settings.model_copy(update={"app_url": f"http://localhost:{free_port()}"})


@pytest.fixture
def app(app: Flask, settings: Settings, platform: ForeignPlatform) -> Iterator[Flask]:
    with app.extensions["database"].transaction() as session:
        save_platform(session, platform.url, PlatformEntry(**platform.entry), RegistrationSource.COMMAND)
    with serving(app, settings.app_url):
        yield app


def until(happened: Callable[[], bool]) -> None:
    """Wait for what the tool does by itself."""
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, "it has not happened"
        time.sleep(0.05)


def visit(app: Flask, platform: ForeignPlatform, member: Member, link: str = COURSE_LINK) -> Visitor:
    browser = app.test_client()
    return Visitor.arrive(browser, platform.launch(browser, member, link))


def hand_in(student: Visitor, experience_id: int) -> int:
    """Finish a conversation and return its id."""
    conversation_id = student.start(experience_id)
    student.send(conversation_id, "Hello!")
    assert student.post(f"/conversations/{conversation_id}/finish").status_code == 303
    return conversation_id


def grade_work(teacher: Visitor, conversation_id: int) -> None:
    grade = {"points": "8.5", "maximum": "10", "comment": "Well listened."}
    assert teacher.post(f"/conversations/{conversation_id}/grade", grade).status_code == 303


def check_grade(score: dict[str, Any]) -> None:
    assert (score["scoreGiven"], score["scoreMaximum"]) == (8.5, 10)
    assert (score["activityProgress"], score["gradingProgress"]) == ("Completed", "FullyGraded")
    assert score["comment"] == "Well listened."


def test_a_teacher_and_a_student_come_in_with_what_plain_lti_says_of_them(
    app: Flask, platform: ForeignPlatform, db: Session
) -> None:
    visit(app, platform, TEACHER)
    visit(app, platform, STUDENT)
    seen = db.exec(
        select(User.sub, User.name, Enrollment.role, Course.context_id, Course.title)
        .join(Enrollment, col(Enrollment.user_id) == User.id)
        .join(Course, col(Course.id) == Enrollment.course_id)
        .order_by(User.sub)
    ).all()
    assert seen == [
        ("2", "Noor Haddad", Role.TEACHER, "2", "Cells & tissues"),
        ("3", "Inés Álvarez", Role.STUDENT, "2", "Cells & tissues"),
    ]


def test_a_teacher_writes_and_a_student_talks(
    app: Flask, platform: ForeignPlatform, fake_model: FakeModel
) -> None:
    experience_id = visit(app, platform, TEACHER).write_experience()
    fake_model.reply_with("I am sorry to hear that.")
    student = visit(app, platform, STUDENT)
    student.send(student.start(experience_id), "Hello!")
    assert "I am sorry to hear that." in student.page(f"/experiences/{experience_id}/conversation").text


def test_the_class_holds_who_the_roster_names_page_by_page(app: Flask, platform: ForeignPlatform) -> None:
    teacher = visit(app, platform, TEACHER)
    page = f"/experiences/{teacher.write_experience()}"
    learners = sorted(member.name for member in CLASS if member.role == "Learner")
    assert len(learners) > MEMBERS_PER_PAGE
    until(lambda: [row.text.strip() for row in teacher.page(page).select(ROWS)] == learners)


def test_a_grade_makes_a_line_item_where_the_link_has_none(app: Flask, platform: ForeignPlatform) -> None:
    teacher = visit(app, platform, TEACHER)
    experience_id = teacher.write_experience()
    grade_work(teacher, hand_in(visit(app, platform, STUDENT), experience_id))
    until(lambda: ("1", STUDENT.id) in platform.scores)
    assert platform.line_items["1"]["label"] == EXPERIENCE["title"]
    check_grade(platform.scores["1", STUDENT.id])


def test_work_and_its_grade_go_to_the_links_own_line_item(app: Flask, platform: ForeignPlatform) -> None:
    teacher = visit(app, platform, TEACHER)
    experience_id = teacher.write_experience()
    url = f"{platform.launch_url}?experience={experience_id}"
    link = platform.add_link({"title": "Bills", "url": url, "lineItem": {"scoreMaximum": 50}})
    conversation_id = hand_in(visit(app, platform, STUDENT, link), experience_id)
    until(lambda: ("1", STUDENT.id) in platform.scores)
    work = platform.scores["1", STUDENT.id]
    assert (work["activityProgress"], work["gradingProgress"]) == ("Submitted", "PendingManual")
    assert "scoreGiven" not in work
    grade_work(teacher, conversation_id)
    until(lambda: platform.scores["1", STUDENT.id] is not work)
    check_grade(platform.scores["1", STUDENT.id])
    assert list(platform.line_items) == ["1"]


def test_what_a_teacher_chooses_becomes_a_link_with_a_line_item_that_opens(
    app: Flask, platform: ForeignPlatform
) -> None:
    experience_id = visit(app, platform, TEACHER).write_experience()
    teacher = visit(app, platform, TEACHER, CHOICE)
    assert EXPERIENCE["title"] in teacher.page("/deep-link").text
    answer = teacher.post("/deep-link", {"experience": experience_id, "graded": "y", "points": "20"})
    action, fields = read_form(answer.text)
    added = requests.post(action, fields, timeout=5)
    assert added.ok, added.text
    [link] = added.json()
    assert platform.links[link]["title"] == EXPERIENCE["title"]
    assert platform.line_items["1"]["scoreMaximum"] == 20
    browser = app.test_client()
    page = browser.get(platform.launch(browser, STUDENT, link).location, follow_redirects=True)
    assert page.request.path.endswith(f"/experiences/{experience_id}/conversation")
    assert EXPERIENCE["title"] in page.text
    assert requests.post(action, fields, timeout=5).status_code == 400, "a response counts once"


def test_a_teacher_may_choose_nothing(app: Flask, platform: ForeignPlatform) -> None:
    answer = visit(app, platform, TEACHER, CHOICE).post("/deep-link/cancel")
    action, fields = read_form(answer.text)
    assert requests.post(action, fields, timeout=5).json() == []


@pytest.mark.parametrize(
    "change", [{"redirect_uri": "https://elsewhere.example"}, {"scope": "profile"}, {"nonce": ""}]
)
def test_the_platform_answers_no_login_that_lti_does_not_allow(
    app: Flask, platform: ForeignPlatform, change: dict[str, str]
) -> None:
    asked = login_answer(app.test_client().get(platform.login_url(STUDENT)))
    assert requests.post(platform.entry["auth_login_url"], asked, timeout=5).ok
    assert requests.post(platform.entry["auth_login_url"], asked | change, timeout=5).status_code == 400


@pytest.mark.parametrize("path", [MEMBERS_PATH, LINE_ITEMS_PATH + "?type_id=1"])
def test_the_platforms_services_ask_for_a_token_of_its_own(platform: ForeignPlatform, path: str) -> None:
    for token in ("", "Bearer", "Bearer nonsense"):
        headers = {"Authorization": token, "Accept": "*/*"}
        assert requests.get(platform.url + path, headers=headers, timeout=5).status_code == 401
