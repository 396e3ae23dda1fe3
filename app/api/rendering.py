"""Conversations as JSON, for their student and for teachers alike (see `app.api.shapes`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.api.shapes import Role
from app.conversations.feedback import MessageFeedback
from app.conversations.models import Message
from app.conversations.progress import ObjectiveProgress, Progress
from app.conversations.safety.safety import current_safety
from app.courses.models import User
from app.courses.names import person_name
from app.llm.interface import Speaker
from app.review.class_pages import ListedStudent

_ROLES = {Speaker.STUDENT: Role.USER, Speaker.PERSONA: Role.ASSISTANT}
Json = dict[str, Any]


def messages_json(messages: Sequence[Message], feedback: Mapping[int, MessageFeedback]) -> list[Json]:
    """Render messages, each with what was thought of it."""
    return [message_json(message, feedback.get(message.id)) for message in messages]


def message_json(message: Message, feedback: MessageFeedback | None = None) -> Json:
    """Render one message."""
    return {
        "id": message.id,
        "role": _ROLES[message.speaker],
        "text": message.text,
        "state": message.shown_state,
        "created_at": message.created_at,
        "feedback": feedback_json(feedback) if feedback else None,
        "notice": notice_text(message),
    }


def notice_text(written: Message | MessageFeedback) -> str | None:
    """Return what the tool itself says to the student about what they wrote."""
    return current_safety().help_message().as_text() if written.notice else None


def feedback_json(feedback: MessageFeedback) -> Json:
    """Render what somebody thinks of a reply."""
    return {
        "id": feedback.id,
        "vote": feedback.vote,
        "feedback_message": feedback.feedback_message,
        "created_at": feedback.created_at,
        "updated_at": feedback.updated_at,
        "notice": notice_text(feedback),
    }


def progress_json(progress: Progress) -> Json:
    """Render how it stands with the objectives."""
    return {
        "current": progress.current,
        "total": progress.total,
        "percentage": progress.percentage,
        "objectives": [_objective_json(objective) for objective in progress.objectives],
    }


def student_json(user: User | ListedStudent) -> Json:
    """Render a student. Canvas's id is a number wherever Canvas gave it."""
    return {
        "id": user.id,
        "name": person_name(user),
        "avatar_url": user.avatar_url,
        "canvas_user_id": canvas_number(user.canvas_user_id),
    }


def canvas_number(canvas_id: str | None) -> int | None:
    """Return an id as Canvas's API has it; None where it is no number that a client could read."""
    number = int(canvas_id) if canvas_id and canvas_id.isascii() and canvas_id.isdecimal() else None
    return number if number is not None and number < 2**63 else None


def _objective_json(progress: ObjectiveProgress) -> Json:
    return {
        "objective": progress.objective,
        "status": "covered" if progress.covered else "",
        "message_id": progress.message_id,
        "quote": progress.quote,
    }
