"""Access tokens: made, refreshed, listed, revoked, and forgotten in time."""

import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, and_, delete, func, or_, update
from sqlmodel import Session, col, select

from app.api.oauth.models import (
    AccessToken,
    AuthorizationCode,
    ClientAssertion,
    OAuthClient,
    SignIn,
)
from app.courses.models import User
from app.database import utc_now
from app.errors import ConflictError, NotFoundError
from app.identity import Identity, Right
from app.lti.models import Platform
from app.secret import hash_of, new_secret

TOKEN_MARK = "aix_"  # noqa: S105 - what tokens begin with
REFRESH_MARK = "aixr_"
HINT_LENGTH = 10
LIFETIME = timedelta(hours=1)
REFRESH_LIFETIME = timedelta(days=90)  # since the last use
MAX_PERSONAL = 50
KEPT = timedelta(days=30)  # what is over, for whoever asks what has been
FORGET_ONE_IN = 50  # tokens, at which what is over is forgotten


class TooManyTokensError(ConflictError):
    """More personal tokens than a person can keep track of."""

    code = "too_many_tokens"
    message = _l("You have as many access tokens as fit. Revoke one that you no longer need.")


@dataclass(frozen=True, slots=True)
class Issued:
    """A token, at the only moment at which it can be read."""

    token: AccessToken
    secret: str = field(repr=False)
    refresh_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class AllowedProgram:
    """A program that a person allowed, by however many tokens."""

    client: OAuthClient
    allowed_at: datetime
    last_used_at: datetime | None


def issue(
    session: Session,
    user: User,
    *,
    deployment_id: int | None,
    lifetime: timedelta | None = LIFETIME,
    scopes: list[str] | None = None,
    name: str | None = None,
    client: OAuthClient | None = None,
    is_service: bool = False,
    is_refreshed: bool = False,
    created_by_id: int | None = None,
) -> Issued:
    """Make a token for a person, or with `is_service` for the platform. It lasts for `lifetime`, None for ever."""
    secret = _new_token()
    token = AccessToken(
        token_hash=hash_of(secret),
        hint=secret[:HINT_LENGTH],
        platform_id=user.platform_id,
        deployment_id=deployment_id,
        user_id=user.id,
        client_id=client.id if client else None,
        is_service=is_service,
        name=name,
        scopes=scopes,
        granted_scopes=scopes,
        expires_at=utc_now() + lifetime if lifetime else None,
        created_by_id=created_by_id,
    )
    refresh_secret = None
    if client is not None and is_refreshed:
        refresh_secret = REFRESH_MARK + new_secret()
        token.refresh_hash = hash_of(refresh_secret)
        refresh_secret += _rotate(token, client)
    session.add(token)
    session.flush()
    if secrets.randbelow(FORGET_ONE_IN) == 0:
        forget_what_is_over(session)
    return Issued(token, secret, refresh_secret)


def issue_personal(
    session: Session, identity: Identity, *, name: str, lifetime: timedelta, scopes: list[str] | None
) -> Issued:
    """Make a token with which its person's own programs act for them.

    Raises `ForbiddenError` or `TooManyTokensError`.
    """
    identity.require(Right.MAKE_TOKENS)
    if len(personal_tokens(session, identity)) >= MAX_PERSONAL:
        raise TooManyTokensError
    return issue(
        session,
        identity.user,
        deployment_id=identity.course.deployment_id,
        lifetime=lifetime,
        scopes=scopes,
        name=name,
        created_by_id=identity.user.id,
    )


def find_refreshable(session: Session, client: OAuthClient, presented: str) -> AccessToken | None:
    """Find what a program's refresh token renews, and keep others from renewing it meanwhile.

    A public program's changes with every use. One that was used before is in somebody else's hands too, and nobody can
    tell whose are whose: all that came of the consent is revoked (RFC 9700, section 4.14.2).
    """
    lasting, _, turn = presented.partition(".")
    token = session.exec(
        select(AccessToken)
        .where(
            AccessToken.refresh_hash == hash_of(lasting),
            AccessToken.client_id == client.id,
            col(AccessToken.revoked_at).is_(None),
            col(AccessToken.refresh_expires_at) > utc_now(),
        )
        .with_for_update()
    ).first()
    if token is None or hmac.compare_digest(token.rotation_hash or "", hash_of(turn) if turn else ""):
        return token
    revoke(token)
    return None


def renew(token: AccessToken, client: OAuthClient, presented: str, scopes: list[str] | None) -> Issued:
    """Give what `find_refreshable` found another secret for another hour, with those `scopes` of the consent.

    A program that keeps a secret goes on using its refresh token, as in Canvas; a public one gets another.
    """
    secret = _new_token()
    token.token_hash, token.hint = hash_of(secret), secret[:HINT_LENGTH]
    token.scopes = scopes
    token.expires_at = utc_now() + LIFETIME
    turn = _rotate(token, client)
    return Issued(token, secret, presented.partition(".")[0] + turn if turn else None)


def revoke(token: AccessToken) -> None:
    """End a token, and its refreshing."""
    token.revoked_at = token.revoked_at or utc_now()


def find_by_secret(session: Session, secret: str) -> AccessToken | None:
    """Find a token that was not revoked, though it may have expired."""
    return session.exec(
        select(AccessToken).where(
            AccessToken.token_hash == hash_of(secret), col(AccessToken.revoked_at).is_(None)
        )
    ).first()


def personal_tokens(session: Session, identity: Identity) -> list[AccessToken]:
    """Return the tokens that a person made for themselves, or had made, latest first; with those that have expired."""
    query = (
        select(AccessToken)
        .where(*_own(identity), col(AccessToken.client_id).is_(None))
        .order_by(col(AccessToken.id).desc())
    )
    return list(session.exec(query))


def allowed_programs(session: Session, identity: Identity) -> list[AllowedProgram]:
    """Return the programs that may act for a person, by name."""
    allowed = session.exec(
        select(OAuthClient, func.min(AccessToken.created_at), func.max(AccessToken.last_used_at))
        .join(AccessToken, col(AccessToken.client_id) == OAuthClient.id)
        .where(*_own(identity), _is_alive())
        .group_by(col(OAuthClient.id))
        .order_by(col(OAuthClient.name), col(OAuthClient.id))
    )
    return [AllowedProgram(*row) for row in allowed]


def revoke_personal(session: Session, identity: Identity, token_id: int) -> None:
    """Revoke one of a person's own tokens; once is enough. Raises `NotFoundError`."""
    token = session.exec(
        select(AccessToken).where(
            *_own(identity), AccessToken.id == token_id, col(AccessToken.client_id).is_(None)
        )
    ).first()
    if token is None:
        raise NotFoundError(log=f"token {token_id}")
    revoke(token)


def revoke_program(session: Session, identity: Identity, client_id: int) -> None:
    """Let a program no longer act for a person."""
    session.execute(
        update(AccessToken)
        .where(*_own(identity), col(AccessToken.client_id) == client_id)
        .values(revoked_at=utc_now())
        .execution_options(synchronize_session=False)
    )


def list_tokens(
    session: Session, platform: Platform | None = None
) -> list[tuple[AccessToken, User, OAuthClient | None]]:
    """Return the tokens that still count, of one platform or all, oldest first."""
    query = (
        select(AccessToken, User, OAuthClient)
        .join(User, col(User.id) == AccessToken.user_id)
        .outerjoin(OAuthClient, col(OAuthClient.id) == AccessToken.client_id)
        .where(col(AccessToken.revoked_at).is_(None), _is_alive())
        .order_by(col(AccessToken.id))
    )
    if platform is not None:
        query = query.where(AccessToken.platform_id == platform.id)
    return [(token, user, client) for token, user, client in session.exec(query)]


def forget_what_is_over(session: Session) -> None:
    """Delete what has been over for a while: tokens, codes, sign-ins, and assertions that nobody could use again."""
    now = utc_now()
    long_ago = now - KEPT
    for over in (
        delete(AuthorizationCode).where(col(AuthorizationCode.created_at) < long_ago),
        delete(SignIn).where(col(SignIn.created_at) < now - timedelta(days=1)),
        delete(ClientAssertion).where(col(ClientAssertion.expires_at) < now),
        delete(AccessToken).where(
            or_(col(AccessToken.revoked_at) < long_ago, ~_is_alive(long_ago)),
            ~_has_code(),
        ),
    ):
        session.execute(over.execution_options(synchronize_session=False))


def _own(identity: Identity) -> tuple[ColumnElement[bool], ...]:
    """Return the condition of a person's own tokens that were not revoked."""
    return (
        col(AccessToken.user_id) == identity.user.id,
        col(AccessToken.is_service).is_(False),
        col(AccessToken.revoked_at).is_(None),
    )


def _is_alive(moment: datetime | None = None) -> ColumnElement[bool]:
    """Return the condition that a token could be used, or refreshed, at a moment or after it."""
    moment = moment or utc_now()
    return or_(
        col(AccessToken.expires_at).is_(None),
        col(AccessToken.expires_at) > moment,
        and_(col(AccessToken.refresh_expires_at).is_not(None), col(AccessToken.refresh_expires_at) > moment),
    )


def _has_code() -> ColumnElement[bool]:
    return select(AuthorizationCode).where(AuthorizationCode.access_token_id == AccessToken.id).exists()


def _new_token() -> str:
    return TOKEN_MARK + new_secret()


def _rotate(token: AccessToken, client: OAuthClient) -> str:
    """Let the refresh token last on; return the part of a public program's that changes, nothing for others."""
    token.refresh_expires_at = utc_now() + REFRESH_LIFETIME
    if not client.is_public:
        return ""
    turn = new_secret()
    token.rotation_hash = hash_of(turn)
    return f".{turn}"
