"""Platforms, deployments, logins under way, and launches."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, SQLModel

from app.database import UtcDateTime, text_enum, utc_now


class RegistrationState(StrEnum):
    """Whether launches of a platform, or of one of its deployments, are accepted."""

    ACTIVE = "active"
    REMOVED = "removed"


class RegistrationSource(StrEnum):
    """Where a platform or deployment was written down; `tool_config.json` rules only over its own."""

    TOOL_CONFIG = "tool_config"
    COMMAND = "command"


class Platform(SQLModel, table=True):
    """A registration: the tool's client id at an issuer, with the issuer's addresses (LTI Security Framework 1.1)."""

    __tablename__ = "platforms"
    __table_args__ = (UniqueConstraint("issuer", "client_id"),)

    id: int = Field(default=None, primary_key=True)
    issuer: str = Field(max_length=255)
    client_id: str = Field(max_length=255)
    auth_login_url: str = Field(max_length=2000)
    auth_token_url: str = Field(max_length=2000)
    key_set_url: str = Field(max_length=2000)
    auth_audience: str | None = Field(default=None, max_length=2000)
    source: RegistrationSource = Field(sa_type=text_enum(RegistrationSource))
    workflow_state: RegistrationState = Field(
        default=RegistrationState.ACTIVE, sa_type=text_enum(RegistrationState)
    )
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)


class Deployment(SQLModel, table=True):
    """One installation of the registered tool at a platform."""

    __tablename__ = "deployments"
    __table_args__ = (UniqueConstraint("platform_id", "deployment_id"),)

    id: int = Field(default=None, primary_key=True)
    platform_id: int = Field(foreign_key="platforms.id")
    deployment_id: str = Field(max_length=255)
    source: RegistrationSource = Field(sa_type=text_enum(RegistrationSource))
    workflow_state: RegistrationState = Field(
        default=RegistrationState.ACTIVE, sa_type=text_enum(RegistrationState)
    )


class Login(SQLModel, table=True):
    """A login between `/lti/login` and `/lti/launch`: state, nonce, platform and browser bound together, used once."""

    __tablename__ = "logins"

    state: str = Field(primary_key=True, max_length=64)
    nonce: str = Field(max_length=128)
    platform_id: int = Field(foreign_key="platforms.id")
    target_link_uri: str | None = Field(default=None, max_length=2000)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Launch(SQLModel, table=True):
    """One launch and the session that belongs to it; its id stands in the address, its cookie proves it.

    The role is the enrollment's, so that it changes in every tab at once.
    """

    __tablename__ = "launches"

    id: str = Field(primary_key=True, max_length=32)
    platform_id: int = Field(foreign_key="platforms.id")
    deployment_id: int = Field(foreign_key="deployments.id")
    user_id: int = Field(foreign_key="users.id", index=True)
    course_id: int = Field(foreign_key="courses.id")
    resource_link_id: str = Field(max_length=255)
    locale: str | None = Field(default=None, max_length=35)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
    last_seen_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)
