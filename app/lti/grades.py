"""Scores for the platform's gradebook (LTI Assignment and Grade Services 2.0): what is sent for whom, and when."""

from typing import Any

from sqlmodel import Session

from app.database import upsert
from app.lti.models import LineItem

LINE_ITEM_TAG = "ai-experiences"


def resource_id_of(experience_id: int) -> str:
    """Return what a line item of an experience carries as ``resourceId``, so that it is found again (section 3.1.3)."""
    return f"experience-{experience_id}"


def record_line_item(
    session: Session,
    course_id: int,
    experience_id: int,
    url: str,
    resource_link_id: str | None = None,
    *,
    label: str | None = None,
    score_maximum: float | None = None,
) -> LineItem:
    """Write down a column of the gradebook as an experience's, as a launch or the platform tells of it.

    ``label`` and ``score_maximum`` are the column's own; what is None stays as it was.
    """
    known: dict[str, Any] = {
        "resource_link_id": resource_link_id,
        "label": label,
        "score_maximum": score_maximum,
    }
    values = {"course_id": course_id} | {name: value for name, value in known.items() if value is not None}
    return upsert(session, LineItem, key={"experience_id": experience_id, "url": url}, values=values)
