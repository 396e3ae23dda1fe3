"""The one table that maps LTI's roles to this tool's (LTI Core 1.3, appendix A; Canvas's roles)."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

from app.courses.models import Role

_LIS = "http://purl.imsglobal.org/vocab/lis/v2/"
_MEMBERSHIP = _LIS + "membership#"
_SUB_ROLE = _LIS + "membership/"
_INSTITUTION = _LIS + "institution/person#"
_SYSTEM = _LIS + "system/person#"
TEST_USER = "http://purl.imsglobal.org/vocab/lti/system/person#TestUser"
TEACHING_ASSISTANT = _SUB_ROLE + "Instructor#TeachingAssistant"

# Course roles, strongest first: the first that a person holds is theirs.
_COURSE_ROLES: tuple[tuple[str, Role], ...] = (
    (_MEMBERSHIP + "Instructor", Role.TEACHER),
    (TEACHING_ASSISTANT, Role.TEACHER),
    (_MEMBERSHIP + "Administrator", Role.ADMINISTRATOR),
    (_MEMBERSHIP + "ContentDeveloper", Role.DESIGNER),
    (_MEMBERSHIP + "Learner", Role.STUDENT),
    (_MEMBERSHIP + "Mentor", Role.OBSERVER),
)
# Where no course role came, administrators of the institution or the system still may. Other roles from there do not
# count: who teaches one course is nobody in another.
_ADMINISTRATORS: tuple[tuple[str, Role], ...] = (
    (_INSTITUTION + "Administrator", Role.ADMINISTRATOR),
    (_SYSTEM + "Administrator", Role.ADMINISTRATOR),
    (_SYSTEM + "SysAdmin", Role.ADMINISTRATOR),
)
_TABLE = dict(_COURSE_ROLES + _ADMINISTRATORS)  # in order


@dataclass(frozen=True, slots=True)
class CourseRole:
    """What the roles of one launch come to. ``is_administrator`` is of the institution, whatever the course role."""

    role: Role
    is_teaching_assistant: bool = False
    is_test: bool = False
    is_administrator: bool = False


class RoleUse(StrEnum):
    """What one of the roles of a launch does.

    One decides the role in the course, unless all that came is a role that administers the platform.
    """

    DECIDES = "decides"
    OUTRANKED = "outranked"
    MARKS = "marks"
    ADMINISTERS = "administers"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ExplainedRole:
    """A role as it was received. ``role`` is what the table makes of it, None where it is not in the table."""

    received: str
    role: Role | None
    use: RoleUse


def read_roles(claim: object) -> tuple[str, ...]:
    """Return the roles in what a platform sent; none where it is no list."""
    return tuple(role for role in claim if isinstance(role, str)) if isinstance(claim, list) else ()


def course_role(roles: tuple[str, ...]) -> CourseRole | None:
    """Map the roles claim, full or short form, to a role in the course; None where no role is known."""
    held = {_full_form(role) for role in roles}
    deciding = _deciding(held)
    if deciding is None:
        return None
    return CourseRole(
        _TABLE[deciding],
        is_teaching_assistant=TEACHING_ASSISTANT in held,
        is_test=TEST_USER in held,
        is_administrator=any(uri in held for uri, _ in _ADMINISTRATORS),
    )


def explain_roles(roles: Sequence[str]) -> list[ExplainedRole]:
    """Say of each role of a launch what it comes to, and why it comes to nothing."""
    deciding = _deciding({_full_form(role) for role in roles})
    return [
        ExplainedRole(role, _TABLE.get(_full_form(role)), _use(_full_form(role), deciding)) for role in roles
    ]


def _deciding(held: Set[str]) -> str | None:
    return next((uri for uri in _TABLE if uri in held), None)


def _use(uri: str, deciding: str | None) -> RoleUse:
    if uri in dict(_ADMINISTRATORS):
        return RoleUse.ADMINISTERS
    if uri == deciding:
        return RoleUse.DECIDES
    if uri in {TEST_USER, TEACHING_ASSISTANT}:
        return RoleUse.MARKS
    if uri in _TABLE:
        return RoleUse.OUTRANKED
    return RoleUse.ELSEWHERE if uri.startswith((_INSTITUTION, _SYSTEM)) else RoleUse.UNKNOWN


def _full_form(role: str) -> str:
    """Write out a membership role's short form (LTI Core 1.3, A.2.3.1), for example ``Learner``."""
    return role if ":" in role else _MEMBERSHIP + role
