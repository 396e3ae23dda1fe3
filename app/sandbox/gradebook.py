"""The gradebook: line items, the scores that arrive, and the results that they leave."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from threading import RLock
from typing import Any
from uuid import uuid4

from app.sandbox.errors import ServiceError
from app.sandbox.people import Course, Person

SUBMISSION_TYPE = "https://canvas.instructure.com/lti/submission_type"
SUBMISSION = "https://canvas.instructure.com/lti/submission"
# The grading states whose score counts; the others say that there is none yet.
COUNTED = frozenset({"FullyGraded", "PendingManual"})


@dataclass(frozen=True, slots=True)
class LineItem:
    """A column of the gradebook."""

    id: int
    course_id: int
    label: str
    score_maximum: float
    tag: str | None = None
    resource_id: str | None = None
    resource_link_id: str | None = None
    submission_type: Mapping[str, Any] | None = None
    starts_at: str | None = None
    ends_at: str | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One score as it arrived; ``submission`` is Canvas's extension, unchanged."""

    line_item_id: int
    person: Person
    timestamp: datetime
    activity_progress: str
    grading_progress: str
    score_given: float | None
    score_maximum: float | None
    comment: str | None
    submission: Mapping[str, Any]

    @property
    def starts_new_attempt(self) -> bool:
        """Whether Canvas would count this as another submission."""
        return bool(self.submission.get("new_submission", True))


@dataclass(frozen=True, slots=True)
class Result:
    """What the gradebook shows for somebody in one column, after their latest score."""

    id: int
    line_item_id: int
    person: Person
    score: float | None
    comment: str | None
    needs_grading: bool
    attempt: int
    latest: Score

    @property
    def launch_url(self) -> str | None:
        """The tool's address of the submitted work, where the score brought one."""
        if self.latest.submission.get("submission_type") != "basic_lti_launch":
            return None
        return str(self.latest.submission.get("submission_data") or "") or None


class Gradebook:
    """All line items and scores of one sandbox, in memory and safe between threads."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._ids = count(1)
        self._line_items: dict[int, LineItem] = {}
        self._results: dict[tuple[int, int], Result] = {}
        self._scores: list[Score] = []

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every score accepted so far, oldest first."""
        with self._lock:
            return tuple(self._scores)

    def line_items(self, course: Course) -> list[LineItem]:
        """A course's columns, oldest first."""
        with self._lock:
            return [item for item in self._line_items.values() if item.course_id == course.canvas_id]

    def line_item(self, course: Course, item_id: int) -> LineItem:
        """One column of a course. Raises `ServiceError` 404 where it is not there."""
        with self._lock:
            item = self._line_items.get(item_id)
        if item is None or item.course_id != course.canvas_id:
            raise ServiceError(404, "The specified resource does not exist.")
        return item

    def add_line_item(self, course: Course, fields: Mapping[str, Any]) -> LineItem:
        """Make a column. One for an external tool gets a resource link of its own, as its assignment does."""
        with self._lock:
            self._check_resource_link(course, fields.get("resource_link_id"))
            item = LineItem(id=next(self._ids), course_id=course.canvas_id, **fields)
            if (item.submission_type or {}).get("type") == "external_tool":
                item = replace(item, resource_link_id=item.resource_link_id or str(uuid4()))
            self._line_items[item.id] = item
            return item

    def change_line_item(self, course: Course, item_id: int, fields: Mapping[str, Any]) -> LineItem:
        """Change what the fields name and keep the rest."""
        with self._lock:
            item = replace(self.line_item(course, item_id), **fields)
            self._line_items[item_id] = item
            return item

    def remove_line_item(self, course: Course, item_id: int) -> None:
        """Drop a column with its results."""
        with self._lock:
            self.line_item(course, item_id)
            del self._line_items[item_id]
            self._results = {key: result for key, result in self._results.items() if key[0] != item_id}

    def results(self, item: LineItem) -> list[Result]:
        """The results of a column, in the order in which people got their first."""
        with self._lock:
            return [result for result in self._results.values() if result.line_item_id == item.id]

    def result(self, item: LineItem, person: Person) -> Result | None:
        """Somebody's result in a column."""
        with self._lock:
            return self._results.get((item.id, person.canvas_id))

    def record(self, item: LineItem, score: Score) -> Result:
        """Take a score in. Raises `ServiceError` 400 unless it is newer than the one before."""
        with self._lock:
            earlier = self.result(item, score.person)
            _check_newer(score, earlier)
            result = self._next_result(item, score, earlier)
            self._scores.append(score)
            self._results[(item.id, score.person.canvas_id)] = result
            return result

    def _next_result(self, item: LineItem, score: Score, earlier: Result | None) -> Result:
        return Result(
            id=earlier.id if earlier else next(self._ids),
            line_item_id=item.id,
            person=score.person,
            score=_scaled(score, item),
            comment=score.comment,
            needs_grading=score.grading_progress == "PendingManual",
            attempt=(earlier.attempt if earlier else 0) + (score.starts_new_attempt or earlier is None),
            latest=score,
        )

    def _check_resource_link(self, course: Course, resource_link_id: object) -> None:
        known = {item.resource_link_id for item in self.line_items(course)}
        if resource_link_id is not None and resource_link_id not in known:
            raise ServiceError(404, "The specified resource link does not exist.")


def _check_newer(score: Score, earlier: Result | None) -> None:
    if earlier is not None and score.timestamp <= earlier.latest.timestamp:
        raise ServiceError(
            400,
            f"Provided timestamp of {score.timestamp.isoformat()} before last updated timestamp "
            f"of {earlier.latest.timestamp.isoformat()}",
        )


def _scaled(score: Score, item: LineItem) -> float | None:
    if score.score_given is None or not score.score_maximum or score.grading_progress not in COUNTED:
        return None
    return round(score.score_given / score.score_maximum * item.score_maximum, 4)
