"""Experiences worth trying, with a few conversations, for the sandbox's courses and for trials of size."""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field
from sqlmodel import Session, select

from app.conversations.models import Conversation, ConversationState, Message
from app.conversations.progress import Credit, record_judgement
from app.conversations.prompt import JUDGE_VERSION, PROMPT_VERSION, pin
from app.courses.models import Course, Enrollment, Role
from app.courses.service import Visit, record_visit
from app.database import utc_now
from app.experiences.models import Experience, WorkflowState
from app.llm.interface import Speaker
from app.llm.scripted import SCRIPTED_NAME, find_shown
from app.lti.registration.platforms import first_deployment
from app.lti.roles import course_role
from app.sandbox import people
from app.sandbox.roles import COURSE_ROLES

SEEDS = Path(__file__).parent / "seeds"
SECONDS_A_LINE = 40


class SeedConversation(BaseModel):
    """A conversation that somebody has held; ``lines`` follow the opening line."""

    login: str
    state: ConversationState
    days_ago: int
    lines: list[tuple[Literal["student", "persona"], str]]


class Seed(BaseModel):
    """One file of `seeds/`."""

    canvas_course_id: int
    experience: dict[str, Any]
    conversations: list[SeedConversation] = Field(default_factory=list)


def read_seeds() -> list[Seed]:
    """Return the seeds that come with the tool."""
    return [Seed.model_validate(json.loads(path.read_text())) for path in sorted(SEEDS.glob("*.json"))]


def seed_sandbox(session: Session, platform_id: int) -> None:
    """Put people, experiences and conversations into the sandbox's courses; what is there already stays as it is."""
    for seed in read_seeds():
        enrolled = _enroll_sandbox(session, platform_id, seed.canvas_course_id)
        course_id = next(iter(enrolled.values())).course_id
        if not _exists(session, course_id, seed.experience["title"]):
            _write(session, course_id, seed, enrolled)


def seed_course(session: Session, platform_id: int, canvas_course_id: str, students: int) -> None:
    """Put the seed experiences into one course, with made-up students of whom two in three have held each.

    Students who are there already are not made twice, nor is an experience whose title the course has.
    """
    deployment = first_deployment(session, platform_id)
    context = _context_of(session, platform_id, canvas_course_id)
    enrolled = {
        f"seed-{number}": record_visit(
            session,
            platform_id,
            deployment.courses_of,
            Visit(
                sub=f"seed-{number}",
                name=f"Student {number:05}",
                context_id=context,
                canvas_course_id=canvas_course_id,
                role=Role.STUDENT,
            ),
        )
        for number in range(1, students + 1)
    }
    course_id = next(iter(enrolled.values())).course_id
    for seed in read_seeds():
        if not _exists(session, course_id, seed.experience["title"]):
            _write(session, course_id, _held_by(seed, list(enrolled)), enrolled)


def _held_by(seed: Seed, logins: list[str]) -> Seed:
    states = (ConversationState.COMPLETED, ConversationState.ACTIVE)
    lines = seed.conversations[0].lines
    held = [
        SeedConversation(login=login, state=states[index % 2], days_ago=index % 14, lines=lines)
        for index, login in enumerate(logins)
        if index % 3
    ]
    return seed.model_copy(update={"conversations": held})


def _enroll_sandbox(session: Session, platform_id: int, canvas_course_id: int) -> dict[str, Enrollment]:
    course = next(course for course in people.COURSES if course.canvas_id == canvas_course_id)
    by_login = {person.login: person for person in people.PEOPLE}
    home = first_deployment(session, platform_id).courses_of
    return {
        row.login: record_visit(session, platform_id, home, _visit(course, by_login[row.login], row.role))
        for row in people.ENROLLMENTS
        if row.course_id == canvas_course_id and row.state is people.EnrollmentState.ACTIVE
    }


def _visit(course: people.Course, person: people.Person, role: people.CanvasRole) -> Visit:
    mapped = course_role(COURSE_ROLES[role])
    if mapped is None:
        raise ValueError(f"{role} is no role of the tool")
    return Visit(
        sub=person.sub,
        name=person.name,
        canvas_user_id=str(person.canvas_id),
        role=mapped.role,
        is_teaching_assistant=mapped.is_teaching_assistant,
        is_test=mapped.is_test,
        context_id=course.context_id,
        canvas_course_id=str(course.canvas_id),
        course_title=course.title,
        course_label=course.code,
    )


def _context_of(session: Session, platform_id: int, canvas_course_id: str) -> str:
    known = session.exec(
        select(Course.context_id).where(
            Course.platform_id == platform_id, Course.canvas_course_id == canvas_course_id
        )
    ).first()
    return known or f"seed-course-{canvas_course_id}"


def _exists(session: Session, course_id: int, title: str) -> bool:
    query = select(Experience.id).where(Experience.course_id == course_id, Experience.title == title)
    return session.exec(query).first() is not None


def _write(session: Session, course_id: int, seed: Seed, enrolled: dict[str, Enrollment]) -> None:
    experience = Experience(
        **seed.experience,
        course_id=course_id,
        workflow_state=WorkflowState.PUBLISHED,
        started_at=utc_now() if seed.conversations else None,
    )
    session.add(experience)
    session.flush()
    for held in seed.conversations:
        _write_conversation(session, experience, held, enrolled[held.login].user_id)


def _write_conversation(
    session: Session, experience: Experience, held: SeedConversation, user_id: int
) -> None:
    begun = utc_now() - timedelta(days=held.days_ago, minutes=17)
    lines = [("persona", experience.opening_line), *held.lines]
    ended = begun + timedelta(seconds=SECONDS_A_LINE * len(lines))
    conversation = Conversation(
        experience_id=experience.id,
        user_id=user_id,
        workflow_state=held.state,
        scenario=pin(experience),
        prompt_version=PROMPT_VERSION,
        created_at=begun,
        updated_at=ended,
        ended_at=ended if held.state is ConversationState.COMPLETED else None,
    )
    session.add(conversation)
    session.flush()
    messages = [
        Message(
            conversation_id=conversation.id,
            speaker=Speaker(speaker),
            text=text,
            created_at=begun + timedelta(seconds=SECONDS_A_LINE * index),
        )
        for index, (speaker, text) in enumerate(lines)
    ]
    session.add_all(messages)
    session.flush()
    _mark(session, conversation, messages)


def _mark(session: Session, conversation: Conversation, messages: Sequence[Message]) -> None:
    """Mark what a conversation shows, as the scripted demo would have."""
    student = [message for message in messages if message.speaker is Speaker.STUDENT]
    shown = find_shown(conversation.scenario["script"], [message.text for message in student])
    record_judgement(
        session,
        conversation.id,
        [Credit(each.objective, student[each.message].id, each.quote) for each in shown],
        until=messages[-1].id,
        model=SCRIPTED_NAME,
        prompt_version=JUDGE_VERSION,
    )
