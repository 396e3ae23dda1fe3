"""Flags at the teacher's desk: what is open in a course, and what was decided on it.

Flags outlive the experience that they were raised in: somebody may need help whatever was deleted since.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, func, update
from sqlalchemy import select as select_columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from app.conversations.models import Conversation, Message
from app.conversations.safety.findings import Category, Severity
from app.conversations.safety.models import Flag, FlagState, Source
from app.courses.models import User
from app.database import utc_now
from app.errors import ConflictError, FieldError, InvalidInputError, NotFoundError
from app.experiences.models import Experience, WorkflowState
from app.identity import Identity, Right
from app.text import clean_text

MAX_NOTE = 2_000
PER_PAGE = 50
# Characters shown before and after what was found.
CONTEXT = 300


class FlagDecidedError(ConflictError):
    """Deciding on a flag on which somebody has decided meanwhile."""

    code = "flag_decided"
    message = _l("Somebody has decided on this flag meanwhile. Look at the flags again; your note is below.")


@dataclass(frozen=True, slots=True)
class FlagFilter:
    """Which flags are wanted; None for any."""

    state: FlagState | None = FlagState.OPEN
    category: Category | None = None
    experience_id: int | None = None
    student_id: int | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return it as conditions of a query."""
        wanted = {
            col(Flag.workflow_state): self.state,
            col(Flag.category): self.category,
            col(Conversation.experience_id): self.experience_id,
            col(Conversation.user_id): self.student_id,
        }
        return [column == value for column, value in wanted.items() if value is not None]


@dataclass(frozen=True, slots=True)
class FlaggedMessage:
    """A flag with what it is about. ``decided_by`` is the teacher who resolved it last."""

    flag: Flag
    message: Message
    experience: Experience
    student: User
    decided_by: User | None

    @property
    def has_transcript(self) -> bool:
        """False where the experience was deleted, and its transcripts with it."""
        return self.experience.workflow_state is not WorkflowState.DELETED

    @property
    def excerpt(self) -> tuple[str, str, str]:
        """What was found, with some of what stands before and after it."""
        text = {
            Source.TEXT: self.message.text,
            Source.REPLACED: self.message.replaced,
            Source.WITHHELD: self.flag.withheld or "",
            Source.REASON: self.flag.reason or "",
        }[self.flag.source]
        start, end = self.flag.excerpt_start, self.flag.excerpt_end
        before, after = text[max(0, start - CONTEXT) : start], text[end : end + CONTEXT]
        cut_before, cut_after = "…" * (start > CONTEXT), "…" * (len(text) > end + CONTEXT)
        return cut_before + before, text[start:end], after + cut_after


@dataclass(frozen=True, slots=True)
class FlagsPage:
    """A page of flags, of so many ``pages``; and the experiences in which there are any, to choose from.

    ``open`` counts what is open of what is wanted, also where the page shows what was resolved; ``urgent`` counts those
    of high severity among them.
    """

    entries: Sequence[FlaggedMessage]
    page: int
    pages: int
    open: int
    urgent: int
    experiences: Sequence[Experience]


def flags_page(session: Session, identity: Identity, wanted: FlagFilter, page: int = 1) -> FlagsPage:
    """List the course's flags, the gravest and then the newest first. Three queries."""
    identity.require(Right.READ_TRANSCRIPTS)
    conditions = [Experience.course_id == identity.course.id, *wanted.conditions()]
    counts = _counts(session, identity, replace(wanted, state=None))
    is_open = {severity: counts.get((FlagState.OPEN, severity), 0) for severity in Severity}
    total = sum(count for (state, _), count in counts.items() if wanted.state in {None, state})
    pages = max(1, -(-total // PER_PAGE))
    page = min(max(1, page), pages)
    resolver = aliased(User)
    found = session.execute(
        _joined(Flag, Message, Experience, User, resolver)
        .join(Message, col(Message.id) == Flag.message_id)
        .join(User, col(User.id) == Conversation.user_id)
        .outerjoin(resolver, col(resolver.id) == Flag.resolved_by_id)
        .where(*conditions)
        .order_by(col(Flag.severity), col(Flag.id).desc())  # high stands before low in the alphabet too
        .limit(PER_PAGE)
        .offset((page - 1) * PER_PAGE)
    )
    return FlagsPage(
        entries=[FlaggedMessage(*row) for row in found],
        page=page,
        pages=pages,
        open=sum(is_open.values()),
        urgent=is_open[Severity.HIGH],
        experiences=_experiences(session, identity),
    )


def open_flags(session: Session, identity: Identity) -> int:
    """Count what is open in the course."""
    identity.require(Right.READ_TRANSCRIPTS)
    counted = _joined(func.count()).where(
        Experience.course_id == identity.course.id, col(Flag.workflow_state) == FlagState.OPEN
    )
    return int(session.execute(counted).scalar_one())


def open_flags_by_student(session: Session, experience: Experience) -> Mapping[int, int]:
    """Count what is open in an experience, by the student's id."""
    counted = (
        _joined(col(Conversation.user_id), func.count())
        .where(Experience.id == experience.id, col(Flag.workflow_state) == FlagState.OPEN)
        .group_by(col(Conversation.user_id))
    )
    return dict(session.execute(counted).all())


def flags_of(session: Session, conversations: Iterable[Conversation]) -> Mapping[int, Sequence[Flag]]:
    """Return the flags in conversations by the message's id. One query."""
    ids = [conversation.id for conversation in conversations]
    flags: dict[int, list[Flag]] = defaultdict(list)
    if ids:
        for flag in session.exec(
            select(Flag).where(col(Flag.conversation_id).in_(ids)).order_by(col(Flag.id))
        ):
            flags[flag.message_id].append(flag)
    return flags


def resolve_flag(session: Session, identity: Identity, flag_id: int, note: str) -> None:
    """Note that a teacher has dealt with a flag, and what they say of it.

    Raises `NotFoundError`, `InvalidInputError` for a note over 2,000 characters, and `FlagDecidedError` where somebody
    else was first; the same decision twice is one.
    """
    note = clean_text(note)
    if len(note) > MAX_NOTE:
        too_long = f"is too long (maximum is {MAX_NOTE} characters)"
        raise InvalidInputError({"note": [FieldError("too_long", too_long, MAX_NOTE)]})
    decision = {"resolved_by_id": identity.user.id, "note": note}
    values = decision | {"workflow_state": FlagState.RESOLVED, "resolved_at": utc_now()}
    if not _change(session, identity, flag_id, FlagState.OPEN, values):
        _require_same(session, identity, flag_id, {"workflow_state": FlagState.RESOLVED} | decision)


def reopen_flag(session: Session, identity: Identity, flag_id: int) -> None:
    """Open a flag again; what was said of it is kept. Raises `NotFoundError`."""
    if not _change(session, identity, flag_id, FlagState.RESOLVED, {"workflow_state": FlagState.OPEN}):
        _require_same(session, identity, flag_id, {"workflow_state": FlagState.OPEN})


def _joined(*columns: Any) -> Any:  # noqa: ANN401 - a select of whatever is asked for
    """Select from flags with their conversation and experience."""
    return (
        select_columns(*columns)
        .select_from(Flag)
        .join(Conversation, col(Conversation.id) == Flag.conversation_id)
        .join(Experience, col(Experience.id) == Conversation.experience_id)
    )


def _counts(
    session: Session, identity: Identity, wanted: FlagFilter
) -> Mapping[tuple[FlagState, Severity], int]:
    kind = (col(Flag.workflow_state), col(Flag.severity))
    counted = _joined(*kind, func.count()).where(
        Experience.course_id == identity.course.id, *wanted.conditions()
    )
    return {(state, severity): count for state, severity, count in session.execute(counted.group_by(*kind))}


def _experiences(session: Session, identity: Identity) -> Sequence[Experience]:
    flagged = _joined(col(Conversation.experience_id))
    return session.exec(
        select(Experience)
        .where(Experience.course_id == identity.course.id, col(Experience.id).in_(flagged))
        .order_by(func.lower(Experience.title), col(Experience.id))
    ).all()


def _change(
    session: Session, identity: Identity, flag_id: int, state: FlagState, values: dict[str, Any]
) -> bool:
    """Change a flag of the course that is in a state; False where there is none."""
    identity.require(Right.READ_TRANSCRIPTS)
    in_course = _joined(col(Flag.id)).where(Experience.course_id == identity.course.id)
    changed = session.scalars(
        update(Flag)
        .where(col(Flag.id) == flag_id, col(Flag.workflow_state) == state, col(Flag.id).in_(in_course))
        .values(**values)
        .returning(col(Flag.id)),
        execution_options={"synchronize_session": False},
    )
    return changed.one_or_none() is not None


def _require_same(session: Session, identity: Identity, flag_id: int, expected: dict[str, Any]) -> None:
    """Be content with a flag that is as it should become already."""
    found = session.scalars(
        _joined(Flag).where(Flag.id == flag_id, Experience.course_id == identity.course.id)
    ).one_or_none()
    if found is None:
        raise NotFoundError(log=f"flag {flag_id}")
    if any(getattr(found, name) != value for name, value in expected.items()):
        raise FlagDecidedError(log=f"flag {flag_id}")
