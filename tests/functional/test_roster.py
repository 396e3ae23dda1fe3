"""The class list: read from the platform in the background, and shown with those who left it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlmodel import Session, col, delete, select, update

from app.courses.class_list import record_people
from app.courses.models import Course, Enrollment, EnrollmentState, Role, User
from app.courses.service import Visit, record_visit
from app.database import Database, utc_now
from app.lti.keys import KeyRing
from app.lti.models import CourseServices, Deployment, Platform, RegistrationSource
from app.lti.registration.platforms import PlatformEntry, save_platform
from app.lti.services.client import PlatformServices
from app.lti.services.roster import LEASE, PAUSES, Rosters
from app.lti.tool import SCOPES
from app.sandbox import ABSENT, Sandbox, registration
from app.sandbox.people import CanvasRole, Person
from app.sandbox.people import Course as SandboxCourse
from tests.support.api import Script
from tests.support.fake_model import FakeModel
from tests.support.people import Visitor

ROSTER_CLAIM = "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice"
MEMBERSHIP = "http://purl.imsglobal.org/vocab/lis/v2/membership#"
LEARNER, MENTOR, INSTRUCTOR = (MEMBERSHIP + role for role in ("Learner", "Mentor", "Instructor"))


@pytest.fixture(autouse=True)
def sandbox_as_ever(sandbox: Sandbox) -> Iterator[None]:
    sandbox.traffic.clear()
    yield
    sandbox.traffic.clear()
    sandbox.links_to = None
    sandbox.tools.grant_scopes(SCOPES)


@pytest.fixture
def place(sandbox: Sandbox) -> SandboxCourse:
    """A course of the test's own: a teacher and three students."""
    course = sandbox.directory.add_course("A class")
    sandbox.directory.enroll(sandbox.person("miriam.okafor"), course, CanvasRole.TEACHER)
    for who in ("amara.diallo", "liam.oconnor", "chloe.tran"):
        sandbox.directory.enroll(sandbox.person(who), course, CanvasRole.STUDENT)
    return course


@pytest.fixture
def teacher(app: Flask, sandbox: Sandbox, place: SandboxCourse) -> Visitor:
    return Visitor.launch(app, sandbox, "miriam.okafor", place.canvas_id)


@pytest.fixture
def experience_id(teacher: Visitor) -> int:
    return teacher.write_experience()


@pytest.fixture
def rosters(app: Flask) -> Rosters:
    found: Rosters = app.extensions["rosters"]
    return found


def class_page(teacher: Visitor, experience_id: int) -> BeautifulSoup:
    """Open the class, and look again until its list has been read."""
    until = time.monotonic() + 20
    while (page := teacher.page(f"/experiences/{experience_id}")).select_one("[data-reading]"):
        assert time.monotonic() < until, "the class list is still being read"
    return page


def rows(page: BeautifulSoup, kind: str = "student-row") -> list[list[str]]:
    found = page.select(f"[data-testid={kind}]")
    return [[cell.text.strip() for cell in row.select("th, td")][:2] for row in found]


def note(page: BeautifulSoup) -> str:
    return " ".join(page.select_one("[data-testid=roster]").text.split())


def roster_requests(sandbox: Sandbox) -> int:
    return sum(request.path.endswith("/names_and_roles") for request in sandbox.requests)


def make_due(app: Flask, **values: Any) -> None:
    """Let the list be due, as if much time had passed."""
    values = {"roster_due_at": utc_now(), "roster_attempts": 0, "roster_error": None} | values
    with app.extensions["database"].transaction() as db:
        db.exec(update(CourseServices).values(**values))


def services_row(app: Flask) -> CourseServices:
    with app.extensions["database"].snapshot() as db:
        return db.exec(select(CourseServices)).one()


def enrollments(app: Flask) -> dict[str, Enrollment]:
    with app.extensions["database"].snapshot() as db:
        found = db.exec(select(User, Enrollment).join(Enrollment, col(Enrollment.user_id) == User.id))
        return {user.name or user.sub: enrollment for user, enrollment in found}


def states(app: Flask) -> dict[str, str]:
    return {name: str(enrollment.workflow_state) for name, enrollment in enrollments(app).items()}


def member(sub: str, *roles: str, **fields: object) -> dict[str, object]:
    return {"user_id": sub, "roles": list(roles or (LEARNER,)), "status": "Active"} | fields


def answer_with(sandbox: Sandbox, *members: dict[str, object]) -> None:
    sandbox.fail_next(200, body=json.dumps({"members": members}), path_contains="names_and_roles")


def test_a_small_class_is_there_when_the_teacher_opens_it(teacher: Visitor, experience_id: int) -> None:
    page = class_page(teacher, experience_id)
    assert rows(page) == [
        ["Amara Diallo", "Not started"],
        ["Chloe Tran", "Not started"],
        ["Liam O'Connor", "Not started"],
    ]
    assert note(page).startswith("Class list as of 20")
    assert "3 not started" in page.text


def test_a_script_gets_everybody_although_nobody_opened_the_class(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, experience_id: int
) -> None:
    script = Script.of(app, sandbox.person("miriam.okafor").sub, course=str(place.canvas_id))
    until = time.monotonic() + 20
    while len((answer := script.get(f"/{experience_id}/ai_conversations")).json["conversations"]) < 3:
        assert time.monotonic() < until, "the class list is still being read"
    found = [each["student"]["name"] for each in answer.json["conversations"]]
    assert sorted(found) == ["Amara Diallo", "Chloe Tran", "Liam O'Connor"]
    assert answer.json["snapshot"]["not_started"] == 3
    assert roster_requests(sandbox) == 1


def test_a_class_of_its_teacher_alone_has_no_students(app: Flask, sandbox: Sandbox) -> None:
    course = sandbox.directory.add_course("Only a teacher")
    sandbox.directory.enroll(sandbox.person("miriam.okafor"), course, CanvasRole.TEACHER)
    teacher = Visitor.launch(app, sandbox, "miriam.okafor", course.canvas_id)
    page = class_page(teacher, teacher.write_experience())
    assert rows(page) == []
    assert "There is no student in this course yet." in page.text


def test_2500_people_over_51_pages_are_all_read_in_few_statements(
    app: Flask, sandbox: Sandbox, rosters: Rosters, count_queries: Callable[[Callable[[], object]], int]
) -> None:
    course = sandbox.directory.add_course("Everybody")
    sandbox.directory.enroll(sandbox.person("miriam.okafor"), course, CanvasRole.TEACHER)
    sandbox.directory.add_students(course, 2500)
    Visitor.launch(app, sandbox, "miriam.okafor", course.canvas_id)
    make_due(app)
    sandbox.traffic.clear()
    first = count_queries(rosters.work)
    assert roster_requests(sandbox) == 51
    assert len(enrollments(app)) == 2501
    assert first <= 50
    make_due(app)
    assert count_queries(rosters.work) <= 35


def test_a_list_that_is_too_long_adds_people_and_sends_nobody_away(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.lti.services.roster.MAX_PEOPLE", 3)
    make_due(app)
    answer_with(sandbox, *(member(f"student-{number}", name=f"Student {number}") for number in range(3)))
    rosters.work()
    assert services_row(app).roster_error is None
    assert states(app)["Student 2"] == "active"
    make_due(app)
    answer_with(sandbox, *(member(f"other-{number}", name=f"Other {number}") for number in range(4)))
    rosters.work()
    assert services_row(app).roster_error == "The list is too long."
    assert set(states(app).values()) == {"active"}
    assert {"Student 0", "Other 2"} <= set(states(app))
    assert "Other 3" not in states(app)


def test_a_writer_that_died_half_way_is_followed_by_another(
    app: Flask,
    sandbox: Sandbox,
    place: SandboxCourse,
    teacher: Visitor,
    rosters: Rosters,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Visitor.launch(app, sandbox, "amara.diallo", place.canvas_id)
    listed = [member(sandbox.person("miriam.okafor").sub, INSTRUCTOR)]
    listed += [member(f"student-{number}", name=f"Student {number}") for number in range(5)]
    monkeypatch.setattr("app.courses.class_list.BATCH", 2)
    with monkeypatch.context() as dying:
        dying.setattr("app.lti.services.roster.record_people", dies_after(1))
        make_due(app)
        answer_with(sandbox, *listed)
        with pytest.raises(SystemExit):
            rosters.work()
    assert states(app) == {"Miriam Okafor": "active", "Amara Diallo": "active", "Student 0": "active"}
    assert services_row(app).roster_synced_at is None
    assert not rosters.work()
    make_due(app)
    answer_with(sandbox, *listed)
    assert rosters.work()
    gone = {name for name, state in states(app).items() if state == "left"}
    assert gone == {"Amara Diallo"}
    assert len(states(app)) == 7


def dies_after(writes: int) -> Callable[..., set[int]]:
    """Return what writes down so many parts of a list, and then ends its process."""
    left = iter(range(writes))

    def record(*args: Any, **how: Any) -> set[int]:
        if next(left, None) is None:
            raise SystemExit
        return record_people(*args, **how)

    return record


def test_an_empty_list_sends_nobody_away(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters
) -> None:
    make_due(app)
    answer_with(sandbox)
    assert rosters.work()
    assert states(app) == {"Miriam Okafor": "active"}
    assert services_row(app).roster_synced_at is not None


def test_who_left_is_shown_apart_with_their_work(
    app: Flask,
    sandbox: Sandbox,
    place: SandboxCourse,
    teacher: Visitor,
    experience_id: int,
    rosters: Rosters,
    fake_model: FakeModel,
) -> None:
    fake_model.reply_with("Hello.")
    amara = Visitor.launch(app, sandbox, "amara.diallo", place.canvas_id)
    amara.send(amara.start(experience_id), "I was here")
    class_page(teacher, experience_id)
    sandbox.directory.remove_enrollments(sandbox.person("amara.diallo"), place)
    sandbox.directory.end_enrollments(sandbox.person("chloe.tran"), place)
    make_due(app)
    page = class_page(teacher, experience_id)
    assert rows(page) == [["Liam O'Connor", "Not started"]]
    assert rows(page, "left-row") == [["Amara Diallo", "In progress"]]
    counts = page.select_one("[data-testid=counts]").text
    assert " ".join(counts.split()) == "1 not started · 0 in progress · 0 completed"
    link = page.select_one("[data-testid=left-row] a")["href"]
    assert "I was here" in teacher.page(link.removeprefix(teacher.root)).text
    assert "I was here" in teacher.page(f"/experiences/{experience_id}/transcripts").text


def test_who_returns_is_back(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor, rosters: Rosters
) -> None:
    amara = sandbox.person("amara.diallo")
    make_due(app)
    rosters.work()
    sandbox.directory.remove_enrollments(amara, place)
    make_due(app)
    rosters.work()
    assert states(app)["Amara Diallo"] == "left"
    sandbox.directory.enroll(amara, place, CanvasRole.STUDENT)
    make_due(app)
    rosters.work()
    assert states(app)["Amara Diallo"] == "active"


def test_names_that_the_list_leaves_blank_stay(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor, rosters: Rosters
) -> None:
    Visitor.launch(app, sandbox, "amara.diallo", place.canvas_id)
    blank = {"name": "", "given_name": None, "picture": "javascript:alert(1)"}
    answer_with(
        sandbox,
        member(sandbox.person("amara.diallo").sub, **blank),
        member("newcomer", given_name="New", family_name="Comer", picture="https://p.example/1.png"),
    )
    make_due(app)
    rosters.work()
    with app.extensions["database"].snapshot() as db:
        people = {user.sub: user for user in db.exec(select(User))}
    assert people[sandbox.person("amara.diallo").sub].name == "Amara Diallo"
    assert (people["newcomer"].name, people["newcomer"].avatar_url) == (
        "New Comer",
        "https://p.example/1.png",
    )


def test_what_cannot_be_used_is_skipped(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters
) -> None:
    answer_with(
        sandbox,
        member("good", name="Good"),
        member("good", name="Good"),
        member("gone", status="Deleted"),
        member("asleep", status="Inactive"),
        member("unknown", "http://example.com/roles#Gardener"),
        {"user_id": "no-roles", "name": "No roles"},
        member("x" * 256),
        member(""),
        {"user_id": 7, "roles": [LEARNER]},
        {"roles": None},
    )
    make_due(app)
    rosters.work()
    assert set(states(app)) == {"Miriam Okafor", "Good"}


def test_someone_of_unknown_role_who_is_listed_has_not_left(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters
) -> None:
    answer_with(sandbox, member(sandbox.person("miriam.okafor").sub, "http://example.com/roles#Gardener"))
    make_due(app)
    rosters.work()
    assert states(app) == {"Miriam Okafor": "active"}
    assert enrollments(app)["Miriam Okafor"].role is Role.TEACHER


def test_a_role_lost_on_the_list_is_lost_at_once(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor, rosters: Rosters
) -> None:
    answer_with(sandbox, member(sandbox.person("miriam.okafor").sub, LEARNER))
    make_due(app)
    rosters.work()
    assert teacher.get("/experiences").status_code == 401


def test_a_role_lost_in_canvas_is_lost_to_a_token_that_is_used(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor
) -> None:
    teachers = sandbox.person("miriam.okafor").sub
    answer_with(sandbox, member(teachers, LEARNER))
    script = Script.of(app, teachers, course=str(place.canvas_id), last_used_at=utc_now())
    assert script.get("/new").status_code == 200
    until = time.monotonic() + 20
    while script.get("/new").status_code != 403:
        assert time.monotonic() < until, "the class list is still being read"
    assert roster_requests(sandbox) == 1


def test_a_students_token_has_no_list_read(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor
) -> None:
    Visitor.launch(app, sandbox, "amara.diallo", place.canvas_id)
    script = Script.of(app, sandbox.person("amara.diallo").sub, course=str(place.canvas_id))
    assert script.get().status_code == 200
    assert services_row(app).roster_due_at is None


def test_lists_know_neither_test_users_nor_administrators(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor, rosters: Rosters
) -> None:
    sandbox.directory.enroll(sandbox.person("test.student.1101"), place, CanvasRole.STUDENT_VIEW)
    Visitor.launch(app, sandbox, "test.student.1101", place.canvas_id)
    Visitor.launch(app, sandbox, "ingrid.bauer", place.canvas_id)
    answer_with(sandbox, member(sandbox.person("miriam.okafor").sub, INSTRUCTOR))
    make_due(app)
    rosters.work()
    assert set(states(app).values()) == {"active"}
    assert enrollments(app)["Test Student"].is_test


def test_who_launches_while_an_older_list_is_read_has_not_left(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor, rosters: Rosters
) -> None:
    answer_with(sandbox, member(sandbox.person("miriam.okafor").sub, INSTRUCTOR))
    sandbox.traffic.clear()
    body = json.dumps({"members": [member(sandbox.person("miriam.okafor").sub, INSTRUCTOR)]})
    sandbox.fail_next(200, body=body, delay=2, path_contains="names_and_roles")
    make_due(app)
    reading = threading.Thread(target=rosters.work)
    reading.start()
    time.sleep(0.5)
    Visitor.launch(app, sandbox, "amara.diallo", place.canvas_id)
    assert reading.is_alive()
    reading.join()
    assert states(app)["Amara Diallo"] == "active"


def test_whoever_launches_is_in_the_course_whatever_the_list_said(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor, rosters: Rosters
) -> None:
    Visitor.launch(app, sandbox, "amara.diallo", place.canvas_id)
    answer_with(sandbox, member(sandbox.person("miriam.okafor").sub, INSTRUCTOR))
    make_due(app)
    rosters.work()
    assert states(app)["Amara Diallo"] == "left"
    Visitor.launch(app, sandbox, "amara.diallo", place.canvas_id)
    assert states(app)["Amara Diallo"] == "active"


def test_staff_whom_the_list_leaves_out_stay_while_the_platform_lets_them_in(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters
) -> None:
    answer_with(sandbox, member(sandbox.person("amara.diallo").sub, LEARNER))
    make_due(app)
    rosters.work()
    assert teacher.get("/experiences").status_code == 200
    with app.extensions["database"].transaction() as db:
        db.exec(update(Enrollment).values(last_launch_at=utc_now() - timedelta(days=2)))
    answer_with(sandbox, member(sandbox.person("amara.diallo").sub, LEARNER))
    make_due(app)
    rosters.work()
    assert states(app)["Miriam Okafor"] == "left"


def test_a_half_read_list_adds_people_and_sends_nobody_away(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor, rosters: Rosters
) -> None:
    sandbox.directory.add_students(place, 60)
    grace = sandbox.person("grace.diallo")
    sandbox.directory.enroll(grace, place, CanvasRole.OBSERVER)
    Visitor.launch(app, sandbox, "grace.diallo", place.canvas_id)
    sandbox.directory.remove_enrollments(grace, place)
    sandbox.fail_next(None, path_contains="names_and_roles")
    sandbox.fail_next(500, path_contains="names_and_roles")
    make_due(app)
    rosters.work()
    assert len(enrollments(app)) == 51
    assert set(states(app).values()) == {"active"}
    row = services_row(app)
    assert row.roster_synced_at is None
    assert row.roster_error == "The platform is out of order."


def test_a_list_that_goes_on_at_another_host_is_not_followed(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor, experience_id: int
) -> None:
    sandbox.directory.add_students(place, 60)
    sandbox.links_to = "https://elsewhere.example"
    page = class_page(teacher, experience_id)
    assert len(rows(page)) == 49
    assert note(page) == (
        "The class list could not be read: The list goes on at another address, which is not followed."
    )
    assert roster_requests(sandbox) == 1


def test_a_token_that_has_expired_is_renewed(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters
) -> None:
    make_due(app)
    rosters.work()
    sandbox.tokens.expire_all()
    make_due(app, roster_synced_at=None)
    rosters.work()
    assert services_row(app).roster_synced_at is not None


def test_a_failure_is_told_in_plain_words_and_tried_again(
    app: Flask, sandbox: Sandbox, teacher: Visitor, experience_id: int, rosters: Rosters
) -> None:
    sandbox.fail_next(500, path_contains="names_and_roles")
    page = class_page(teacher, experience_id)
    assert note(page) == "The class list could not be read: The platform is out of order."
    row = services_row(app)
    assert timedelta(seconds=50) < row.roster_due_at - utc_now() <= PAUSES[0]
    class_page(teacher, experience_id)
    assert roster_requests(sandbox) == 1
    assert not rosters.work()
    with app.extensions["database"].transaction() as db:
        db.exec(update(CourseServices).values(roster_due_at=utc_now()))
    assert rosters.work()
    assert len(rows(class_page(teacher, experience_id))) == 3


def test_a_busy_platform_is_left_alone_for_as_long_as_it_says(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters
) -> None:
    sandbox.fail_next(429, headers={"Retry-After": "1000"}, path_contains="names_and_roles")
    make_due(app)
    rosters.work()
    wait = services_row(app).roster_due_at - utc_now()
    assert timedelta(seconds=900) < wait <= timedelta(seconds=1000)


def test_pauses_grow_and_end_until_somebody_comes(
    app: Flask, sandbox: Sandbox, teacher: Visitor, experience_id: int, rosters: Rosters
) -> None:
    sandbox.fail_next(500, times=len(PAUSES), path_contains="names_and_roles")
    make_due(app)
    for pause in PAUSES:
        assert rosters.work()
        wait = services_row(app).roster_due_at - utc_now()
        assert pause - timedelta(seconds=10) < wait <= pause
        with app.extensions["database"].transaction() as db:
            db.exec(update(CourseServices).values(roster_due_at=utc_now()))
    assert not rosters.work()
    assert len(rows(class_page(teacher, experience_id))) == 3


@pytest.mark.parametrize("body", ["", "<html>", "[]", '{"members": 7}'])
def test_rubbish_is_no_class_list(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters, body: str
) -> None:
    sandbox.fail_next(200, body=body, path_contains="names_and_roles")
    make_due(app)
    rosters.work()
    assert services_row(app).roster_error == "The platform's answer is no class list."
    assert states(app) == {"Miriam Okafor": "active"}


def test_a_scope_that_was_taken_away_is_told(sandbox: Sandbox, teacher: Visitor, experience_id: int) -> None:
    sandbox.tools.grant_scopes([scope for scope in SCOPES if "nrps" not in scope])
    page = class_page(teacher, experience_id)
    assert "The platform's administrators do not let the tool use this service." in note(page)


def test_a_platforms_words_are_shown_as_text(sandbox: Sandbox, teacher: Visitor, experience_id: int) -> None:
    body = json.dumps({"errors": {"message": "100%s <b>wrong</b>"}})
    sandbox.fail_next(400, body=body, path_contains="names_and_roles")
    page = class_page(teacher, experience_id)
    assert "400 100%s <b>wrong</b>" in note(page)


def test_a_list_is_read_by_one_worker_at_a_time(
    app: Flask, sandbox: Sandbox, keys_dir: Any, teacher: Visitor, rosters: Rosters
) -> None:
    database: Database = app.extensions["database"]
    other = Rosters(database, PlatformServices(KeyRing(keys_dir), production=False), lambda: None)
    sandbox.fail_next(None, delay=1, path_contains="names_and_roles")
    make_due(app)
    reading = threading.Thread(target=rosters.work)
    reading.start()
    time.sleep(0.4)
    assert not other.work()
    assert not other.update(services_row(app).course_id)
    reading.join()
    assert roster_requests(sandbox) == 1


def test_a_reader_that_died_is_followed_by_another_and_writes_nothing_more(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters
) -> None:
    stale = json.dumps({"members": [member("stale", name="Stale")]})
    sandbox.fail_next(200, body=stale, delay=2, path_contains="names_and_roles")
    make_due(app)
    slow = threading.Thread(target=rosters.work)
    slow.start()
    time.sleep(0.5)
    with app.extensions["database"].transaction() as db:
        db.exec(update(CourseServices).values(roster_due_at=utc_now() - LEASE))
    assert rosters.work()
    synced_at = services_row(app).roster_synced_at
    slow.join()
    assert "Stale" not in states(app)
    assert len(states(app)) == 4
    assert services_row(app).roster_synced_at == synced_at


def test_a_list_is_read_again_after_five_minutes_and_not_before(
    app: Flask, sandbox: Sandbox, teacher: Visitor, experience_id: int
) -> None:
    for _ in range(3):
        class_page(teacher, experience_id)
    assert roster_requests(sandbox) == 1
    with app.extensions["database"].transaction() as db:
        db.exec(update(CourseServices).values(roster_synced_at=utc_now() - timedelta(minutes=6)))
    class_page(teacher, experience_id)
    assert roster_requests(sandbox) == 2


def test_the_button_reads_the_list_once_a_minute_at_most(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor, experience_id: int
) -> None:
    class_page(teacher, experience_id)
    sandbox.directory.add_students(place, 1)
    path = f"/experiences/{experience_id}/class"
    assert teacher.post(path).status_code == 303
    assert "was read a moment ago" in class_page(teacher, experience_id).text
    with app.extensions["database"].transaction() as db:
        db.exec(update(CourseServices).values(roster_synced_at=utc_now() - timedelta(seconds=61)))
    assert teacher.post(path).status_code == 303
    page = class_page(teacher, experience_id)
    assert page.select_one("[data-testid=flash]") is None
    assert len(rows(page)) == 4
    assert roster_requests(sandbox) == 2


def test_the_button_tries_a_failed_list_again_after_a_minute(
    app: Flask, sandbox: Sandbox, teacher: Visitor, experience_id: int
) -> None:
    sandbox.fail_next(500, path_contains="names_and_roles")
    class_page(teacher, experience_id)
    path = f"/experiences/{experience_id}/class"
    teacher.post(path)
    assert roster_requests(sandbox) == 1
    passed = {"roster_attempts": 3, "roster_due_at": utc_now() + PAUSES[2] - timedelta(seconds=61)}
    with app.extensions["database"].transaction() as db:
        db.exec(update(CourseServices).values(**passed))
    teacher.post(path)
    assert len(rows(class_page(teacher, experience_id))) == 3


@pytest.mark.parametrize(
    ("who", "role"),
    [
        ("amara.diallo", CanvasRole.STUDENT),
        ("elena.petrova", CanvasRole.DESIGNER),
        ("grace.diallo", CanvasRole.OBSERVER),
    ],
)
def test_only_those_who_read_transcripts_see_or_update_the_class(
    app: Flask,
    sandbox: Sandbox,
    place: SandboxCourse,
    experience_id: int,
    who: str,
    role: CanvasRole,
) -> None:
    sandbox.directory.enroll(sandbox.person(who), place, role)
    visitor = Visitor.launch(app, sandbox, who, place.canvas_id)
    assert visitor.get(f"/experiences/{experience_id}/class").status_code == 403
    assert visitor.post(f"/experiences/{experience_id}/class").status_code == 403
    visitor.get(f"/experiences/{experience_id}")
    assert roster_requests(sandbox) == 0
    script = Script.of(app, sandbox.person(who).sub, course=str(place.canvas_id))
    assert script.get(f"/{experience_id}/ai_conversations").status_code == 403


def test_without_a_list_students_appear_at_their_first_visit(
    app: Flask, sandbox: Sandbox, place: SandboxCourse
) -> None:
    teacher = Visitor.launch(app, sandbox, "miriam.okafor", place.canvas_id, **{ROSTER_CLAIM: ABSENT})
    experience_id = teacher.write_experience()
    page = class_page(teacher, experience_id)
    assert "each student appears here at the first visit" in note(page)
    assert page.select_one("[data-testid=update-class]") is None
    Visitor.launch(app, sandbox, "amara.diallo", place.canvas_id, **{ROSTER_CLAIM: ABSENT})
    assert rows(class_page(teacher, experience_id)) == [["Amara Diallo", "Not started"]]
    assert roster_requests(sandbox) == 0


def test_a_page_does_not_wait_for_a_slow_platform(
    app: Flask, sandbox: Sandbox, teacher: Visitor, experience_id: int
) -> None:
    sandbox.fail_next(None, delay=10, path_contains="names_and_roles")
    page = teacher.page(f"/experiences/{experience_id}")
    assert "The class list is being read" in note(page)
    fragment = page.select_one("[data-reading]")["data-class-list"].removeprefix(teacher.root)
    until = time.monotonic() + 20
    while (part := teacher.page(fragment)).select_one("[data-reading]"):
        assert time.monotonic() < until
    assert len(rows(part)) == 3


def test_a_merged_person_is_enrolled_as_whom_they_stand_for(
    app: Flask, db: Session, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor, rosters: Rosters
) -> None:
    past = Person(7001, "past.amara", "Amara", "Past")
    platform_id = db.exec(select(Platform.id)).one()
    now = User(platform_id=platform_id, sub="amara-now", name="Amara Now")
    db.add(now)
    db.flush()
    db.add(User(platform_id=platform_id, sub=past.sub, merged_into_id=now.id))
    db.commit()
    answer_with(
        sandbox,
        member(past.sub),
        member("amara-now"),
        member(sandbox.person("miriam.okafor").sub, INSTRUCTOR),
    )
    make_due(app)
    rosters.work()
    assert set(states(app)) == {"Miriam Okafor", "Amara Now"}


def another_client(app: Flask, sandbox: Sandbox) -> None:
    """Register the issuer's second client, with a course whose list is the first's."""
    entry = PlatformEntry.model_validate(registration(sandbox.config, sandbox.install("Another school")))
    with app.extensions["database"].transaction() as db:
        theirs = save_platform(db, sandbox.config.issuer, entry, RegistrationSource.COMMAND)
        deployment_id = db.exec(select(Deployment.id).where(Deployment.platform_id == theirs.id)).one()
        add_course(db, theirs.id, deployment_id)


def add_course(db: Session, platform_id: int, deployment_id: int) -> None:
    course = Course(platform_id=platform_id, deployment_id=deployment_id, context_id="theirs")
    db.add(course)
    db.flush()
    db.add(CourseServices(course_id=course.id, roster_url=db.exec(select(CourseServices.roster_url)).one()))


def test_two_clients_of_one_issuer_keep_their_own_people(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters
) -> None:
    another_client(app, sandbox)
    make_due(app)
    sandbox.traffic.clear()
    assert [rosters.work(), rosters.work(), rosters.work()] == [True, True, False]
    assert sum(request.path == "/login/oauth2/token" for request in sandbox.requests) == 2
    with app.extensions["database"].snapshot() as db:
        known = db.exec(select(User.platform_id, User.sub)).all()
    assert len({sub for _, sub in known}) == 4
    assert len(set(known)) == 8


def test_a_slow_platforms_lists_are_read_one_at_a_time_and_anothers_meanwhile(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters
) -> None:
    with app.extensions["database"].transaction() as db:
        course = db.exec(select(Course)).one()
        add_course(db, course.platform_id, course.deployment_id)
    sandbox.fail_next(None, delay=3, path_contains="names_and_roles")
    make_due(app)
    slow = threading.Thread(target=rosters.work)
    slow.start()
    time.sleep(0.5)
    assert not rosters.work()
    with app.extensions["database"].transaction() as db:
        db.exec(delete(CourseServices).where(col(CourseServices.roster_due_at) <= utc_now()))
    another_client(app, sandbox)
    with app.extensions["database"].transaction() as db:
        db.exec(
            update(CourseServices)
            .where(col(CourseServices.roster_due_at).is_(None))
            .values(roster_due_at=utc_now())
        )
    assert rosters.work()
    assert slow.is_alive()
    slow.join()


def test_a_list_that_failed_keeps_no_other_of_its_platform_waiting(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters
) -> None:
    with app.extensions["database"].transaction() as db:
        course = db.exec(select(Course)).one()
        add_course(db, course.platform_id, course.deployment_id)
    sandbox.fail_next(500, path_contains="names_and_roles")
    make_due(app)
    assert [rosters.work(), rosters.work(), rosters.work()] == [True, True, False]


def test_a_removed_platform_is_not_asked(
    app: Flask, sandbox: Sandbox, teacher: Visitor, rosters: Rosters
) -> None:
    with app.extensions["database"].transaction() as db:
        db.connection().exec_driver_sql("UPDATE platforms SET workflow_state = 'removed'")
    make_due(app)
    assert not rosters.work()
    assert roster_requests(sandbox) == 0


def test_the_class_costs_a_constant_number_of_queries_however_many_are_listed(
    app: Flask,
    sandbox: Sandbox,
    place: SandboxCourse,
    teacher: Visitor,
    experience_id: int,
    count_queries: Callable[[Callable[[], object]], int],
) -> None:
    def cost() -> int:
        return count_queries(lambda: teacher.get(f"/experiences/{experience_id}"))

    class_page(teacher, experience_id)
    few = cost()
    sandbox.directory.add_students(place, 80)
    make_due(app)
    assert len(rows(class_page(teacher, experience_id))) == 83
    assert cost() == few


def test_a_launch_under_way_wins_over_a_list_written_meanwhile(
    app: Flask, sandbox: Sandbox, place: SandboxCourse, teacher: Visitor
) -> None:
    with app.extensions["database"].transaction() as db:
        course = db.exec(select(Course)).one()
        enrollment = db.exec(select(Enrollment)).one()
        assert enrollment.workflow_state is EnrollmentState.ACTIVE
        # As another worker writes it, unseen by this transaction's objects.
        db.connection().exec_driver_sql("UPDATE enrollments SET workflow_state = 'left', role = 'student'")
        visit = Visit(
            sub=sandbox.person("miriam.okafor").sub, context_id=course.context_id, role=Role.TEACHER
        )
        record_visit(db, course.platform_id, course.deployment_id, visit)
    found = enrollments(app)["Miriam Okafor"]
    assert (found.workflow_state, found.role) == (EnrollmentState.ACTIVE, Role.TEACHER)
