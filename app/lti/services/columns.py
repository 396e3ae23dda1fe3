"""What the gradebook's columns are out of, read before a grade is given (AGS 2.0, section 3.1).

A launch names its column by address alone. `LineItem.read_due_at` says when the platform is asked for the rest.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import Any

from sqlalchemy import update
from sqlmodel import col, select

from app.courses.models import Course
from app.database import Database, utc_now
from app.experiences.models import MAX_TITLE
from app.lti.models import CourseServices, LineItem, Platform, RegistrationState
from app.lti.services.client import PlatformServices, ServiceError, ServiceRefusedError
from app.lti.tool import LINE_ITEM_SCOPE
from app.text import clean_line

logger = logging.getLogger(__name__)
LINE_ITEM_TYPE = "application/vnd.ims.lis.v2.lineitem+json"
LEASE = timedelta(minutes=5)
PAUSE = timedelta(minutes=10)  # for which a platform that fails is left alone


@dataclass(frozen=True, slots=True)
class _Reading:
    """A claimed column with what asking for it takes, so that no session is open meanwhile."""

    line_item: LineItem
    platform: Platform
    allowed: bool


class Columns:
    """Reads the columns whose maximum is not known."""

    def __init__(self, database: Database, services: PlatformServices) -> None:
        self._database, self._services = database, services

    def work(self) -> bool:
        """Read one column that is due; False where none is (`app.lti.services.owed.Work`)."""
        reading = self._claim()
        if reading is None:
            return False
        try:
            described = self._ask(reading)
        except ServiceError as problem:
            logger.warning("line item %s: %s", reading.line_item.id, problem)
            self._put_off(reading.platform, max(problem.retry_after, PAUSE))
        else:
            self._settle(reading.line_item, described)
        return True

    def _claim(self) -> _Reading | None:
        now = utc_now()
        due = (
            select(LineItem, Platform, CourseServices)
            .join(Course, col(Course.id) == LineItem.course_id)
            .join(Platform, col(Platform.id) == Course.platform_id)
            .join(CourseServices, col(CourseServices.course_id) == Course.id)
            .where(col(LineItem.read_due_at) <= now, Platform.workflow_state == RegistrationState.ACTIVE)
            .order_by(col(LineItem.read_due_at))
            .limit(1)
            .with_for_update(of=LineItem, skip_locked=True)
        )
        with self._database.transaction() as session:
            found = session.exec(due).first()
            if found is None:
                return None
            line_item, platform, offer = found
            line_item.read_due_at = now + LEASE
            return _Reading(line_item, platform, allowed=LINE_ITEM_SCOPE in offer.grade_scopes)

    def _ask(self, reading: _Reading) -> Mapping[str, Any]:
        """Return a column as the platform describes it; empty where it does not. Raises a `ServiceError`."""
        if not reading.allowed:
            return {}
        try:
            return describe_column(self._services, reading.platform, reading.line_item.url)
        except ServiceRefusedError:
            return {}  # sending a score will tell why

    def _settle(self, line_item: LineItem, described: Mapping[str, Any]) -> None:
        told = {
            "score_maximum": maximum_of(described) or line_item.score_maximum,
            "label": clean_line(described.get("label"), MAX_TITLE) or line_item.label,
        }
        with self._database.transaction() as session:
            session.execute(
                update(LineItem).where(col(LineItem.id) == line_item.id).values(read_due_at=None, **told)
            )

    def _put_off(self, platform: Platform, pause: timedelta) -> None:
        """Leave all columns of a platform alone, so that it keeps no other waiting."""
        until = utc_now() + pause
        courses = select(Course.id).where(Course.platform_id == platform.id)
        with self._database.transaction() as session:
            session.execute(
                update(LineItem)
                .where(col(LineItem.course_id).in_(courses), col(LineItem.read_due_at) < until)
                .values(read_due_at=until)
            )


def describe_column(services: PlatformServices, platform: Platform, url: str) -> Mapping[str, Any]:
    """Ask a platform for a line item; empty where the answer is none. Raises a `ServiceError`."""
    body = services.request(platform, [LINE_ITEM_SCOPE], "GET", url, accept=LINE_ITEM_TYPE).body
    return body if isinstance(body, Mapping) else {}


def maximum_of(item: Mapping[str, Any]) -> float | None:
    """Return what a line item is out of: a number above 0 (AGS 2.0, section 3.1.4); None for anything else."""
    value = item.get("scoreMaximum")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
        return None
    return float(value)
