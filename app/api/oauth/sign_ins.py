"""Signing people in for other programs: by a ticket on a page of their launch, in whose browser it then holds.

A launch's cookie is of the frame that it runs in, and of its own pages: a page of its own, to which a program sends
somebody, never sees it. So the launch's page carries a signed ticket, which a click takes to a tab of its own.
"""

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from itsdangerous import BadData, URLSafeTimedSerializer
from sqlmodel import Session, col, select

from app.api.oauth.models import SignIn
from app.courses.models import User
from app.database import insert_into, utc_now
from app.identity import Identity
from app.secret import hash_of, new_secret

TICKET_LIFETIME = timedelta(minutes=30)
LIFETIME = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who is signed in, where their launch was, and in which language. ``key`` tells one signing in from another."""

    user: User
    deployment_id: int
    locale: str | None
    key: str


def make_ticket(secret_key: str, identity: Identity, locale: str | None) -> str:
    """Return a ticket with which its person can be signed in once, within half an hour."""
    content = [new_secret(), identity.user.id, identity.course.deployment_id, locale]
    return _tickets(secret_key).dumps(content)


def use_ticket(session: Session, secret_key: str, ticket: str) -> str | None:
    """Sign in whose ticket it is; return what the browser is to keep. None for a ticket that is no good any more."""
    try:
        nonce, user_id, deployment_id, locale = _tickets(secret_key).loads(
            ticket, max_age=int(TICKET_LIFETIME.total_seconds())
        )
    except BadData:
        return None
    cookie = new_secret()
    signed_in = SignIn(
        ticket_hash=hash_of(nonce),
        cookie_hash=hash_of(cookie),
        user_id=user_id,
        deployment_id=deployment_id,
        locale=locale,
    )
    written = session.execute(
        insert_into(session, SignIn)
        .values(signed_in.model_dump())
        .on_conflict_do_nothing()
        .returning(SignIn.ticket_hash)
    )
    return cookie if written.first() is not None else None


def who_is_signed_in(session: Session, cookie: str) -> SignedIn | None:
    """Return who is signed in in the browser that keeps this; None for nobody any more."""
    found = session.exec(
        select(SignIn, User)
        .join(User, col(User.id) == SignIn.user_id)
        .where(SignIn.cookie_hash == hash_of(cookie), col(SignIn.created_at) > utc_now() - LIFETIME)
    ).first()
    if found is None:
        return None
    sign_in, user = found
    return SignedIn(user, sign_in.deployment_id, sign_in.locale, sign_in.ticket_hash[:16])


def sign_out(session: Session, cookie: str) -> None:
    """Let nobody be signed in in the browser that keeps this."""
    found = session.exec(select(SignIn).where(SignIn.cookie_hash == hash_of(cookie))).first()
    if found is not None:
        session.delete(found)


def _tickets(secret_key: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(
        secret_key, salt="sign in for other programs", signer_kwargs={"digest_method": sha256}
    )
