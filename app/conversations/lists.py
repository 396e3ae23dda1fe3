"""Pages of the list of a course's experiences, each with where its reader or their class stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Row, bindparam, func
from sqlmodel import Session, col

from app.conversations.standing import Status, own_statuses
from app.conversations.tallies import Tally, tallies
from app.experiences.models import Experience, WorkflowState
from app.experiences.service import VISIBLE, visible_to
from app.identity import Identity, Right

_Entry = TypeVar("_Entry")


@dataclass(frozen=True, slots=True)
class Page(Generic[_Entry]):
    """A part of a list, and how many entries there are in all."""

    entries: list[_Entry]
    total: int


class ListedExperience(NamedTuple):
    """An experience in a list; its fields are those of `Experience`.

    ``completed_count`` (how many students of the class have completed it) is for those who write, ``submission_status``
    (one's own) for everyone else.
    """

    id: int
    title: str
    description: str
    facts: str
    learning_objectives: list[str]
    pedagogical_guidance: str
    persona_name: str
    opening_line: str
    evaluation_metrics: list[dict[str, Any]]
    max_turns: int | None
    workflow_state: WorkflowState
    created_at: datetime
    updated_at: datetime
    completed_count: int | None = None
    submission_status: Status | None = None

    @property
    def learning_objective(self) -> str:
        """The learning objectives as Canvas has them: one text, a line each."""
        return "\n".join(self.learning_objectives)


def list_page(
    session: Session, identity: Identity, *, workflow_state: str | None = None, limit: int, offset: int
) -> Page[ListedExperience]:
    """List a part of the experiences that somebody finds (`visible_to`), newest first. Two queries at most.

    Raises `InvalidInputError` for a `workflow_state` that there is not.
    """
    visible = visible_to(identity, workflow_state)
    rows = session.execute(_PAGE, visible | {"limit": limit, "offset": offset}).all()
    if not rows:
        return Page([], session.execute(_TOTAL, visible).scalar_one() if offset else 0)
    standings = _standings(session, identity, rows)
    entries = [
        ListedExperience._make((*row[2:], *standing)) for row, standing in zip(rows, standings, strict=True)
    ]
    return Page(entries, rows[0].total)


def _standings(
    session: Session, identity: Identity, rows: Sequence[Row[Any]]
) -> list[tuple[int | None, Status | None]]:
    if identity.may(Right.WRITE_EXPERIENCES):
        counted = tallies(session, identity.course.id, [row.id for row in rows if row.started_at])
        return [(counted.get(row.id, Tally()).completed, None) for row in rows]
    statuses = own_statuses(session, identity, [row.id for row in rows])
    return [(None, statuses[row.id]) for row in rows]


_TOTAL = VISIBLE.with_only_columns(func.count()).order_by(None)
_COLUMNS = [name for name in ListedExperience._fields if name in Experience.model_fields]
_PAGE = (
    VISIBLE.with_only_columns(
        _TOTAL.scalar_subquery().label("total"),
        col(Experience.started_at),
        *(col(getattr(Experience, name)) for name in _COLUMNS),
    )
    .limit(bindparam("limit"))
    .offset(bindparam("offset"))
)
