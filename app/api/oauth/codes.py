"""Authorization codes: what a person allowed, carried by their browser to the program, once."""

from datetime import timedelta

from sqlmodel import Session, select

from app.api.oauth import tokens
from app.api.oauth.models import AccessToken, AuthorizationCode, OAuthClient
from app.api.oauth.sign_ins import SignedIn
from app.database import utc_now
from app.secret import hash_of

LIFETIME = timedelta(minutes=10)


def save_code(
    session: Session,
    code: str,
    client: OAuthClient,
    signed_in: SignedIn,
    *,
    redirect_uri: str | None,
    scopes: list[str] | None,
    purpose: str | None,
    code_challenge: str | None,
) -> None:
    """Write down what a person allows a program."""
    session.add(
        AuthorizationCode(
            code_hash=hash_of(code),
            client_id=client.id,
            user_id=signed_in.user.id,
            deployment_id=signed_in.deployment_id,
            redirect_uri=redirect_uri,
            scopes=scopes,
            purpose=purpose,
            code_challenge=code_challenge,
        )
    )


def find_code(session: Session, client: OAuthClient, code: str) -> AuthorizationCode | None:
    """Find what a program's code stands for, and keep others from using it meanwhile; None for one that is no good.

    One that was used before is in somebody else's hands too: what came of it is revoked (RFC 6749, section 4.1.2).
    """
    found = session.exec(
        select(AuthorizationCode)
        .where(
            AuthorizationCode.code_hash == hash_of(code),
            AuthorizationCode.client_id == client.id,
        )
        .with_for_update()
    ).first()
    if found is not None and found.used_at is not None:
        _revoke_what_came_of(session, found)
        return None
    return found if found is not None and found.created_at > utc_now() - LIFETIME else None


def use_code(code: AuthorizationCode, came_of_it: AccessToken) -> None:
    """Note that the code was used, and what came of it."""
    code.used_at = utc_now()
    code.access_token_id = came_of_it.id


def _revoke_what_came_of(session: Session, code: AuthorizationCode) -> None:
    token = session.get(AccessToken, code.access_token_id) if code.access_token_id else None
    if token is not None:
        tokens.revoke(token)
