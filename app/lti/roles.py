"""The one table that maps LTI's roles to this tool's (LTI Core 1.3, appendix A; Canvas's roles)."""

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class CourseRole:
    """What the roles of one launch come to. ``is_administrator`` is of the institution, whatever the course role."""

    role: Role
    is_teaching_assistant: bool = False
    is_test: bool = False
    is_administrator: bool = False


def course_role(roles: tuple[str, ...]) -> CourseRole | None:
    """Map the roles claim, full or short form, to a role in the course; None where no role is known."""
    held = {_full_form(role) for role in roles}
    role = next((role for uri, role in _COURSE_ROLES + _ADMINISTRATORS if uri in held), None)
    if role is None:
        return None
    return CourseRole(
        role,
        is_teaching_assistant=TEACHING_ASSISTANT in held,
        is_test=TEST_USER in held,
        is_administrator=any(uri in held for uri, _ in _ADMINISTRATORS),
    )


def _full_form(role: str) -> str:
    """Write out a membership role's short form (LTI Core 1.3, A.2.3.1), for example ``Learner``."""
    return role if ":" in role else _MEMBERSHIP + role
