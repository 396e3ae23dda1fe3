"""The gradebook: line items, the scores that arrive, and the results that they leave."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from app.sandbox.errors import ServiceError
from app.sandbox.links import ResourceLink, ResourceLinks
from app.sandbox.people import Course, Person
from app.sandbox.placements import Place
from app.sandbox.storage import JsonFile

GRADEBOOK_FILE = "gradebook.json"

SUBMISSION_TYPE = "https://canvas.instructure.com/lti/submission_type"
SUBMISSION = "https://canvas.instructure.com/lti/submission"
# The grading states whose score counts; the others say that there is none yet.
COUNTED = frozenset({"FullyGraded", "PendingManual"})


@dataclass(frozen=True, slots=True)
class LineItem:
    """A column of the gradebook. ``client_id`` is the tool that sees it; None is every tool."""

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
    submission_review: Mapping[str, Any] | None = None
    client_id: str | None = None


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


@dataclass(slots=True)
class Records:
    """What the gradebook keeps: columns by id, and results by the ids of column and person."""

    next_id: int = 1
    line_items: dict[int, LineItem] = field(default_factory=dict)
    results: dict[int, dict[int, Result]] = field(default_factory=dict)

    def take_id(self) -> int:
        """An id that nothing has had."""
        self.next_id += 1
        return self.next_id - 1


class Gradebook:
    """All line items and results of one sandbox, kept in a file; the scores as they came are in memory only."""

    def __init__(self, folder: Path, links: ResourceLinks) -> None:
        self._file: JsonFile[Records] = JsonFile(folder / GRADEBOOK_FILE, TypeAdapter(Records), Records)
        self._links = links
        self._scores: list[Score] = []

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every score accepted since the start, oldest first."""
        with self._file.reading():
            return tuple(self._scores)

    def line_items(self, course: Course) -> list[LineItem]:
        """A course's columns, oldest first."""
        with self._file.reading() as records:
            return [item for item in records.line_items.values() if item.course_id == course.canvas_id]

    def line_item(self, course: Course, item_id: int) -> LineItem:
        """One column of a course. Raises `ServiceError` 404 where it is not there."""
        with self._file.reading() as records:
            item = records.line_items.get(item_id)
        if item is None or item.course_id != course.canvas_id:
            raise ServiceError(404, "The specified resource does not exist.")
        return item

    def line_item_of(self, link: ResourceLink) -> LineItem | None:
        """The column of a resource link, the oldest where it has several."""
        with self._file.reading() as records:
            return next(
                (item for item in records.line_items.values() if item.resource_link_id == link.id), None
            )

    def add_line_item(self, course: Course, fields: Mapping[str, Any]) -> LineItem:
        """Make a column. One for an external tool gets a resource link of its own, as its assignment does."""
        link_id = fields.get("resource_link_id")
        if link_id is not None and self._links.find(course, link_id) is None:
            raise ServiceError(404, "The specified resource link does not exist.")
        submission = fields.get("submission_type") or {}
        if link_id is None and submission.get("type") == "external_tool":
            link_id = self._add_link(course, fields, str(submission.get("external_tool_url") or "")).id
        return self._add(course, {**fields, "resource_link_id": link_id})

    def change_line_item(self, course: Course, item_id: int, fields: Mapping[str, Any]) -> LineItem:
        """Change what the fields name and keep the rest."""
        with self._file.changing() as records:
            item = replace(self.line_item(course, item_id), **fields)
            records.line_items[item_id] = item
            return item

    def remove_line_item(self, course: Course, item_id: int) -> None:
        """Drop a column with its results."""
        with self._file.changing() as records:
            self.line_item(course, item_id)
            del records.line_items[item_id]
            records.results.pop(item_id, None)

    def copy(self, source: Course, target: Course, links: Mapping[str, ResourceLink]) -> None:
        """Copy the columns of copied links, without results; ``links`` are the copies by the ids of the originals."""
        for item in self.line_items(source):
            copied = links.get(item.resource_link_id or "")
            if copied is not None:
                with self._file.changing() as records:
                    fresh = replace(
                        item,
                        id=records.take_id(),
                        course_id=target.canvas_id,
                        resource_link_id=copied.id,
                    )
                    records.line_items[fresh.id] = fresh

    def results(self, item: LineItem) -> list[Result]:
        """The results of a column, in the order in which people got their first."""
        with self._file.reading() as records:
            return list(records.results.get(item.id, {}).values())

    def result(self, item: LineItem, person: Person) -> Result | None:
        """Somebody's result in a column."""
        with self._file.reading() as records:
            return records.results.get(item.id, {}).get(person.canvas_id)

    def record(self, item: LineItem, score: Score) -> Result:
        """Take a score in. Raises `ServiceError` 400 unless it is newer than the one before."""
        with self._file.changing() as records:
            earlier = self.result(item, score.person)
            _check_newer(score, earlier)
            result = _next_result(records, item, score, earlier)
            self._scores.append(score)
            records.results.setdefault(item.id, {})[score.person.canvas_id] = result
            return result

    def save(self) -> None:
        """Write the file now; it is written soon in any case."""
        self._file.save()

    def _add(self, course: Course, fields: Mapping[str, Any]) -> LineItem:
        with self._file.changing() as records:
            item = LineItem(id=records.take_id(), course_id=course.canvas_id, **fields)
            records.line_items[item.id] = item
            return item

    def _add_link(self, course: Course, fields: Mapping[str, Any], url: str) -> ResourceLink:
        return self._links.add(
            course,
            title=fields["label"],
            url=url,
            place=Place.ASSIGNMENTS,
            client_id=fields.get("client_id"),
        )


def _next_result(records: Records, item: LineItem, score: Score, earlier: Result | None) -> Result:
    return Result(
        id=earlier.id if earlier else records.take_id(),
        line_item_id=item.id,
        person=score.person,
        score=_scaled(score, item),
        comment=score.comment,
        needs_grading=score.grading_progress == "PendingManual",
        attempt=(earlier.attempt if earlier else 0) + (score.starts_new_attempt or earlier is None),
        latest=score,
    )


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
