"""Registrations, logins under way, launches, and what the platform's services are owed."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Column, Index, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from app.courses.models import Role
from app.database import UtcDateTime, text_enum, utc_now

MAX_ID = 255
MAX_URL = 2000


class RegistrationState(StrEnum):
    """Whether launches of a platform, or of one of its deployments, are accepted: a pending one waits for approval."""

    ACTIVE = "active"
    PENDING = "pending"
    REMOVED = "removed"


class RegistrationSource(StrEnum):
    """Where a platform or deployment was written down; `tool_config.json` rules only over its own."""

    TOOL_CONFIG = "tool_config"
    COMMAND = "command"
    REGISTRATION = "registration"
    LAUNCH = "launch"


class ScoreState(StrEnum):
    """Where a score stands on its way to the platform. A superseded one was overtaken before it was sent."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class Platform(SQLModel, table=True):
    """A registration: the tool's client id at an issuer, with the issuer's addresses (LTI Security Framework 1.1).

    ``product`` (LTI's ``product_family_code``) is what its launches say of it. ``private_key_file`` is the one key of
    a `tool_config.json` entry that names its own.
    """

    __tablename__ = "platforms"
    __table_args__ = (UniqueConstraint("issuer", "client_id"),)

    id: int = Field(default=None, primary_key=True)
    issuer: str = Field(max_length=255)
    client_id: str = Field(max_length=255)
    auth_login_url: str = Field(max_length=2000)
    auth_token_url: str = Field(max_length=2000)
    key_set_url: str = Field(max_length=2000)
    auth_audience: str | None = Field(default=None, max_length=2000)
    private_key_file: str | None = Field(default=None, max_length=2000)
    product: str | None = Field(default=None, max_length=64)
    source: RegistrationSource = Field(sa_type=text_enum(RegistrationSource))
    workflow_state: RegistrationState = Field(
        default=RegistrationState.ACTIVE, sa_type=text_enum(RegistrationState)
    )
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Deployment(SQLModel, table=True):
    """One installation of the registered tool at a platform. Deployments share no courses.

    ``home_id`` is set on one that replaces another (a reinstalled tool): it opens that one's courses.
    ``platform_guid`` and ``platform_name`` are what its launches say of the platform instance that they come from (LTI
    Core 1.3, 5.4.2): schools that share a client are told apart by it.
    """

    __tablename__ = "deployments"
    __table_args__ = (UniqueConstraint("platform_id", "deployment_id"),)

    id: int = Field(default=None, primary_key=True)
    platform_id: int = Field(foreign_key="platforms.id")
    deployment_id: str = Field(max_length=255)
    home_id: int | None = Field(default=None, foreign_key="deployments.id")
    platform_guid: str | None = Field(default=None, max_length=MAX_ID)
    platform_name: str | None = Field(default=None, max_length=255)
    source: RegistrationSource = Field(sa_type=text_enum(RegistrationSource))
    workflow_state: RegistrationState = Field(
        default=RegistrationState.ACTIVE, sa_type=text_enum(RegistrationState)
    )
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)

    @property
    def courses_of(self) -> int:
        """The id of the deployment whose courses this one opens: itself, or the one that it replaces."""
        return self.home_id or self.id


class Invitation(SQLModel, table=True):
    """A link with which one platform may register itself, once (LTI Dynamic Registration 1.0). Its token is hashed."""

    __tablename__ = "invitations"

    id: int = Field(default=None, primary_key=True)
    token_hash: str = Field(max_length=64, unique=True)
    expires_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    platform_id: int | None = Field(default=None, foreign_key="platforms.id")
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Login(SQLModel, table=True):
    """A login between `/lti/login` and `/lti/launch`: state, nonce, platform and browser bound together, used once.

    ``browser_hash`` is of a secret that only the browser which began the login keeps, in a cookie or with the platform.
    ``request`` is what the platform sent, to begin again in a tab of its own.
    """

    __tablename__ = "logins"

    state: str = Field(primary_key=True, max_length=64)
    nonce: str = Field(max_length=128)
    platform_id: int = Field(foreign_key="platforms.id")
    browser_hash: str = Field(max_length=64)
    request: dict[str, str] = Field(sa_column=Column(JSON, nullable=False))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Launch(SQLModel, table=True):
    """One launch and the session that belongs to it; its id stands in the address, its cookie proves it.

    ``role`` is the one that it was opened with, None where that was not written down yet; what somebody may do is by
    their enrollment's, so that it changes in every tab at once. Where the browser keeps no cookies, ``key_hash`` is of
    the key that the address carries instead. ``deep_linking`` holds the settings of a deep linking request,
    ``received`` the claims (secrets masked) of an administrator's launch. ``line_item_id`` is the gradebook's column of
    the link that was opened.
    """

    __tablename__ = "launches"

    id: str = Field(primary_key=True, max_length=32)
    platform_id: int = Field(foreign_key="platforms.id")
    deployment_id: int = Field(foreign_key="deployments.id")
    user_id: int = Field(foreign_key="users.id", index=True)
    course_id: int = Field(foreign_key="courses.id")
    line_item_id: int | None = Field(default=None, foreign_key="line_items.id")
    role: Role | None = Field(default=None, sa_type=text_enum(Role))
    key_hash: str | None = Field(default=None, max_length=64)
    locale: str | None = Field(default=None, max_length=35)
    deep_linking: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    received: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON(none_as_null=True)))
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime, index=True)
    last_seen_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class CourseServices(SQLModel, table=True):
    """What the platform offers for a course, as the latest launch said: roster (NRPS 2.0) and line items (AGS 2.0).

    ``grade_scopes`` are those that the platform grants. The roster was last read whole at ``roster_synced_at``;
    ``roster_due_at`` is when it is to be read (again): None when nobody wants it, in the future while somebody reads.
    """

    __tablename__ = "course_services"

    course_id: int = Field(primary_key=True, foreign_key="courses.id")
    roster_url: str | None = Field(default=None, max_length=MAX_URL)
    line_items_url: str | None = Field(default=None, max_length=MAX_URL)
    grade_scopes: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))
    roster_synced_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    roster_due_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    roster_attempts: int = 0
    roster_error: str | None = Field(default=None, max_length=300)


class LineItem(SQLModel, table=True):
    """A column of the platform's gradebook that belongs to an experience (AGS 2.0, section 3.1).

    ``resource_link_id`` is that of the assignment it came with; None for one that the tool made by itself.
    ``score_maximum`` is None until the platform has told it, for which it is asked at ``read_due_at``: None where it is
    not to be asked.
    """

    __tablename__ = "line_items"
    __table_args__ = (UniqueConstraint("experience_id", "url"),)

    id: int = Field(default=None, primary_key=True)
    course_id: int = Field(foreign_key="courses.id")
    experience_id: int = Field(foreign_key="experiences.id")
    url: str = Field(max_length=MAX_URL)
    label: str | None = Field(default=None, max_length=255)
    score_maximum: float | None = None
    read_due_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    resource_link_id: str | None = Field(default=None, max_length=MAX_ID)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Score(SQLModel, table=True):
    """A score on its way to a line item, kept until the platform has it (AGS 2.0, section 3.4).

    ``line_item_id`` is None until the experience's line item has been made. ``score_given`` is in points of the line
    item's maximum; None hands work in without a grade. ``timestamp`` grows with each score of a person. A waiting one
    is due at ``due_at``, which the worker that sends it moves ahead.
    """

    __tablename__ = "scores"
    __table_args__ = (
        Index(
            "ix_scores_due",
            "due_at",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        Index("ix_scores_latest", "experience_id", "user_id", "id"),
    )

    id: int = Field(default=None, primary_key=True)
    course_id: int = Field(foreign_key="courses.id")
    experience_id: int = Field(foreign_key="experiences.id")
    user_id: int = Field(foreign_key="users.id")
    line_item_id: int | None = Field(default=None, foreign_key="line_items.id")
    conversation_id: int | None = Field(default=None, foreign_key="conversations.id")
    score_given: float | None = None
    score_maximum: float | None = None
    comment: str | None = Field(default=None, sa_type=Text)
    activity_progress: str = Field(max_length=20)
    grading_progress: str = Field(max_length=20)
    new_submission: bool = False
    timestamp: datetime = Field(sa_type=UtcDateTime)
    state: ScoreState = Field(default=ScoreState.WAITING, sa_type=text_enum(ScoreState))
    attempts: int = 0
    due_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    error: str | None = Field(default=None, max_length=300)
    created_by_id: int | None = Field(default=None, foreign_key="users.id")
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
