"""People, courses, and who is in which."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, Column, Index, UniqueConstraint, and_, or_
from sqlmodel import Field, SQLModel, col

from app.database import UtcDateTime, text_enum, utc_now

MAX_NAME = 255


class Role(StrEnum):
    """What a person is in a course, in this tool's terms. `app.lti.roles` maps LTI's roles to it."""

    TEACHER = "teacher"
    ADMINISTRATOR = "administrator"
    DESIGNER = "designer"
    STUDENT = "student"
    OBSERVER = "observer"


class EnrollmentState(StrEnum):
    """Whether somebody is in the course. The work of those who left is kept."""

    ACTIVE = "active"
    LEFT = "left"


class User(SQLModel, table=True):
    """A person as one platform knows them: ``sub`` is unique within the platform only.

    A platform that merges two accounts may go on using the older ``sub`` in some courses: ``merged_into_id`` is then
    the person that it stands for.
    """

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("platform_id", "sub"),)

    id: int = Field(default=None, primary_key=True)
    platform_id: int = Field(foreign_key="platforms.id")
    sub: str = Field(max_length=255)
    canvas_user_id: str | None = Field(default=None, max_length=64)
    name: str | None = Field(default=None, max_length=MAX_NAME)
    avatar_url: str | None = Field(default=None, max_length=2000)
    merged_into_id: int | None = Field(default=None, foreign_key="users.id")
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Course(SQLModel, table=True):
    """A course as one deployment at a platform knows it: LTI's context, whose id is unique within a deployment only.

    ``history`` are the context ids of the courses that it was copied from, the latest first, where the platform vouches
    for them. ``claimed_history`` is what a teacher may have written: it gives nobody a right.
    """

    __tablename__ = "courses"
    __table_args__ = (UniqueConstraint("deployment_id", "context_id"),)

    id: int = Field(default=None, primary_key=True)
    platform_id: int = Field(foreign_key="platforms.id", index=True)
    deployment_id: int = Field(foreign_key="deployments.id")
    context_id: str = Field(max_length=255)
    canvas_course_id: str | None = Field(default=None, max_length=64, index=True)
    title: str | None = Field(default=None, max_length=MAX_NAME)
    label: str | None = Field(default=None, max_length=MAX_NAME)
    history: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    claimed_history: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Enrollment(SQLModel, table=True):
    """A person's place in a course, as the last launch or the roster told it.

    A teaching assistant is a teacher with ``is_teaching_assistant``; ``is_test`` is Canvas's student view;
    ``is_administrator`` marks those who administer the platform, whatever they are in the course.
    ``last_launch_at`` is None for somebody whom only the roster names.
    """

    __tablename__ = "enrollments"
    __table_args__ = (
        UniqueConstraint("course_id", "user_id"),
        Index("ix_enrollments_class", "course_id", "role", "is_test", "workflow_state", "user_id"),
    )

    id: int = Field(default=None, primary_key=True)
    course_id: int = Field(foreign_key="courses.id")
    user_id: int = Field(foreign_key="users.id", index=True)
    role: Role = Field(sa_type=text_enum(Role))
    is_teaching_assistant: bool = False
    is_test: bool = False
    is_administrator: bool = False
    workflow_state: EnrollmentState = Field(
        default=EnrollmentState.ACTIVE, sa_type=text_enum(EnrollmentState)
    )
    last_launch_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


# The students of a course, without Canvas's student view and those who left. `ix_enrollments_class` finds them.
IN_CLASS = and_(
    col(Enrollment.role) == Role.STUDENT,
    col(Enrollment.is_test).is_(False),
    col(Enrollment.workflow_state) == EnrollmentState.ACTIVE,
)

# Those whom no class list names, although they may open the course.
ADMINISTERS = or_(col(Enrollment.role) == Role.ADMINISTRATOR, col(Enrollment.is_administrator))
