"""What to call people."""

from hashlib import sha256

from flask_babel import gettext

from app.courses.models import Role, User


def person_name(user: User, role: Role = Role.STUDENT) -> str:
    """Return a person's name, or for one whose name never came a role and a short code."""
    if user.name:
        return user.name
    code = sha256(user.sub.encode()).hexdigest()[:4]
    if role is Role.STUDENT:
        return str(gettext("Student %(code)s", code=code))
    return str(gettext("Person %(code)s", code=code))
