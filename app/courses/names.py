"""What to call people, and what they are in a course."""

from hashlib import sha256
from typing import Protocol

from flask_babel import gettext
from flask_babel import lazy_gettext as _l

from app.courses.models import Role

_ROLE_NAMES = {
    Role.TEACHER: _l("Teacher"),
    Role.ADMINISTRATOR: _l("Administrator"),
    Role.DESIGNER: _l("Designer"),
    Role.STUDENT: _l("Student"),
    Role.OBSERVER: _l("Observer"),
}


class Named(Protocol):
    """Somebody as a platform knows them, of whom a part may have been loaded: `User` and what lists have of it."""

    @property
    def sub(self) -> str:
        """Their id at the platform."""

    @property
    def name(self) -> str | None:
        """Their name, where it came."""


def role_name(role: Role, *, is_teaching_assistant: bool = False) -> str:
    """Return what a role is called; a teacher may be there as a teaching assistant."""
    if role is Role.TEACHER and is_teaching_assistant:
        return str(gettext("Teaching assistant"))
    return str(_ROLE_NAMES[role])


def person_name(user: Named, role: Role = Role.STUDENT) -> str:
    """Return a person's name, or for one whose name never came a role and a short code."""
    if user.name:
        return user.name
    code = sha256(user.sub.encode()).hexdigest()[:4]
    if role is Role.STUDENT:
        return str(gettext("Student %(code)s", code=code))
    return str(gettext("Person %(code)s", code=code))
