"""Programs: how they are registered, found and removed, and what each may ask for."""

import hmac
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import or_, update
from sqlmodel import Session, col, select

from app.api.oauth.admission import admits
from app.api.oauth.models import AccessToken, OAuthClient
from app.courses.ahead import service_sub
from app.courses.models import MAX_NAME, User
from app.database import utc_now
from app.lti.addresses import host_of, is_protected, web_address
from app.lti.models import MAX_URL, Deployment, Platform, RegistrationState
from app.secret import hash_of, new_secret
from app.settings import is_loopback
from app.text import clean_line

SECRET_MARK = "aixs_"  # noqa: S105 - what secrets begin with
# Of keys that only their holder can sign with. (RFC 7518, section 6.1)
PUBLIC_KEY_TYPES = frozenset({"RSA", "EC", "OKP"})
PRIVATE_MEMBERS = frozenset({"d", "k", "p", "q", "dp", "dq", "qi", "oth"})


class ClientConfigError(Exception):
    """A program that cannot be registered so; the message says what to change."""


@dataclass(frozen=True, slots=True)
class ClientEntry:
    """A program as an administrator writes it down. Without keys it gets a secret, unless it is public."""

    name: str
    redirect_uris: tuple[str, ...] = ()
    jwks: dict[str, Any] | None = None
    jwks_url: str | None = None
    is_public: bool = False
    is_service: bool = False
    scopes: list[str] | None = None


@dataclass(frozen=True, slots=True)
class RegisteredClient:
    """A program that was just registered, with its secret if it got one, at the only moment at which it can be read."""

    client: OAuthClient
    secret: str | None = field(default=None, repr=False)


def register_client(
    session: Session,
    platform: Platform,
    deployment: Deployment | None,
    entry: ClientEntry,
    *,
    production: bool,
) -> RegisteredClient:
    """Let a program ask for tokens at a platform. Raises `ClientConfigError`."""
    _check(entry, production=production)
    keeps_secret = not (entry.is_public or entry.jwks or entry.jwks_url)
    secret = SECRET_MARK + new_secret() if keeps_secret else None
    client = OAuthClient(
        platform_id=platform.id,
        deployment_id=deployment.courses_of if deployment else None,
        client_id=f"aixc_{secrets.token_hex(12)}",
        secret_hash=hash_of(secret) if secret else None,
        jwks=entry.jwks,
        jwks_url=entry.jwks_url,
        name=clean_line(entry.name, MAX_NAME) or "",
        redirect_uris=list(entry.redirect_uris),
        scopes=entry.scopes,
    )
    if entry.is_service:
        client.service_user_id = _service_user(session, client).id
    session.add(client)
    session.flush()
    return RegisteredClient(client, secret)


def find_client(session: Session, client_id: str) -> OAuthClient | None:
    """Find a program whose platform, and deployment if it has one, are active."""
    if not (client_id.isascii() and client_id.isprintable()):
        return None
    return session.exec(
        select(OAuthClient)
        .join(Platform, col(Platform.id) == OAuthClient.platform_id)
        .where(
            OAuthClient.client_id == client_id,
            OAuthClient.workflow_state == RegistrationState.ACTIVE,
            Platform.workflow_state == RegistrationState.ACTIVE,
            or_(col(OAuthClient.deployment_id).is_(None), admits(OAuthClient.deployment_id)),
        )
    ).first()


def list_clients(session: Session, platform: Platform | None = None) -> list[tuple[OAuthClient, Platform]]:
    """Return the programs that are registered, of one platform or all, oldest first."""
    query = (
        select(OAuthClient, Platform)
        .join(Platform, col(Platform.id) == OAuthClient.platform_id)
        .where(OAuthClient.workflow_state == RegistrationState.ACTIVE)
        .order_by(col(OAuthClient.id))
    )
    if platform is not None:
        query = query.where(OAuthClient.platform_id == platform.id)
    return [(client, found) for client, found in session.exec(query)]


def remove_client(session: Session, client_id: str) -> OAuthClient:
    """Give a program no more tokens, and revoke those that it has. Raises `ClientConfigError`."""
    client = session.exec(select(OAuthClient).filter_by(client_id=client_id)).first()
    if client is None or client.workflow_state is RegistrationState.REMOVED:
        raise ClientConfigError(f"There is no program {client_id}.")
    client.workflow_state = RegistrationState.REMOVED
    session.execute(
        update(AccessToken)
        .where(col(AccessToken.client_id) == client.id, col(AccessToken.revoked_at).is_(None))
        .values(revoked_at=utc_now())
    )
    return client


def is_secret_of(client: OAuthClient, secret: str) -> bool:
    """Tell whether a secret is the program's."""
    return client.secret_hash is not None and hmac.compare_digest(client.secret_hash, hash_of(secret))


def may_return_to(client: OAuthClient, redirect_uri: str) -> bool:
    """Tell whether people may be sent there: the very address that is registered.

    Only the port of a program on the person's own machine is free (RFC 8252, section 7.3).
    """
    portless = _without_loopback_port(redirect_uri)
    return any(
        redirect_uri == registered
        or (portless is not None and portless == _without_loopback_port(registered))
        for registered in client.redirect_uris
    )


def public_keys(key_set: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the keys of a set with which signatures may be checked."""
    return [
        {name: value for name, value in key.items() if name not in PRIVATE_MEMBERS}
        for key in key_set.get("keys", [])
        if key.get("kty") in PUBLIC_KEY_TYPES
    ]


def _check(entry: ClientEntry, *, production: bool) -> None:
    if not clean_line(entry.name, MAX_NAME):
        raise ClientConfigError("The program needs a name.")
    if entry.jwks and entry.jwks_url:
        raise ClientConfigError("Give the program's keys or their address, not both.")
    if entry.is_public and (entry.jwks or entry.jwks_url or entry.is_service):
        raise ClientConfigError("A public program has no keys, and cannot act for the platform.")
    if not entry.redirect_uris and not entry.is_service:
        raise ClientConfigError(
            "Say where people are sent back to (--redirect-uri), or that the program acts for the platform (--service)."
        )
    for redirect_uri in entry.redirect_uris:
        _check_redirect_uri(redirect_uri)
    if entry.jwks is not None:
        _check_keys(entry.jwks)
    if entry.jwks_url is not None and not (
        web_address(entry.jwks_url) and is_protected(entry.jwks_url, production=production)
    ):
        raise ClientConfigError("The keys' address must begin with https://")


def _check_redirect_uri(address: str) -> None:
    """Want https, http on the person's own machine, or a program's own scheme (RFC 8252, section 7)."""
    scheme = urlsplit(address).scheme
    own_scheme = "." in scheme and address.isascii() and address.isprintable() and " " not in address
    on_web = scheme == "https" or (scheme == "http" and is_loopback(urlsplit(address).hostname or ""))
    if len(address) > MAX_URL or "#" in address or not (own_scheme or (on_web and host_of(address))):
        raise ClientConfigError(
            f"{address!r:.300} is no address to return to: it must begin with https://, http://127.0.0.1 or a scheme "
            "with a dot such as edu.example.app:, without “#”."
        )


def _check_keys(key_set: dict[str, Any]) -> None:
    keys = key_set.get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ClientConfigError("The keys must be a JWKS: an object with a list “keys”.")
    if any(PRIVATE_MEMBERS & key.keys() for key in keys):
        raise ClientConfigError(
            "These are private keys. Give the public ones, and keep these to the program."
        )
    if not public_keys(key_set):
        raise ClientConfigError("There is no RSA, EC or OKP key among these.")


def _without_loopback_port(address: str) -> str | None:
    host = urlsplit(address).hostname if web_address(address) else None
    if host is None or not address.startswith("http:") or not is_loopback(host):
        return None
    return urlsplit(address)._replace(netloc=host).geturl()


def _service_user(session: Session, client: OAuthClient) -> User:
    """Make the person as whom the program acts: nobody whom the platform could send."""
    user = User(platform_id=client.platform_id, sub=service_sub(client.client_id), name=client.name)
    session.add(user)
    session.flush()
    return user
