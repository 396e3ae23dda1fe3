"""Reading what the tool sends to the grade services, and refusing what Canvas would refuse."""

from collections.abc import Mapping
from datetime import datetime
from math import isfinite
from typing import Any

from app.sandbox.directory import Directory
from app.sandbox.errors import ServiceError
from app.sandbox.gradebook import SUBMISSION, SUBMISSION_TYPE, LineItem, Score
from app.sandbox.people import CanvasRole, Course, Person

ACTIVITY_PROGRESS = frozenset({"Initialized", "Started", "InProgress", "Submitted", "Completed"})
GRADING_PROGRESS = frozenset({"FullyGraded", "Pending", "PendingManual", "Failed", "NotReady"})
SUBMISSION_TYPES = frozenset(
    {"none", "basic_lti_launch", "online_text_entry", "external_tool", "online_upload", "online_url"}
)
LINE_ITEM_FIELDS: Mapping[str, str] = {
    "label": "label",
    "scoreMaximum": "score_maximum",
    "tag": "tag",
    "resourceId": "resource_id",
    "resourceLinkId": "resource_link_id",
    "startDateTime": "starts_at",
    "endDateTime": "ends_at",
    SUBMISSION_TYPE: "submission_type",
    "submissionReview": "submission_review",
}
# A line item keeps its place in the course, whatever an update says.
FIXED_FIELDS = frozenset({"resource_link_id", "submission_type"})


def read_new_line_item(body: object) -> dict[str, Any]:
    """The fields of a line item to make. Raises `ServiceError` 422 where one is missing or wrong."""
    fields = _line_item_fields(_object(body))
    for name, key in (("label", "label"), ("scoreMaximum", "score_maximum")):
        if key not in fields:
            raise ServiceError(422, f"{name} is missing")
    return fields


def read_changed_line_item(body: object) -> dict[str, Any]:
    """The fields of a line item to change."""
    fields = _line_item_fields(_object(body))
    return {key: value for key, value in fields.items() if key not in FIXED_FIELDS}


def read_score(body: object, *, item: LineItem, course: Course, directory: Directory) -> Score:
    """A score out of a request. Raises `ServiceError` 400, 404 or 422 with Canvas's reasons."""
    message = _object(body)
    _check_required(message)
    timestamp = _timestamp(message["timestamp"])
    given, maximum = _points(message)
    return Score(
        line_item_id=item.id,
        person=_student(message["userId"], course, directory),
        timestamp=timestamp,
        activity_progress=_one_of(message, "activityProgress", ACTIVITY_PROGRESS),
        grading_progress=_one_of(message, "gradingProgress", GRADING_PROGRESS),
        score_given=given,
        score_maximum=maximum,
        comment=_text_or_none(message, "comment"),
        submission=_submission(message),
    )


def _object(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise ServiceError(400, "The body must be a JSON object.")
    return body


def _line_item_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    fields = {LINE_ITEM_FIELDS[name]: value for name, value in body.items() if name in LINE_ITEM_FIELDS}
    if "label" in fields and (not isinstance(fields["label"], str) or not fields["label"].strip()):
        raise ServiceError(422, "label must be a text that is not empty")
    if "score_maximum" in fields:
        fields["score_maximum"] = _positive(fields["score_maximum"])
    for name in (SUBMISSION_TYPE, "submissionReview"):
        if not isinstance(body.get(name, {}), dict):
            raise ServiceError(422, f"{name} must be an object")
    return fields


def _positive(value: object) -> float:
    number = _number(value, "scoreMaximum")
    if number <= 0:
        raise ServiceError(422, "scoreMaximum must be greater than 0")
    return number


def _check_required(message: Mapping[str, Any]) -> None:
    for name in ("userId", "activityProgress", "gradingProgress", "timestamp"):
        if not message.get(name):
            raise ServiceError(422, f"{name} is missing")


def _timestamp(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ServiceError(400, f"Provided timestamp of {value} not a valid timestamp.")
    return moment


def _points(message: Mapping[str, Any]) -> tuple[float | None, float | None]:
    given, maximum = message.get("scoreGiven"), message.get("scoreMaximum")
    if given is None:
        return None, None if maximum is None else _positive(maximum)
    if maximum is None:
        raise ServiceError(422, "scoreMaximum must be present if scoreGiven is present")
    number = _number(given, "scoreGiven")
    if number < 0:
        raise ServiceError(422, "scoreGiven must be greater than or equal to 0")
    return number, _positive(maximum)


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ServiceError(422, f"{name} must be a number")
    return value


def _student(user_id: object, course: Course, directory: Directory) -> Person:
    person = directory.person(str(user_id))
    if person is None:
        raise ServiceError(404, "User not found")
    roles = {entry.role for entry in directory.enrollments_of(person, course)}
    if CanvasRole.STUDENT_VIEW in roles:
        raise ServiceError(422, "User is a test student and takes no scores")
    if CanvasRole.STUDENT not in roles:
        raise ServiceError(422, "User not found in course or is not a student")
    return person


def _one_of(message: Mapping[str, Any], name: str, known: frozenset[str]) -> str:
    value = str(message[name])
    if value not in known:
        raise ServiceError(422, f"{name} must be one of {', '.join(sorted(known))}")
    return value


def _text_or_none(message: Mapping[str, Any], name: str) -> str | None:
    value = message.get(name)
    return None if value is None else str(value)


def _submission(message: Mapping[str, Any]) -> Mapping[str, Any]:
    extension = message.get(SUBMISSION, {})
    if not isinstance(extension, dict):
        raise ServiceError(422, f"{SUBMISSION} must be an object")
    kind = extension.get("submission_type")
    if kind is not None and kind not in SUBMISSION_TYPES:
        raise ServiceError(422, f"submission_type must be one of {', '.join(sorted(SUBMISSION_TYPES))}")
    return dict(extension)
