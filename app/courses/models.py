"""People, courses, and who is in which."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from app.database import UtcDateTime, text_enum, utc_now

MAX_NAME = 255


class Role(StrEnum):
    """What a person is in a course, in this tool's terms. `app.lti.roles` maps LTI's roles to it."""

    TEACHER = "teacher"
    ADMINISTRATOR = "administrator"
    DESIGNER = "designer"
    STUDENT = "student"
    OBSERVER = "observer"


class User(SQLModel, table=True):
    """A person as one platform knows them: ``sub`` is unique within the platform only."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("platform_id", "sub"),)

    id: int = Field(default=None, primary_key=True)
    platform_id: int = Field(foreign_key="platforms.id")
    sub: str = Field(max_length=255)
    canvas_user_id: str | None = Field(default=None, max_length=64)
    name: str | None = Field(default=None, max_length=MAX_NAME)
    avatar_url: str | None = Field(default=None, max_length=2000)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Course(SQLModel, table=True):
    """A course as one platform knows it: LTI's context."""

    __tablename__ = "courses"
    __table_args__ = (UniqueConstraint("platform_id", "context_id"),)

    id: int = Field(default=None, primary_key=True)
    platform_id: int = Field(foreign_key="platforms.id")
    context_id: str = Field(max_length=255)
    canvas_course_id: str | None = Field(default=None, max_length=64, index=True)
    title: str | None = Field(default=None, max_length=MAX_NAME)
    label: str | None = Field(default=None, max_length=MAX_NAME)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Enrollment(SQLModel, table=True):
    """A person's place in a course, as the last launch told it.

    A teaching assistant is a teacher with ``is_teaching_assistant``; ``is_test`` is Canvas's student view.
    """

    __tablename__ = "enrollments"
    __table_args__ = (UniqueConstraint("course_id", "user_id"),)

    id: int = Field(default=None, primary_key=True)
    course_id: int = Field(foreign_key="courses.id")
    user_id: int = Field(foreign_key="users.id", index=True)
    role: Role = Field(sa_type=text_enum(Role))
    is_teaching_assistant: bool = False
    is_test: bool = False
    last_launch_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
