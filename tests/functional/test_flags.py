"""Teachers see flags, filter them, and resolve them with a note."""

from collections.abc import Callable
from typing import Any

import pytest
from alembic import command
from bs4 import BeautifulSoup
from flask import Flask
from sqlalchemy import insert
from sqlmodel import select

from app.conversations.models import Message
from app.conversations.safety.findings import Category, Finding, Severity
from app.conversations.safety.flags import raise_flags
from app.conversations.safety.models import Flag, Source
from app.review.flags import PER_PAGE
from app.sandbox import Sandbox
from tests.support.fake_model import FakeModel
from tests.support.people import HISTORY, Visitor

WISH = "To be <b>honest</b>, I want to kill myself."
THREAT = "I will kill you!"
INSULT = "You stupid bitch, give me my money back."
UNSAFE = "You should just kill yourself."


@pytest.fixture
def experience_id(teacher: Visitor) -> int:
    return teacher.write_experience()


@pytest.fixture
def liam(app: Flask, sandbox: Sandbox) -> Visitor:
    return Visitor.launch(app, sandbox, "liam.oconnor")


@pytest.fixture
def colleague(app: Flask, sandbox: Sandbox) -> Visitor:
    return Visitor.launch(app, sandbox, "priya.raman")


@pytest.fixture
def flagged(student: Visitor, liam: Visitor, experience_id: int, fake_model: FakeModel) -> int:
    """Flags of two students: a threat of one, then a wish of the other. Returns the conversation of the wish."""
    fake_model.reply_with("I see.")
    liam.send(liam.start(experience_id), THREAT)
    conversation_id = student.start(experience_id)
    student.send(conversation_id, WISH)
    return conversation_id


def page_of(visitor: Visitor, **query: Any) -> BeautifulSoup:
    arguments = "&".join(f"{name}={value}" for name, value in query.items())
    return visitor.page(f"/flags?{arguments}")


def titles(page: BeautifulSoup) -> list[str]:
    return [" ".join(flag.h2.text.split()) for flag in page.select("[data-testid=flag]")]


def the_flag(app: Flask) -> Flag:
    with app.extensions["database"].snapshot() as db:
        return db.exec(select(Flag).order_by(Flag.id.desc())).first()


def pills(visitor: Visitor, path: str, test_id: str) -> list[str]:
    found = visitor.page(path).select(f"[data-testid={test_id}]")
    return [" ".join(pill.text.split()) for pill in found]


WISHES, THREATS = "Urgent Self-harm: Amara Diallo", "Worth a look Violence: Liam O'Connor"


def test_the_page_lists_the_gravest_first_with_what_was_written(teacher: Visitor, flagged: int) -> None:
    page = page_of(teacher)
    assert titles(page) == [WISHES, THREATS]
    excerpt = page.select_one("blockquote")
    assert excerpt.text == WISH
    assert excerpt.mark.text == "I want to kill myself"
    assert "The tool has shown the student where to find help." in page.select_one("[data-testid=flag]").text


def test_a_flag_leads_to_the_message_in_the_transcript_and_back(
    app: Flask, teacher: Visitor, flagged: int
) -> None:
    link = page_of(teacher).select_one("[data-testid=flag] a")["href"]
    message_id = the_flag(app).message_id
    transcript = f"/conversations/{flagged}/transcript"
    assert link == f"{teacher.root}{transcript}?flag={the_flag(app).id}#message-{message_id}"
    page = teacher.page(link.removeprefix(teacher.root))
    message = page.select_one(f"#message-{message_id}")
    back = message.select_one("[data-testid=message-flag] a")
    assert back.text == "Flag: Self-harm"
    assert titles(teacher.page(back["href"].removeprefix(teacher.root))) == [WISHES]
    assert "The tool has shown the student where to find help." in message.text
    assert page.select_one(".back a")["href"] == back["href"]
    for elsewhere in (transcript, f"{transcript}?flag=99999", f"{transcript}?flag={2**63}"):
        assert len(teacher.page(elsewhere).select(".back a")) == len(page.select(".back a")) - 1


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "2 open, 1 urgent"),
        ({"state": "resolved"}, "2 open, 1 urgent"),
        ({"category": "violence"}, "1 open"),
        ({"category": "abuse"}, None),
    ],
    ids=str,
)
def test_the_heading_counts_what_is_open_and_urgent(
    app: Flask, teacher: Visitor, flagged: int, query: dict[str, Any], expected: str | None
) -> None:
    heading = page_of(teacher, **query).h1.select_one("[data-testid=open-flags]")
    assert (heading and heading.text) == expected
    teacher.post(f"/flags/{the_flag(app).id}/resolve", {"note": ""})
    assert page_of(teacher).h1.select_one("[data-testid=open-flags]").text == "1 open"


def test_what_was_resolved_is_no_longer_red(app: Flask, teacher: Visitor, flagged: int) -> None:
    red = "[data-testid=flag] .pill-danger"
    assert [pill.text for pill in page_of(teacher).select(red)] == ["Urgent"]
    teacher.post(f"/flags/{the_flag(app).id}/resolve", {"note": ""})
    page = page_of(teacher, state="resolved")
    assert titles(page) == [WISHES]
    assert page.select(red) == []


def test_transcripts_say_why_a_reply_is_not_there(
    teacher: Visitor, student: Visitor, flagged: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(UNSAFE)
    student.send(flagged, "Hello?", key="two")
    text = teacher.page(f"/conversations/{flagged}/transcript").text
    assert "The reply waits until the student wants to go on." in text
    assert "The student was not shown this reply." in text


def test_flags_are_counted_on_the_desk_the_experience_and_the_class(
    teacher: Visitor, flagged: int, experience_id: int
) -> None:
    assert pills(teacher, "/experiences", "flags") == ["Flags 2 open"]
    assert pills(teacher, f"/experiences/{experience_id}", "experience-flags") == ["2 open flags"]
    page = teacher.page(f"/experiences/{experience_id}")
    rows = {row.th.text.split()[0]: row for row in page.select("[data-testid=student-row]")}
    link = rows["Amara"].select_one("[data-testid=row-flags]")
    assert link.text == "1 flag"
    assert " ".join(rows["Amara"].th.text.split()) == "Amara Diallo 1 flag"
    assert titles(teacher.page(link["href"].removeprefix(teacher.root))) == [WISHES]
    other_id = teacher.write_experience(title="Another")
    assert pills(teacher, f"/experiences/{other_id}", "experience-flags") == []


def test_without_flags_nothing_is_counted(teacher: Visitor, experience_id: int) -> None:
    assert pills(teacher, "/experiences", "flags") == ["Flags"]
    assert page_of(teacher).select_one("[data-testid=no-flags]").text == "No flag is open here."


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"category": "violence"}, [THREATS]),
        ({"category": "abuse"}, []),
        ({"experience": 1}, [WISHES, THREATS]),
        ({"experience": 999}, []),
        ({"experience": 2**31}, []),
        ({"student": 2**63}, []),
        ({"student": -1}, []),
        ({"state": "resolved"}, []),
        ({"state": "any"}, [WISHES, THREATS]),
        ({"state": "nonsense", "category": "nonsense", "page": -3}, [WISHES, THREATS]),
        ({"page": 99}, [WISHES, THREATS]),
    ],
    ids=str,
)
def test_flags_are_filtered(
    teacher: Visitor, flagged: int, query: dict[str, Any], expected: list[str]
) -> None:
    assert titles(page_of(teacher, **query)) == expected


def test_the_form_keeps_what_was_chosen(teacher: Visitor, flagged: int) -> None:
    page = page_of(teacher, state="any", category="violence", experience=1)
    chosen = {select["name"]: select.select_one("[selected]")["value"] for select in page.select("select")}
    assert chosen == {"state": "any", "category": "violence", "experience": "1"}


def test_a_teacher_resolves_a_flag_with_a_note_and_a_colleague_reads_it(
    app: Flask, teacher: Visitor, colleague: Visitor, student: Visitor, flagged: int
) -> None:
    flag_id = the_flag(app).id
    response = teacher.post(f"/flags/{flag_id}/resolve?category=self_harm", {"note": " Talked to <her>. "})
    assert (response.status_code, response.location) == (
        303,
        f"{teacher.root}/flags?state=open&category=self_harm",
    )
    assert titles(page_of(teacher)) == [THREATS]
    assert pills(teacher, "/experiences", "flags") == ["Flags 1 open"]
    resolved = page_of(colleague, state="resolved")
    assert titles(resolved) == [WISHES]
    decision = resolved.select_one("[data-testid=decision]")
    assert "Resolved by Miriam Okafor" in decision.text
    assert decision.select_one(".as-typed").text == "Talked to <her>."
    transcript = teacher.page(f"/conversations/{flagged}/transcript")
    assert "(resolved)" in transcript.select_one("[data-testid=message-flag]").text
    chat = student.page("/experiences/1/conversation")
    assert chat.select_one("[data-testid=help]")
    assert "Talked to" not in chat.text


def test_a_flag_is_opened_again_and_keeps_what_was_said(app: Flask, teacher: Visitor, flagged: int) -> None:
    flag_id = the_flag(app).id
    teacher.post(f"/flags/{flag_id}/resolve", {"note": "Talked to her."})
    for _ in range(2):
        assert teacher.post(f"/flags/{flag_id}/reopen?state=resolved").status_code == 303
    page = page_of(teacher)
    assert titles(page) == [WISHES, THREATS]
    decision = page.select_one("[data-testid=decision]").text
    assert "opened again since" in decision
    assert "Talked to her." in decision


def test_resolving_twice_alike_is_once(app: Flask, teacher: Visitor, flagged: int) -> None:
    flag_id = the_flag(app).id
    answers = [teacher.post(f"/flags/{flag_id}/resolve", {"note": "Done."}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]


def test_a_second_teacher_does_not_overwrite_the_first_and_keeps_their_words(
    app: Flask, teacher: Visitor, colleague: Visitor, flagged: int
) -> None:
    flag_id = the_flag(app).id
    teacher.post(f"/flags/{flag_id}/resolve", {"note": "Talked to her."})
    response = colleague.post(f"/flags/{flag_id}/resolve", {"note": "I called her parents."})
    assert response.status_code == 409
    assert "I called her parents." in response.text
    assert the_flag(app).note == "Talked to her."


def test_a_note_that_is_too_long_is_refused_and_given_back(
    app: Flask, teacher: Visitor, flagged: int
) -> None:
    response = teacher.post(f"/flags/{the_flag(app).id}/resolve", {"note": "x" * 2_001})
    assert response.status_code == 400
    assert "x" * 2_001 in response.text
    assert the_flag(app).is_open


def test_what_was_withheld_is_shown_to_teachers_alone(
    teacher: Visitor, student: Visitor, experience_id: int, fake_model: FakeModel
) -> None:
    fake_model.reply_with(UNSAFE)
    student.send(student.start(experience_id), "Hello")
    flag = page_of(teacher).select_one("[data-testid=flag]")
    assert "the student was not shown it" in flag.text
    assert flag.mark.text == "You should just kill yourself"
    assert "kill" not in student.page(f"/experiences/{experience_id}/conversation").text


@pytest.fixture
def flagged_twice(student: Visitor, experience_id: int, fake_model: FakeModel, app: Flask) -> int:
    """A conversation with a reply that was withheld, and written again, and disliked with words of danger."""
    fake_model.reply_with(UNSAFE)
    conversation_id = student.start(experience_id)
    student.send(conversation_id, "Hello")
    flagged_id = the_flag(app).message_id
    fake_model.reply_with("I am sorry.")
    student.retry(conversation_id, flagged_id)
    student.post(
        f"/conversations/{conversation_id}/messages/{flagged_id}/feedback",
        {"vote": "disliked", "feedback_message": WISH},
    )
    return conversation_id


def test_what_a_student_says_of_a_reply_hides_nothing_of_what_the_ai_wrote(
    teacher: Visitor, flagged_twice: int, experience_id: int
) -> None:
    shown = [(flag.figcaption.text.strip(), flag.mark.text) for flag in page_of(teacher).select(".flag")]
    assert shown == [
        ("The student wrote about a reply of the AI:", "I want to kill myself"),
        ("The AI wrote this; the student was not shown it:", "You should just kill yourself"),
    ]
    helped = ["has shown the student" in flag.text for flag in page_of(teacher).select(".flag")]
    assert helped == [True, False]
    assert pills(teacher, "/experiences", "flags") == ["Flags 2 open"]
    assert pills(teacher, f"/experiences/{experience_id}", "experience-flags") == ["2 open flags"]
    assert pills(teacher, f"/experiences/{experience_id}", "row-flags") == ["2 flags"]


def test_a_transcript_tells_the_flags_of_one_reply_apart(
    app: Flask, teacher: Visitor, flagged_twice: int
) -> None:
    teacher.post(f"/flags/{the_flag(app).id}/resolve", {"note": ""})
    assert pills(teacher, f"/conversations/{flagged_twice}/transcript", "message-flag") == [
        "Flag: Self-harm in what the student was not shown",
        "Flag: Self-harm (resolved) in what the student wrote about this reply",
    ]


def test_flags_find_their_source_when_the_tables_are_migrated(app: Flask, flagged: int) -> None:
    database, wish = app.extensions["database"], the_flag(app).message_id
    low, high = (Finding(Category.ABUSE, severity) for severity in (Severity.LOW, Severity.HIGH))
    with database.transaction() as db:
        raise_flags(db, wish, [low])
        raise_flags(db, wish, [high], reason="Why?")
        raise_flags(db, wish, [low], withheld="What?")
        raise_flags(db, wish - 2, [low], withheld="What?")
    command.downgrade(database.alembic_config(), "0012")
    database.upgrade()
    with database.snapshot() as db:
        kept = db.exec(select(Flag).where(Flag.category == Category.ABUSE).order_by(Flag.message_id)).all()
        others = db.exec(select(Flag.source).where(Flag.category != Category.ABUSE)).all()
    assert [(flag.source, flag.withheld, flag.reason) for flag in kept] == [
        (Source.WITHHELD, "What?", None),
        (Source.REASON, None, "Why?"),
    ]
    assert others == [Source.TEXT, Source.TEXT]


def test_long_messages_are_shown_around_what_was_found(
    teacher: Visitor, student: Visitor, experience_id: int
) -> None:
    student.send(student.start(experience_id), "The bill is wrong. " * 60 + WISH + " The bill is wrong." * 60)
    excerpt = page_of(teacher).select_one("blockquote").text
    assert excerpt.startswith("…")
    assert excerpt.endswith("…")
    assert "want to kill myself" in excerpt
    assert len(excerpt) < 700


def test_flags_outlive_a_deleted_experience(
    app: Flask, teacher: Visitor, flagged: int, experience_id: int
) -> None:
    teacher.post(f"/experiences/{experience_id}/delete")
    page = page_of(teacher)
    assert titles(page) == [WISHES, THREATS]
    assert "(deleted)" in page.select_one("[data-testid=flag]").text
    assert not page.select("[data-testid=flag] a")
    assert pills(teacher, "/experiences", "flags") == ["Flags 2 open"]
    assert teacher.post(f"/flags/{the_flag(app).id}/resolve", {"note": ""}).status_code == 303


@pytest.mark.parametrize("who", ["amara.diallo", "grace.diallo", "elena.petrova"])
def test_only_who_reads_transcripts_sees_flags(
    app: Flask, sandbox: Sandbox, teacher: Visitor, flagged: int, who: str
) -> None:
    visitor = Visitor.launch(app, sandbox, who)
    flag_id = the_flag(app).id
    assert visitor.get("/flags").status_code == 403
    assert visitor.post(f"/flags/{flag_id}/resolve", {"note": ""}).status_code == 403
    assert visitor.post(f"/flags/{flag_id}/reopen").status_code == 403
    assert not visitor.get("/experiences", follow_redirects=True).text.count("/flags")
    assert the_flag(app).is_open


def test_another_courses_flags_are_not_there(
    app: Flask, sandbox: Sandbox, teacher: Visitor, flagged: int
) -> None:
    other = Visitor.launch(app, sandbox, "jonas.lindqvist", HISTORY)
    assert titles(page_of(other, state="any")) == []
    assert titles(page_of(other, experience=1)) == []
    flag_id = the_flag(app).id
    assert other.post(f"/flags/{flag_id}/resolve", {"note": ""}).status_code == 404
    assert other.post(f"/flags/{flag_id}/reopen").status_code == 404
    assert other.get("/experiences/1").status_code == 404


def test_a_long_list_comes_in_pages_at_a_constant_cost(
    app: Flask,
    teacher: Visitor,
    flagged: int,
    count_queries: Callable[[Callable[[], object]], int],
) -> None:
    before = count_queries(lambda: teacher.get("/flags"))
    with app.extensions["database"].transaction() as db:
        messages = [
            {
                "conversation_id": flagged,
                "speaker": "student",
                "text": f"Number {number}",
                "client_key": f"k{number}",
            }
            for number in range(PER_PAGE)
        ]
        rows = db.scalars(insert(Message).returning(Message.id), messages).all()
        flags = [
            {"conversation_id": flagged, "category": "abuse", "severity": "low"} | {"message_id": row}
            for row in rows
        ]
        db.execute(insert(Flag), flags)
    assert count_queries(lambda: teacher.get("/flags")) == before
    first, second = page_of(teacher, state="any"), page_of(teacher, state="any", page=2)
    assert [len(titles(page)) for page in (first, second)] == [PER_PAGE, 2]
    assert first.select_one("a[rel=next]")["href"].endswith("state=any")
    assert second.select_one("a[rel=prev]")
    assert set(titles(first)).union(titles(second)) == {WISHES, THREATS, "Worth a look Abuse: Amara Diallo"}


def test_one_message_has_a_flag_for_each_category(
    teacher: Visitor, student: Visitor, experience_id: int, fake_model: FakeModel
) -> None:
    student.send(student.start(experience_id), f"{INSULT} {THREAT}")
    assert sorted(titles(page_of(teacher))) == [
        "Worth a look Abuse: Amara Diallo",
        "Worth a look Violence: Amara Diallo",
    ]
