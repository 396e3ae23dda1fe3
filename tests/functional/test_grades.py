"""The gradebook hears of work handed in and of grades: once, in order, and in the end."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import update
from sqlmodel import col, select

from app.conversations.models import Conversation
from app.database import Database, utc_now
from app.lti.models import CourseServices, LineItem, Platform, Score, ScoreState
from app.lti.services.client import PlatformServices, ServiceUnavailableError
from app.lti.services.columns import Columns
from app.lti.services.grades import record_line_item, resource_id_of
from app.lti.services.scores import LEASE, MAX_ATTEMPTS, Scores
from app.lti.tool import SCORE_SCOPE
from app.sandbox import Sandbox
from app.sandbox.gradebook import LineItem as Column
from app.sandbox.gradebook import Result
from app.sandbox.people import CanvasRole
from tests.conftest import TOOL_URL
from tests.support.fake_model import FakeModel
from tests.support.people import BIOLOGY, HISTORY, Visitor

AMARA = "amara.diallo"
LIAM = "liam.oconnor"
GRADE = {"points": "8", "maximum": "10", "comment": "Well asked.", "seen": "0"}


@pytest.fixture(autouse=True)
def by_hand(app: Flask, sandbox: Sandbox, fake_model: FakeModel) -> Iterator[None]:
    """An empty gradebook; scores are sent when the test says so."""
    app.extensions["owed"].stop()
    sandbox.traffic.clear()
    course = sandbox.course(BIOLOGY)
    for item in sandbox.gradebook.line_items(course):
        sandbox.gradebook.remove_line_item(course, item.id)
    fake_model.reply_with("I see.")
    yield
    sandbox.traffic.clear()


@pytest.fixture
def database(app: Flask) -> Database:
    return app.extensions["database"]


@pytest.fixture
def new_worker(app: Flask, database: Database) -> Callable[[], Scores]:
    """Return what makes another worker, as in a process of its own."""
    return lambda: Scores(database, PlatformServices(app.extensions["key_ring"], production=False), TOOL_URL)


@pytest.fixture
def work(new_worker: Callable[[], Scores]) -> Callable[[], int]:
    """Return what sends all that is due and tells how many tries that took."""

    def send() -> int:
        worker, tries = new_worker(), 0
        while worker.work():
            tries += 1
        return tries

    return send


@pytest.fixture
def experience_id(teacher: Visitor) -> int:
    return teacher.write_experience()


@pytest.fixture
def column(sandbox: Sandbox) -> Column:
    """The column of an assignment that a teacher has made, of 20 points."""
    fields = {"label": "Lab interview", "score_maximum": 20.0}
    return sandbox.gradebook.add_line_item(sandbox.course(BIOLOGY), fields)


@pytest.fixture
def open_assignment(
    app: Flask, sandbox: Sandbox, column: Column, experience_id: int
) -> Callable[[str], Visitor]:
    """Return what opens the assignment, in which the experience is embedded, as somebody."""

    return lambda who: open_column(app, sandbox, who, experience_id, column)


def open_column(app: Flask, sandbox: Sandbox, who: str, experience_id: int, column: Column) -> Visitor:
    """Open the assignment of a column, in which an experience is embedded."""
    link = f"{TOOL_URL}/lti/launch?experience={experience_id}"
    return Visitor.open(app, sandbox, sandbox.launch(who, BIOLOGY, line_item=column, target_link_uri=link))


def hold(visitor: Visitor, experience_id: int, *, instead_of: int = 0, finish: bool = True) -> int:
    """Hold a conversation and return its id."""
    conversation_id = visitor.start(experience_id, instead_of)
    visitor.send(conversation_id, "What is wrong with it?", key=f"key-{conversation_id}")
    if finish:
        assert visitor.post(f"/conversations/{conversation_id}/finish").status_code == 303
    return conversation_id


@pytest.fixture
def conversation_id(app: Flask, sandbox: Sandbox, experience_id: int) -> int:
    """Amara's, finished before there was any column."""
    return hold(Visitor.launch(app, sandbox, AMARA), experience_id)


def grade(teacher: Visitor, conversation_id: int, **typed: str) -> None:
    form = teacher.page(f"/conversations/{conversation_id}/transcript").select_one("#seen")
    data = GRADE | {"seen": form["value"]} | typed
    response = teacher.post(f"/conversations/{conversation_id}/grade", data)
    assert response.status_code == 303, response.text


def scores(database: Database) -> list[Score]:
    with database.transaction() as session:
        return list(session.exec(select(Score).order_by(col(Score.id))))


def states(database: Database) -> list[ScoreState]:
    return [score.state for score in scores(database)]


def make_due(database: Database) -> None:
    """Let the time pass until every waiting score is due again."""
    with database.transaction() as session:
        session.execute(update(Score).values(due_at=utc_now() - timedelta(seconds=1)))


def columns(sandbox: Sandbox) -> list[Column]:
    return sandbox.gradebook.line_items(sandbox.course(BIOLOGY))


def result(sandbox: Sandbox, who: str, number: int = 0) -> Result | None:
    return sandbox.gradebook.result(columns(sandbox)[number], sandbox.person(who))


def asked(sandbox: Sandbox, method: str, ending: str) -> int:
    return sum(request.method == method and request.path.endswith(ending) for request in sandbox.requests)


def entry(teacher: Visitor, conversation_id: int) -> str:
    found = teacher.page(f"/conversations/{conversation_id}/transcript").select_one(
        "[data-testid=grade-entry]"
    )
    return " ".join(found.text.split())


def test_finished_work_of_an_assignment_is_handed_in_and_opens_from_the_gradebook(
    open_assignment: Callable[[str], Visitor],
    experience_id: int,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    student = open_assignment(AMARA)
    before = len(sandbox.scores)
    conversation_id = hold(student, experience_id)
    assert work() == 1
    (score,) = sandbox.scores[before:]
    assert (score.person.login, score.score_given, score.score_maximum) == (AMARA, None, None)
    assert (score.activity_progress, score.grading_progress) == ("Submitted", "PendingManual")
    assert score.submission["submission_data"] == f"{TOOL_URL}/lti/launch?conversation={conversation_id}"
    assert (score.submission["submission_type"], score.submission["new_submission"]) == (
        "basic_lti_launch",
        True,
    )
    assert score.submission["submitted_at"] == score.timestamp.isoformat(timespec="milliseconds")
    assert result(sandbox, AMARA).needs_grading


def test_work_that_has_no_column_is_handed_in_nowhere(
    conversation_id: int, database: Database, work: Callable[[], int]
) -> None:
    assert states(database) == []
    assert work() == 0


@pytest.mark.parametrize("who", ["miriam.okafor", "test.student.1101"])
def test_trials_are_handed_in_nowhere(
    open_assignment: Callable[[str], Visitor], experience_id: int, database: Database, who: str
) -> None:
    hold(open_assignment(who), experience_id)
    assert states(database) == []


def test_a_conversation_without_a_word_is_handed_in_nowhere(
    open_assignment: Callable[[str], Visitor], experience_id: int, database: Database
) -> None:
    student = open_assignment(AMARA)
    student.post(f"/conversations/{student.start(experience_id)}/finish")
    assert states(database) == []


def test_the_first_grade_makes_an_assignment_that_opens_the_experience(
    teacher: Visitor, conversation_id: int, experience_id: int, sandbox: Sandbox, work: Callable[[], int]
) -> None:
    grade(teacher, conversation_id)
    assert work() == 1
    (made,) = columns(sandbox)
    assert (made.label, made.score_maximum, made.tag) == (
        "A customer with a wrong bill",
        10,
        "ai-experiences",
    )
    assert made.resource_id == resource_id_of(experience_id)
    assert made.submission_type == {
        "type": "external_tool",
        "external_tool_url": f"{TOOL_URL}/lti/launch?experience={experience_id}",
    }
    score = sandbox.scores[-1]
    assert (score.score_given, score.score_maximum, score.comment) == (8, 10, "Well asked.")
    assert (score.activity_progress, score.grading_progress) == ("Completed", "FullyGraded")
    assert score.submission["new_submission"] is True
    assert result(sandbox, AMARA).launch_url == f"{TOOL_URL}/lti/launch?conversation={conversation_id}"


def test_a_platform_that_is_not_canvas_is_spoken_to_in_the_standard_alone(
    teacher: Visitor,
    conversation_id: int,
    database: Database,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    with database.transaction() as session:
        session.exec(select(Platform)).one().product = "moodle"
    grade(teacher, conversation_id)
    work()
    assert columns(sandbox)[0].submission_type is None
    assert sandbox.scores[-1].submission == {}


def test_a_column_that_the_platform_has_already_is_found_on_a_later_page(
    teacher: Visitor, conversation_id: int, experience_id: int, sandbox: Sandbox, work: Callable[[], int]
) -> None:
    fields = {"label": "Ours", "score_maximum": 5.0, "resource_id": resource_id_of(experience_id)}
    for number in range(60):
        sandbox.gradebook.add_line_item(
            sandbox.course(BIOLOGY), {"label": f"Quiz {number}", "score_maximum": 1.0}
        )
    ours = sandbox.gradebook.add_line_item(sandbox.course(BIOLOGY), fields)
    grade(teacher, conversation_id)
    work()
    assert asked(sandbox, "POST", "/line_items") == 0
    assert sandbox.gradebook.result(ours, sandbox.person(AMARA)).score == 4


def test_two_workers_make_one_column_and_send_each_score_once(
    app: Flask,
    sandbox: Sandbox,
    teacher: Visitor,
    experience_id: int,
    new_worker: Callable[[], Scores],
    database: Database,
) -> None:
    people = [AMARA, LIAM, "chloe.tran", "yusuf.demir"]
    for who in people:
        conversation_id = hold(Visitor.launch(app, sandbox, who), experience_id)
        grade(teacher, conversation_id)
    before = len(sandbox.scores)
    sandbox.fail_next(None, delay=0.1, path_contains="line_items", times=2)
    start = threading.Barrier(3)

    def run(worker: Scores) -> None:
        start.wait()
        for _ in range(40):
            worker.work()

    threads = [threading.Thread(target=run, args=(new_worker(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run_out = new_worker()
    while run_out.work():
        pass
    assert asked(sandbox, "POST", "/line_items") == 1
    assert sorted(score.person.login for score in sandbox.scores[before:]) == sorted(people)
    assert asked(sandbox, "POST", "/scores") == len(people)
    assert set(states(database)) == {ScoreState.SENT}
    with database.transaction() as session:
        assert len(session.exec(select(LineItem)).all()) == 1


class _KilledError(BaseException):
    """Ends a worker wherever it is."""


class _KilledAfterSending(PlatformServices):
    """Ends the worker when the platform has taken the score."""

    def request(self, platform, scopes, method, url, **options):
        answer = super().request(platform, scopes, method, url, **options)
        if url.endswith("/scores"):
            raise _KilledError
        return answer


def test_a_score_whose_worker_was_killed_arrives_once(
    app: Flask,
    database: Database,
    open_assignment: Callable[[str], Visitor],
    experience_id: int,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    hold(open_assignment(AMARA), experience_id)
    before = len(sandbox.scores)
    services = _KilledAfterSending(app.extensions["key_ring"], production=False)
    with pytest.raises(_KilledError):
        Scores(database, services, TOOL_URL).work()
    assert work() == 0  # the lease holds
    make_due(database)
    assert work() == 1
    assert states(database) == [ScoreState.SENT]
    assert len(sandbox.scores) == before + 1
    assert result(sandbox, AMARA).attempt == 1


def test_a_score_that_never_left_is_sent_when_its_lease_runs_out(
    database: Database,
    open_assignment: Callable[[str], Visitor],
    experience_id: int,
    new_worker: Callable[[], Scores],
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    hold(open_assignment(AMARA), experience_id)
    worker = new_worker()
    worker._deliver = lambda _due: (_ for _ in ()).throw(_KilledError)
    with pytest.raises(_KilledError):
        worker.work()
    (score,) = scores(database)
    assert timedelta(0) < score.due_at - utc_now() <= LEASE
    make_due(database)
    assert work() == 1
    assert result(sandbox, AMARA).attempt == 1


@pytest.mark.parametrize(
    ("status", "headers", "at_least"), [(503, {}, 29), (500, {}, 29), (429, {"Retry-After": "120"}, 119)]
)
def test_a_platform_that_is_down_is_tried_again_later(
    database: Database,
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    sandbox: Sandbox,
    work: Callable[[], int],
    status: int,
    headers: dict[str, str],
    at_least: int,
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    sandbox.fail_next(status, headers=headers, path_contains="/scores")
    before = utc_now()
    assert work() == 1
    (score,) = scores(database)
    assert score.state is ScoreState.WAITING
    assert (score.due_at - before).total_seconds() > at_least
    assert "On its way" in entry(teacher, conversation_id)
    assert "tried again by itself" in entry(teacher, conversation_id)
    make_due(database)
    work()
    assert states(database) == [ScoreState.SENT]
    assert "In the gradebook" in entry(teacher, conversation_id)


def test_pauses_grow_up_to_hours(
    database: Database,
    open_assignment: Callable[[str], Visitor],
    experience_id: int,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    hold(open_assignment(AMARA), experience_id)
    pauses = []
    for _ in range(12):
        sandbox.fail_next(503, path_contains="/scores")
        make_due(database)
        work()
        pauses.append(round((scores(database)[0].due_at - utc_now()).total_seconds(), -1))
    assert pauses[:4] == [30, 60, 120, 240]
    assert pauses[-1] == 6 * 3600


def test_a_score_is_given_up_after_days_and_can_be_sent_again_by_hand(
    database: Database,
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    with database.transaction() as session:
        session.execute(update(Score).values(attempts=MAX_ATTEMPTS - 1))
    sandbox.fail_next(503, path_contains="/scores")
    work()
    assert states(database) == [ScoreState.FAILED]
    assert "has not answered for three days" in entry(teacher, conversation_id)
    assert teacher.post(f"/conversations/{conversation_id}/grade/retry").status_code == 303
    work()
    assert states(database) == [ScoreState.SENT]
    assert teacher.post(f"/conversations/{conversation_id}/grade/retry").status_code == 409


class _SlowAnswers(PlatformServices):
    """Hangs up after the platform has taken a score and before it says so."""

    def request(self, platform, scopes, method, url, **options):
        answer = super().request(platform, scopes, method, url, **options)
        if url.endswith("/scores"):
            raise ServiceUnavailableError("The platform took too long to answer.")
        return answer


def test_a_slow_answer_is_repeated_and_counts_once(
    app: Flask,
    database: Database,
    open_assignment: Callable[[str], Visitor],
    experience_id: int,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    hold(open_assignment(AMARA), experience_id)
    Scores(database, _SlowAnswers(app.extensions["key_ring"], production=False), TOOL_URL).work()
    assert states(database) == [ScoreState.WAITING]
    make_due(database)
    work()
    assert states(database) == [ScoreState.SENT]
    assert result(sandbox, AMARA).attempt == 1


def test_a_column_that_is_gone_is_said_and_made_anew_on_request(
    database: Database,
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    column: Column,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    work()
    sandbox.gradebook.remove_line_item(sandbox.course(BIOLOGY), column.id)
    grade(teacher, conversation_id)
    work()
    assert states(database) == [ScoreState.SENT, ScoreState.FAILED]
    assert "no longer in the gradebook" in entry(teacher, conversation_id)
    teacher.post(f"/conversations/{conversation_id}/grade/retry")
    work()
    assert states(database) == [ScoreState.SENT, ScoreState.SENT]
    assert result(sandbox, AMARA).score == 8
    assert sandbox.scores[-1].submission["new_submission"] is True


@pytest.mark.parametrize("status", [409, 422])
def test_a_platform_may_say_otherwise_that_a_column_is_gone(
    database: Database,
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    sandbox: Sandbox,
    work: Callable[[], int],
    status: int,
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    work()
    grade(teacher, conversation_id)
    sandbox.fail_next(status, path_contains="/scores")
    sandbox.fail_next(404, method="GET", path_contains="/line_items/")
    work()
    assert "no longer in the gradebook" in entry(teacher, conversation_id)


def test_a_student_whom_the_gradebook_does_not_take_is_said_in_its_words(
    app: Flask,
    database: Database,
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    sandbox.fail_next(422, path_contains="/scores", body='{"errors": {"message": "100% <b>no</b> student"}}')
    work()
    assert states(database) == [ScoreState.FAILED]
    told = Visitor.launch(app, sandbox, AMARA).page(f"/experiences/{experience_id}/conversation")
    assert "has not taken it" in told.select_one("[data-testid=handed-in]").text
    said = entry(teacher, conversation_id)
    assert "Not in the gradebook" in said
    assert "did not take it: 422 100% <b>no</b> student" in said
    with database.transaction() as session:
        assert len(session.exec(select(LineItem)).all()) == 1


def test_nobody_is_told_of_a_refusal_of_what_was_never_sent(
    app: Flask,
    teacher: Visitor,
    conversation_id: int,
    experience_id: int,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    other = Visitor.launch(app, sandbox, LIAM)
    hold(other, experience_id)
    grade(teacher, conversation_id)
    work()
    told = other.page(f"/experiences/{experience_id}/conversation").select_one("[data-testid=handed-in]").text
    assert told.strip() == "It counts: out of 10 points."


def test_an_older_timestamp_at_the_first_try_means_that_the_gradebook_holds_something_newer(
    database: Database,
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    work: Callable[[], int],
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    work()
    grade(teacher, conversation_id)
    with database.transaction() as session:
        session.execute(
            update(Score)
            .where(col(Score.state) == ScoreState.WAITING)
            .values(timestamp=utc_now() - timedelta(days=1))
        )
    work()
    assert "holds something newer" in entry(teacher, conversation_id)
    teacher.post(f"/conversations/{conversation_id}/grade/retry")
    work()
    assert states(database) == [ScoreState.SENT, ScoreState.SENT]


def test_a_grade_after_work_handed_in_is_no_new_submission(
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    work()
    grade(teacher, conversation_id)
    work()
    grade(teacher, conversation_id, points="9")
    work()
    assert [score.submission["new_submission"] for score in sandbox.scores[-3:]] == [True, False, False]
    assert result(sandbox, AMARA).attempt == 1
    assert result(sandbox, AMARA).score == 18  # 9 of 10, in a column of 20


def test_a_newer_grade_overtakes_one_that_has_not_gone(
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    sandbox: Sandbox,
    database: Database,
    work: Callable[[], int],
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    for points in ("3", "4", "5"):
        grade(teacher, conversation_id, points=points)
    before = len(sandbox.scores)
    work()
    assert states(database) == [
        ScoreState.SUPERSEDED,
        ScoreState.SUPERSEDED,
        ScoreState.SUPERSEDED,
        ScoreState.SENT,
    ]
    (score,) = sandbox.scores[before:]
    assert (score.score_given, score.submission["new_submission"]) == (5, True)


class _GradedMeanwhile(PlatformServices):
    """Does something once, while a score is under way."""

    meanwhile: Callable[[], None] | None = None

    def request(self, platform, scopes, method, url, **options):
        if url.endswith("/scores") and self.meanwhile is not None:
            act, self.meanwhile = self.meanwhile, None
            act()
        return super().request(platform, scopes, method, url, **options)


def test_a_newer_grade_prevails_over_one_that_is_under_way(
    app: Flask,
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    sandbox: Sandbox,
    database: Database,
    work: Callable[[], int],
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    work()
    grade(teacher, conversation_id, points="3")
    services = _GradedMeanwhile(app.extensions["key_ring"], production=False)

    def grade_and_send() -> None:
        grade(teacher, conversation_id, points="4")
        work()

    services.meanwhile = grade_and_send
    Scores(database, services, TOOL_URL).work()
    assert states(database) == [ScoreState.SENT, ScoreState.SUPERSEDED, ScoreState.SENT]
    assert result(sandbox, AMARA).score == 8  # 4 of 10, in a column of 20


def test_a_slow_platform_keeps_one_thread_of_a_process_and_no_other(
    open_assignment: Callable[[str], Visitor],
    experience_id: int,
    sandbox: Sandbox,
    new_worker: Callable[[], Scores],
    database: Database,
) -> None:
    for who in (AMARA, LIAM):
        hold(open_assignment(who), experience_id)
    sandbox.fail_next(None, delay=2, path_contains="/scores")
    worker = new_worker()
    slow = threading.Thread(target=worker.work)
    slow.start()
    time.sleep(0.5)
    assert not worker.work()
    assert slow.is_alive()
    slow.join()
    assert states(database) == [ScoreState.SENT, ScoreState.WAITING]
    assert worker.work()
    assert states(database) == [ScoreState.SENT, ScoreState.SENT]


def test_a_score_whose_workers_die_is_given_up(
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    sandbox: Sandbox,
    database: Database,
    work: Callable[[], int],
) -> None:
    hold(open_assignment(AMARA), experience_id)
    with database.transaction() as session:
        session.execute(update(Score).values(attempts=MAX_ATTEMPTS))
    before = len(sandbox.scores)
    work()
    assert states(database) == [ScoreState.FAILED]
    assert len(sandbox.scores) == before


def test_work_handed_in_that_may_have_arrived_is_not_overtaken_but_waited_for(
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    sandbox: Sandbox,
    database: Database,
    work: Callable[[], int],
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    sandbox.fail_next(503, path_contains="/scores")
    work()
    grade(teacher, conversation_id)
    assert work() == 0  # the grade waits behind it
    make_due(database)
    work()
    assert states(database) == [ScoreState.SENT, ScoreState.SENT]
    assert [score.grading_progress for score in sandbox.scores[-2:]] == ["PendingManual", "FullyGraded"]
    assert result(sandbox, AMARA).attempt == 1


def test_handing_in_again_keeps_the_points_and_asks_for_grading(
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    student = open_assignment(AMARA)
    first = hold(student, experience_id)
    grade(teacher, first)
    second = hold(student, experience_id, instead_of=first)
    work()
    kept = result(sandbox, AMARA)
    assert (kept.score, kept.needs_grading) == (16, True)
    assert kept.launch_url.endswith(f"?conversation={second}")
    assert "Handed in" in entry(teacher, second)


def test_timestamps_of_a_student_grow_by_whole_seconds(
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    database: Database,
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    for points in ("1", "2", "3"):
        grade(teacher, conversation_id, points=points)
    times = [score.timestamp for score in scores(database)]
    assert all(later - earlier >= timedelta(seconds=2) for earlier, later in itertools.pairwise(times))


@pytest.fixture
def second(sandbox: Sandbox) -> Column:
    """The column of another assignment, of 5 points."""
    fields = {"label": "Second", "score_maximum": 5.0}
    return sandbox.gradebook.add_line_item(sandbox.course(BIOLOGY), fields)


@pytest.fixture
def read_columns(app: Flask, database: Database) -> Callable[[], int]:
    """Return what reads all columns that are due and tells how many."""

    def read() -> int:
        worker = Columns(database, PlatformServices(app.extensions["key_ring"], production=False))
        return sum(1 for _ in iter(worker.work, False))

    return read


def texts(page: BeautifulSoup, selector: str) -> list[str]:
    return [" ".join(found.text.split()) for found in page.select(selector)]


def test_an_experience_in_two_assignments_is_graded_in_both_that_the_student_opened(
    app: Flask,
    teacher: Visitor,
    experience_id: int,
    column: Column,
    second: Column,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    open_column(app, sandbox, LIAM, experience_id, column)
    open_column(app, sandbox, AMARA, experience_id, column)
    conversation_id = hold(open_column(app, sandbox, AMARA, experience_id, second), experience_id)
    work()
    path = f"/conversations/{conversation_id}/transcript"
    goes_to = "[data-testid=grade-goes-to] li"
    assert texts(teacher.page(path), goes_to) == [
        "Lab interview, out of 20 points",
        "Second, out of 5 points",
    ]
    grade(teacher, conversation_id)
    work()
    assert [result(sandbox, AMARA, number).score for number in (0, 1)] == [16, 4]
    shown = texts(teacher.page(path), "[data-testid=grade-entry] .row-note:first-child")
    assert shown == ["Lab interview, out of 20 points", "Second, out of 5 points"]


def test_a_column_that_the_student_never_opened_gets_nothing(
    app: Flask,
    teacher: Visitor,
    experience_id: int,
    column: Column,
    second: Column,
    sandbox: Sandbox,
    work: Callable[[], int],
) -> None:
    open_column(app, sandbox, LIAM, experience_id, second)
    conversation_id = hold(open_column(app, sandbox, AMARA, experience_id, column), experience_id)
    work()
    page = teacher.page(f"/conversations/{conversation_id}/transcript")
    assert texts(page, "[data-testid=grade-goes-to] li") == ["Lab interview, out of 20 points"]
    grade(teacher, conversation_id)
    work()
    assert result(sandbox, AMARA).score == 16
    assert result(sandbox, AMARA, 1) is None


def test_work_of_somebody_who_opened_none_of_several_assignments_waits_for_it(
    app: Flask,
    teacher: Visitor,
    experience_id: int,
    column: Column,
    second: Column,
    sandbox: Sandbox,
    database: Database,
    work: Callable[[], int],
) -> None:
    for item in (column, second):
        open_column(app, sandbox, LIAM, experience_id, item)
    student = Visitor.launch(app, sandbox, AMARA)
    conversation_id = hold(student, experience_id)
    path = f"/conversations/{conversation_id}"
    assert (
        "opened it from any"
        in teacher.page(path + "/transcript").select_one("[data-testid=grade-missing]").text
    )
    assert teacher.post(path + "/grade", GRADE).status_code == 409
    page = student.page(f"/experiences/{experience_id}/conversation")
    assert "open it from its assignment" in page.select_one("[data-testid=handed-in]").text
    assert states(database) == []
    open_column(app, sandbox, AMARA, experience_id, second)
    work()
    assert result(sandbox, AMARA) is None
    assert result(sandbox, AMARA, 1).needs_grading
    grade(teacher, conversation_id)


@pytest.mark.usefixtures("conversation_id")
def test_work_finished_before_its_assignment_was_opened_is_handed_in_then_and_once(
    open_assignment: Callable[[str], Visitor],
    sandbox: Sandbox,
    database: Database,
    work: Callable[[], int],
) -> None:
    for who in (LIAM, AMARA, AMARA):
        open_assignment(who)
    assert states(database) == [ScoreState.WAITING]
    work()
    open_assignment(AMARA)
    assert states(database) == [ScoreState.SENT]
    assert result(sandbox, AMARA).needs_grading
    assert result(sandbox, AMARA).attempt == 1


def test_a_launch_has_the_column_read_before_anything_is_handed_in(
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    sandbox: Sandbox,
    read_columns: Callable[[], int],
    work: Callable[[], int],
) -> None:
    student = open_assignment(AMARA)
    conversation_id = hold(student, experience_id, finish=False)
    path = f"/conversations/{conversation_id}/transcript"
    assert teacher.page(path).select_one("#maximum")["value"] == ""
    assert read_columns() == 1
    page = teacher.page(path)
    assert page.select_one("#own-maximum").text == "/ 20 points"
    assert page.select_one("#maximum")["type"] == "hidden"
    open_assignment(LIAM)
    assert read_columns() == 0
    grade(teacher, conversation_id, points="8", maximum=page.select_one("#maximum")["value"])
    work()
    assert result(sandbox, AMARA).score == 8


def test_a_platform_that_does_not_tell_a_column_is_asked_again_later(
    open_assignment: Callable[[str], Visitor],
    sandbox: Sandbox,
    database: Database,
    read_columns: Callable[[], int],
) -> None:
    open_assignment(AMARA)
    sandbox.fail_next(503, method="GET", path_contains="/line_items/")
    assert read_columns() == 1
    with database.transaction() as session:
        item = session.exec(select(LineItem)).one()
        assert item.read_due_at - utc_now() > timedelta(minutes=9)
        item.read_due_at = utc_now()
    assert read_columns() == 1
    with database.transaction() as session:
        item = session.exec(select(LineItem)).one()
        assert (item.score_maximum, item.read_due_at) == (20, None)


def test_a_platform_that_may_not_be_asked_is_not(
    open_assignment: Callable[[str], Visitor],
    sandbox: Sandbox,
    database: Database,
    read_columns: Callable[[], int],
) -> None:
    open_assignment(AMARA)
    with database.transaction() as session:
        session.execute(update(CourseServices).values(grade_scopes=[SCORE_SCOPE]))
    before = len(sandbox.requests)
    assert read_columns() == 1
    assert len(sandbox.requests) == before
    assert read_columns() == 0


def test_a_grade_given_out_of_something_else_is_shown_in_the_columns_points(
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    work: Callable[[], int],
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    grade(teacher, conversation_id)
    work()
    page = teacher.page(f"/conversations/{conversation_id}/transcript")
    assert page.select_one("#points")["value"] == "8"
    with_known = hold(open_assignment(LIAM), experience_id)
    work()
    grade(teacher, with_known)
    page = teacher.page(f"/conversations/{with_known}/transcript")
    assert [page.select_one(f"#{name}")["value"] for name in ("points", "maximum")] == ["16", "20"]


def test_the_form_is_empty_for_another_attempt_and_tells_the_grade_of_the_one_before(
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    work: Callable[[], int],
) -> None:
    student = open_assignment(AMARA)
    first = hold(student, experience_id)
    work()
    grade(teacher, first)
    work()
    second = hold(student, experience_id, instead_of=first)
    page = teacher.page(f"/conversations/{second}/transcript")
    assert page.select_one("#points")["value"] == ""
    assert page.select_one("#comment").text.strip() == ""
    assert "8 of 10 points" in page.select_one("[data-testid=other-grade]").text
    page = teacher.page(f"/conversations/{first}/transcript")
    assert page.select_one("#points")["value"] == "16"
    assert page.select_one("[data-testid=other-grade]") is None


def test_students_are_told_that_it_counts_and_when_it_was_handed_in(
    app: Flask,
    open_assignment: Callable[[str], Visitor],
    experience_id: int,
    sandbox: Sandbox,
    read_columns: Callable[[], int],
    work: Callable[[], int],
) -> None:
    path = f"/experiences/{experience_id}/conversation"
    student = Visitor.launch(app, sandbox, AMARA)
    assert student.page(path).select_one("[data-testid=counting]") is None
    student = open_assignment(AMARA)
    assert texts(student.page(path), "[data-testid=counting]") == ["This counts in the gradebook."]
    read_columns()
    told = "This counts: out of 20 points in the gradebook."
    assert texts(student.page(path), "[data-testid=counting]") == [told]
    hold(student, experience_id)
    assert "On its way" in student.page(path).select_one("[data-testid=handed-in]").text
    work()
    page = student.page(path)
    assert re.match(
        r"Handed in on [-0-9]+ [0-9:]+ UTC\.", page.select_one("[data-testid=handed-in]").text.strip()
    )
    with app.extensions["database"].transaction() as session:
        session.execute(update(Conversation).values(ended_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC)))
    told = student.page(path).select_one("[data-testid=handed-in]").text
    assert "Handed in on 2026-01-02 03:04 UTC." in told  # not when the gradebook, or a teacher, came to it
    trial = open_assignment("test.student.1101")
    assert trial.page(path).select_one("[data-testid=counting]") is None


def test_deleting_says_how_many_assignments_open_nothing_afterwards(
    app: Flask, teacher: Visitor, experience_id: int, column: Column, second: Column, sandbox: Sandbox
) -> None:
    path = f"/experiences/{experience_id}"
    assert "open nothing" not in teacher.page(path).select_one("#delete").text
    for item in (column, second):
        open_column(app, sandbox, AMARA, experience_id, item)
    assert "2 columns of the gradebook" in teacher.page(path).select_one("#delete").text
    teacher.post(path + "/delete")
    found = open_column(app, sandbox, "miriam.okafor", experience_id, column).land()
    assert found.status_code == 404
    assert "This experience was deleted" in found.text
    assert "was deleted" not in open_column(app, sandbox, AMARA, experience_id, column).land().text


def test_a_column_that_comes_to_open_another_experience_is_that_ones(
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    column: Column,
    database: Database,
) -> None:
    hold(open_assignment(AMARA), experience_id)
    other_id = teacher.write_experience(title="Another")
    with database.transaction() as session:
        known = session.exec(select(LineItem)).one()
        record_line_item(session, known.course_id, other_id, known.url)
        assert [item.experience_id for item in session.exec(select(LineItem))] == [other_id]
    assert states(database) == [ScoreState.FAILED]


def test_the_form_is_out_of_what_the_column_is_out_of(
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    work: Callable[[], int],
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    work()
    page = teacher.page(f"/conversations/{conversation_id}/transcript")
    assert page.select_one("#own-maximum").text == "/ 20 points"


def test_the_form_is_out_of_what_a_column_on_its_way_will_be_out_of(
    app: Flask, sandbox: Sandbox, teacher: Visitor, conversation_id: int, experience_id: int
) -> None:
    pages = [
        f"/conversations/{each}/transcript"
        for each in (conversation_id, hold(Visitor.launch(app, sandbox, LIAM), experience_id))
    ]
    assert [teacher.page(path).select_one("#own-maximum") for path in pages] == [None, None]
    grade(teacher, conversation_id, points="7")
    for page in map(teacher.page, pages):
        assert page.select_one("#own-maximum").text == "/ 10 points"
        assert page.select_one("#maximum")["type"] == "hidden"
        assert "a new column" not in page.select_one("[data-testid=grade-goes-to]").text


def test_a_first_grade_that_made_no_column_leaves_open_what_the_next_is_out_of(
    teacher: Visitor, conversation_id: int, database: Database
) -> None:
    grade(teacher, conversation_id)
    with database.transaction() as session:
        session.execute(update(Score).values(state=ScoreState.FAILED))
    page = teacher.page(f"/conversations/{conversation_id}/transcript")
    assert page.select_one("#own-maximum") is None
    assert "a new column" in page.select_one("[data-testid=grade-goes-to]").text


def test_a_grade_is_shown_on_its_way_and_arrived_and_fills_the_form(
    teacher: Visitor, conversation_id: int, work: Callable[[], int]
) -> None:
    path = f"/conversations/{conversation_id}/transcript"
    assert teacher.page(path).select("[data-testid=grade-entry]") == []
    grade(teacher, conversation_id, points="8,5")
    assert entry(teacher, conversation_id) == "8.5 of 10 points On its way to the gradebook"
    work()
    assert ", out of 10 points 8.5 of 10 points In the gradebook sent " in entry(teacher, conversation_id)
    page = teacher.page(path)
    assert [page.select_one(f"#{name}")["value"] for name in ("points", "maximum")] == ["8.5", "10"]
    assert page.select_one("#comment").text.strip() == "Well asked."


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"points": ""}, "Write a number"),
        ({"points": "eight"}, "Write a number"),
        ({"points": "-1"}, "Write a number"),
        ({"points": "nan"}, "Write a number"),
        ({"points": "1e3"}, "Write a number"),
        ({"points": "٣"}, "Write a number"),
        ({"points": "11"}, "At most 10 points."),
        ({"maximum": "0"}, "above 0"),
        ({"maximum": ""}, "above 0"),
        ({"maximum": "1000000"}, "above 0"),
        ({"comment": "x" * 4001}, "too long"),
    ],
)
def test_mistakes_come_back_with_what_was_typed(
    teacher: Visitor, conversation_id: int, database: Database, typed: dict[str, str], said: str
) -> None:
    response = teacher.post(
        f"/conversations/{conversation_id}/grade", GRADE | {"comment": "Ask <more>"} | typed
    )
    assert response.status_code == 400
    assert said in response.text
    assert typed.get("comment", "Ask &lt;more&gt;") in response.text
    assert states(database) == []


def test_a_double_click_sends_once(teacher: Visitor, conversation_id: int, database: Database) -> None:
    for _ in range(2):
        assert teacher.post(f"/conversations/{conversation_id}/grade", GRADE).status_code == 303
    assert states(database) == [ScoreState.WAITING]


def test_two_clicks_at_once_send_once(
    app: Flask, sandbox: Sandbox, teacher: Visitor, conversation_id: int, database: Database
) -> None:
    start, answers = threading.Barrier(2), []

    def click(visitor: Visitor) -> None:
        start.wait()
        answers.append(visitor.post(f"/conversations/{conversation_id}/grade", GRADE).status_code)

    tabs = [teacher, Visitor.launch(app, sandbox, "miriam.okafor")]
    threads = [threading.Thread(target=click, args=(tab,)) for tab in tabs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [303, 303]
    assert states(database) == [ScoreState.WAITING]


def test_a_grade_that_the_teacher_has_not_seen_is_not_overwritten(
    teacher: Visitor, app: Flask, sandbox: Sandbox, conversation_id: int, database: Database
) -> None:
    assistant = Visitor.launch(app, sandbox, "priya.raman")
    grade(assistant, conversation_id, points="5")
    response = teacher.post(f"/conversations/{conversation_id}/grade", GRADE)
    assert response.status_code == 409
    assert "graded this since" in response.text
    assert 'value="8"' in response.text
    seen = scores(database)[0].id
    again = teacher.post(f"/conversations/{conversation_id}/grade", GRADE | {"seen": str(seen)})
    assert again.status_code == 303
    assert states(database) == [ScoreState.SUPERSEDED, ScoreState.WAITING]


@pytest.mark.parametrize(
    ("who", "course", "status"),
    [
        (AMARA, BIOLOGY, 403),
        ("grace.diallo", BIOLOGY, 403),
        ("elena.petrova", BIOLOGY, 403),
        ("priya.raman", BIOLOGY, 303),
        ("ingrid.bauer", BIOLOGY, 303),
        ("jonas.lindqvist", HISTORY, 404),
    ],
)
def test_who_may_grade(
    app: Flask, sandbox: Sandbox, conversation_id: int, database: Database, who: str, course: int, status: int
) -> None:
    visitor = Visitor.launch(app, sandbox, who, course)
    assert visitor.post(f"/conversations/{conversation_id}/grade", GRADE).status_code == status
    assert visitor.post(f"/conversations/{conversation_id}/grade/retry").status_code in {status, 409}
    assert len(scores(database)) == (status == 303)


def test_a_trial_cannot_be_graded(
    app: Flask, sandbox: Sandbox, teacher: Visitor, experience_id: int, database: Database
) -> None:
    conversation_id = hold(Visitor.launch(app, sandbox, "test.student.1101"), experience_id)
    assert teacher.post(f"/conversations/{conversation_id}/grade", GRADE).status_code == 404
    assert states(database) == []


@pytest.mark.parametrize(
    ("offer", "said"),
    [
        ({"line_items_url": None, "grade_scopes": []}, "does not offer its gradebook"),
        ({"grade_scopes": ["https://purl.imsglobal.org/spec/lti-ags/scope/lineitem"]}, "may not send grades"),
        ({"grade_scopes": ["https://purl.imsglobal.org/spec/lti-ags/scope/score"]}, "may not make one"),
    ],
)
def test_the_page_says_what_is_missing_instead_of_the_form(
    teacher: Visitor,
    conversation_id: int,
    database: Database,
    offer: dict[str, object],
    said: str,
) -> None:
    with database.transaction() as session:
        session.execute(update(CourseServices).values(**offer))
    page = teacher.page(f"/conversations/{conversation_id}/transcript")
    missing = page.select_one("[data-testid=grade-missing]")
    assert said in missing.text
    assert missing.a["href"].endswith("/setup")
    assert page.select_one("[data-testid=send-grade]") is None
    assert teacher.post(f"/conversations/{conversation_id}/grade", GRADE).status_code == 409
    assert states(database) == []


def test_a_scope_that_the_administrators_took_away_is_said(
    teacher: Visitor,
    conversation_id: int,
    sandbox: Sandbox,
    database: Database,
    work: Callable[[], int],
) -> None:
    grade(teacher, conversation_id)
    sandbox.fail_next(400, path_contains="/login/oauth2/token", body='{"error": "invalid_scope"}')
    work()
    assert states(database) == [ScoreState.FAILED]
    assert "do not let the tool use this service" in entry(teacher, conversation_id)


def test_a_line_item_that_makes_no_sense_is_asked_for_again_later(
    teacher: Visitor, conversation_id: int, sandbox: Sandbox, database: Database, work: Callable[[], int]
) -> None:
    grade(teacher, conversation_id)
    sandbox.fail_next(201, method="POST", path_contains="/line_items", body='{"id": 7}')
    work()
    assert states(database) == [ScoreState.WAITING]
    make_due(database)
    work()
    assert states(database) == [ScoreState.SENT]


def test_a_student_who_has_left_is_refused_in_words(
    app: Flask,
    sandbox: Sandbox,
    teacher: Visitor,
    experience_id: int,
    work: Callable[[], int],
) -> None:
    course = sandbox.course(BIOLOGY)
    (guest,) = sandbox.directory.add_students(course, 1)
    conversation_id = hold(Visitor.launch(app, sandbox, guest.login), experience_id)
    sandbox.directory.end_enrollments(guest, course)
    grade(teacher, conversation_id)
    work()
    assert "not a student" in entry(teacher, conversation_id)


def test_another_class_of_the_same_platform_sees_nothing_of_it(
    app: Flask, sandbox: Sandbox, teacher: Visitor, conversation_id: int, work: Callable[[], int]
) -> None:
    """The same student's work in another course is another's."""
    grade(teacher, conversation_id)
    work()
    sandbox.directory.enroll(sandbox.person("miriam.okafor"), sandbox.course(HISTORY), CanvasRole.TEACHER)
    elsewhere = Visitor.launch(app, sandbox, "miriam.okafor", HISTORY)
    assert elsewhere.get(f"/conversations/{conversation_id}/transcript").status_code == 404
    assert sandbox.gradebook.line_items(sandbox.course(HISTORY)) == []


def test_the_transcript_costs_a_constant_number_of_queries(
    open_assignment: Callable[[str], Visitor],
    teacher: Visitor,
    experience_id: int,
    count_queries: Callable[[Callable[[], object]], int],
    work: Callable[[], int],
) -> None:
    conversation_id = hold(open_assignment(AMARA), experience_id)
    path = f"/conversations/{conversation_id}/transcript"
    once = count_queries(lambda: teacher.get(path))
    for points in ("1", "2", "3"):
        grade(teacher, conversation_id, points=points)
        work()
    assert count_queries(lambda: teacher.get(path)) == once


def test_finishing_wakes_the_worker_once_it_is_written(
    app: Flask,
    open_assignment: Callable[[str], Visitor],
    experience_id: int,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(app.extensions["owed"], "wake", lambda: seen.append(len(scores(database))))
    hold(open_assignment(AMARA), experience_id)
    assert seen == [0, 1]  # the launch, for its column; the hand-in
