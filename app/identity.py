"""Who is acting, and the one table of what each role may do."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from app.courses.models import Course, Enrollment, Role, User
from app.errors import ForbiddenError


class Right(StrEnum):
    """Something that may be allowed or not, within one course."""

    WRITE_EXPERIENCES = "write experiences"
    TRY_EXPERIENCES = "try experiences as a student would"
    CONVERSE = "hold conversations"
    READ_TRANSCRIPTS = "read students' conversations"
    GRADE = "give grades"
    MAKE_TOKENS = "make access tokens for programs of one's own"
    ADMINISTER_PLATFORM = "see how the platform is set up, and approve its deployments"


_TEACHING = frozenset(
    {
        Right.WRITE_EXPERIENCES,
        Right.TRY_EXPERIENCES,
        Right.READ_TRANSCRIPTS,
        Right.GRADE,
        Right.MAKE_TOKENS,
    }
)
RIGHTS: dict[Role, frozenset[Right]] = {
    Role.TEACHER: _TEACHING,
    Role.ADMINISTRATOR: _TEACHING,
    Role.DESIGNER: _TEACHING - {Right.READ_TRANSCRIPTS, Right.GRADE},
    Role.STUDENT: frozenset({Right.CONVERSE}),
    Role.OBSERVER: frozenset(),
}


def roles_with(right: Right) -> list[Role]:
    """Return the roles that have a right."""
    return [role for role, rights in RIGHTS.items() if right in rights]


def keeps_rights(before: Role, now: Role) -> bool:
    """Tell whether somebody may still do in one role what another allowed. Trying an experience is conversing, too."""
    lost = RIGHTS[before] - RIGHTS[now]
    return not lost or (lost == {Right.CONVERSE} and Right.TRY_EXPERIENCES in RIGHTS[now])


@dataclass(frozen=True, slots=True)
class Identity:
    """A person in a course, as a launch or a token vouches for them.

    A teaching assistant is a teacher with ``is_teaching_assistant``. ``is_test`` marks Canvas's student view, whose
    work stays out of every class figure. ``is_administrator`` marks those who administer the platform, whatever they
    are in the course.
    """

    user: User
    course: Course
    role: Role
    is_teaching_assistant: bool = False
    is_test: bool = False
    is_administrator: bool = False

    @classmethod
    def enrolled(cls, user: User, course: Course, place: Enrollment) -> Self:
        """Return who somebody is by their enrollment in the course."""
        return cls(
            user=user,
            course=course,
            role=place.role,
            is_teaching_assistant=place.is_teaching_assistant,
            is_test=place.is_test,
            is_administrator=place.is_administrator,
        )

    def may(self, right: Right) -> bool:
        """Tell whether the person has the right: by the role, or as the platform's administrator."""
        return right in RIGHTS[self.role] or (self.is_administrator and right is Right.ADMINISTER_PLATFORM)

    def require(self, right: Right) -> None:
        """Raise `ForbiddenError` unless the role has the right."""
        if not self.may(right):
            raise ForbiddenError(log=f"{self.role} may not {right}")

    @property
    def may_hold_conversations(self) -> bool:
        """True for students, and for those who try what students will see. Everyone may read what is published."""
        return self.may(Right.CONVERSE) or self.may(Right.TRY_EXPERIENCES)

    def require_conversations(self) -> None:
        """Raise `ForbiddenError` unless the role may hold conversations."""
        if not self.may_hold_conversations:
            raise ForbiddenError(log=f"{self.role} may not hold conversations")

    @property
    def converses_as_preview(self) -> bool:
        """True for those whose own conversations are trials, kept out of every figure."""
        return self.is_test or not self.may(Right.CONVERSE)
