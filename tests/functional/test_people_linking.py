"""Linking two people whom the platform sends by two subs, after it merged their accounts."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import event
from sqlmodel import SQLModel, col, select, update

from app.conversations.models import Conversation, ConversationState
from app.courses.class_list import ListedPerson, mark_missing_as_left, record_people
from app.courses.models import Course, Enrollment, EnrollmentState, Role, User
from app.database import utc_now
from app.experiences.models import Experience
from app.lti.models import Launch, RegistrationSource, Score
from app.lti.registration.platforms import PlatformEntry, save_platform
from app.lti.setup.people import _BELONGINGS
from app.sandbox import ABSENT, Sandbox, registration
from tests.support.people import HISTORY, Visitor, begin_login, finish_launch

pytestmark = pytest.mark.usefixtures("unread_lists")
CUSTOM = "https://purl.imsglobal.org/spec/lti/claim/custom"
DEPLOYMENT = "https://purl.imsglobal.org/spec/lti/claim/deployment_id"
ROLES = "https://purl.imsglobal.org/spec/lti/claim/roles"
PAST = "a-past-sub"


@pytest.fixture
def administrator(app: Flask, sandbox: Sandbox) -> Visitor:
    return Visitor.launch(app, sandbox, "ingrid.bauer")


@pytest.fixture
def past(app: Flask, sandbox: Sandbox) -> Visitor:
    """Amara, as the platform sent her before."""
    return Visitor.launch(app, sandbox, "amara.diallo", sub=PAST, name="Amara D.")


@pytest.fixture
def now(app: Flask, sandbox: Sandbox, past: Visitor) -> Visitor:
    """Amara, as the platform sends her since."""
    return Visitor.launch(app, sandbox, "amara.diallo")


def user(app: Flask, sub: str) -> User:
    with app.extensions["database"].snapshot() as db:
        return db.exec(select(User).where(User.sub == sub)).one()


def amara(app: Flask, sandbox: Sandbox) -> User:
    return user(app, sandbox.person("amara.diallo").sub)


def pairs(page: BeautifulSoup) -> list[tuple[str, str]]:
    """Return for each offer who stays and who becomes the same person, by sub."""
    return [tuple(code.text for code in row.select("code")) for row in page.select("[data-testid=pair]")]


def link(administrator: Visitor, kept: User, other: User) -> int:
    answer = administrator.post(f"/setup/people/{kept.id}/link", {"other": str(other.id)})
    return int(answer.status_code)


def rows(app: Flask, model: type[SQLModel]) -> list[Any]:
    with app.extensions["database"].snapshot() as db:
        return list(db.exec(select(model).order_by(*model.__table__.primary_key)))


def write_experience(visitor: Visitor, title: str = "One") -> int:
    return visitor.write_experience(title=title)


def test_two_who_seem_to_be_one_are_offered_and_who_came_last_stays(
    app: Flask, sandbox: Sandbox, administrator: Visitor, now: Visitor
) -> None:
    page = administrator.page("/setup")
    assert pairs(page) == [(sandbox.person("amara.diallo").sub, PAST)]
    form = page.select_one(f"form[action$='/setup/people/{amara(app, sandbox).id}/link']")
    assert form.select_one("[name=other]")["value"] == str(user(app, PAST).id)


@pytest.mark.parametrize(
    "custom", [ABSENT, {}, {"canvas_user_id": "$Canvas.user.id"}, {"canvas_user_id": 999}]
)
def test_people_whose_canvas_ids_differ_or_are_unknown_are_not_offered(
    app: Flask, sandbox: Sandbox, administrator: Visitor, student: Visitor, custom: Any
) -> None:
    Visitor.launch(app, sandbox, "amara.diallo", sub=PAST, **{CUSTOM: custom})
    Visitor.launch(app, sandbox, "liam.oconnor", sub="another-past", **{CUSTOM: ABSENT})
    assert pairs(administrator.page("/setup")) == []
    assert link(administrator, amara(app, sandbox), user(app, PAST)) == 409
    assert user(app, PAST).merged_into_id is None


def test_all_that_belonged_to_either_belongs_to_the_one_who_stays(
    app: Flask, sandbox: Sandbox, administrator: Visitor, teacher: Visitor, past: Visitor, now: Visitor
) -> None:
    experience_id = write_experience(teacher)
    conversation_id = past.start(experience_id)
    old, kept = user(app, PAST), amara(app, sandbox)
    with app.extensions["database"].transaction() as db:
        course_id = db.exec(select(Course.id)).one()
        db.add(
            Score(
                course_id=course_id,
                experience_id=experience_id,
                user_id=old.id,
                created_by_id=old.id,
                conversation_id=conversation_id,
                activity_progress="Submitted",
                grading_progress="PendingManual",
                timestamp=utc_now(),
                state="sent",
            )
        )
        db.exec(update(Experience).values(created_by_id=old.id))
    assert link(administrator, kept, old) == 303
    for model, column in _BELONGINGS:
        owners = {getattr(row, column.key) for row in rows(app, model)}
        assert old.id not in owners, column
    assert [row.user_id for row in rows(app, Conversation)] == [kept.id]
    assert [(row.user_id, row.created_by_id) for row in rows(app, Score)] == [(kept.id, kept.id)]
    assert user(app, PAST).merged_into_id == kept.id
    assert pairs(administrator.page("/setup")) == []


def test_every_column_that_refers_to_a_person_is_moved() -> None:
    refer = {
        f"{table.name}.{column.name}"
        for table in SQLModel.metadata.tables.values()
        for column in table.columns
        if any(key.target_fullname == "users.id" for key in column.foreign_keys)
    }
    assert {f"{model.__tablename__}.{column.key}" for model, column in _BELONGINGS} == refer


def test_both_visits_go_on_as_the_one_who_stays(
    app: Flask, sandbox: Sandbox, administrator: Visitor, teacher: Visitor, past: Visitor, now: Visitor
) -> None:
    conversation_id = past.start(write_experience(teacher))
    assert now.send(conversation_id, "Hello").status_code == 404
    link(administrator, amara(app, sandbox), user(app, PAST))
    assert now.send(conversation_id, "Hello").status_code == 200
    assert past.send(conversation_id, "Hello", "key-2").status_code == 200


def test_later_launches_by_the_past_sub_come_in_as_the_one_who_stays(
    app: Flask, sandbox: Sandbox, administrator: Visitor, teacher: Visitor, past: Visitor, now: Visitor
) -> None:
    conversation_id = now.start(write_experience(teacher))
    link(administrator, amara(app, sandbox), user(app, PAST))
    again = Visitor.launch(app, sandbox, "amara.diallo", sub=PAST)
    assert again.send(conversation_id, "Hello").status_code == 200
    Visitor.launch(app, sandbox, "amara.diallo", HISTORY, sub=PAST)
    old = user(app, PAST)
    assert old.id not in {row.user_id for row in rows(app, Enrollment)}
    assert old.id not in {row.user_id for row in rows(app, Launch)}


def test_a_class_list_with_either_sub_or_both_names_one_person(
    app: Flask, sandbox: Sandbox, administrator: Visitor, now: Visitor
) -> None:
    kept, old = amara(app, sandbox), user(app, PAST)
    link(administrator, kept, old)
    for subs in ([PAST], [kept.sub], [PAST, kept.sub]):
        with app.extensions["database"].transaction() as db:
            listed = [ListedPerson(sub, Role.STUDENT) for sub in subs]
            course = db.exec(select(Course)).one()
            present = record_people(db, course, listed, as_of=utc_now())
            mark_missing_as_left(db, course, present, as_of=utc_now())
        places = [row for row in rows(app, Enrollment) if row.user_id in {kept.id, old.id}]
        assert [(row.user_id, row.workflow_state) for row in places] == [(kept.id, EnrollmentState.ACTIVE)]


def test_of_three_the_first_leads_to_the_last_in_one_step(
    app: Flask, sandbox: Sandbox, administrator: Visitor, past: Visitor
) -> None:
    Visitor.launch(app, sandbox, "amara.diallo", sub="second")
    first, second = user(app, PAST), user(app, "second")
    assert link(administrator, second, first) == 303
    Visitor.launch(app, sandbox, "amara.diallo", sub="third")
    third = user(app, "third")
    assert link(administrator, third, second) == 303
    assert user(app, PAST).merged_into_id == user(app, "second").merged_into_id == third.id
    Visitor.launch(app, sandbox, "amara.diallo", HISTORY, sub=PAST)
    assert rows(app, Enrollment)[-1].user_id == third.id


def test_of_two_active_conversations_the_older_ends(
    app: Flask, sandbox: Sandbox, administrator: Visitor, teacher: Visitor, past: Visitor, now: Visitor
) -> None:
    both, only_past = write_experience(teacher), write_experience(teacher, "Two")
    older, alone, newer = past.start(both), past.start(only_past), now.start(both)
    link(administrator, amara(app, sandbox), user(app, PAST))
    found = {row.id: row for row in rows(app, Conversation)}
    assert {number: row.workflow_state for number, row in found.items()} == {
        older: ConversationState.ENDED,
        alone: ConversationState.ACTIVE,
        newer: ConversationState.ACTIVE,
    }
    assert found[older].ended_at is not None
    assert now.send(newer, "Hello").status_code == 200


def test_a_trial_and_a_conversation_that_counts_both_go_on(
    app: Flask, sandbox: Sandbox, administrator: Visitor, teacher: Visitor, past: Visitor, now: Visitor
) -> None:
    experience_id = write_experience(teacher)
    first, second = past.start(experience_id), now.start(experience_id)
    with app.extensions["database"].transaction() as db:
        db.exec(update(Conversation).where(col(Conversation.id) == first).values(is_preview=True))
    link(administrator, amara(app, sandbox), user(app, PAST))
    states = {row.id: row.workflow_state for row in rows(app, Conversation)}
    assert states == {first: ConversationState.ACTIVE, second: ConversationState.ACTIVE}


@pytest.mark.parametrize(
    ("old_state", "old_age", "role"),
    [
        (EnrollmentState.ACTIVE, timedelta(days=1), Role.STUDENT),
        (EnrollmentState.ACTIVE, timedelta(days=-1), Role.OBSERVER),
        (EnrollmentState.LEFT, timedelta(days=-1), Role.STUDENT),
    ],
)
def test_of_two_places_in_a_course_the_active_and_later_one_stays(
    app: Flask,
    sandbox: Sandbox,
    administrator: Visitor,
    now: Visitor,
    old_state: EnrollmentState,
    old_age: timedelta,
    role: Role,
) -> None:
    kept, old = amara(app, sandbox), user(app, PAST)
    with app.extensions["database"].transaction() as db:
        of_old = update(Enrollment).where(col(Enrollment.user_id) == old.id)
        values = {"role": Role.OBSERVER, "workflow_state": old_state, "last_launch_at": utc_now() - old_age}
        db.exec(of_old.values(**values))
    (pair,) = pairs(administrator.page("/setup"))
    stays, goes = (kept, old) if pair[1] == PAST else (old, kept)
    assert link(administrator, stays, goes) == 303
    (place,) = [row for row in rows(app, Enrollment) if row.user_id in {kept.id, old.id}]
    assert (place.user_id, place.role, place.workflow_state) == (stays.id, role, EnrollmentState.ACTIVE)


def test_a_name_that_only_the_past_one_had_is_kept(
    app: Flask, sandbox: Sandbox, administrator: Visitor, past: Visitor
) -> None:
    nameless = dict.fromkeys(("name", "given_name", "family_name"), ABSENT)
    Visitor.launch(app, sandbox, "amara.diallo", **nameless)
    link(administrator, amara(app, sandbox), user(app, PAST))
    assert amara(app, sandbox).name == "Amara D."


def test_only_the_pair_that_was_shown_is_linked(
    app: Flask, sandbox: Sandbox, administrator: Visitor, now: Visitor, teacher: Visitor
) -> None:
    kept, old = amara(app, sandbox), user(app, PAST)
    assert link(administrator, old, kept) == 409
    assert link(administrator, kept, kept) == 409
    assert link(administrator, kept, user(app, sandbox.person("miriam.okafor").sub)) == 409
    assert administrator.post(f"/setup/people/{kept.id}/link").status_code == 404
    assert administrator.post(f"/setup/people/{kept.id}/link", {"other": "9" * 30}).status_code == 404
    assert administrator.post("/setup/people/99999/link", {"other": str(old.id)}).status_code == 404
    assert link(administrator, kept, old) == 303
    assert link(administrator, kept, old) == 409


def test_another_clients_people_are_neither_offered_nor_linked(
    app: Flask, sandbox: Sandbox, administrator: Visitor, student: Visitor
) -> None:
    with app.extensions["database"].transaction() as db:
        entry = PlatformEntry.model_validate(registration(sandbox.config) | {"client_id": "other"})
        save_platform(db, sandbox.config.issuer, entry, RegistrationSource.COMMAND)
    client = app.test_client()
    login = begin_login(client, sandbox, "amara.diallo", client_id="other")
    answer = finish_launch(client, sandbox, "amara.diallo", login, aud="other", azp="other", sub=PAST)
    assert answer.status_code == 303
    assert pairs(administrator.page("/setup")) == []
    ours = user(app, sandbox.person("amara.diallo").sub)
    assert link(administrator, ours, user(app, PAST)) == 404


def test_another_deployments_people_are_neither_offered_nor_linked(
    app: Flask, sandbox: Sandbox, administrator: Visitor, student: Visitor
) -> None:
    with app.extensions["database"].transaction() as db:
        fields = registration(sandbox.config) | {"deployment_ids": ["another"]}
        save_platform(
            db, sandbox.config.issuer, PlatformEntry.model_validate(fields), RegistrationSource.COMMAND
        )
    client = app.test_client()
    unnamed = {"lti_deployment_id": "", "deployment_id": ""}
    login = begin_login(client, sandbox, "amara.diallo", **unnamed)
    answer = finish_launch(client, sandbox, "amara.diallo", login, sub=PAST, **{DEPLOYMENT: "another"})
    assert answer.status_code == 303
    assert pairs(administrator.page("/setup")) == []
    assert link(administrator, amara(app, sandbox), user(app, PAST)) == 409


def test_linking_is_undone_as_a_whole_where_a_part_of_it_fails(
    app: Flask, sandbox: Sandbox, administrator: Visitor, teacher: Visitor, past: Visitor, now: Visitor
) -> None:
    experience_id = write_experience(teacher)
    past.start(experience_id)
    now.start(experience_id)
    kept, old = amara(app, sandbox), user(app, PAST)
    models = (Enrollment, Conversation, Launch, User)
    before = [[row.model_dump(exclude={"last_seen_at"}) for row in rows(app, model)] for model in models]
    engine = app.extensions["database"].engine

    def fail(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("UPDATE users"):
            raise RuntimeError("the power went")

    event.listen(engine, "before_cursor_execute", fail)
    assert link(administrator, kept, old) == 500
    event.remove(engine, "before_cursor_execute", fail)
    after = [[row.model_dump(exclude={"last_seen_at"}) for row in rows(app, model)] for model in models]
    assert after == before


def test_two_administrators_at_once_link_once(
    app: Flask, sandbox: Sandbox, administrator: Visitor, now: Visitor
) -> None:
    second = Visitor.launch(app, sandbox, "ingrid.bauer")
    kept, old = amara(app, sandbox), user(app, PAST)
    with ThreadPoolExecutor(2) as both:
        answers = sorted(both.map(lambda who: link(who, kept, old), [administrator, second]))
    assert answers == [303, 409]


def test_linking_takes_as_many_statements_for_much_as_for_little(
    app: Flask,
    sandbox: Sandbox,
    administrator: Visitor,
    teacher: Visitor,
    past: Visitor,
    now: Visitor,
    count_queries: Callable[..., int],
) -> None:
    kept, old = amara(app, sandbox), user(app, PAST)
    little = count_queries(lambda: link(administrator, kept, old))
    for number in range(3):
        experience_id = write_experience(teacher, f"Experience {number}")
        Visitor.launch(app, sandbox, "liam.oconnor", sub="much").start(experience_id)
        Visitor.launch(app, sandbox, "liam.oconnor", HISTORY, sub="much", **{ROLES: ["Learner"]})
        Visitor.launch(app, sandbox, "liam.oconnor").start(experience_id)
    kept, old = user(app, sandbox.person("liam.oconnor").sub), user(app, "much")
    assert count_queries(lambda: link(administrator, kept, old)) == little
    assert user(app, "much").merged_into_id == kept.id


def test_linking_is_logged_by_ids_alone(
    app: Flask, sandbox: Sandbox, administrator: Visitor, now: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "app.lti.setup.people")
    kept, old = amara(app, sandbox), user(app, PAST)
    link(administrator, kept, old)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "app.lti.setup.people"]
    assert f"linked user {old.id} to user {kept.id}" in line
    assert "Amara" not in line
    assert PAST not in line
