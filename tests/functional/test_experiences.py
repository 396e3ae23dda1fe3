"""Teachers write experiences; students see the published ones."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import text
from sqlmodel import select

from app.conversations.models import Conversation
from app.conversations.prompt import Scenario
from app.conversations.service import start_conversation
from app.courses.models import Course, Enrollment, User
from app.database import Database
from app.errors import AppError, InvalidInputError, NotFoundError
from app.experiences.models import WorkflowState
from app.experiences.service import (
    AlreadyStartedError,
    NotPublishedError,
    delete_experience,
    set_workflow_state,
    update_experience,
)
from app.identity import Identity
from app.sandbox import Sandbox
from tests.support.people import BIOLOGY, EXPERIENCE, HISTORY, Visitor


def titles(visitor: Visitor) -> list[str]:
    return [
        row.text.strip() for row in visitor.page("/experiences").select("[data-testid=experience] .row-title")
    ]


def test_an_experience_is_written_and_read_back(teacher: Visitor) -> None:
    experience_id = teacher.write_experience(publish=False)
    form = teacher.page(f"/experiences/{experience_id}/edit")
    for name in ("title", "learning_objectives-0", "learning_objectives-1", "persona_name"):
        field = form.select_one(f"[name={name}]")
        assert (field.get("value") or field.text).strip() == EXPERIENCE[name]
    assert "Unpublished" in teacher.page(f"/experiences/{experience_id}").text


def test_mistakes_are_named_and_nothing_typed_is_lost(teacher: Visitor) -> None:
    response = teacher.post("/experiences", EXPERIENCE | {"title": "", "facts": "x" * 10_001})
    assert response.status_code == 400
    assert "Please fill this in." in response.text
    assert "at most 10000 characters fit" in response.text
    assert "x" * 10_001 in response.text
    assert EXPERIENCE["pedagogical_guidance"] in response.text
    assert titles(teacher) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"title": "x" * 256}, "at most 255 characters fit"),
        ({"title": " \n "}, "Please fill this in."),
        ({"pedagogical_guidance": ""}, "Please fill this in."),
        ({"learning_objectives-0": "", "learning_objectives-1": " "}, "Please fill this in."),
        ({f"learning_objectives-{number}": "x" for number in range(11)}, "at most 10 fit"),
        ({"persona_name": "x" * 81}, "at most 80 characters fit"),
        ({"max_turns": "0"}, "a whole number from 1 to 200"),
        ({"max_turns": "many"}, "a whole number from 1 to 200"),
        ({f"evaluation_metrics-{number}-name": str(number) for number in range(6)}, "at most 5 fit"),
        ({"evaluation_metrics-1-description": "nameless"}, "Number 1: Please give it a name."),
        ({f"evaluation_metrics-{number}-name": "same" for number in range(2)}, "Number 2: Another has this"),
        ({"evaluation_metrics-0-name": "a\nb"}, "Number 1: This cannot be read"),
    ],
)
def test_each_rule_has_its_sentence(teacher: Visitor, changes: dict[str, str], sentence: str) -> None:
    response = teacher.post("/experiences", EXPERIENCE | changes)
    assert response.status_code == 400
    assert sentence in response.text


def test_a_metric_with_a_mistake_comes_back_without_a_blank_one(teacher: Visitor) -> None:
    response = teacher.post("/experiences", EXPERIENCE | {"evaluation_metrics-0-description": "nameless"})
    form = BeautifulSoup(response.text, "html.parser")
    assert metrics(form) == [("", "nameless", False, False)]


@pytest.mark.parametrize(
    "name",
    [
        "learning_objectives-²",
        "learning_objectives-0-x",
        "learning_objectives-99999",
        "evaluation_metrics-0",
        "evaluation_metrics-0-x",
        "evaluation_metrics-99999-name",
    ],
)
def test_odd_names_of_fields_do_no_harm(teacher: Visitor, student: Visitor, name: str) -> None:
    assert teacher.post("/experiences", EXPERIENCE | {name: "x"}).status_code == 303
    assert student.post("/experiences", EXPERIENCE | {name: "x"}).status_code == 403


def test_mistakes_while_editing_change_nothing(teacher: Visitor) -> None:
    experience_id = teacher.write_experience()
    assert teacher.post(f"/experiences/{experience_id}", EXPERIENCE | {"title": ""}).status_code == 400
    assert titles(teacher) == [EXPERIENCE["title"]]


def test_nobody_saves_over_a_change_that_they_have_not_seen(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    path = f"/experiences/{teacher.write_experience()}"
    assistant = Visitor.launch(app, sandbox, "priya.raman")
    seen = assistant.page(f"{path}/edit").select_one("[name=seen]")["value"]
    teacher.post(path, EXPERIENCE | {"title": "The teacher's title"})
    late = assistant.post(path, EXPERIENCE | {"title": "The assistant's title", "seen": seen})
    assert late.status_code == 409
    assert "The assistant&#39;s title" in late.text
    assert titles(teacher) == ["The teacher's title"]
    seen = BeautifulSoup(late.text, "html.parser").select_one("[name=seen]")["value"]
    assistant.post(path, EXPERIENCE | {"title": "The assistant's title", "seen": seen})
    assert titles(teacher) == ["The assistant's title"]


def test_another_objective_can_be_asked_for_without_javascript(teacher: Visitor) -> None:
    response = teacher.post("/experiences", EXPERIENCE | {"add_objective": "1"})
    assert response.status_code == 200
    assert 'name="learning_objectives-2"' in response.text
    assert titles(teacher) == []


METRICS = {
    "evaluation_metrics-0-name": "Empathy",
    "evaluation_metrics-0-description": "Do they ask how the customer feels?",
    "evaluation_metrics-0-enabled": "y",
    "evaluation_metrics-1-name": "Structure",
    "evaluation_metrics-1-visible_to_learners": "y",
}


def metrics(form: BeautifulSoup) -> list[tuple[str, str, bool, bool]]:
    return [
        (
            row.select_one("input")["value"],
            row.select_one("textarea").text.strip(),
            *(box.has_attr("checked") for box in row.select("[type=checkbox]")),
        )
        for row in form.select("#metric-rows li")
    ]


def test_metrics_and_a_limit_of_turns_are_written_and_read_back(teacher: Visitor) -> None:
    experience_id = teacher.write_experience(max_turns="12", **METRICS)
    form = teacher.page(f"/experiences/{experience_id}/edit")
    page = teacher.page(f"/experiences/{experience_id}").text
    assert "Structure (not used) (students see it)" in page
    assert "12 in a conversation" in page
    assert form.select_one("[name=max_turns]")["value"] == "12"
    assert metrics(form) == [
        ("Empathy", "Do they ask how the customer feels?", True, False),
        ("Structure", "", False, True),
        ("", "", True, False),
    ]


def test_an_emptied_metric_is_removed(teacher: Visitor) -> None:
    experience_id = teacher.write_experience(**METRICS)
    emptied = {"evaluation_metrics-0-name": " ", "evaluation_metrics-0-description": ""}
    teacher.post(f"/experiences/{experience_id}", EXPERIENCE | METRICS | emptied)
    form = teacher.page(f"/experiences/{experience_id}/edit")
    assert [name for name, *_ in metrics(form)] == ["Structure", ""]


def test_a_form_that_cannot_be_answered_gives_back_what_was_typed_alone(teacher: Visitor) -> None:
    response = teacher.post("/experiences", METRICS | {"csrf_token": "stale"})
    assert response.status_code == 401
    typed = BeautifulSoup(response.text, "html.parser").select("textarea")
    assert [text.text.strip() for text in typed] == [
        "Empathy",
        "Do they ask how the customer feels?",
        "Structure",
    ]


def test_another_metric_can_be_asked_for_without_javascript(teacher: Visitor) -> None:
    response = teacher.post("/experiences", EXPERIENCE | METRICS | {"add_metric": "1"})
    assert response.status_code == 200
    assert 'name="evaluation_metrics-2-name"' in response.text
    assert titles(teacher) == []


def test_a_copy_carries_metrics_and_the_limit_of_turns(teacher: Visitor) -> None:
    experience_id = teacher.write_experience(max_turns="12", **METRICS)
    response = teacher.post(f"/experiences/{experience_id}/duplicate")
    form = teacher.page(response.location.removeprefix(teacher.root))
    assert form.select_one("[name=max_turns]")["value"] == "12"
    assert [name for name, *_ in metrics(form)] == ["Empathy", "Structure", ""]


def test_a_conversation_keeps_the_metrics_and_the_limit_it_began_with(
    app: Flask, teacher: Visitor, student: Visitor
) -> None:
    experience_id = teacher.write_experience(max_turns="12", **METRICS)
    conversation_id = student.start(experience_id)
    teacher.post(f"/experiences/{experience_id}", EXPERIENCE)
    with app.extensions["database"].snapshot() as session:
        scenario = Scenario.model_validate(session.get(Conversation, conversation_id).scenario)
    assert scenario.max_turns == 12
    assert [metric.name for metric in scenario.evaluation_metrics] == ["Empathy", "Structure"]


def test_publish_unpublish_duplicate_delete(teacher: Visitor, student: Visitor) -> None:
    experience_id = teacher.write_experience(publish=False)
    path = f"/experiences/{experience_id}"
    assert titles(student) == []
    teacher.post(f"{path}/publish")
    assert titles(student) == [EXPERIENCE["title"]]
    teacher.post(f"{path}/unpublish")
    assert titles(student) == []
    teacher.post(f"{path}/duplicate")
    assert titles(teacher) == [f"{EXPERIENCE['title']} (copy)", EXPERIENCE["title"]]
    teacher.post(f"{path}/delete")
    assert titles(teacher) == [f"{EXPERIENCE['title']} (copy)"]
    assert teacher.get(path).status_code == 404


def test_what_a_student_has_begun_stays_published(teacher: Visitor, student: Visitor) -> None:
    experience_id = teacher.write_experience()
    student.start(experience_id)
    response = teacher.post(f"/experiences/{experience_id}/unpublish")
    assert response.status_code == 409
    assert "already started" in response.text
    assert titles(student) == [EXPERIENCE["title"]]


def test_an_edit_that_would_unpublish_what_has_begun_changes_nothing(
    app: Flask, teacher: Visitor, student: Visitor
) -> None:
    experience_id = teacher.write_experience()
    student.start(experience_id)
    database: Database = app.extensions["database"]
    edit = {"title": "New", "workflow_state": "unpublished"}
    with (
        pytest.raises(InvalidInputError) as refusal,
        database.transaction() as session,
    ):
        update_experience(session, identity_of(database, "Miriam Okafor"), experience_id, edit)
    assert list(refusal.value.errors) == ["workflow_state"]
    assert titles(student) == [EXPERIENCE["title"]]


def test_an_edit_may_publish_and_leave_the_rest_as_it_is(
    app: Flask, teacher: Visitor, student: Visitor
) -> None:
    experience_id = teacher.write_experience(publish=False, **METRICS)
    database: Database = app.extensions["database"]
    with database.transaction() as session:
        edit = {"title": "New", "workflow_state": "published"}
        update_experience(session, identity_of(database, "Miriam Okafor"), experience_id, edit)
    assert titles(student) == ["New"]
    form = teacher.page(f"/experiences/{experience_id}/edit")
    assert [name for name, *_ in metrics(form)] == ["Empathy", "Structure", ""]


@pytest.mark.parametrize(
    ("first", "second", "refusal"),
    [
        ("start", "unpublish", AlreadyStartedError),
        ("unpublish", "start", NotPublishedError),
        ("delete", "start", NotFoundError),
    ],
)
def test_a_first_start_and_taking_back_at_the_same_moment_exclude_each_other(
    app: Flask, teacher: Visitor, student: Visitor, first: str, second: str, refusal: type[AppError]
) -> None:
    experience_id = teacher.write_experience()
    database: Database = app.extensions["database"]
    okafor, diallo = (identity_of(database, name) for name in ("Miriam Okafor", "Amara Diallo"))
    acts = {
        "start": lambda session: start_conversation(session, diallo, experience_id, instead_of=0),
        "unpublish": lambda session: set_workflow_state(
            session, okafor, experience_id, WorkflowState.UNPUBLISHED
        ),
        "delete": lambda session: delete_experience(session, okafor, experience_id),
    }

    def act_second() -> None:
        with app.app_context(), database.transaction() as session:
            acts[second](session)

    with ThreadPoolExecutor(1) as pool:
        with app.app_context(), database.transaction() as session:
            acts[first](session)
            session.flush()
            other = pool.submit(act_second)
            wait_until_someone_waits(database)
        assert isinstance(other.exception(10), refusal)


def identity_of(database: Database, name: str) -> Identity:
    with database.snapshot() as session:
        user, course, place = session.exec(
            select(User, Course, Enrollment)
            .where(User.name == name, Enrollment.user_id == User.id)
            .where(Course.id == Enrollment.course_id)
        ).one()
    return Identity(user=user, course=course, role=place.role)


def wait_until_someone_waits(database: Database) -> None:
    """On PostgreSQL, be sure that the other has read and waits; SQLite lets it begin only afterwards."""
    if database.url.get_backend_name() == "sqlite":
        return
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    until = time.monotonic() + 10
    with database.snapshot() as session:
        while session.execute(waiting).scalar_one() == 0:
            assert time.monotonic() < until, "nobody waits"


def test_students_never_see_facts_and_guidance(teacher: Visitor, student: Visitor) -> None:
    experience_id = teacher.write_experience()
    student.start(experience_id)
    page = student.page(f"/experiences/{experience_id}/conversation")
    assert EXPERIENCE["facts"] not in page.text
    assert EXPERIENCE["pedagogical_guidance"] not in page.text
    assert EXPERIENCE["learning_objectives-0"] in page.text


@pytest.mark.parametrize("who", ["amara.diallo", "grace.diallo", "test.student.1101"])
def test_only_those_who_write_may_write(app: Flask, sandbox: Sandbox, teacher: Visitor, who: str) -> None:
    experience_id = teacher.write_experience(publish=False)
    visitor = Visitor.launch(app, sandbox, who)
    path = f"/experiences/{experience_id}"
    assert visitor.get("/experiences/new").status_code == 403
    assert visitor.post("/experiences", EXPERIENCE).status_code == 403
    assert visitor.get(f"{path}/edit").status_code == 403
    assert visitor.get(path).status_code == 403
    assert visitor.get(f"{path}/conversation").status_code == 403
    for action in ("", "/publish", "/unpublish", "/duplicate", "/delete"):
        assert visitor.post(path + action, EXPERIENCE).status_code == 403
    assert titles(teacher) == [EXPERIENCE["title"]]


@pytest.mark.parametrize("who", ["priya.raman", "elena.petrova", "ingrid.bauer"])
def test_assistants_designers_and_administrators_write(app: Flask, sandbox: Sandbox, who: str) -> None:
    Visitor.launch(app, sandbox, who).write_experience()


def test_another_courses_experience_is_not_there(app: Flask, sandbox: Sandbox, teacher: Visitor) -> None:
    experience_id = teacher.write_experience()
    other = Visitor.launch(app, sandbox, "jonas.lindqvist", HISTORY)
    path = f"/experiences/{experience_id}"
    assert other.get(path).status_code == 404
    assert other.get(f"{path}/edit").status_code == 404
    assert other.get(f"{path}/transcripts").status_code == 404
    for action in ("", "/publish", "/unpublish", "/duplicate", "/delete"):
        assert other.post(path + action, EXPERIENCE).status_code == 404


def test_markup_in_what_a_teacher_wrote_is_shown_as_text(teacher: Visitor, student: Visitor) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    experience_id = teacher.write_experience(
        title=hostile,
        description=hostile,
        opening_line=hostile,
        **{"learning_objectives-0": hostile, "evaluation_metrics-0-name": hostile},
    )
    student.start(experience_id)
    for visitor, path in (
        (teacher, f"/experiences/{experience_id}"),
        (teacher, "/experiences"),
        (student, f"/experiences/{experience_id}/conversation"),
        (student, "/shelf"),
    ):
        page = visitor.page(path)
        assert page.select("main img") == []
        assert "<img src=x" in page.text


@pytest.mark.parametrize(
    ("who", "course", "shown"),
    [
        ("miriam.okafor", BIOLOGY, "Introduction to Cell Biology · Teacher"),
        ("priya.raman", BIOLOGY, "Introduction to Cell Biology · Teaching assistant"),
        ("priya.raman", HISTORY, "Cities of the Ancient World · Student"),
        ("elena.petrova", BIOLOGY, "Introduction to Cell Biology · Designer"),
        ("amara.diallo", BIOLOGY, "Introduction to Cell Biology · Student"),
        ("grace.diallo", BIOLOGY, "Introduction to Cell Biology · Observer"),
        ("ingrid.bauer", BIOLOGY, "Introduction to Cell Biology · Administrator"),
    ],
)
def test_everyone_reads_in_which_course_they_are_and_as_what(
    app: Flask, sandbox: Sandbox, who: str, course: int, shown: str
) -> None:
    assert whereabouts(Visitor.launch(app, sandbox, who, course)) == shown


def test_a_course_without_a_title_is_named_by_its_label_or_not_at_all(app: Flask, sandbox: Sandbox) -> None:
    context = "https://purl.imsglobal.org/spec/lti/claim/context"
    without = Visitor.launch(app, sandbox, "miriam.okafor", **{context: {"id": "c"}})
    assert whereabouts(without) == "Teacher"
    labelled = Visitor.launch(app, sandbox, "miriam.okafor", **{context: {"id": "c", "label": "BIO"}})
    assert whereabouts(labelled) == "BIO · Teacher"


def whereabouts(visitor: Visitor) -> str:
    return visitor.page("/experiences").select_one("[data-testid=whereabouts]").text
