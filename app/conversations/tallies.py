"""How many students of a class there are, and how many of them stand where with an experience.

Counting takes the longer the larger the class. So a count of a thousand or more is remembered for two seconds, in each
process: no longer than that may it be out of date. Smaller ones are counted whenever somebody asks.
"""

import time
from collections.abc import Collection, Hashable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Pool, and_, bindparam, func, not_, or_
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.conversations.models import Conversation, ConversationState
from app.courses.models import IN_CLASS, Enrollment

LARGE = 1_000
REMEMBERED_SECONDS = 2.0

_memories: "WeakKeyDictionary[Pool, dict[Hashable, tuple[float, Any]]]" = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Tally:
    """How many students have begun an experience, and where they stand by their latest conversation, trials apart.

    The rule is that of `app.conversations.service.status_of`; who ended without having met every objective has only
    begun.
    """

    begun: int = 0
    in_progress: int = 0
    completed: int = 0


def class_size(session: Session, course_id: int) -> int:
    """Count the students of a course."""
    memory, key = _memory_of(session), ("class", course_id)
    if (known := _recall(memory, key)) is not None:
        return int(known)
    size: int = session.execute(_CLASS_SIZE, {"course_id": course_id}).scalar_one()
    _remember(memory, key, size, size)
    return size


def tallies(session: Session, course_id: int, experience_ids: Collection[int]) -> dict[int, Tally]:
    """Count for each experience of a course where its students stand. One query, none for what is remembered."""
    memory = _memory_of(session)
    known = {each: tally for each in experience_ids if (tally := _recall(memory, ("tally", each)))}
    wanted = [each for each in experience_ids if each not in known]
    if wanted:
        rows = session.execute(_TALLIES, {"course_id": course_id, "experience_ids": wanted})
        counted = {experience_id: Tally(*counts) for experience_id, *counts in rows}
        for each, tally in counted.items():
            _remember(memory, ("tally", each), tally, tally.begun)
        known |= counted
    return {each: known.get(each, Tally()) for each in experience_ids}


def _memory_of(session: Session) -> dict[Hashable, tuple[float, Any]]:
    return _memories.setdefault(session.get_bind().engine.pool, {})


def _recall(memory: dict[Hashable, tuple[float, Any]], key: Hashable) -> Any:  # noqa: ANN401 - what was remembered
    until, value = memory.get(key, (0.0, None))
    return value if time.monotonic() < until else None


def _remember(memory: dict[Hashable, tuple[float, Any]], key: Hashable, value: object, size: int) -> None:
    now = time.monotonic()
    for old in [each for each, (until, _value) in list(memory.items()) if until < now]:
        memory.pop(old, None)
    if size >= LARGE:
        memory[key] = now + REMEMBERED_SECONDS, value


_completed = or_(
    col(Conversation.workflow_state) == ConversationState.COMPLETED, col(Conversation.all_objectives_met)
)
_in_progress = and_(col(Conversation.workflow_state) == ConversationState.ACTIVE, not_(_completed))
_held = (
    select_columns(
        col(Conversation.experience_id),
        col(Conversation.user_id),
        _in_progress.label("in_progress"),
        _completed.label("completed"),
        func.row_number()
        .over(
            partition_by=(col(Conversation.experience_id), col(Conversation.user_id)),
            order_by=col(Conversation.id).desc(),
        )
        .label("newest"),
    )
    .where(
        col(Conversation.experience_id).in_(bindparam("experience_ids", expanding=True)),
        col(Conversation.is_preview).is_(False),
    )
    .subquery()
)
_TALLIES = (
    select_columns(
        _held.c.experience_id,
        func.count(),
        func.count().filter(_held.c.in_progress),
        func.count().filter(_held.c.completed),
    )
    .join(Enrollment, col(Enrollment.user_id) == _held.c.user_id)
    .where(_held.c.newest == 1, col(Enrollment.course_id) == bindparam("course_id"), IN_CLASS)
    .group_by(_held.c.experience_id)
)
_CLASS_SIZE = (
    select_columns(func.count())
    .select_from(Enrollment)
    .where(col(Enrollment.course_id) == bindparam("course_id"), IN_CLASS)
)
