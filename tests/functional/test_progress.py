"""Objectives are covered with proof, beside the replies; only a teacher takes a mark back."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event
from sqlmodel import select, update

from app import create_app
from app.conversations import judges
from app.conversations.judges import Judges, unjudged
from app.conversations.models import Conversation, ConversationState, Message, ObjectiveMark
from app.conversations.progress import Credit, Progress, progress_of, record_judgement
from app.experiences.models import Experience
from app.sandbox import Sandbox
from app.settings import Settings
from tests.support.applications import end
from tests.support.fake_model import FakeModel, make_failure, make_reply
from tests.support.judging import finding, findings, wait_for_judge
from tests.support.people import HISTORY, Visitor, events

LISTENS = "I hear that this is annoying for you."
SOLVES = "We will pay the 40 euros back today."


@pytest.fixture
def conversation_id(teacher: Visitor, student: Visitor) -> int:
    return student.start(teacher.write_experience())


def send(app: Flask, student: Visitor, conversation_id: int, text: str, key: str = "key-1") -> None:
    assert student.send(conversation_id, text, key).status_code == 200
    wait_for_judge(app, conversation_id)


def progress(app: Flask, conversation_id: int) -> Progress:
    with app.extensions["database"].snapshot() as session:
        return progress_of(session, [session.get_one(Conversation, conversation_id)])[conversation_id]


def stored(app: Flask, conversation_id: int) -> Conversation:
    with app.extensions["database"].snapshot() as session:
        return session.get_one(Conversation, conversation_id)


def messages(app: Flask, conversation_id: int) -> list[Message]:
    with app.extensions["database"].snapshot() as session:
        query = select(Message).where(Message.conversation_id == conversation_id).order_by(Message.id)
        return list(session.exec(query))


def overrule(visitor: Visitor, conversation_id: int, position: int, covered: str):
    return visitor.post(f"/conversations/{conversation_id}/objectives/{position}", {"covered": covered})


def test_a_message_that_shows_an_objective_covers_it_with_its_quote(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    assert progress(app, conversation_id).percentage == 0
    fake_model.judge_with(findings(finding(1, 2, "i hear that this is annoying"), finding(2, covered=False)))
    send(app, student, conversation_id, LISTENS)
    first, second = progress(app, conversation_id).objectives
    assert (first.covered, first.quote, first.model) == (True, "I hear that this is annoying", "fake")
    assert first.message_id == messages(app, conversation_id)[1].id
    assert not second.covered
    assert progress(app, conversation_id).percentage == 50
    assert not stored(app, conversation_id).all_objectives_met


def test_what_is_covered_is_not_judged_again(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.judge_with(findings(finding(1, 2, LISTENS)), findings(finding(1, covered=False)))
    send(app, student, conversation_id, LISTENS)
    send(app, student, conversation_id, "Goodbye.", "key-2")
    assert [objective.covered for objective in progress(app, conversation_id).objectives] == [True, False]
    assert "1. Listen actively" not in fake_model.questions[1].prompt
    assert "2. Solve the problem" in fake_model.questions[1].prompt


def test_once_all_are_covered_the_judge_is_not_asked_any_more(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.judge_with(findings(finding(1, 2, LISTENS), finding(2, 2, SOLVES)))
    send(app, student, conversation_id, f"{LISTENS} {SOLVES}")
    send(app, student, conversation_id, "Goodbye.", "key-2")
    assert len(fake_model.questions) == 1
    assert stored(app, conversation_id).all_objectives_met
    assert not unjudged(stored(app, conversation_id), messages(app, conversation_id))


def test_who_left_before_the_judge_had_seen_that_all_is_met_has_completed_all_the_same(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    may_answer = threading.Event()

    def judge(_request: object) -> object:
        may_answer.wait(10)
        return findings(finding(1, 2, LISTENS), finding(2, 2, SOLVES))

    fake_model.judge_by(judge)
    student.send(conversation_id, f"{LISTENS} {SOLVES}")
    student.start(stored(app, conversation_id).experience_id, instead_of=conversation_id)
    assert stored(app, conversation_id).workflow_state is ConversationState.ENDED
    may_answer.set()
    wait_for_judge(app, conversation_id)
    assert stored(app, conversation_id).workflow_state is ConversationState.COMPLETED


def test_what_is_judged_late_takes_the_place_of_no_later_attempt(
    app: Flask,
    student: Visitor,
    conversation_id: int,
    fake_model: FakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handed_in: list[int] = []
    monkeypatch.setattr(
        "app.conversations.completion.grades.hand_in",
        lambda _session, work: handed_in.append(work.conversation_id),
    )
    fake_model.judge_with(make_failure(500))
    student.send(conversation_id, f"{LISTENS} {SOLVES}")
    wait_for_judge(app, conversation_id)
    second = student.start(stored(app, conversation_id).experience_id, instead_of=conversation_id)
    send(app, student, second, "Hello", "key-2")
    student.post(f"/conversations/{second}/finish")
    fake_model.judge_with(findings(finding(1, 2, LISTENS), finding(2, 2, SOLVES)))
    app.extensions["judges"].begin(stored(app, conversation_id), messages(app, conversation_id)[1].id)
    wait_for_judge(app, conversation_id)
    assert stored(app, conversation_id).workflow_state is ConversationState.COMPLETED
    assert handed_in == [second]


def test_a_teachers_mark_hands_in_nothing_that_was_left(
    app: Flask, teacher: Visitor, student: Visitor, conversation_id: int
) -> None:
    send(app, student, conversation_id, "Hello")
    student.start(stored(app, conversation_id).experience_id, instead_of=conversation_id)
    for position in (0, 1):
        overrule(teacher, conversation_id, position, "1")
    assert stored(app, conversation_id).all_objectives_met
    assert stored(app, conversation_id).workflow_state is ConversationState.ENDED


def test_of_an_objective_that_a_judge_names_twice_the_proof_counts(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    made_up = finding(1, 2, "We are so very sorry about all of this.")
    fake_model.judge_with(findings(made_up, finding(1, 2, LISTENS), made_up))
    send(app, student, conversation_id, LISTENS)
    assert progress(app, conversation_id).objectives[0].quote == LISTENS.removesuffix(".")


@pytest.mark.parametrize("beyond", ["the end", "the last turn"])
def test_what_was_only_taken_because_of_danger_shows_nothing(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel, beyond: str
) -> None:
    send(app, student, conversation_id, "Hello")
    if beyond == "the end":
        student.post(f"/conversations/{conversation_id}/finish")
    else:
        with app.extensions["database"].transaction() as session:
            conversation = session.get_one(Conversation, conversation_id)
            conversation.scenario = conversation.scenario | {"max_turns": 1}
    fake_model.judge_with(findings(finding(1, 4, LISTENS)))
    assert student.send(conversation_id, f"{LISTENS} I want to kill myself.", "key-2").status_code == 200
    conversation, said = stored(app, conversation_id), messages(app, conversation_id)
    assert len(said) == 5
    assert not unjudged(conversation, said)
    app.extensions["judges"].begin(conversation, said[-1].id)
    wait_for_judge(app, conversation_id)
    assert progress(app, conversation_id).current == 0


def test_what_no_judge_has_seen_yet_is_not_said_to_be_missing(
    app: Flask, teacher: Visitor, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    experience_id = stored(app, conversation_id).experience_id
    pages = [
        (student, f"/experiences/{experience_id}/conversation"),
        (teacher, f"/conversations/{conversation_id}/transcript"),
    ]
    fake_model.judge_with(make_failure(500))
    send(app, student, conversation_id, LISTENS)
    student.post(f"/conversations/{conversation_id}/finish")
    wait_for_judge(app, conversation_id)
    for visitor, path in pages:
        assert "judged yet" in visitor.page(path).select_one("[data-testid=unjudged]").text
    fake_model.judge_with(findings(finding(1, 2, LISTENS)))
    app.extensions["judges"].begin(stored(app, conversation_id), messages(app, conversation_id)[-1].id)
    wait_for_judge(app, conversation_id)
    for visitor, path in pages:
        assert not visitor.page(path).select_one("[data-testid=unjudged]")


def test_what_the_persona_said_in_an_attempt_that_was_replaced_is_not_the_students_own(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.in_turn(make_reply([f"{LISTENS} Well then, ", "so"], drop_after=1), make_reply("Good day."))
    send(app, student, conversation_id, "Hello")
    broken_off = messages(app, conversation_id)[-1]
    assert LISTENS in broken_off.text
    student.retry(conversation_id, broken_off.id)
    assert messages(app, conversation_id)[-1].text == "Good day."
    fake_model.judge_with(findings(finding(1, 4, LISTENS)))
    send(app, student, conversation_id, LISTENS, "key-2")
    assert progress(app, conversation_id).current == 0


def test_no_name_and_no_id_reaches_the_judge(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    send(app, student, conversation_id, "Hello!")
    asked = str(fake_model.questions[-1].body)
    assert "Hello!" in asked
    assert "Amara" not in asked
    assert "Diallo" not in asked


@pytest.mark.parametrize(
    "failure",
    [
        make_failure(500),
        make_failure(429, headers={"Retry-After": "1"}),
        make_reply("no JSON at all"),
        make_reply('{"objectives": ', drop_after=1),
        {"objectives": [{"objective": "one"}]},
    ],
    ids=["error", "busy", "no-json", "broken-off", "other-form"],
)
def test_a_judge_that_fails_breaks_no_chat_and_the_next_judgement_takes_in_what_was_missed(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel, failure: object
) -> None:
    fake_model.judge_with(failure)
    response = student.send(conversation_id, LISTENS)
    assert events(response)[-1][1]["state"] == "complete"
    wait_for_judge(app, conversation_id)
    assert progress(app, conversation_id).current == 0
    fake_model.judge_with(findings(finding(1, 2, LISTENS)))
    send(app, student, conversation_id, "Are you still there?", "key-2")
    assert progress(app, conversation_id).current == 1


def test_a_reply_does_not_wait_for_the_judge(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def judge(_request: object) -> object:
        asked.set()
        answer.wait(20)
        return findings(finding(1, 2, LISTENS))

    fake_model.judge_by(judge)
    assert events(student.send(conversation_id, LISTENS))[-1][1]["state"] == "complete"
    assert asked.wait(20)
    assert progress(app, conversation_id).current == 0
    answer.set()
    wait_for_judge(app, conversation_id)
    assert progress(app, conversation_id).current == 1


def test_messages_that_come_while_the_judge_is_at_it_are_judged_after(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    answer = threading.Event()

    def judge(request) -> object:
        answer.wait(20)
        return findings(finding(1, 2, LISTENS) if LISTENS in request.prompt else finding(1, covered=False))

    fake_model.judge_by(judge)
    student.send(conversation_id, LISTENS, "key-1")
    student.send(conversation_id, SOLVES, "key-2")
    answer.set()
    wait_for_judge(app, conversation_id)
    assert len(fake_model.questions) == 2
    assert SOLVES not in fake_model.questions[0].prompt
    assert stored(app, conversation_id).judged_until == messages(app, conversation_id)[3].id


def test_two_workers_that_judge_at_once_cover_each_objective_once(
    app: Flask, settings: Settings, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    other = create_app(settings)
    both = threading.Barrier(2)

    def judge(_request: object) -> object:
        both.wait(20)
        return findings(finding(1, 2, LISTENS), finding(2, 2, SOLVES))

    fake_model.judge_by(judge)
    response = student.send(conversation_id, f"{LISTENS} {SOLVES}")
    assert response.status_code == 200
    judges: Judges = other.extensions["judges"]
    judges.begin(stored(app, conversation_id), messages(app, conversation_id)[1].id)
    wait_for_judge(app, conversation_id)
    wait_for_judge(other, conversation_id)
    assert progress(app, conversation_id).all_met
    with app.extensions["database"].snapshot() as session:
        assert len(session.exec(select(ObjectiveMark)).all()) == 2
    assert stored(app, conversation_id).all_objectives_met
    end(other)


def test_two_who_cover_the_last_two_objectives_at_once_both_see_that_all_are_met(
    app: Flask, student: Visitor, conversation_id: int
) -> None:
    student.send(conversation_id, f"{LISTENS} {SOLVES}")
    wait_for_judge(app, conversation_id)
    message_id = messages(app, conversation_id)[1].id
    ready = threading.Barrier(2)

    def record(position: int) -> None:
        ready.wait(20)
        with app.extensions["database"].transaction() as session:
            credit = Credit(position, message_id, LISTENS)
            record_judgement(
                session, conversation_id, [credit], until=message_id, model="fake", prompt_version="1"
            )

    threads = [threading.Thread(target=record, args=(position,)) for position in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(app, conversation_id).all_objectives_met


def test_a_teacher_overrules_in_their_name_and_the_judge_changes_nothing_after(
    app: Flask, student: Visitor, teacher: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.judge_with(findings(finding(1, 2, LISTENS)))
    send(app, student, conversation_id, LISTENS)
    assert overrule(teacher, conversation_id, 0, "0").status_code == 303
    assert overrule(teacher, conversation_id, 1, "1").status_code == 303
    send(app, student, conversation_id, LISTENS, "key-2")
    first, second = progress(app, conversation_id).objectives
    assert (first.covered, second.covered) == (False, True)
    assert first.decided_by.name == "Miriam Okafor"
    assert second.decided_at is not None
    page = teacher.page(f"/conversations/{conversation_id}/transcript").select_one("[data-testid=progress]")
    assert page.text.count("Miriam Okafor") == 2
    assert LISTENS[:-1] in page.text
    overrule(teacher, conversation_id, 0, "1")
    assert stored(app, conversation_id).all_objectives_met
    overrule(teacher, conversation_id, 1, "0")
    assert not stored(app, conversation_id).all_objectives_met


def test_a_teachers_word_stands_though_a_judgement_was_under_way(
    app: Flask, student: Visitor, teacher: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    overruled = threading.Event()

    def judge(_request: object) -> object:
        overruled.wait(20)
        return findings(finding(1, 2, LISTENS))

    fake_model.judge_by(judge)
    student.send(conversation_id, LISTENS)
    overrule(teacher, conversation_id, 0, "0")
    overruled.set()
    wait_for_judge(app, conversation_id)
    assert not progress(app, conversation_id).objectives[0].covered


@pytest.mark.parametrize(("position", "covered", "status"), [(2, "1", 404), (0, "maybe", 400), (0, "", 400)])
def test_only_an_objective_that_there_is_can_be_overruled(
    teacher: Visitor, conversation_id: int, position: int, covered: str, status: int
) -> None:
    assert overrule(teacher, conversation_id, position, covered).status_code == status


def test_only_teachers_of_the_course_overrule(
    app: Flask, sandbox: Sandbox, student: Visitor, conversation_id: int
) -> None:
    assert overrule(student, conversation_id, 0, "1").status_code == 403
    designer = Visitor.launch(app, sandbox, "elena.petrova")
    assert overrule(designer, conversation_id, 0, "1").status_code == 403
    elsewhere = Visitor.launch(app, sandbox, "jonas.lindqvist", HISTORY)
    assert overrule(elsewhere, conversation_id, 0, "1").status_code == 404
    assert progress(app, conversation_id).current == 0


def test_who_has_met_every_objective_has_completed_it_and_may_go_on(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.judge_with(findings(finding(1, 2, LISTENS), finding(2, 2, SOLVES)))
    send(app, student, conversation_id, f"{LISTENS} {SOLVES}")
    assert "Completed" in student.page("/shelf").text
    assert stored(app, conversation_id).workflow_state is ConversationState.ACTIVE
    send(app, student, conversation_id, "Anything else?", "key-2")
    student.start(stored(app, conversation_id).experience_id, instead_of=conversation_id)
    assert stored(app, conversation_id).workflow_state is ConversationState.COMPLETED


def test_a_conversation_is_judged_at_its_finish_where_a_message_was_missed(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.judge_with(make_failure(500))
    send(app, student, conversation_id, LISTENS)
    fake_model.judge_with(findings(finding(1, 2, LISTENS)))
    student.post(f"/conversations/{conversation_id}/finish")
    wait_for_judge(app, conversation_id)
    assert progress(app, conversation_id).current == 1


def test_what_was_missed_long_ago_is_judged_when_somebody_looks(
    app: Flask,
    student: Visitor,
    teacher: Visitor,
    conversation_id: int,
    fake_model: FakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_model.judge_with(make_failure(500))
    send(app, student, conversation_id, LISTENS)
    fake_model.judge_with(findings(finding(1, 2, LISTENS)))
    teacher.page(f"/conversations/{conversation_id}/transcript")
    wait_for_judge(app, conversation_id)
    assert progress(app, conversation_id).current == 0
    monkeypatch.setattr(judges, "MISSED_AFTER", timedelta(0))
    teacher.page(f"/conversations/{conversation_id}/transcript")
    wait_for_judge(app, conversation_id)
    assert progress(app, conversation_id).current == 1


def test_a_message_whose_reply_is_tried_again_is_judged_with_it(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.fail_with(503)
    fake_model.judge_with(make_failure(500))
    send(app, student, conversation_id, LISTENS)
    fake_model.reply_with("I see.")
    fake_model.judge_with(findings(finding(1, 2, LISTENS)))
    reply = messages(app, conversation_id)[-1]
    student.post(f"/conversations/{conversation_id}/messages/{reply.id}/retry")
    wait_for_judge(app, conversation_id)
    assert progress(app, conversation_id).current == 1


def test_who_looks_at_what_was_missed_needs_one_connection(
    app: Flask,
    student: Visitor,
    teacher: Visitor,
    conversation_id: int,
    fake_model: FakeModel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake_model.judge_with(make_failure(500))
    send(app, student, conversation_id, LISTENS)
    monkeypatch.setattr(judges, "MISSED_AFTER", timedelta(0))
    chat = f"/experiences/{stored(app, conversation_id).experience_id}/conversation"
    assert most_held(app, lambda: student.page(chat)) == 1
    assert most_held(app, lambda: teacher.page(f"/conversations/{conversation_id}/transcript")) == 1
    wait_for_judge(app, conversation_id)


def most_held(app: Flask, call: Callable[[], object]) -> int:
    """Return how many database connections a call holds at once, in its own thread."""
    engine, thread, held = app.extensions["database"].engine, threading.get_ident(), [0]

    def note(change: int) -> None:
        if threading.get_ident() == thread:
            held.append(held[-1] + change)

    def take(*_about: object) -> None:
        note(1)

    def give_back(*_about: object) -> None:
        note(-1)

    event.listen(engine, "checkout", take)
    event.listen(engine, "checkin", give_back)
    call()
    event.remove(engine, "checkout", take)
    event.remove(engine, "checkin", give_back)
    return max(held)


def test_no_connection_is_held_while_the_judge_thinks(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def judge(_request: object) -> object:
        asked.set()
        answer.wait(20)
        return findings()

    fake_model.judge_by(judge)
    student.send(conversation_id, LISTENS)
    assert asked.wait(20)
    assert app.extensions["database"].engine.pool.checkedout() == 0
    answer.set()


def test_progress_costs_one_query_for_any_number_of_conversations(
    app: Flask, sandbox: Sandbox, teacher: Visitor, count_queries
) -> None:
    experience_id = teacher.write_experience()
    for who in ("amara.diallo", "liam.oconnor", "mai.nguyen"):
        Visitor.launch(app, sandbox, who).start(experience_id)
    with app.extensions["database"].snapshot() as session:
        conversations = session.exec(select(Conversation)).all()
        assert len(conversations) == 3
        assert count_queries(lambda: progress_of(session, conversations)) == 1
        assert count_queries(lambda: progress_of(session, [])) == 0


def chat_page(student: Visitor, app: Flask, conversation_id: int):
    return student.page(f"/experiences/{stored(app, conversation_id).experience_id}/conversation")


def test_the_student_sees_what_is_shown_and_where(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    before = chat_page(student, app, conversation_id)
    assert "0 of 2 objectives shown" in before.select_one("[data-testid=progress-count]").text
    fake_model.judge_with(findings(finding(1, 2, "this is <annoying>")))
    send(app, student, conversation_id, "I hear that this is <annoying> for you.")
    page = chat_page(student, app, conversation_id)
    assert "1 of 2 objectives shown" in page.select_one("[data-testid=progress-count]").text
    quote = page.select_one("[data-testid=progress] [data-testid=proof]")
    assert quote.text == "this is <annoying"
    assert "I hear that this is <annoying>" in page.select_one(quote["href"]).text
    assert not page.select_one("[data-testid=closing]")


def test_an_open_page_learns_of_what_was_judged(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.judge_with(findings(finding(1, 2, LISTENS), finding(2, 2, SOLVES)))
    version = chat_page(student, app, conversation_id).select_one("[data-chat]")["data-version"]
    send(app, student, conversation_id, f"{LISTENS} {SOLVES}")
    state = student.page(f"/conversations/{conversation_id}/state?version={version}")
    assert "2 of 2 objectives shown" in state.select_one("[data-part=count]").text
    assert len(state.select("[data-part=progress] [data-testid=proof]")) == 2
    assert state.select_one("[data-part=closing] [data-testid=closing]")


@pytest.mark.parametrize("finished", [False, True])
def test_an_open_page_learns_of_each_decision_of_a_teacher(
    app: Flask, student: Visitor, teacher: Visitor, conversation_id: int, finished: bool
) -> None:
    send(app, student, conversation_id, LISTENS)
    if finished:
        student.post(f"/conversations/{conversation_id}/finish")
        wait_for_judge(app, conversation_id)
    version = chat_page(student, app, conversation_id).select_one("[data-chat]")["data-version"]
    for covered, shown in (("1", "1 of 2"), ("0", "0 of 2"), ("1", "1 of 2")):
        overrule(teacher, conversation_id, 0, covered)
        state = student.page(f"/conversations/{conversation_id}/state?version={version}")
        assert f"{shown} objectives shown" in state.select_one("[data-part=count]").text
        version = state.select_one("[data-conversation-state]")["data-version"]
    nothing_new = student.get(f"/conversations/{conversation_id}/state?version={version}")
    assert nothing_new.status_code == 204


def test_once_everything_is_shown_the_student_sees_a_closing_with_all_of_it(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.judge_with(findings(finding(1, 2, LISTENS), finding(2, 2, SOLVES)))
    send(app, student, conversation_id, f"{LISTENS} {SOLVES}")
    closing = chat_page(student, app, conversation_id).select_one("[data-testid=closing]")
    assert "You have shown everything" in closing.text
    assert [quote.text for quote in closing.select("[data-testid=proof]")] == [LISTENS[:-1], SOLVES[:-1]]
    assert "Finish the conversation to hand it in" in closing.text


def test_who_hands_in_sees_what_was_shown_and_what_was_not(
    app: Flask, student: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.judge_with(findings(finding(1, 2, LISTENS)))
    send(app, student, conversation_id, LISTENS)
    student.post(f"/conversations/{conversation_id}/finish")
    closing = chat_page(student, app, conversation_id).select_one("[data-testid=closing]")
    assert "Listen actively" in closing.select_one("[data-testid=shown]").text
    assert "Solve the problem" in closing.select_one("[data-testid=not-shown]").text
    assert "everything" not in closing.text


def test_the_student_is_told_of_a_teachers_decision_but_not_whose(
    app: Flask, student: Visitor, teacher: Visitor, conversation_id: int
) -> None:
    overrule(teacher, conversation_id, 0, "1")
    overrule(teacher, conversation_id, 1, "0")
    panel = chat_page(student, app, conversation_id).select_one("[data-testid=progress]").text
    assert "Your teacher has marked this as shown." in panel
    assert "Your teacher has marked this as not shown yet." in panel
    assert "Miriam" not in panel


def test_marks_of_the_scripted_demo_say_so(app: Flask, settings: Settings, sandbox: Sandbox) -> None:
    changes = {"llm_provider": "scripted", "llm_scripted_pause": 0}
    scripted = create_app(Settings(_env_file=None, **settings.model_dump() | changes))
    teacher = Visitor.launch(scripted, sandbox, "miriam.okafor")
    student = Visitor.launch(scripted, sandbox, "amara.diallo")
    experience_id = teacher.write_experience()
    with scripted.extensions["database"].transaction() as session:
        script = {"objectives": [["annoying"], ["pay"]]}
        session.execute(update(Experience).where(Experience.id == experience_id).values(script=script))
    conversation_id = student.start(experience_id)
    send(scripted, student, conversation_id, LISTENS)
    assert [objective.covered for objective in progress(app, conversation_id).objectives] == [True, False]
    assert chat_page(student, app, conversation_id).select_one("[data-testid=demo-note]")
    transcript = teacher.page(f"/conversations/{conversation_id}/transcript")
    assert "No AI model judges here" in transcript.select_one("[data-testid=progress]").text
    end(scripted)


def test_marks_of_a_real_model_carry_no_warning(
    app: Flask, student: Visitor, teacher: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.judge_with(findings(finding(1, 2, LISTENS)))
    send(app, student, conversation_id, LISTENS)
    assert not chat_page(student, app, conversation_id).select_one("[data-testid=demo-note]")
    transcript = teacher.page(f"/conversations/{conversation_id}/transcript")
    assert not transcript.select_one("[data-testid=demo-note]")
    assert "Judged covered by fake" in transcript.select_one("[data-testid=progress]").text


def test_the_page_to_print_shows_the_marks_of_each_conversation(
    app: Flask, student: Visitor, teacher: Visitor, conversation_id: int, fake_model: FakeModel
) -> None:
    fake_model.judge_with(findings(finding(1, 2, LISTENS)))
    send(app, student, conversation_id, LISTENS)
    page = teacher.page(f"/experiences/{stored(app, conversation_id).experience_id}/transcripts")
    marks = page.select("[data-testid=transcript] [data-testid=objective] .pill")
    assert [mark.text for mark in marks] == ["Covered", "Not covered"]
    assert not page.select("[data-testid=overrule]")
