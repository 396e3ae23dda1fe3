"""Programs that may ask for tokens, what people allowed them, and the tokens. Of every secret only a hash is kept."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column
from sqlmodel import Field, SQLModel

from app.courses.models import MAX_NAME
from app.database import UtcDateTime, text_enum, utc_now
from app.lti.models import MAX_URL, RegistrationState

HASH_LENGTH = 64


def _json(*, nullable: bool = True) -> Any:  # noqa: ANN401 - SQLModel declares columns as any field
    return Column(JSON(none_as_null=True), nullable=nullable)


class OAuthClient(SQLModel, table=True):
    """A program that asks for tokens at one platform, or for the courses of one of its deployments alone.

    One without secret and keys is public (RFC 6749, section 2.1). ``scopes`` are all that it may ever get, None for no
    limit. ``service_user_id`` is set on one that may act for the platform itself, by client credentials.
    """

    __tablename__ = "oauth_clients"

    id: int = Field(default=None, primary_key=True)
    platform_id: int = Field(foreign_key="platforms.id", index=True)
    deployment_id: int | None = Field(default=None, foreign_key="deployments.id")
    client_id: str = Field(max_length=64, unique=True)
    secret_hash: str | None = Field(default=None, max_length=HASH_LENGTH, repr=False)
    jwks: dict[str, Any] | None = Field(default=None, sa_column=_json())
    jwks_url: str | None = Field(default=None, max_length=MAX_URL)
    name: str = Field(max_length=MAX_NAME)
    redirect_uris: list[str] = Field(default_factory=list, sa_column=_json(nullable=False))
    scopes: list[str] | None = Field(default=None, sa_column=_json())
    service_user_id: int | None = Field(default=None, foreign_key="users.id")
    workflow_state: RegistrationState = Field(
        default=RegistrationState.ACTIVE, sa_type=text_enum(RegistrationState)
    )
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)

    @property
    def is_public(self) -> bool:
        """True for a program that can keep no secret, such as one in a browser or on a phone."""
        return not (self.secret_hash or self.jwks or self.jwks_url)


class AccessToken(SQLModel, table=True):
    """Leave to use the API as a person, no further than that person may now; with ``is_service``, for the platform.

    ``client_id`` is None for a personal token and for one that a command made. ``deployment_id`` narrows it to that
    deployment's courses. ``scopes`` None: whatever its person may do. A refreshed token keeps its row, so that the row
    stands for all that came of one consent: ``refresh_hash`` is of the lasting part of its refresh token,
    ``rotation_hash`` of the part that changes with every use where the program is public. ``granted_scopes`` are those
    of the consent, of which a refreshed token may ask for fewer.
    """

    __tablename__ = "access_tokens"

    id: int = Field(default=None, primary_key=True)
    token_hash: str = Field(max_length=HASH_LENGTH, unique=True, repr=False)
    hint: str = Field(max_length=16)
    refresh_hash: str | None = Field(default=None, max_length=HASH_LENGTH, unique=True, repr=False)
    rotation_hash: str | None = Field(default=None, max_length=HASH_LENGTH, repr=False)
    platform_id: int = Field(foreign_key="platforms.id")
    deployment_id: int | None = Field(default=None, foreign_key="deployments.id")
    user_id: int = Field(foreign_key="users.id", index=True)
    client_id: int | None = Field(default=None, foreign_key="oauth_clients.id", index=True)
    is_service: bool = False
    name: str | None = Field(default=None, max_length=MAX_NAME)
    scopes: list[str] | None = Field(default=None, sa_column=_json())
    granted_scopes: list[str] | None = Field(default=None, sa_column=_json())
    expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    refresh_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoked_at: datetime | None = Field(default=None, sa_type=UtcDateTime, index=True)
    last_used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_by_id: int | None = Field(default=None, foreign_key="users.id")
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime)

    @property
    def is_expired(self) -> bool:
        """True for a token whose time is over."""
        return self.expires_at is not None and self.expires_at <= utc_now()


class AuthorizationCode(SQLModel, table=True):
    """What a person allowed a program, on its way to a token (RFC 6749, section 4.1.2).

    ``deployment_id`` is where the person was signed in. ``redirect_uri`` is None where the request left it out.
    ``access_token_id`` is what came of the code: revoked when the code comes again.
    """

    __tablename__ = "authorization_codes"

    code_hash: str = Field(primary_key=True, max_length=HASH_LENGTH)
    client_id: int = Field(foreign_key="oauth_clients.id")
    user_id: int = Field(foreign_key="users.id")
    deployment_id: int = Field(foreign_key="deployments.id")
    redirect_uri: str | None = Field(default=None, max_length=MAX_URL)
    scopes: list[str] | None = Field(default=None, sa_column=_json())
    purpose: str | None = Field(default=None, max_length=MAX_NAME)
    code_challenge: str | None = Field(default=None, max_length=128)
    access_token_id: int | None = Field(default=None, foreign_key="access_tokens.id")
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime, index=True)
    used_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SignIn(SQLModel, table=True):
    """A browser in which somebody is signed in for other programs: they came with a ticket that their launch gave them.

    A ticket works once, so the hash of what makes it unique is the key; ``cookie_hash`` is of what the browser keeps.
    ``deployment_id`` is the one whose courses the launch opened.
    """

    __tablename__ = "sign_ins"

    ticket_hash: str = Field(primary_key=True, max_length=HASH_LENGTH)
    cookie_hash: str = Field(max_length=HASH_LENGTH, unique=True)
    user_id: int = Field(foreign_key="users.id")
    deployment_id: int = Field(foreign_key="deployments.id")
    locale: str | None = Field(default=None, max_length=35)
    created_at: datetime = Field(default_factory=utc_now, sa_type=UtcDateTime, index=True)


class ClientAssertion(SQLModel, table=True):
    """A signed assertion that a program has used, kept while it could be used again (RFC 7523, section 3)."""

    __tablename__ = "client_assertions"

    jti_hash: str = Field(primary_key=True, max_length=HASH_LENGTH)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
