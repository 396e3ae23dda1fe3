"""Evaluations of conversations: how well a student did, with moments that prove it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, select

from app.conversations.models import Conversation, EvaluationRecord, Message, MessageState


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation that was made. ``stale`` says that the conversation has moved on since.

    ``result`` has the shape of the REST API: overall_assessment, overall_score, strengths, areas_for_improvement,
    key_moments, learning_objectives_evaluation and evaluation_metrics. Scores are 0 to 100.
    """

    id: int
    result: dict[str, Any]
    model: str
    prompt_version: str
    created_at: datetime
    stale: bool


def evaluation_of(session: Session, conversation: Conversation) -> Evaluation | None:
    """Return the latest evaluation of a conversation; None where none was made. One query."""
    newest = (
        select(func.max(Message.id))
        .where(Message.conversation_id == conversation.id, Message.state == MessageState.COMPLETE)
        .scalar_subquery()
    )
    found = session.exec(
        select(EvaluationRecord, newest).where(EvaluationRecord.conversation_id == conversation.id)
    ).first()
    return _as_evaluation(*found) if found else None


def _as_evaluation(record: EvaluationRecord, newest: int | None) -> Evaluation | None:
    if record.result is None or record.created_at is None:
        return None
    return Evaluation(
        id=record.id,
        result=record.result,
        model=record.model or "",
        prompt_version=record.prompt_version or "",
        created_at=record.created_at,
        stale=(newest or 0) > (record.until_message_id or 0),
    )
