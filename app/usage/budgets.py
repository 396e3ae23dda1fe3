"""How many tokens a course may use in a month (of UTC), and how many it has used.

A budget is asked for before a model is called, and what the call cost is counted when it ends. So calls that are under
way when a budget is used up still end: it is overshot by what they cost, at most their number (replies, judgements and
evaluations of one course at one moment) times the model's window, `LLM_CONTEXT_TOKENS`, for each attempt of a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import count
from math import ceil
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import Date, Integer, bindparam, delete, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.courses.models import Course
from app.database import prepared_insert, upsert, utc_now
from app.errors import RateLimitedError
from app.experiences.models import Experience
from app.identity import Identity, Right
from app.llm.interface import Attempt
from app.llm.scripted import SCRIPTED_NAME
from app.text import estimate_tokens
from app.usage.models import CourseBudget, CourseTokens
from app.web import current_settings

MOST_TOKENS = 10**12
KEPT = timedelta(days=366)
PARTS = 32  # rows in which a course's tokens are counted, so that processes seldom wait for one another
FORGET_EVERY = 100  # times that a process counts, at which old months are forgotten

_turns = count(1)


class BudgetUsedUpError(RateLimitedError):
    """A course that has used its tokens of the month."""

    code = "budget_used_up"
    retryable = False
    title = _l("The AI of this course is used up for this month")
    message = _l(
        "This course has used as much of the AI as it may in a month. It answers again next month; "
        "your teacher can ask the administrators for more."
    )


@dataclass(frozen=True, slots=True)
class Tokens:
    """What one attempt of a model took, read and written together. ``estimated`` where no server has counted them."""

    used: int
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class MonthOfUse:
    """The tokens that a course has used in the month that begins on `month`; ``estimated`` of them are an estimate."""

    month: date
    used: int = 0
    estimated: int = 0


@dataclass(frozen=True, slots=True)
class CourseUse:
    """What a course may use in a month, and has used: ``months`` are this one, if only with nothing, and those before.

    ``budget`` is what holds, None for as much as it likes: ``own_budget``, which an administrator has decided for this
    course, or where that is None ``usual_budget``, the setting for all courses.
    """

    own_budget: int | None
    usual_budget: int | None
    months: Sequence[MonthOfUse]

    @property
    def this_month(self) -> MonthOfUse:
        """What was used in the month that is under way."""
        return self.months[0]

    @property
    def budget(self) -> int | None:
        """How many tokens the course may use in a month; None for as many as it likes."""
        return self.usual_budget if self.own_budget is None else self.own_budget

    @property
    def used_up(self) -> bool:
        """True where no model is called any more this month."""
        return self.budget is not None and self.this_month.used >= self.budget


def require_budget(session: Session, experience_id: int) -> None:
    """Raise `BudgetUsedUpError` where the experience's course has used its tokens of the month. One query."""
    if is_used_up(session, experience_id):
        raise BudgetUsedUpError(retry_after=_seconds_left(utc_now()), log=f"experience {experience_id}")


def is_used_up(session: Session, experience_id: int) -> bool:
    """Tell whether the experience's course has used its tokens of the month. One query."""
    row = {"experience": experience_id, "month": month_of(utc_now())}
    own, used = session.connection().execute(_LEFT, row).one()
    budget = current_settings().course_tokens_per_month if own is None else own
    return budget is not None and used >= budget


def record_tokens(session: Session, experience_id: int, *taken: Tokens) -> None:
    """Count what attempts at something about an experience took, as the process's `TokenMeter` has noted it."""
    used = sum(tokens.used for tokens in taken)
    if not used:
        return
    turn = next(_turns)
    row = {
        "experience": experience_id,
        "month": month_of(utc_now()),
        "part": turn % PARTS,
        "used": used,
        "estimated": sum(tokens.used for tokens in taken if tokens.estimated),
    }
    session.connection().execute(_addition(session), row)
    if turn % FORGET_EVERY == 0:
        forget_old_tokens(session)


def tokens_of(attempt: Attempt) -> Tokens:
    """Return what an attempt of a model took: as its server counted, or by the length of what was read and written.

    What was not read takes nothing, nor does the scripted persona.
    """
    if attempt.unread or attempt.model == SCRIPTED_NAME:
        return Tokens(0)
    end = attempt.end
    if end is not None and end.prompt_tokens is not None and end.completion_tokens is not None:
        return Tokens(end.prompt_tokens + end.completion_tokens)
    return Tokens(estimate_tokens("".join(attempt.asked)) + estimate_tokens(attempt.text), estimated=True)


def use_of(session: Session, course: Course) -> CourseUse:
    """Return what a course may use in a month and has used. Two queries."""
    totals = session.execute(
        select_columns(col(CourseTokens.month), func.sum(CourseTokens.used), func.sum(CourseTokens.estimated))
        .where(col(CourseTokens.course_id) == course.id)
        .group_by(col(CourseTokens.month))
        .order_by(col(CourseTokens.month).desc())
    )
    used = {month: MonthOfUse(month, int(used), int(estimated)) for month, used, estimated in totals}
    this_month = month_of(utc_now())
    own = session.get(CourseBudget, course.id)
    return CourseUse(
        own_budget=own.tokens if own else None,
        usual_budget=current_settings().course_tokens_per_month,
        months=[used.pop(this_month, MonthOfUse(this_month)), *used.values()],
    )


def set_budget(session: Session, identity: Identity, tokens: int | None) -> None:
    """Decide how many tokens the identity's course may use in a month; None for what the setting says.

    Raises `ForbiddenError` for all but administrators.
    """
    identity.require(Right.ADMINISTER_PLATFORM)
    write_budget(session, identity.course, tokens)


def write_budget(session: Session, course: Course, tokens: int | None) -> None:
    """Write down a course's own budget, or that it has none."""
    if tokens is None:
        session.execute(delete(CourseBudget).where(col(CourseBudget.course_id) == course.id))
    else:
        values = {"tokens": tokens, "updated_at": utc_now()}
        upsert(session, CourseBudget, key={"course_id": course.id}, values=values)


def month_of(moment: date) -> date:
    """Return the first day of a moment's or day's month."""
    return date(moment.year, moment.month, 1)


def forget_old_tokens(session: Session) -> None:
    """Delete what courses have used in months of more than a year ago."""
    session.execute(delete(CourseTokens).where(col(CourseTokens.month) < month_of(utc_now() - KEPT)))


def _seconds_left(now: datetime) -> int:
    """Return the whole seconds until the next month begins, at least one."""
    a_day_of_the_next = month_of(now) + timedelta(days=31)
    begin = datetime.combine(month_of(a_day_of_the_next), time.min, UTC)
    return ceil((begin - now).total_seconds())


_course = (
    select_columns(col(Experience.course_id))
    .where(col(Experience.id) == bindparam("experience", type_=Integer))
    .scalar_subquery()
)
_month = bindparam("month", type_=Date)
# Built once: building takes ten times as long as asking.
_LEFT = select_columns(
    select_columns(col(CourseBudget.tokens)).where(col(CourseBudget.course_id) == _course).scalar_subquery(),
    select_columns(func.coalesce(func.sum(CourseTokens.used), 0))
    .where(col(CourseTokens.course_id) == _course, col(CourseTokens.month) == _month)
    .scalar_subquery(),
)


def _complete(insert: Any) -> Any:  # noqa: ANN401 - each database has its own INSERT
    counted: dict[str, Any] = {name: bindparam(name) for name in ("month", "part", "used", "estimated")}
    fresh = insert.values(course_id=_course, **counted)
    return fresh.on_conflict_do_update(
        index_elements=["course_id", "month", "part"],
        set_={name: getattr(CourseTokens, name) + fresh.excluded[name] for name in ("used", "estimated")},
    )


_addition = prepared_insert(CourseTokens, _complete)
