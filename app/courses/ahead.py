"""Courses and people written down ahead of the platform's first word of them, by their Canvas ids.

What stands for the id that the platform will send begins with a character that no platform may send, so that none can
claim it: `app.lti` takes a row over where a launch vouches for its Canvas id.
"""

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Mapped

_MARK = "\x1f"  # not printable, as ids in launches and class lists must be


def placeholder_id(deployment_id: int, canvas_id: str) -> str:
    """Return what stands for the ``sub`` of a person, or for a course's context id, in a deployment's courses."""
    return f"{_MARK}{deployment_id}:{canvas_id}"


def service_sub(client_id: str) -> str:
    """Return the ``sub`` of the person as whom a program acts."""
    return f"{_MARK}service:{client_id}"


def is_placeholder(identifier: Mapped[str]) -> ColumnElement[bool]:
    """Return the condition that an id is no platform's."""
    return identifier.startswith(_MARK)
