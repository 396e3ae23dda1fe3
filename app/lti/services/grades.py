"""What the platform's gradebook is owed (LTI Assignment and Grade Services 2.0): columns, work handed in, grades.

A score waits in its table until `app.lti.services.scores` has sent it. Scores of one person arrive in the order of
their timestamps; one that is overtaken before anything of it can have arrived is not sent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, delete, exists, func, or_, update
from sqlmodel import Session, col, select

from app.conversations.models import Conversation, ConversationState
from app.courses.models import User
from app.database import upsert, utc_now
from app.errors import ConflictError, NotFoundError
from app.experiences.models import Experience
from app.identity import Identity, Right
from app.lti.models import CourseServices, Launch, LineItem, Score, ScoreState
from app.lti.tool import LINE_ITEM_SCOPE, SCORE_SCOPE
from app.text import N_

LINE_ITEM_TAG = "ai-experiences"
DEFAULT_MAXIMUM = 100.0
COLUMN_GONE = N_("The column is no longer in the gradebook. “Try again” finds it or makes a new one.")
# Moodle compares timestamps by the second, and a repeat is a little older than what it repeats (`REPEAT_STEP`).
TIMESTAMP_STEP = timedelta(seconds=2)


class ActivityProgress(StrEnum):
    """How far the student is (AGS 2.0, section 3.4.7). What is submitted may be submitted again."""

    SUBMITTED = "Submitted"
    COMPLETED = "Completed"


class GradingProgress(StrEnum):
    """How far the grading is (AGS 2.0, section 3.4.8). Points that come with ``PendingManual`` may still change."""

    PENDING_MANUAL = "PendingManual"
    FULLY_GRADED = "FullyGraded"


class Missing(StrEnum):
    """What a course lacks for grades to be sent."""

    SERVICE = "service"
    SCORE_SCOPE = "score scope"
    COLUMN = "column"
    OPENING = "opening"  # several columns, none of which the student has opened


class GradesNotOfferedError(ConflictError):
    """Grading where the platform offers no gradebook to the tool."""

    code = "grades_not_offered"
    title = _l("Nothing was sent")
    message = _l("This course does not let the tool send grades. Reload the page to see what is missing.")


class GradedMeanwhileError(ConflictError):
    """Grading over a grade that the teacher has not seen."""

    code = "graded_meanwhile"


class NothingFailedError(ConflictError):
    """Sending again what is on its way or has arrived."""

    code = "nothing_failed"
    message = _l("Nothing has failed, or it is on its way again already. Reload the page.")


@dataclass(frozen=True, slots=True)
class Work:
    """A student's work on an experience; the conversation is what a teacher reads of it, None before it has begun."""

    experience_id: int
    user_id: int
    conversation_id: int | None


@dataclass(frozen=True, slots=True)
class Grade:
    """Points of a maximum, which the platform scales to its column's, and a comment that the student sees."""

    points: float
    maximum: float
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """The latest that one column was, or is to be, told of a student. ``column`` is None until it has been made."""

    column: LineItem | None
    score: Score

    @property
    def is_grade(self) -> bool:
        """True for a grade, False for work handed in."""
        return is_grade(self.score)

    @property
    def reasons(self) -> list[str]:
        """Why it has not arrived (yet), sentence by sentence; the last may be in the platform's words."""
        return [gettext(line) for line in (self.score.error or "").splitlines()]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a student's work stands with the gradebook.

    ``missing`` is None where grades can be sent. ``columns`` are those that the next grade goes to; there is none yet
    where one is made for it, or by a score on its way: ``coming`` is what that one will be out of. ``grade`` is the
    latest given for this work, ``other_grade`` for another attempt if that was later. ``seen`` names the latest score,
    so that a page knows how much its reader has seen.
    """

    missing: Missing | None
    columns: Sequence[LineItem]
    coming: float | None
    entries: list[Entry]
    grade: Score | None
    other_grade: Score | None
    seen: int

    @property
    def maximum(self) -> float | None:
        """What a grade is out of in the (first) column; None where none is there or coming, or it is not known."""
        return self.columns[0].score_maximum if self.columns else self.coming

    @property
    def failed(self) -> bool:
        """True where something did not arrive and will not be sent again by itself."""
        return any(entry.score.state is ScoreState.FAILED for entry in self.entries)

    @property
    def waiting(self) -> bool:
        """True where something is on its way."""
        return any(entry.score.state is ScoreState.WAITING for entry in self.entries)


@dataclass(frozen=True, slots=True)
class Counting:
    """What a student is told of the gradebook.

    ``columns`` are those that the work counts in: none where there are several and the student has opened none.
    ``handed_in_at`` is when the student finished what the gradebook has taken; ``waiting`` says that it is on its way,
    ``refused`` that it was sent in vain.
    """

    columns: Sequence[LineItem]
    handed_in_at: datetime | None
    waiting: bool
    refused: bool

    @property
    def maximum(self) -> float | None:
        """What the work is out of; None where that is not known, or differs."""
        maxima = {column.score_maximum for column in self.columns}
        return maxima.pop() if len(maxima) == 1 else None


def resource_id_of(experience_id: int) -> str:
    """Return what a line item of an experience carries as ``resourceId``, so that it is found again (AGS 3.1.3)."""
    return f"experience-{experience_id}"


def record_line_item(
    session: Session,
    course_id: int,
    experience_id: int,
    url: str,
    resource_link_id: str | None = None,
    *,
    link_title: str | None = None,
    label: str | None = None,
    score_maximum: float | None = None,
) -> LineItem:
    """Write down a column of the gradebook as an experience's, as a launch or the platform tells of it.

    A column belongs to one experience: the latest said. Scores that were waiting for a column go to it. ``label`` and
    ``score_maximum`` are the column's own; what is None stays as it was. Until its label is known, it is called by
    ``link_title``. A maximum that nobody has told is asked for.
    """
    known: dict[str, Any] = {
        "resource_link_id": resource_link_id,
        "label": label,
        "score_maximum": score_maximum,
    }
    values = {"course_id": course_id} | {name: value for name, value in known.items() if value is not None}
    recorded = session.exec(
        select(LineItem).where(LineItem.course_id == course_id, LineItem.url == url)
    ).all()
    for line_item in recorded:
        if line_item.experience_id != experience_id:
            forget_line_item(session, line_item.id)
        elif values.items() <= line_item.model_dump().items() and line_item.score_maximum:
            return line_item
    line_item = upsert(session, LineItem, key={"experience_id": experience_id, "url": url}, values=values)
    line_item.label = line_item.label or link_title
    if line_item.score_maximum:
        line_item.read_due_at = None
    else:
        line_item.read_due_at = line_item.read_due_at or utc_now()
    session.execute(
        update(Score)
        .where(
            col(Score.experience_id) == experience_id,
            col(Score.line_item_id).is_(None),
            col(Score.state) == ScoreState.WAITING,
        )
        .values(line_item_id=line_item.id)
    )
    return line_item


def forget_line_item(session: Session, line_item_id: int) -> None:
    """Drop a column that is no longer there. What was on its way to it has failed."""
    of_column = update(Score).where(col(Score.line_item_id) == line_item_id)
    session.execute(
        of_column.where(col(Score.state) == ScoreState.WAITING).values(
            state=ScoreState.FAILED, error=COLUMN_GONE
        )
    )
    session.execute(of_column.values(line_item_id=None))
    session.execute(update(Launch).where(col(Launch.line_item_id) == line_item_id).values(line_item_id=None))
    session.execute(delete(LineItem).where(col(LineItem.id) == line_item_id))


def hand_in(session: Session, work: Work) -> None:
    """Owe the columns that a student's work counts in the news that they have finished a conversation.

    Nothing where there is none; `hand_in_late` has it once the student opens one.
    """
    experience = session.get_one(Experience, work.experience_id)
    columns = _columns(session, work)
    if columns.theirs and not _missing(session.get(CourseServices, experience.course_id), columns):
        _lock_student(session, work)
        _hand_in(session, experience, work, columns.theirs)


def hand_in_late(session: Session, line_item: LineItem, user_id: int) -> None:
    """Owe a column that a student opens what they finished last, unless it has been told of it."""
    experience = session.get_one(Experience, line_item.experience_id)
    conversation_id = session.exec(
        select(func.max(Conversation.id)).where(
            Conversation.experience_id == experience.id,
            Conversation.user_id == user_id,
            Conversation.workflow_state == ConversationState.COMPLETED,
            col(Conversation.is_preview).is_(False),
        )
    ).one()
    offer = session.get(CourseServices, experience.course_id)
    if conversation_id is None or offer is None or SCORE_SCOPE not in offer.grade_scopes:
        return
    work = Work(experience.id, user_id, conversation_id)
    _lock_student(session, work)
    told = select(Score.id).where(
        Score.user_id == user_id,
        Score.conversation_id == conversation_id,
        Score.line_item_id == line_item.id,
    )
    if session.exec(told.limit(1)).first() is None:
        _hand_in(session, experience, work, [line_item])


def _hand_in(session: Session, experience: Experience, work: Work, columns: Sequence[LineItem]) -> None:
    """Owe columns a student's work. Points that the student has already are repeated.

    A score without points would take them away (AGS 2.0, section 3.4.5).
    """
    grade = _latest_grade([score for score in _scores(session, work) if score.state is not ScoreState.FAILED])
    for column in columns:
        score = Score(
            **_about(session, experience, work),
            line_item_id=column.id,
            activity_progress=ActivityProgress.SUBMITTED,
            grading_progress=GradingProgress.PENDING_MANUAL,
            score_given=grade.score_given if grade else None,
            score_maximum=grade.score_maximum if grade else None,
            new_submission=True,
        )
        _owe(session, score)


def give_grade(session: Session, identity: Identity, work: Work, grade: Grade, *, seen: int) -> None:
    """Owe the columns that a student's work counts in a grade; where there is none yet, one is made as it is sent.

    ``seen`` is the `Standing`'s that the teacher decided on. The same grade sent twice from one page counts once.
    Raises `ForbiddenError`, `NotFoundError`, `GradesNotOfferedError` or `GradedMeanwhileError`.
    """
    experience = _gradable(session, identity, work)
    columns = _columns(session, work)
    if _missing(session.get(CourseServices, experience.course_id), columns):
        raise GradesNotOfferedError(log=f"course {experience.course_id}")
    _lock_student(session, work)
    latest = _latest_grade(_scores(session, work))
    if latest is not None and latest.id > seen:
        if _as_grade(latest) == grade and latest.conversation_id == work.conversation_id:
            return
        raise GradedMeanwhileError(log=f"score {latest.id}")
    if not columns.theirs:
        _lock_experience(session, experience)
    column_ids: list[int | None] = [column.id for column in columns.theirs]
    for column_id in column_ids or [None]:
        score = Score(
            **_about(session, experience, work),
            line_item_id=column_id,
            activity_progress=ActivityProgress.COMPLETED,
            grading_progress=GradingProgress.FULLY_GRADED,
            score_given=grade.points,
            score_maximum=grade.maximum,
            comment=grade.comment or None,
            created_by_id=identity.user.id,
        )
        _owe(session, score)


def send_again(session: Session, identity: Identity, work: Work) -> None:
    """Have what failed sent anew, as of now. Raises `ForbiddenError`, `NotFoundError` or `NothingFailedError`."""
    experience = _gradable(session, identity, work)
    _lock_student(session, work)
    scores = _scores(session, work)
    failed = [entry.score for entry in _entries(_columns(session, work).all, scores)]
    failed = [score for score in failed if score.state is ScoreState.FAILED]
    if not failed:
        raise NothingFailedError(log=f"experience {experience.id} user {work.user_id}")
    if any(score.line_item_id is None for score in failed):
        _lock_experience(session, experience)
    for score in failed:
        score.timestamp = _next_timestamp(session, score.experience_id, score.user_id)
        score.state, score.error = ScoreState.WAITING, None
        score.attempts, score.due_at = 0, utc_now()
        session.flush()


def standing_of(session: Session, identity: Identity, work: Work) -> Standing:
    """Tell where a student's work stands with the gradebook. Raises `ForbiddenError` or `NotFoundError`."""
    experience = _gradable(session, identity, work)
    columns = _columns(session, work)
    scores = _scores(session, work)
    grade = _latest_grade(scores)
    is_of_work = grade is not None and grade.conversation_id == work.conversation_id
    return Standing(
        missing=_missing(session.get(CourseServices, experience.course_id), columns),
        columns=columns.theirs,
        coming=None if columns.all else _coming_maximum(session, experience.id),
        entries=_entries(columns.all, scores),
        grade=grade if is_of_work else None,
        other_grade=None if is_of_work else grade,
        seen=scores[-1].id if scores else 0,
    )


def counting_of(session: Session, experience: Experience, work: Work) -> Counting | None:
    """Tell a student whether their work on an experience counts; None where the gradebook does not hear of it."""
    columns = _columns(session, work)
    if not columns.all or _missing(session.get(CourseServices, experience.course_id), columns) not in {
        None,
        Missing.OPENING,
    }:
        return None
    told = [score for score in _scores(session, work) if score.conversation_id == work.conversation_id]
    finished = session.get_one(Conversation, work.conversation_id).ended_at if told else None
    return Counting(
        columns=columns.theirs,
        handed_in_at=finished if any(score.sent_at for score in told) else None,
        waiting=any(score.state is ScoreState.WAITING for score in told),
        refused=any(score.state is ScoreState.FAILED for score in told),
    )


def columns_of(session: Session, experience_id: int) -> Sequence[LineItem]:
    """List the columns of an experience, the oldest first."""
    return session.exec(
        select(LineItem).where(LineItem.experience_id == experience_id).order_by(col(LineItem.id))
    ).all()


def is_grade(score: Score) -> bool:
    """Tell a teacher's grade from work handed in, which may repeat the points of an earlier grade."""
    return score.grading_progress == GradingProgress.FULLY_GRADED


def same_column(older: type[Score], newer: type[Score] | Score) -> ColumnElement[bool]:
    """Tell whether a score goes to the same column for the same student as a newer one, or may once there is one."""
    return (
        (col(older.experience_id) == newer.experience_id)
        & (col(older.user_id) == newer.user_id)
        & or_(col(older.line_item_id) == newer.line_item_id, col(older.line_item_id).is_(None))
    )


def _gradable(session: Session, identity: Identity, work: Work) -> Experience:
    identity.require(Right.GRADE)
    experience = session.get(Experience, work.experience_id)
    if experience is None or experience.course_id != identity.course.id:
        raise NotFoundError(log=f"experience {work.experience_id}")
    return experience


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of an experience, and those of them that a student's work counts in."""

    all: Sequence[LineItem]
    theirs: Sequence[LineItem]


def _columns(session: Session, work: Work) -> _Columns:
    """A student's work counts in the columns that they have opened or that have been told of it, or in the only one."""
    opened = exists().where(col(Launch.user_id) == work.user_id, col(Launch.line_item_id) == LineItem.id)
    told = exists().where(
        col(Score.experience_id) == work.experience_id,
        col(Score.user_id) == work.user_id,
        col(Score.line_item_id) == LineItem.id,
    )
    rows = session.exec(
        select(LineItem, opened | told)
        .where(LineItem.experience_id == work.experience_id)
        .order_by(col(LineItem.id))
    ).all()
    columns = [column for column, _ in rows]
    return _Columns(columns, columns if len(columns) == 1 else [column for column, theirs in rows if theirs])


def _missing(offer: CourseServices | None, columns: _Columns) -> Missing | None:
    if offer is None or not (offer.grade_scopes or columns.all):
        return Missing.SERVICE
    if SCORE_SCOPE not in offer.grade_scopes:
        return Missing.SCORE_SCOPE
    if columns.all:
        return None if columns.theirs else Missing.OPENING
    may_make = offer.line_items_url and LINE_ITEM_SCOPE in offer.grade_scopes
    return None if may_make else Missing.COLUMN


def _scores(session: Session, work: Work) -> Sequence[Score]:
    return session.exec(
        select(Score)
        .where(
            Score.experience_id == work.experience_id,
            Score.user_id == work.user_id,
            Score.state != ScoreState.SUPERSEDED,
        )
        .order_by(col(Score.id))
    ).all()


def _coming_maximum(session: Session, experience_id: int) -> float | None:
    """Tell what the column of the oldest score on its way will be out of, whoever's it is; None where none is."""
    first = session.exec(
        select(Score)
        .where(
            Score.experience_id == experience_id,
            Score.state == ScoreState.WAITING,
            col(Score.line_item_id).is_(None),
        )
        .order_by(col(Score.id))
        .limit(1)
    ).first()
    return (first.score_maximum or DEFAULT_MAXIMUM) if first else None


def _latest_grade(scores: Sequence[Score]) -> Score | None:
    return next((score for score in reversed(scores) if is_grade(score)), None)


def _as_grade(score: Score) -> Grade:
    return Grade(score.score_given or 0.0, score.score_maximum or 0.0, score.comment or "")


def _entries(columns: Sequence[LineItem], scores: Sequence[Score]) -> list[Entry]:
    """Return the latest score of each column; of what has no column, the latest where nothing came after it."""
    latest = {score.line_item_id: score for score in scores}
    entries = [Entry(column, latest[column.id]) for column in columns if column.id in latest]
    without = latest.get(None)
    if without is None or without.state is ScoreState.SENT:
        return entries
    return (
        entries if any(entry.score.id > without.id for entry in entries) else [*entries, Entry(None, without)]
    )


def _about(session: Session, experience: Experience, work: Work) -> dict[str, Any]:
    return {
        "course_id": experience.course_id,
        "experience_id": work.experience_id,
        "user_id": work.user_id,
        "conversation_id": work.conversation_id,
        "timestamp": _next_timestamp(session, work.experience_id, work.user_id),
    }


def _owe(session: Session, score: Score) -> None:
    """Queue a score, and overtake what waits before it for the same column.

    What hands work in and has been tried may have arrived, so it is waited for; a grade gives way to a grade only.
    """
    overtaken = (
        update(Score)
        .where(
            same_column(Score, score),
            col(Score.state) == ScoreState.WAITING,
            or_(col(Score.new_submission).is_(False), col(Score.attempts) == 0),
        )
        .values(state=ScoreState.SUPERSEDED)
    )
    if not is_grade(score):
        overtaken = overtaken.where(col(Score.grading_progress) != GradingProgress.FULLY_GRADED)
    session.execute(overtaken)
    session.add(score)
    session.flush()


def _next_timestamp(session: Session, experience_id: int, user_id: int) -> datetime:
    latest = session.exec(
        select(func.max(Score.timestamp)).where(
            Score.experience_id == experience_id, Score.user_id == user_id
        )
    ).one()
    return max(utc_now(), latest + TIMESTAMP_STEP) if latest else utc_now()


def _lock_student(session: Session, work: Work) -> None:
    """Have one writer at a time for a student's scores, so that their timestamps grow."""
    session.exec(select(User.id).where(User.id == work.user_id).with_for_update(key_share=True)).one()


def _lock_experience(session: Session, experience: Experience) -> None:
    """Have one writer at a time where there is no column, so that the oldest score is the one that makes it."""
    session.exec(select(Experience.id).where(Experience.id == experience.id).with_for_update(key_share=True))
