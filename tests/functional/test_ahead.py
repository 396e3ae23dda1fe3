"""People and courses that a command wrote down ahead, and the launches that take them over."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from sqlmodel import SQLModel, col, select

from app.api.oauth.commands import token
from app.api.oauth.models import AccessToken
from app.conversations.models import Conversation, ConversationState
from app.courses.ahead import placeholder_id
from app.courses.class_list import ListedPerson, mark_missing_as_left, record_people
from app.courses.models import Course, Enrollment, EnrollmentState, Role, User
from app.database import utc_now
from app.experiences.models import Experience
from app.lti import ahead
from app.lti.claims import subject
from app.lti.models import Deployment, Platform
from app.lti.refusals import NoPersonError
from app.sandbox import Sandbox
from app.usage.models import CourseBudget, CourseTokens
from tests.support.people import BIOLOGY, Visitor, begin_login, finish_launch
from tests.support.programs import bearer, list_with

pytestmark = pytest.mark.usefixtures("unread_lists")
RESOURCE_LINK = "https://purl.imsglobal.org/spec/lti/claim/resource_link"
CUSTOM = "https://purl.imsglobal.org/spec/lti/claim/custom"
CONTEXT = "https://purl.imsglobal.org/spec/lti/claim/context"
ROSTER = "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice"
GRADES = "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"
# What a link in the course says: its custom variables are its teacher's word.
UNVOUCHED = {RESOURCE_LINK: {"id": "a-link"}, ROSTER: {}, GRADES: {}}
TEACHER, STUDENT = "miriam.okafor", "amara.diallo"


def create(app: Flask, sandbox: Sandbox, who: str, role: str, course: int = BIOLOGY) -> str:
    """Make a token by command, for somebody who may not be known yet."""
    named = ("--issuer", sandbox.config.issuer, "--course", str(course), "--role", role)
    person = str(sandbox.person(who).canvas_id)
    result = app.test_cli_runner().invoke(token, ["create", *named, "--user", person])
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def all_of(app: Flask, model: type[Any]) -> list[Any]:
    with app.extensions["database"].snapshot() as session:
        return list(session.exec(select(model).order_by(*model.__table__.primary_key)))


def write(app: Flask, secret: str, title: str = "Ahead") -> int:
    """Write an experience by the API and return its id."""
    response = app.test_client().post(
        f"/api/v1/courses/{BIOLOGY}/ai_experiences",
        json={
            "title": title,
            "learning_objective": "Ask",
            "pedagogical_guidance": "Be kind.",
            "workflow_state": "published",
        },
        headers=bearer(secret),
    )
    assert response.status_code == 201, response.text
    return int(response.get_json()["id"])


def titles(app: Flask, secret: str) -> list[str]:
    response = list_with(app, secret)
    assert response.status_code == 200, response.text
    return [row["title"] for row in response.get_json()]


def test_a_first_launch_takes_person_and_course_over(app: Flask, sandbox: Sandbox) -> None:
    secret = create(app, sandbox, TEACHER, "teacher")
    write(app, secret)
    teacher = Visitor.launch(app, sandbox, TEACHER)
    (user,), (course,), (place,) = all_of(app, User), all_of(app, Course), all_of(app, Enrollment)
    assert (user.sub, user.name) == (sandbox.person(TEACHER).sub, "Miriam Okafor")
    assert course.context_id == sandbox.course(BIOLOGY).context_id
    assert place.last_launch_at is not None
    assert "Ahead" in teacher.get("/experiences").text
    assert titles(app, secret) == ["Ahead"]


def test_the_platform_decides_what_somebody_is(app: Flask, sandbox: Sandbox) -> None:
    secret = create(app, sandbox, STUDENT, "teacher")
    assert write(app, secret)
    Visitor.launch(app, sandbox, STUDENT)
    (place,) = all_of(app, Enrollment)
    assert place.role is Role.STUDENT
    refused = app.test_client().post(f"/api/v1/courses/{BIOLOGY}/ai_experiences", headers=bearer(secret))
    assert refused.status_code == 403


def test_a_link_whose_ids_a_teacher_may_have_written_takes_nothing_over(app: Flask, sandbox: Sandbox) -> None:
    secret = create(app, sandbox, TEACHER, "teacher")
    write(app, secret)
    claimed = {"canvas_user_id": str(sandbox.person(TEACHER).canvas_id), "canvas_course_id": str(BIOLOGY)}
    thief = Visitor.launch(app, sandbox, STUDENT, **UNVOUCHED, **{CUSTOM: claimed})
    assert "Ahead" not in thief.get("/shelf").text
    assert len(all_of(app, User)) == len(all_of(app, Course)) == 2
    assert titles(app, secret) == ["Ahead"]


def test_no_platform_can_send_what_stands_for_an_id(app: Flask, sandbox: Sandbox) -> None:
    create(app, sandbox, TEACHER, "teacher")
    placeholder = all_of(app, User)[0].sub
    assert placeholder == placeholder_id(1, str(sandbox.person(TEACHER).canvas_id))
    with pytest.raises(NoPersonError):
        subject(placeholder)
    client = app.test_client()
    for forged in ({"sub": placeholder}, {CONTEXT: {"id": all_of(app, Course)[0].context_id}}):
        login = begin_login(client, sandbox, TEACHER)
        assert finish_launch(client, sandbox, TEACHER, login, **forged).status_code in {400, 401, 403}


def test_a_course_that_is_known_by_its_links_takes_in_what_was_written_ahead(
    app: Flask, sandbox: Sandbox
) -> None:
    student = Visitor.launch(app, sandbox, STUDENT, **UNVOUCHED, **{CUSTOM: {}})
    secret = create(app, sandbox, TEACHER, "teacher")
    experience_id = write(app, secret)
    with app.extensions["database"].transaction() as session:
        for course in session.exec(select(Course).order_by("id")):
            session.add(CourseTokens(course_id=course.id, month=utc_now().date(), part=0, used=5))
            session.add(CourseBudget(course_id=course.id, tokens=100 * course.id))
    assert len(all_of(app, Course)) == 2
    Visitor.launch(app, sandbox, TEACHER)
    (course,) = all_of(app, Course)
    assert course.canvas_course_id == str(BIOLOGY)
    assert [row.course_id for row in all_of(app, Experience)] == [course.id]
    assert {row.course_id for row in all_of(app, Enrollment)} == {course.id}
    assert [row.used for row in all_of(app, CourseTokens)] == [5, 5]
    assert [row.tokens for row in all_of(app, CourseBudget)] == [100 * course.id]
    assert student.start(experience_id)
    assert titles(app, secret) == ["Ahead"]


def test_somebody_known_by_links_takes_over_what_a_command_gave_them(app: Flask, sandbox: Sandbox) -> None:
    """They have a conversation of their own, and another by the token."""
    teacher = Visitor.launch(app, sandbox, TEACHER)
    experience_id = teacher.write_experience()
    student = Visitor.launch(app, sandbox, STUDENT, **UNVOUCHED, **{CUSTOM: {}})
    student.start(experience_id)
    secret = create(app, sandbox, STUDENT, "student")
    begun = app.test_client().post(
        f"/api/v1/courses/{BIOLOGY}/ai_experiences/{experience_id}/conversations", headers=bearer(secret)
    )
    assert begun.status_code == 201, begun.text
    assert len(all_of(app, User)) == 3
    Visitor.launch(app, sandbox, STUDENT)
    with app.extensions["database"].snapshot() as session:
        kept = session.exec(select(User).filter_by(sub=sandbox.person(STUDENT).sub)).one()
        merged = session.exec(select(User).where(col(User.merged_into_id).is_not(None))).one()
    assert merged.merged_into_id == kept.id
    assert kept.canvas_user_id == str(sandbox.person(STUDENT).canvas_id)
    assert [row.user_id for row in all_of(app, AccessToken)] == [kept.id]
    states = {row.id: row.workflow_state for row in all_of(app, Conversation) if row.user_id == kept.id}
    assert list(states.values()) == [ConversationState.ENDED, ConversationState.ACTIVE]
    assert len([row for row in all_of(app, Enrollment) if row.user_id == kept.id]) == 1
    assert list_with(app, secret).status_code == 200


def test_first_launches_at_once_take_over_once(app: Flask, sandbox: Sandbox) -> None:
    secrets = {
        who: create(app, sandbox, who, role) for who, role in ((TEACHER, "teacher"), (STUDENT, "student"))
    }
    write(app, secrets[TEACHER])
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda who: Visitor.launch(app, sandbox, who), [TEACHER, STUDENT] * 2))
    subs = {sandbox.person(who).sub for who in secrets}
    assert {user.sub for user in all_of(app, User)} == subs
    assert [course.context_id for course in all_of(app, Course)] == [sandbox.course(BIOLOGY).context_id]
    for secret in secrets.values():
        assert titles(app, secret) == ["Ahead"]


def test_a_command_finds_who_was_taken_over(app: Flask, sandbox: Sandbox) -> None:
    Visitor.launch(app, sandbox, STUDENT, **UNVOUCHED, **{CUSTOM: {}})
    create(app, sandbox, STUDENT, "student")
    Visitor.launch(app, sandbox, STUDENT)
    create(app, sandbox, STUDENT, "student")
    owners = {row.user_id for row in all_of(app, AccessToken)}
    assert len(owners) == 1


def test_a_later_launch_looks_for_nothing(
    app: Flask, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    Visitor.launch(app, sandbox, TEACHER)

    def fail(*_arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr("app.lti.launch.take_over", fail)
    Visitor.launch(app, sandbox, TEACHER)


def test_another_deployments_course_is_left_alone(app: Flask, sandbox: Sandbox) -> None:
    """Schools that share a client have courses and people with the same ids."""
    with app.extensions["database"].transaction() as session:
        platform = session.exec(select(Platform)).one()
        elsewhere = Deployment(platform_id=platform.id, deployment_id="elsewhere", source=platform.source)
        session.add(elsewhere)
    named = ("--issuer", sandbox.config.issuer, "--course", str(BIOLOGY), "--role", "teacher")
    person = ("--user", str(sandbox.person(TEACHER).canvas_id), "--deployment-id", "elsewhere")
    secret = app.test_cli_runner().invoke(token, ["create", *named, *person]).stdout.strip()
    write(app, secret)
    teacher = Visitor.launch(app, sandbox, TEACHER)
    assert "Ahead" not in teacher.get("/experiences").text
    assert len(all_of(app, Course)) == len(all_of(app, User)) == 2
    assert titles(app, secret) == ["Ahead"]


def test_a_class_list_lets_nobody_leave_who_was_written_down_ahead(app: Flask, sandbox: Sandbox) -> None:
    secret = create(app, sandbox, STUDENT, "student")
    with app.extensions["database"].transaction() as session:
        course = session.exec(select(Course)).one()
        present = record_people(
            session, course, [ListedPerson(sub="somebody", role=Role.STUDENT)], as_of=utc_now()
        )
        mark_missing_as_left(session, course, present, as_of=utc_now())
    assert {row.workflow_state for row in all_of(app, Enrollment)} == {EnrollmentState.ACTIVE}
    assert list_with(app, secret).status_code == 200


def test_every_column_that_refers_to_a_course_is_moved() -> None:
    refer = {
        f"{table.name}.{column.name}"
        for table in SQLModel.metadata.tables.values()
        for column in table.columns
        if any(key.target_fullname == "courses.id" for key in column.foreign_keys)
    }
    moved = {f"{model.__tablename__}.{column.key}" for model, column in ahead._BELONGINGS}
    moved |= {
        f"{model.__tablename__}.course_id" for model in (*ahead._ONE_A_COURSE, Enrollment, CourseTokens)
    }
    assert moved == refer
