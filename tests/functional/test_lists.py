"""Lists in pages: a course's experiences with who stands where, and the class of an experience."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
from flask import Flask
from sqlmodel import Session, select

from app.conversations import tallies as counting
from app.conversations.lists import ListedExperience, Page, list_page
from app.conversations.models import Conversation, ConversationState
from app.conversations.standing import Status, status_of
from app.conversations.tallies import LARGE, REMEMBERED_SECONDS, Tally, class_size, tallies
from app.courses.models import Course, Enrollment, EnrollmentState, Role, User
from app.database import Database, utc_now
from app.errors import ForbiddenError, InvalidInputError
from app.experiences.models import Experience, WorkflowState
from app.identity import Identity
from app.lti.models import Deployment, Platform
from app.review.class_pages import ClassPage, class_page

ACTIVE, COMPLETED, ENDED = ConversationState.ACTIVE, ConversationState.COMPLETED, ConversationState.ENDED
CountQueries = Callable[[Callable[[], object]], int]


@dataclass
class School:
    """A course with a teacher in it, and what the tests put there."""

    database: Database
    course: Course
    teacher: Identity
    people: list[Identity] = field(default_factory=list)

    def enroll(self, role: Role = Role.STUDENT, **place: object) -> Identity:
        with self.database.transaction() as session:
            user = _add(
                session, User(platform_id=self.course.platform_id, sub=f"{role}-{len(self.people)}", name="N")
            )
            enrollment = _add(
                session, Enrollment(course_id=self.course.id, user_id=user.id, role=role, **place)
            )
        identity = Identity.enrolled(user, self.course, enrollment)
        self.people.append(identity)
        return identity

    def write(self, state: WorkflowState = WorkflowState.PUBLISHED, **columns: object) -> Experience:
        texts = {"title": "T", "pedagogical_guidance": "G", "learning_objectives": ["A", "B"]}
        with self.database.transaction() as session:
            return _add(
                session,
                Experience(
                    course_id=self.course.id,
                    workflow_state=state,
                    started_at=utc_now() if state is WorkflowState.PUBLISHED else None,
                    **(texts | columns),
                ),
            )

    def hold(
        self, who: Identity, experience: Experience, state: ConversationState = ACTIVE, *, met: bool = False
    ) -> Conversation:
        with self.database.transaction() as session:
            return _add(
                session,
                Conversation(
                    experience_id=experience.id,
                    user_id=who.user.id,
                    workflow_state=state,
                    is_preview=who.converses_as_preview,
                    all_objectives_met=met,
                    scenario={},
                    prompt_version="1",
                ),
            )

    def list(
        self, who: Identity, *, workflow_state: str | None = None, limit: int = 100, offset: int = 0
    ) -> Page[ListedExperience]:
        with self.database.snapshot() as session:
            return list_page(session, who, workflow_state=workflow_state, limit=limit, offset=offset)

    def class_of(self, experience: Experience, *, limit: int = 100, offset: int = 0) -> ClassPage:
        with self.database.snapshot() as session:
            return class_page(session, self.teacher, experience, limit=limit, offset=offset)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session whose transaction has begun."""
        with self.database.snapshot() as session:
            session.connection()
            yield session

    def tally(self, experience: Experience) -> Tally:
        with self.database.snapshot() as session:
            return tallies(session, self.course.id, [experience.id])[experience.id]


@pytest.fixture
def school(app: Flask) -> Iterator[School]:
    database: Database = app.extensions["database"]
    with database.transaction() as session:
        platform_id = session.exec(select(Platform.id)).one()
        deployment_id = session.exec(select(Deployment.id)).first()
        if deployment_id is None:
            deployment_id = _add(
                session, Deployment(platform_id=platform_id, deployment_id="1", source="command")
            ).id
        course = _add(
            session, Course(platform_id=platform_id, deployment_id=deployment_id, context_id="school")
        )
    school = School(database, course, teacher=None)
    school.teacher = school.enroll(Role.TEACHER)
    return school


def _add(session, row):
    session.add(row)
    session.flush()
    return row


def test_those_who_write_find_all_but_the_deleted_newest_first(school: School) -> None:
    draft, shown, deleted = (school.write(state) for state in WorkflowState)
    assert [entry.id for entry in school.list(school.teacher).entries] == [shown.id, draft.id]
    for state, found in (("published", shown), ("unpublished", draft), ("deleted", deleted)):
        page = school.list(school.teacher, workflow_state=state)
        assert [entry.id for entry in page.entries] == [found.id]
        assert page.total == 1


@pytest.mark.parametrize("role", [Role.STUDENT, Role.OBSERVER])
def test_everyone_else_finds_what_is_published_whatever_they_ask_for(school: School, role: Role) -> None:
    _draft, shown, _deleted = (school.write(state) for state in WorkflowState)
    who = school.enroll(role)
    assert [entry.id for entry in school.list(who).entries] == [shown.id]
    assert [entry.id for entry in school.list(who, workflow_state="published").entries] == [shown.id]
    assert school.list(who, workflow_state="unpublished") == Page([], 0)
    assert school.list(who, workflow_state="deleted") == Page([], 0)


def test_a_state_that_there_is_not_is_refused(school: School) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        school.list(school.teacher, workflow_state="Published")
    assert [error.type for error in refusal.value.errors["workflow_state"]] == ["inclusion"]


def test_an_entry_holds_what_the_experience_says(school: School) -> None:
    metric = {"name": "Empathy", "description": "", "enabled": True, "visible_to_learners": False}
    written = school.write(evaluation_metrics=[metric], max_turns=7, facts="F")
    [entry] = school.list(school.teacher).entries
    for name in ListedExperience._fields[:-2]:
        assert getattr(entry, name) == getattr(written, name)
    assert entry.learning_objective == written.learning_objective == "A\nB"


def test_pages_of_experiences_hold_each_once_and_know_how_many_there_are(school: School) -> None:
    written = [school.write().id for _ in range(5)]
    pages = [school.list(school.teacher, limit=2, offset=offset) for offset in (0, 2, 4, 6, 2_000_000_000)]
    assert [entry.id for page in pages for entry in page.entries] == written[::-1]
    assert {page.total for page in pages} == {5}
    assert school.list(school.teacher, workflow_state="deleted", limit=2, offset=2) == Page([], 0)


def test_another_courses_experiences_are_in_no_list(app: Flask, school: School) -> None:
    school.write()
    with school.database.transaction() as session:
        other = _add(
            session,
            Course(
                platform_id=school.course.platform_id,
                deployment_id=school.course.deployment_id,
                context_id="other",
            ),
        )
    assert school.list(replace(school.teacher, course=other)) == Page([], 0)


def hold_all_kinds(school: School, experience: Experience) -> None:
    """Have two students complete it, one be at it, one end it; and have nobody else count."""
    begin = school.enroll
    school.hold(begin(), experience, COMPLETED)
    school.hold(begin(), experience, ACTIVE, met=True)
    school.hold(begin(), experience, ACTIVE)
    school.hold(begin(), experience, ENDED)
    school.hold(begin(workflow_state=EnrollmentState.LEFT), experience, COMPLETED)
    school.hold(begin(is_test=True), experience, COMPLETED)
    school.hold(school.teacher, experience, COMPLETED)
    begin()


def test_those_who_write_learn_how_many_students_have_completed_it(school: School) -> None:
    quiet, lively, draft = school.write(), school.write(), school.write(WorkflowState.UNPUBLISHED)
    hold_all_kinds(school, lively)
    counts = {entry.id: entry.completed_count for entry in school.list(school.teacher).entries}
    assert counts == {quiet.id: 0, lively.id: 2, draft.id: 0}
    assert {entry.submission_status for entry in school.list(school.teacher).entries} == {None}


def test_the_latest_conversation_counts(school: School) -> None:
    experience, student = school.write(), school.enroll()
    school.hold(student, experience, COMPLETED)
    assert school.tally(experience) == Tally(begun=1, in_progress=0, completed=1)
    school.hold(student, experience, ACTIVE)
    assert school.tally(experience) == Tally(begun=1, in_progress=1, completed=0)


@pytest.mark.parametrize(
    ("state", "met"), [(ACTIVE, False), (ACTIVE, True), (COMPLETED, False), (COMPLETED, True), (ENDED, True)]
)
def test_counts_have_the_rule_of_the_status(school: School, state: ConversationState, met: bool) -> None:
    experience = school.write()
    held = school.hold(school.enroll(), experience, state, met=met)
    tally = school.tally(experience)
    completed = status_of(held) is Status.COMPLETED
    assert (tally.completed, tally.in_progress) == (int(completed), int(not completed))


def test_everyone_else_learns_where_they_stand_themselves(school: School) -> None:
    none, active, completed, met, again, ended = (school.write() for _ in range(6))
    student, other = school.enroll(), school.enroll()
    school.hold(other, none, COMPLETED)
    school.hold(student, active)
    school.hold(student, completed, COMPLETED)
    school.hold(student, met, met=True)
    school.hold(student, again, COMPLETED)
    school.hold(student, again)
    school.hold(student, ended, ENDED)
    statuses = {entry.id: entry.submission_status for entry in school.list(student).entries}
    assert statuses == {
        none.id: Status.NOT_STARTED,
        active.id: Status.IN_PROGRESS,
        completed.id: Status.COMPLETED,
        met.id: Status.COMPLETED,
        again.id: Status.IN_PROGRESS,
        ended.id: Status.NOT_STARTED,
    }
    assert {entry.completed_count for entry in school.list(student).entries} == {None}


@pytest.mark.parametrize("role", [Role.TEACHER, Role.STUDENT])
def test_a_list_costs_two_queries_however_long_it_is(
    school: School, count_queries: CountQueries, role: Role
) -> None:
    who = school.enroll(role)

    def cost(offset: int = 0) -> int:
        with school.reading() as session:
            return count_queries(lambda: list_page(session, who, limit=100, offset=offset))

    school.hold(school.enroll(), school.write())
    assert cost() == 2
    for _ in range(20):
        school.hold(school.enroll(), school.write())
    assert cost() == 2
    assert cost(offset=100) == 2


def test_a_class_holds_every_student_of_the_course_once_with_their_latest_conversation(
    school: School,
) -> None:
    experience, other = school.write(), school.write()
    none, one, several, ended = (school.enroll() for _ in range(4))
    school.enroll(workflow_state=EnrollmentState.LEFT)
    school.enroll(is_test=True)
    school.enroll(Role.OBSERVER)
    school.hold(one, experience)
    school.hold(one, other, COMPLETED)
    school.hold(several, experience, COMPLETED)
    latest = school.hold(several, experience, met=True)
    left = school.hold(ended, experience, ENDED)
    entries = school.class_of(experience).entries
    assert [entry.student.id for entry in entries] == [each.user.id for each in (none, one, several, ended)]
    assert (entries[0].conversation_id, entries[0].workflow_state) == (None, None)
    assert entries[1].workflow_state is ACTIVE
    assert (entries[2].conversation_id, entries[2].all_objectives_met) == (latest.id, True)
    assert (entries[2].created_at, entries[2].updated_at) == (latest.created_at, latest.updated_at)
    assert (entries[3].conversation_id, entries[3].workflow_state) == (left.id, ENDED)


def test_the_snapshot_counts_the_whole_class_and_who_only_ended_in_none(school: School) -> None:
    experience = school.write()
    hold_all_kinds(school, experience)
    page = school.class_of(experience, limit=1)
    counted = page.snapshot
    assert page.total == 5
    assert (counted.completed, counted.in_progress, counted.not_started) == (2, 1, 1)
    assert counted.total_objectives == 2


def test_pages_of_a_class_hold_each_student_once(school: School) -> None:
    experience = school.write()
    students = [school.enroll().user.id for _ in range(5)]
    pages = [school.class_of(experience, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [entry.student.id for page in pages for entry in page.entries] == students
    assert {page.total for page in pages} == {5}


@pytest.mark.parametrize("role", [Role.STUDENT, Role.OBSERVER, Role.DESIGNER])
def test_only_those_who_read_transcripts_see_the_class(school: School, role: Role) -> None:
    experience, who = school.write(), school.enroll(role)
    with school.database.snapshot() as session, pytest.raises(ForbiddenError):
        class_page(session, who, experience, limit=10, offset=0)


def cost_of_class(school: School, experience: Experience, count_queries: CountQueries) -> int:
    with school.reading() as session:
        return count_queries(lambda: class_page(session, school.teacher, experience, limit=9, offset=0))


def test_a_page_of_a_class_costs_three_queries_however_large_it_is(
    school: School, count_queries: CountQueries
) -> None:
    experience = school.write()
    school.hold(school.enroll(), experience)
    assert cost_of_class(school, experience, count_queries) == 3
    for _ in range(20):
        school.hold(school.enroll(), experience)
    assert cost_of_class(school, experience, count_queries) == 3


def test_counts_of_a_large_class_are_remembered_for_a_moment(
    school: School, count_queries: CountQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "LARGE", 2)
    clock = SimpleNamespace(monotonic=lambda: clock.now, now=1_000.0)
    monkeypatch.setattr(counting, "time", clock)
    experience = school.write()
    for _ in range(2):
        school.hold(school.enroll(), experience)
    before = school.class_of(experience)
    school.hold(school.enroll(), experience, COMPLETED)
    assert cost_of_class(school, experience, count_queries) == 1
    remembered = school.class_of(experience)
    assert (remembered.snapshot, remembered.total) == (before.snapshot, 2)
    assert len(remembered.entries) == 3
    clock.now += REMEMBERED_SECONDS
    anew = school.class_of(experience)
    assert (anew.snapshot.completed, anew.snapshot.in_progress, anew.total) == (1, 2, 3)


def test_many_counts_that_took_in_a_large_number_together_are_remembered_too(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "LARGE", 2)
    experiences, student = [school.write() for _ in range(3)], school.enroll()
    for experience in experiences[:2]:
        school.hold(student, experience, COMPLETED)
    counts = [entry.completed_count for entry in school.list(school.teacher).entries]
    school.hold(student, experiences[2], COMPLETED)
    assert [entry.completed_count for entry in school.list(school.teacher).entries] == counts == [0, 1, 1]


def test_counts_of_other_classes_are_never_out_of_date(school: School) -> None:
    experience = school.write()
    for number in range(1, 4):
        school.hold(school.enroll(), experience, COMPLETED)
        assert school.tally(experience).completed == number < LARGE


def test_what_one_database_remembers_is_no_others(
    school: School, monkeypatch: pytest.MonkeyPatch, migrated_sqlite: object
) -> None:
    monkeypatch.setattr(counting, "LARGE", 1)
    school.enroll()
    other = Database(f"sqlite:///{migrated_sqlite}")
    with school.database.snapshot() as session, other.snapshot() as elsewhere:
        assert class_size(session, school.course.id) == 1
        assert class_size(elsewhere, school.course.id) == 0
    other.engine.dispose()
