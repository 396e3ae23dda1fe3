"""People and courses, written down as launches tell of them."""

from dataclasses import dataclass

from sqlmodel import Session

from app.courses.models import Course, Enrollment, Role, User
from app.database import upsert, utc_now


@dataclass(frozen=True, slots=True)
class Visit:
    """Who came into which course as what. None where the platform did not say."""

    sub: str
    context_id: str
    role: Role
    is_teaching_assistant: bool = False
    is_test: bool = False
    name: str | None = None
    avatar_url: str | None = None
    canvas_user_id: str | None = None
    canvas_course_id: str | None = None
    course_title: str | None = None
    course_label: str | None = None


def record_visit(session: Session, platform_id: int, visit: Visit) -> Enrollment:
    """Write down person, course and enrollment. The role is the visit's; what it leaves blank stays as it was."""
    course = upsert(
        session,
        Course,
        key={"platform_id": platform_id, "context_id": visit.context_id},
        values=_known(
            canvas_course_id=visit.canvas_course_id, title=visit.course_title, label=visit.course_label
        ),
    )
    user = upsert(
        session,
        User,
        key={"platform_id": platform_id, "sub": visit.sub},
        values=_known(canvas_user_id=visit.canvas_user_id, name=visit.name, avatar_url=visit.avatar_url),
    )
    return upsert(
        session,
        Enrollment,
        key={"course_id": course.id, "user_id": user.id},
        values={
            "role": visit.role,
            "is_teaching_assistant": visit.is_teaching_assistant,
            "is_test": visit.is_test,
            "last_launch_at": utc_now(),
        },
    )


def _known(**values: str | None) -> dict[str, str | None]:
    return {name: value for name, value in values.items() if value is not None}
