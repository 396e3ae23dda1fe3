"""Sending what the gradebook is owed, and finding or making the columns that it goes to (AGS 2.0, section 3).

Any number of workers may send at once. A score is claimed with a lease: that of a worker that died comes due again.
"""

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import exists, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from app.courses.models import Course, User
from app.database import Database, utc_now
from app.experiences.models import MAX_TITLE, Experience
from app.lti import canvas
from app.lti.addresses import web_address, with_query
from app.lti.models import (
    MAX_ID,
    CourseServices,
    LineItem,
    Platform,
    RegistrationState,
    Score,
    ScoreState,
)
from app.lti.services.client import (
    PlatformServices,
    ServiceError,
    ServiceRefusedError,
    ServiceUnavailableError,
)
from app.lti.services.columns import LINE_ITEM_TYPE, describe_column, maximum_of
from app.lti.services.grades import (
    COLUMN_GONE,
    DEFAULT_MAXIMUM,
    LINE_ITEM_TAG,
    ActivityProgress,
    forget_line_item,
    is_grade,
    record_line_item,
    resource_id_of,
    same_column,
)
from app.lti.tool import LINE_ITEM_SCOPE, SCORE_SCOPE, conversation_link, experience_link
from app.text import N_, clean_line

LINE_ITEMS_TYPE = "application/vnd.ims.lis.v2.lineitemcontainer+json"
SCORE_TYPE = "application/vnd.ims.lis.v1.score+json"
# Work that a teacher may open from the gradebook (LTI Submission Review 1.0, section 3.1).
REVIEWABLE = [ActivityProgress.SUBMITTED, ActivityProgress.COMPLETED]

LEASE = timedelta(minutes=5)
FIRST_DELAY = timedelta(seconds=30)
MAX_DELAY = timedelta(hours=6)
MAX_ATTEMPTS = 20  # with these delays, about three days
MAX_ERROR = 300
# A repeat may follow a score that has arrived. Being a little older than it, it is refused then, and counts as
# arrived; with an equal timestamp, Canvas would take it as another attempt.
REPEAT_STEP = timedelta(milliseconds=1)

NO_ANSWER = N_("The gradebook has not answered for three days.")
NEWER_THERE = N_("The gradebook holds something newer for this student. “Try again” replaces it.")
NOT_TAKEN = N_("The gradebook did not take it:")
NO_COLUMN = N_("There is no column for this experience, and the tool may not make one.")
NO_COLUMN_MADE = N_("The gradebook made no column for this experience:")
NOT_REGISTERED = N_("The platform is no longer registered with this tool.")
UNREADABLE = N_("The gradebook described its column in a way that makes no sense.")

_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_PERHAPS_GONE = _GONE | {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}


class _FailedError(Exception):
    """A score that will not arrive, however often it is sent. Its text is the reason, for a teacher."""


@dataclass(frozen=True, slots=True)
class _Due:
    """A claimed score with all that sending it takes, so that no session is open meanwhile."""

    score: Score
    experience: Experience
    platform: Platform
    sub: str
    offer: CourseServices | None
    line_item: LineItem | None

    def may(self, scope: str) -> bool:
        """Tell whether the platform grants a scope in this course."""
        return self.offer is not None and scope in self.offer.grade_scopes

    @property
    def on_canvas(self) -> bool:
        """True where Canvas's extensions are understood."""
        return self.platform.product == canvas.PRODUCT


class Scores:
    """Sends scores as they come due, to one platform one at a time, so that a slow one keeps no other waiting."""

    def __init__(self, database: Database, services: PlatformServices, app_url: str) -> None:
        self._database, self._services, self._app_url = database, services, app_url
        self._rest_until: dict[int, datetime] = {}
        self._being_asked: set[int] = set()
        self._lock = threading.Lock()

    def work(self) -> bool:
        """Send one score that is due; False where none is (`app.lti.services.owed.Work`)."""
        with self._lock:
            due = self._claim()
            if due is None:
                return False
            self._being_asked.add(due.platform.id)
        try:
            self._send(due)
        finally:
            self._being_asked.discard(due.platform.id)
        return True

    def _send(self, due: _Due) -> None:
        """Deliver a score, and write down how that ended."""
        try:
            self._deliver(due)
        except _FailedError as error:
            self._settle(due, state=ScoreState.FAILED, error=str(error))
        except ServiceError as error:
            self._postpone(due, error)
        else:
            self._settle(due, state=ScoreState.SENT, sent_at=utc_now(), error=None)

    def _claim(self) -> _Due | None:
        """Lease the score that has been due for longest to this worker.

        Platforms that failed lately or that another thread is asking are left alone.
        """
        now = utc_now()
        resting = {platform_id for platform_id, until in self._rest_until.copy().items() if until > now}
        with self._database.transaction() as session:
            score = session.scalars(
                update(Score)
                .where(col(Score.id) == _longest_due(now, resting | self._being_asked).scalar_subquery())
                .values(attempts=col(Score.attempts) + 1, due_at=now + LEASE)
                .returning(Score)
            ).one_or_none()
            return _load(session, score) if score else None

    def _deliver(self, due: _Due) -> None:
        """Send a score. Raises `_FailedError`, or a `ServiceError` where another try may help."""
        if due.platform.workflow_state is not RegistrationState.ACTIVE:
            raise _FailedError(NOT_REGISTERED)
        if due.score.attempts > MAX_ATTEMPTS:  # its workers died, one after another
            raise _FailedError(NO_ANSWER)
        line_item = self._column(due)
        url, message = _below(line_item.url, "scores"), self._message(due)
        try:
            self._services.request(
                due.platform, [SCORE_SCOPE], "POST", url, json=message, content_type=SCORE_TYPE
            )
        except ServiceRefusedError as error:
            self._explain(due, line_item, error)

    def _explain(self, due: _Due, line_item: LineItem, error: ServiceRefusedError) -> None:
        """Tell what a refusal means. Raises `_FailedError` unless the score has arrived before."""
        if error.status in _PERHAPS_GONE and self._is_gone(due, line_item, error):
            with self._database.transaction() as session:
                forget_line_item(session, line_item.id)
            raise _FailedError(COLUMN_GONE) from error
        if error.status != HTTPStatus.CONFLICT and not canvas.is_older_timestamp(error.status, str(error)):
            raise _FailedError(_reason(NOT_TAKEN, error)) from error
        if due.score.attempts == 1:
            raise _FailedError(NEWER_THERE) from error

    def _column(self, due: _Due) -> LineItem:
        """Return the column that a score goes to: as it is known, as the platform knows it, or a new one."""
        if due.line_item is not None:
            return due.line_item if is_grade(due.score) else self._read_column(due, due.line_item)
        if due.offer is None or not due.offer.line_items_url or not due.may(LINE_ITEM_SCOPE):
            raise _FailedError(NO_COLUMN)
        url = due.offer.line_items_url
        try:
            return self._find_column(due, url) or self._make_column(due, url)
        except ServiceRefusedError as error:
            raise _FailedError(_reason(NO_COLUMN_MADE, error)) from error

    def _read_column(self, due: _Due, line_item: LineItem) -> LineItem:
        """Ask what a column is out of before a teacher has to know it; platforms let it be changed."""
        if not due.may(LINE_ITEM_SCOPE):
            return line_item
        try:
            described = describe_column(self._services, due.platform, line_item.url)
        except ServiceRefusedError:
            return line_item  # the score's own answer will tell why
        return self._record(due, {**described, "id": line_item.url})

    def _is_gone(self, due: _Due, line_item: LineItem, error: ServiceRefusedError) -> bool:
        """Tell a column that is gone from a student whom it does not take: platforms refuse both alike."""
        if not due.may(LINE_ITEM_SCOPE):
            return error.status in _GONE
        try:
            describe_column(self._services, due.platform, line_item.url)
        except ServiceRefusedError as found:
            return found.status in _GONE
        return False

    def _find_column(self, due: _Due, url: str) -> LineItem | None:
        """Look for the experience's column among all that the platform has for the tool in the course."""
        wanted = resource_id_of(due.experience.id)
        pages = self._services.pages(
            due.platform, [LINE_ITEM_SCOPE], with_query(url, resource_id=wanted), accept=LINE_ITEMS_TYPE
        )
        items = (_object(item) for page in pages if isinstance(page, list) for item in page)
        found = next((item for item in items if item.get("resourceId") == wanted), None)
        return None if found is None else self._record(due, found)

    def _make_column(self, due: _Due, url: str) -> LineItem:
        link = experience_link(self._app_url, due.experience.id)
        wanted: dict[str, Any] = {
            "label": due.experience.title,
            "scoreMaximum": due.score.score_maximum or DEFAULT_MAXIMUM,
            "resourceId": resource_id_of(due.experience.id),
            "tag": LINE_ITEM_TAG,
            "submissionReview": {"reviewableStatus": REVIEWABLE, "url": link},
        }
        if due.on_canvas:
            wanted |= canvas.assignment(link)
        answer = self._services.request(
            due.platform,
            [LINE_ITEM_SCOPE],
            "POST",
            url,
            json=wanted,
            content_type=LINE_ITEM_TYPE,
            accept=LINE_ITEM_TYPE,
        )
        return self._record(due, _object(answer.body))

    def _record(self, due: _Due, item: Mapping[str, Any]) -> LineItem:
        """Write down a column as the platform describes it (AGS 2.0, section 3.1)."""
        url, link_id = web_address(item.get("id")), item.get("resourceLinkId")
        if url is None:
            raise ServiceUnavailableError(UNREADABLE)
        with self._database.transaction() as session:
            return record_line_item(
                session,
                due.experience.course_id,
                due.experience.id,
                url,
                link_id
                if isinstance(link_id, str) and len(link_id) <= MAX_ID and link_id.isprintable()
                else None,
                label=clean_line(item.get("label"), MAX_TITLE),
                score_maximum=maximum_of(item),
            )

    def _message(self, due: _Due) -> dict[str, Any]:
        """Return a score as it is sent (AGS 2.0, section 3.4)."""
        score = due.score
        timestamp = score.timestamp - REPEAT_STEP * (score.attempts - 1)
        message: dict[str, Any] = {
            "userId": due.sub,
            "timestamp": timestamp.isoformat(timespec="milliseconds"),
            "activityProgress": score.activity_progress,
            "gradingProgress": score.grading_progress,
        }
        if score.score_given is not None:
            message |= {"scoreGiven": score.score_given, "scoreMaximum": score.score_maximum}
        if score.comment:
            message["comment"] = score.comment
        if due.on_canvas and score.conversation_id is not None:
            link = conversation_link(self._app_url, score.conversation_id)
            message |= canvas.submission(link, score.timestamp, new=score.new_submission)
        return message

    def _postpone(self, due: _Due, error: ServiceError) -> None:
        """Try again later: each time a little later, and never before the platform wants to be asked."""
        attempts, now = due.score.attempts, utc_now()
        rest = error.retry_after or FIRST_DELAY
        self._rest_until[due.platform.id] = now + rest
        if attempts >= MAX_ATTEMPTS:
            self._settle(due, state=ScoreState.FAILED, error=NO_ANSWER)
            return
        delay = max(rest, min(FIRST_DELAY * 2 ** (attempts - 1), MAX_DELAY))
        self._settle(due, due_at=now + delay, error=str(error)[:MAX_ERROR])

    def _settle(self, due: _Due, **values: object) -> None:
        """Write down how a try ended, unless the lease has gone to another worker or a newer score has come."""
        with self._database.transaction() as session:
            session.execute(
                update(Score)
                .where(
                    col(Score.id) == due.score.id,
                    col(Score.state) == ScoreState.WAITING,
                    col(Score.attempts) == due.score.attempts,
                )
                .values(**values)
            )


def _longest_due(now: datetime, left_alone: Collection[int]) -> SelectOfScalar[int]:
    """Select the score that has been due for longest and that nothing is to be sent before.

    Scores to the same column for the same student go in order. Where an experience has no column yet, its oldest
    score alone goes: it makes the column, and there is never a second one that makes it too.
    """
    waiting, older = aliased(Score), aliased(Score)
    makes_column = (
        (col(older.experience_id) == waiting.experience_id)
        & col(older.line_item_id).is_(None)
        & col(waiting.line_item_id).is_(None)
    )
    goes_before = exists().where(
        col(older.state) == ScoreState.WAITING,
        col(older.id) < waiting.id,
        same_column(older, waiting) | makes_column,
    )
    return (
        select(col(waiting.id))
        .join(Course, col(Course.id) == waiting.course_id)
        .where(
            col(waiting.state) == ScoreState.WAITING,
            col(waiting.due_at) <= now,
            col(Course.platform_id).not_in(left_alone),
            ~goes_before,
        )
        .order_by(col(waiting.due_at), col(waiting.id))
        .limit(1)
        .with_for_update(of=waiting, skip_locked=True)
    )


def _load(session: Session, score: Score) -> _Due:
    """Load what sending a claimed score takes, and settle what only its turn can tell."""
    experience, platform, sub, offer = session.exec(
        select(Experience, Platform, User.sub, CourseServices)
        .join(Course, col(Course.id) == Experience.course_id)
        .join(Platform, col(Platform.id) == Course.platform_id)
        .join(User, col(User.id) == score.user_id)
        .outerjoin(CourseServices, col(CourseServices.course_id) == Course.id)
        .where(Experience.id == score.experience_id)
    ).one()
    line_item = _column_of(session, score)
    score.line_item_id = line_item.id if line_item else None
    if is_grade(score):
        score.new_submission = score.new_submission or not (line_item and _is_handed_in(session, score))
    return _Due(score, experience, platform, sub, offer, line_item)


def _column_of(session: Session, score: Score) -> LineItem | None:
    """Find a score's column; a launch may have told of one since the score was queued."""
    if score.line_item_id is not None:
        return session.get_one(LineItem, score.line_item_id)
    return session.exec(
        select(LineItem)
        .where(LineItem.experience_id == score.experience_id)
        .order_by(col(LineItem.id).desc())
        .limit(1)
    ).first()


def _is_handed_in(session: Session, score: Score) -> bool:
    """Tell whether the gradebook knows of work of the student in this column."""
    return (
        session.exec(
            select(Score.id)
            .where(
                Score.experience_id == score.experience_id,
                Score.user_id == score.user_id,
                Score.line_item_id == score.line_item_id,
                Score.state == ScoreState.SENT,
                col(Score.new_submission).is_(True),
            )
            .limit(1)
        ).first()
        is not None
    )


def _reason(what: str, error: ServiceError) -> str:
    """Return what happened and, on a line of its own, in whose words."""
    return f"{what}\n{error}"[:MAX_ERROR]


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _below(url: str, name: str) -> str:
    """Return the address of a line item's own service; its query, if it has one, stays at the end."""
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{name}").geturl()
