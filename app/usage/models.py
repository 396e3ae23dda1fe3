"""Counters: what a person has done in the day or minute under way, and what a course's models have cost in a month."""

from datetime import date, datetime

from sqlalchemy import BigInteger
from sqlmodel import Field, SQLModel

from app.database import UtcDateTime, utc_now


class Use(SQLModel, table=True):
    """How often a person has done a kind of thing since `begins_at`, the beginning of a day or a minute.

    Forgotten after two days. No foreign key: of two people who are linked, the other's counts just run out.
    """

    __tablename__ = "uses"

    user_id: int = Field(primary_key=True)
    kind: str = Field(primary_key=True, max_length=20)
    begins_at: datetime = Field(sa_type=UtcDateTime)
    count: int = 1


class CourseBudget(SQLModel, table=True):
    """How many tokens a course may use in a month, where an administrator has decided it for this course."""

    __tablename__ = "course_budgets"

    course_id: int = Field(foreign_key="courses.id", primary_key=True)
    tokens: int = Field(sa_type=BigInteger)
    updated_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class CourseTokens(SQLModel, table=True):
    """Tokens that a course has used in the month that begins on `month`; ``estimated`` of them no server has counted.

    Several rows a month, told apart by ``part``: replies that end together need not wait for one another to be counted.
    """

    __tablename__ = "course_tokens"

    course_id: int = Field(foreign_key="courses.id", primary_key=True)
    month: date = Field(primary_key=True)
    part: int = Field(primary_key=True)
    used: int = Field(default=0, sa_type=BigInteger)
    estimated: int = Field(default=0, sa_type=BigInteger)
