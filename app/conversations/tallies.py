"""How many students of a class there are, and how many of them stand where with an experience.

Counting takes the longer the more there is to count. So what took in a thousand students or more is remembered for two
seconds, in each process: no longer than that may it be out of date. All else is counted whenever somebody asks.
"""

import time
from collections.abc import Collection, Hashable, Mapping
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

_Memory = dict[Hashable, tuple[float, Any]]
_memories: WeakKeyDictionary[Pool, _Memory] = WeakKeyDictionary()  # of each database


@dataclass(frozen=True, slots=True)
class Tally:
    """How many students have begun an experience, and where they stand by their latest conversation, trials apart.

    Other than for `app.conversations.standing`, one that was left counts as the latest too, as in the list of the REST
    API: whose latest has ended without every objective met has only begun.
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
    _remember(memory, {key: size}, size)
    return size


def tallies(session: Session, course_id: int, experience_ids: Collection[int]) -> dict[int, Tally]:
    """Count for each experience of a course where its students stand. One query, none for what is remembered."""
    memory = _memory_of(session)
    remembered = {each: _recall(memory, ("tally", each)) for each in experience_ids}
    wanted = [each for each, tally in remembered.items() if tally is None]
    if not wanted:
        return remembered
    counted = _count(session, course_id, wanted)
    students = sum(tally.begun for tally in counted.values())
    _remember(memory, {("tally", each): tally for each, tally in counted.items()}, students)
    return remembered | counted


def _count(session: Session, course_id: int, experience_ids: list[int]) -> dict[int, Tally]:
    rows = session.execute(_TALLIES, {"course_id": course_id, "experience_ids": experience_ids})
    return dict.fromkeys(experience_ids, Tally()) | {each: Tally(*counts) for each, *counts in rows}


def _memory_of(session: Session) -> _Memory:
    return _memories.setdefault(session.get_bind().engine.pool, {})


def _recall(memory: _Memory, key: Hashable) -> Any:  # noqa: ANN401 - what was remembered
    until, value = memory.get(key, (0.0, None))
    return value if time.monotonic() < until else None


def _remember(memory: _Memory, values: Mapping[Hashable, object], students: int) -> None:
    now = time.monotonic()
    for key in [key for key, (until, _value) in list(memory.items()) if until <= now]:
        memory.pop(key, None)
    if students >= LARGE:
        memory.update((key, (now + REMEMBERED_SECONDS, value)) for key, value in values.items())


_completed = or_(
    col(Conversation.workflow_state) == ConversationState.COMPLETED, col(Conversation.all_objectives_met)
)
_in_progress = and_(col(Conversation.workflow_state) == ConversationState.ACTIVE, not_(_completed))
_id = col(Conversation.id)
# Of each person the newest conversation of all, and the newest in each standing.
_held = (
    select_columns(
        col(Conversation.experience_id),
        col(Conversation.user_id),
        func.max(_id).label("newest"),
        func.max(_id).filter(_in_progress).label("in_progress"),
        func.max(_id).filter(_completed).label("completed"),
    )
    .where(
        col(Conversation.experience_id).in_(bindparam("experience_ids", expanding=True)),
        col(Conversation.is_preview).is_(False),
    )
    .group_by(col(Conversation.experience_id), col(Conversation.user_id))
    .subquery()
)
_TALLIES = (
    select_columns(
        _held.c.experience_id,
        func.count(),
        func.count().filter(_held.c.in_progress == _held.c.newest),
        func.count().filter(_held.c.completed == _held.c.newest),
    )
    .join(Enrollment, col(Enrollment.user_id) == _held.c.user_id)
    .where(col(Enrollment.course_id) == bindparam("course_id"), IN_CLASS)
    .group_by(_held.c.experience_id)
)
_CLASS_SIZE = (
    select_columns(func.count())
    .select_from(Enrollment)
    .where(col(Enrollment.course_id) == bindparam("course_id"), IN_CLASS)
)
