"""Evaluations: made when a teacher asks, one at a time, checked, and out of date when the conversation goes on."""

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlmodel import func, select, update

from app import create_app
from app.conversations.evaluation import Evaluation, EvaluationFailedError, Evaluations, evaluation_of
from app.conversations.models import Conversation, EvaluationRecord, Message, MessageState
from app.courses.models import Course, Role, User
from app.database import utc_now
from app.errors import RateLimitedError
from app.identity import Identity
from app.llm.interface import Speaker
from app.sandbox import Sandbox
from app.settings import Settings
from app.usage.models import CourseTokens
from tests.support.applications import end
from tests.support.fake_model import FakeModel, Reply, make_failure
from tests.support.judging import assessment, wait_for_evaluation, wait_for_judge
from tests.support.people import HISTORY, Visitor
from tests.support.server import wait_until

LISTENS = "I hear that this is annoying for you."
MOMENT = {"objective": 1, "message": 2, "quote": "this is annoying"}
METRICS = [
    {"name": "Empathy", "description": "", "enabled": True, "visible_to_learners": True},
    {"name": "Pace", "description": "", "enabled": True, "visible_to_learners": False},
]


@pytest.fixture
def conversation_id(app: Flask, teacher: Visitor, student: Visitor) -> int:
    conversation_id = student.start(teacher.write_experience())
    student.send(conversation_id, LISTENS)
    wait_for_judge(app, conversation_id)
    return conversation_id


@pytest.fixture
def asker(app: Flask, conversation_id: int) -> Identity:
    with app.extensions["database"].snapshot() as session:
        teacher = session.exec(select(User).where(User.name == "Miriam Okafor")).one()
        return Identity(teacher, session.exec(select(Course)).first(), Role.TEACHER)


def evaluate(app: Flask, identity: Identity, conversation_id: int) -> Evaluation:
    evaluations: Evaluations = app.extensions["evaluations"]
    with app.app_context():
        return evaluations.evaluate(identity, conversation_id)


def stored(app: Flask, conversation_id: int) -> Evaluation | None:
    with app.extensions["database"].snapshot() as session:
        return evaluation_of(session, session.get_one(Conversation, conversation_id))


def answer(fake_model: FakeModel, data: Any) -> None:
    """Answer evaluators with the data, and judges that nothing is covered."""
    fake_model.judge_by(lambda request: data if "evaluate" in request.instructions else {"objectives": []})


def asked(fake_model: FakeModel) -> list[str]:
    return [request.prompt for request in fake_model.questions if "evaluate" in request.instructions]


def overrule(teacher: Visitor, conversation_id: int, position: int, covered: str) -> None:
    path = f"/conversations/{conversation_id}/objectives/{position}"
    assert teacher.post(path, {"covered": covered}).status_code == 303


def evaluation_part(teacher: Visitor, conversation_id: int):
    return teacher.page(f"/conversations/{conversation_id}/transcript").select_one("[data-testid=evaluation]")


def test_a_teacher_has_a_conversation_evaluated(
    app: Flask, teacher: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    answer(fake_model, assessment(2, key_moments=[MOMENT]))
    assert "Nobody has asked" in evaluation_part(teacher, conversation_id).text
    response = teacher.post(f"/conversations/{conversation_id}/evaluation")
    assert response.status_code == 303
    wait_for_evaluation(app, conversation_id)
    part = evaluation_part(teacher, conversation_id)
    assert part.select_one("[data-testid=overall-score]").text == "81 of 100"
    assert len(part.select("[data-testid=objective-evaluation]")) == 2
    quote = part.select_one("[data-testid=key-moment] a")
    assert quote.text == "this is annoying"
    page = teacher.page(f"/conversations/{conversation_id}/transcript")
    assert LISTENS in page.select_one(quote["href"]).text
    made = stored(app, conversation_id)
    assert (made.model, made.prompt_version, made.stale) == ("fake", "2", False)


def test_a_key_moment_that_was_made_up_is_not_shown(
    app: Flask, teacher: Visitor, asker: Identity, conversation_id: int, fake_model: FakeModel
) -> None:
    made_up = MOMENT | {"quote": "I shall refund you at once"}
    answer(fake_model, assessment(2, key_moments=[made_up]))
    assert evaluate(app, asker, conversation_id).result["key_moments"] == []
    part = evaluation_part(teacher, conversation_id)
    assert not part.select("[data-testid=key-moment]")
    assert part.text.count("No words of the student's were found that prove this.") == 2


def test_what_a_model_writes_is_shown_as_text(
    app: Flask, teacher: Visitor, asker: Identity, conversation_id: int, fake_model: FakeModel
) -> None:
    answer(fake_model, assessment(2, overall_assessment="<script>alert(1)</script>", strengths=["<b>x</b>"]))
    evaluate(app, asker, conversation_id)
    part = evaluation_part(teacher, conversation_id)
    assert "<script>alert(1)</script>" in part.text
    assert not part.select("script, b")


def test_an_evaluation_is_out_of_date_once_the_conversation_has_gone_on(
    app: Flask,
    student: Visitor,
    teacher: Visitor,
    asker: Identity,
    conversation_id: int,
    fake_model: FakeModel,
) -> None:
    answer(fake_model, assessment(2))
    evaluate(app, asker, conversation_id)
    assert not evaluation_part(teacher, conversation_id).select_one("[data-testid=stale]")
    student.send(conversation_id, "And now?", "key-2")
    assert stored(app, conversation_id).stale
    assert evaluation_part(teacher, conversation_id).select_one("[data-testid=stale]")
    wait_for_judge(app, conversation_id)
    assert not evaluate(app, asker, conversation_id).stale
    assert "And now?" in asked(fake_model)[-1]


def test_a_reply_that_ended_after_a_later_message_was_read_makes_it_out_of_date(
    app: Flask, asker: Identity, conversation_id: int, fake_model: FakeModel
) -> None:
    answer(fake_model, assessment(2))
    with app.extensions["database"].transaction() as session:
        said = {"conversation_id": conversation_id}
        reply = Message(speaker=Speaker.PERSONA, state=MessageState.GENERATING, **said)
        session.add(reply)
        session.flush()
        session.add(Message(speaker=Speaker.STUDENT, text="A word of danger.", **said))
    evaluate(app, asker, conversation_id)
    with app.extensions["database"].transaction() as session:
        ended = {"state": MessageState.COMPLETE, "text": "I see."}
        session.execute(update(Message).where(Message.state == MessageState.GENERATING).values(**ended))
    assert stored(app, conversation_id).stale


def test_what_a_teacher_has_decided_stands_in_the_evaluation(
    app: Flask, teacher: Visitor, asker: Identity, conversation_id: int, fake_model: FakeModel
) -> None:
    answer(fake_model, assessment(2))
    overrule(teacher, conversation_id, 0, "0")
    result = evaluate(app, asker, conversation_id).result
    assert [view["met"] for view in result["learning_objectives_evaluation"]] == [False, True]
    assert "- Objective 1 is not met." in asked(fake_model)[-1]
    part = evaluation_part(teacher, conversation_id)
    pills = [view.select_one(".pill").text for view in part.select("[data-testid=objective-evaluation]")]
    assert pills == ["Not covered", "Covered"]
    assert not part.select_one("[data-testid=stale]")


def test_an_evaluation_is_out_of_date_once_a_teacher_has_decided(
    app: Flask, teacher: Visitor, asker: Identity, conversation_id: int, fake_model: FakeModel
) -> None:
    answer(fake_model, assessment(2))
    evaluate(app, asker, conversation_id)
    overrule(teacher, conversation_id, 1, "0")
    assert stored(app, conversation_id).stale
    assert "a teacher has decided" in evaluation_part(teacher, conversation_id).text
    assert not evaluate(app, asker, conversation_id).stale
    overrule(teacher, conversation_id, 1, "1")
    assert stored(app, conversation_id).stale


def test_an_evaluation_is_out_of_date_where_a_teacher_decided_while_it_was_made(
    app: Flask, teacher: Visitor, asker: Identity, conversation_id: int, fake_model: FakeModel
) -> None:
    def judge(_request: object) -> object:
        overrule(teacher, conversation_id, 0, "0")
        return assessment(2)

    fake_model.judge_by(judge)
    assert evaluate(app, asker, conversation_id).stale


def test_a_teachers_decision_needs_no_proof(
    app: Flask, teacher: Visitor, asker: Identity, conversation_id: int, fake_model: FakeModel
) -> None:
    overrule(teacher, conversation_id, 0, "1")
    answer(fake_model, assessment(2))
    evaluate(app, asker, conversation_id)
    part = evaluation_part(teacher, conversation_id)
    assert part.text.count("No words of the student's were found that prove this.") == 1


def test_the_scripted_demo_shows_no_number_where_it_looked_at_nothing(
    app: Flask, settings: Settings, sandbox: Sandbox
) -> None:
    changes = {"llm_provider": "scripted", "llm_scripted_pause": 0}
    scripted = create_app(Settings(_env_file=None, **settings.model_dump() | changes))
    teacher = Visitor.launch(scripted, sandbox, "miriam.okafor")
    student = Visitor.launch(scripted, sandbox, "amara.diallo")
    conversation_id = student.start(teacher.write_experience())
    student.send(conversation_id, LISTENS)
    assert teacher.post(f"/conversations/{conversation_id}/evaluation").status_code == 303
    wait_for_evaluation(app, conversation_id)
    part = evaluation_part(teacher, conversation_id)
    assert "It has no words for what is to be learned here." in part.text
    assert "of 100" not in part.text
    end(scripted)


def test_two_teachers_at_once_get_one_evaluation(
    app: Flask,
    settings: Settings,
    asker: Identity,
    conversation_id: int,
    fake_model: FakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def judge(_request: object) -> object:
        begun.set()
        go_on.wait(20)
        return assessment(2)

    fake_model.judge_by(judge)
    count = len(fake_model.questions)
    other, made, claims = create_app(settings), [], []
    claim = Evaluations._claim

    def noted_claim(self: Evaluations, *args: object) -> str | None:
        claims.append(claim(self, *args))
        return claims[-1]

    monkeypatch.setattr(Evaluations, "_claim", noted_claim)
    threads = [
        threading.Thread(target=lambda each=each: made.append(evaluate(each, asker, conversation_id)))
        for each in (app, other, app)
    ]
    threads[0].start()
    assert begun.wait(20)
    for thread in threads[1:]:
        thread.start()
    until = time.monotonic() + 20
    while len(claims) < len(threads):
        assert time.monotonic() < until
        time.sleep(0.01)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert [bool(claim) for claim in claims] == [True, False, False]
    assert len(fake_model.questions) == count + 1
    assert len({evaluation.created_at for evaluation in made}) == 1
    assert len(made) == 3
    end(other)


def test_a_page_that_waits_asks_for_the_evaluation_alone(
    app: Flask, teacher: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def judge(_request: object) -> object:
        begun.set()
        go_on.wait(20)
        return assessment(2)

    fake_model.judge_by(judge)
    teacher.post(f"/conversations/{conversation_id}/evaluation")
    assert begun.wait(20)
    part = teacher.page(f"/conversations/{conversation_id}/evaluation").select_one("[data-evaluation]")
    assert part.has_attr("data-under-way")
    assert not part.select_one("[data-testid=evaluate]")
    again = teacher.post(f"/conversations/{conversation_id}/evaluation")
    assert again.status_code == 303
    go_on.set()
    wait_for_evaluation(app, conversation_id)
    part = teacher.page(f"/conversations/{conversation_id}/evaluation").select_one("[data-evaluation]")
    assert not part.has_attr("data-under-way")
    assert "81 of 100" in part.text


@pytest.mark.parametrize(
    ("failure", "code", "retryable"),
    [
        (make_failure(503), "model_unreachable", True),
        (make_failure(401, {"error": {"message": "secret upstream words"}}), "model_refused", False),
        (Reply(("no JSON",)), "model_bad_answer", True),
        (assessment(1), "model_bad_answer", True),
    ],
    ids=["down", "refused", "no-json", "not-whole"],
)
def test_a_model_that_fails_leaves_the_earlier_evaluation_and_says_so(
    app: Flask,
    teacher: Visitor,
    asker: Identity,
    conversation_id: int,
    fake_model: FakeModel,
    failure: object,
    code: str,
    retryable: bool,
) -> None:
    answer(fake_model, assessment(2))
    evaluate(app, asker, conversation_id)
    answer(fake_model, failure)
    with pytest.raises(EvaluationFailedError) as raised:
        evaluate(app, asker, conversation_id)
    assert (raised.value.status, raised.value.code, raised.value.retryable) == (503, code, retryable)
    part = evaluation_part(teacher, conversation_id)
    assert part.select_one("[data-testid=evaluation-failed]")
    assert "81 of 100" in part.text
    assert "secret upstream words" not in part.text
    answer(fake_model, assessment(2))
    assert evaluate(app, asker, conversation_id).result["overall_score"] == 81
    assert not evaluation_part(teacher, conversation_id).select_one("[data-testid=evaluation-failed]")


def test_a_maker_that_died_is_taken_over_when_its_lease_is_over(
    app: Flask, teacher: Visitor, asker: Identity, conversation_id: int, fake_model: FakeModel
) -> None:
    answer(fake_model, assessment(2))
    with app.extensions["database"].transaction() as session:
        lease = utc_now() - timedelta(seconds=1)
        session.add(EvaluationRecord(conversation_id=conversation_id, lease_until=lease))
    part = evaluation_part(teacher, conversation_id)
    assert part.select_one("[data-testid=evaluation-failed]")
    assert evaluate(app, asker, conversation_id).result["overall_score"] == 81


def used(app: Flask) -> int:
    with app.extensions["database"].snapshot() as session:
        return session.exec(select(func.sum(CourseTokens.used))).one() or 0


def test_a_maker_whose_lease_is_over_does_not_write_into_what_another_makes(
    app: Flask, asker: Identity, conversation_id: int, fake_model: FakeModel
) -> None:
    makes, go_on = threading.Event(), threading.Event()

    def judge(_request: object) -> object:
        makes.set()
        go_on.wait(20)
        return assessment(2, overall_score=12)

    before = used(app)
    fake_model.judge_by(judge)

    def make() -> None:
        with pytest.raises(EvaluationFailedError):
            evaluate(app, asker, conversation_id)

    maker = threading.Thread(target=make)
    maker.start()
    assert makes.wait(20)
    with app.extensions["database"].transaction() as session:
        record = session.exec(select(EvaluationRecord)).one()
        record.claim, record.lease_until = "another", utc_now() + timedelta(seconds=60)
    go_on.set()
    wait_until(lambda: used(app) > before)
    with app.extensions["database"].transaction() as session:
        record = session.exec(select(EvaluationRecord)).one()
        assert (record.result, record.claim) == (None, "another")
        assert record.lease_until > utc_now()
        record.lease_until = None
    maker.join(20)


def test_a_lease_is_renewed_while_the_model_thinks(
    app: Flask,
    asker: Identity,
    conversation_id: int,
    fake_model: FakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.conversations.evaluation.RENEW_EVERY", 0.01)
    leases: set[object] = set()

    def judge(_request: object) -> object:
        while len(leases) < 3:
            with app.extensions["database"].snapshot() as session:
                leases.add(session.exec(select(EvaluationRecord.lease_until)).one())
        return assessment(2)

    fake_model.judge_by(judge)
    evaluate(app, asker, conversation_id)
    assert len(leases) == 3


def test_a_conversation_without_a_word_of_the_students_is_not_evaluated(
    app: Flask, teacher: Visitor, student: Visitor, fake_model: FakeModel
) -> None:
    conversation_id = student.start(teacher.write_experience(title="Another"))
    assert not evaluation_part(teacher, conversation_id).select_one("[data-testid=evaluate]")
    response = teacher.post(f"/conversations/{conversation_id}/evaluation")
    assert response.status_code == 409
    assert asked(fake_model) == []


def test_only_teachers_of_the_course_have_evaluations(
    app: Flask, sandbox: Sandbox, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    path = f"/conversations/{conversation_id}/evaluation"
    designer = Visitor.launch(app, sandbox, "elena.petrova")
    elsewhere = Visitor.launch(app, sandbox, "jonas.lindqvist", HISTORY)
    for visitor, status in ((student, 403), (designer, 403), (elsewhere, 404)):
        assert visitor.get(path).status_code == status
        assert visitor.post(path).status_code == status
    assert asked(fake_model) == []


def test_evaluations_are_counted_against_the_daily_cap(
    settings: Settings, app: Flask, asker: Identity, conversation_id: int, fake_model: FakeModel
) -> None:
    answer(fake_model, assessment(2))
    capped = create_app(settings.model_copy(update={"daily_evaluations": 1}))
    evaluate(capped, asker, conversation_id)
    with pytest.raises(RateLimitedError):
        evaluate(capped, asker, conversation_id)
    assert stored(app, conversation_id).result["overall_score"] == 81
    assert evaluate(app, asker, conversation_id).result["overall_score"] == 81
    end(capped)


def set_metrics(app: Flask, conversation_id: int) -> None:
    with app.extensions["database"].transaction() as session:
        scenario = session.get_one(Conversation, conversation_id).scenario | {"evaluation_metrics": METRICS}
        session.execute(update(Conversation).values(scenario=scenario))


def test_what_no_student_should_read_of_a_metric_stays_with_the_teachers(
    app: Flask,
    teacher: Visitor,
    student: Visitor,
    asker: Identity,
    conversation_id: int,
    fake_model: FakeModel,
) -> None:
    set_metrics(app, conversation_id)
    made = assessment(2, metrics=2)
    made["metrics"][0]["explanation"] = "You should just kill yourself."
    answer(fake_model, made)
    evaluate(app, asker, conversation_id)
    student.post(f"/conversations/{conversation_id}/finish")
    assert "kill" not in student.page("/experiences/1/conversation").text
    assert "kill" in evaluation_part(teacher, conversation_id).text


def test_metrics_that_learners_may_see_are_shown_to_them_after_finishing(
    app: Flask,
    teacher: Visitor,
    student: Visitor,
    asker: Identity,
    conversation_id: int,
    fake_model: FakeModel,
) -> None:
    set_metrics(app, conversation_id)
    shown = evaluation_part(teacher, conversation_id).select_one("[data-testid=shown-to-student]")
    assert shown.text == "After finishing, the student sees of the evaluation: Empathy"
    answer(fake_model, assessment(2, metrics=2))
    evaluate(app, asker, conversation_id)
    with app.extensions["database"].snapshot() as session:
        experience_id = session.get_one(Conversation, conversation_id).experience_id
    page = student.page(f"/experiences/{experience_id}/conversation")
    assert "Empathy" not in page.text
    student.post(f"/conversations/{conversation_id}/finish")
    page = student.page(f"/experiences/{experience_id}/conversation")
    assert "Empathy" in page.select_one("[data-testid=metric]").text
    assert page.select_one("[data-testid=by-ai]").text == "An AI wrote this; it can be wrong."
    assert "Pace" not in page.text
    assert "81 of 100" not in page.text
    part = evaluation_part(teacher, conversation_id)
    assert [
        metric.select_one(".objective-mark-head").text.split()[0]
        for metric in part.select("[data-testid=metric]")
    ] == [
        "Empathy",
        "Pace",
    ]
