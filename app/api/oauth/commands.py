"""The commands `token` and `oauth-client`, for whoever runs the tool."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, TextIO

import click
from flask.cli import AppGroup
from sqlmodel import Session

from app.api.oauth import clients, tokens
from app.api.oauth.models import AccessToken, OAuthClient
from app.api.oauth.scopes import UnknownScopeError, checked_scopes
from app.console import refusals_as_messages
from app.courses.models import MAX_NAME, Role, User
from app.database import database
from app.lti.ahead import deployment_for, expect_person
from app.lti.canvas import MAX_CANVAS_ID
from app.lti.models import Platform
from app.lti.registration.platforms import find_platform, known_deployment
from app.text import clean_line
from app.web import current_settings

token = AppGroup("token", help="Access tokens for the REST API.")
oauth_client = AppGroup("oauth-client", help="Programs that may ask for tokens by OAuth 2.0.")


def _canvas_id(value: str) -> str:
    if clean_line(value, MAX_CANVAS_ID) != value:
        raise click.BadParameter(f"{value!r} is no Canvas id.")
    return value


_issuer = click.option("--issuer", required=True, help="The platform's issuer.")
_client_id = click.option("--client-id", help="The tool's client id there, where the issuer has several.")
_scope = click.option(
    "--scope",
    "scopes",
    multiple=True,
    help="Such as “url:GET|/api/v1/courses/:course_id/ai_experiences”; may be repeated. All without one.",
)


@token.command("create")
@_issuer
@_client_id
@click.option("--deployment-id", help="The deployment that the course is in, where there are several.")
@click.option("--course", required=True, type=_canvas_id, metavar="ID", help="The Canvas course id.")
@click.option("--user", required=True, type=_canvas_id, metavar="ID", help="The Canvas user id.")
@click.option(
    "--role",
    required=True,
    type=click.Choice([Role.TEACHER.value, Role.STUDENT.value]),
    help="What they are in the course, where the platform has not said.",
)
@_scope
@click.option("--name", help="What the token is for.")
@click.option("--days", type=click.IntRange(1, 3650), help="How long it works; without, until it is revoked.")
def create_token(
    *,
    issuer: str,
    client_id: str | None,
    deployment_id: str | None,
    course: str,
    user: str,
    role: str,
    scopes: tuple[str, ...],
    name: str | None,
    days: int | None,
) -> None:
    """Print a token for somebody, made known with their course where the platform has not sent them yet."""
    with refusals_as_messages(), database().transaction() as session:
        platform = find_platform(session, issuer, client_id)
        deployment = deployment_for(session, platform, deployment_id, course)
        place = expect_person(
            session, deployment, canvas_course_id=course, canvas_user_id=user, role=Role(role)
        )
        issued = tokens.issue(
            session,
            session.get_one(User, place.user_id),
            deployment_id=deployment.courses_of,
            lifetime=timedelta(days=days) if days else None,
            scopes=_known(scopes),
            name=clean_line(name, MAX_NAME),
        )
    click.echo(f"Token {issued.token.id}. It is shown this once.", err=True)
    click.echo(issued.secret)


@token.command("list")
@click.option("--issuer", help="The tokens of this platform alone.")
@_client_id
def list_tokens(issuer: str | None, client_id: str | None) -> None:
    """List the tokens that work, or can be refreshed."""
    with refusals_as_messages(), database().transaction() as session:
        found = tokens.list_tokens(session, _platform(session, issuer, client_id))
        rows = [_token_row(each, user, client) for each, user, client in found]
    _print_table(
        ("id", "token", "person", "for", "scopes", "expires", "last used"), rows, "There is no token."
    )


@token.command("revoke")
@click.argument("token_id", type=click.IntRange(1), metavar="ID")
def revoke_token(token_id: int) -> None:
    """Revoke a token, by its id in the list."""
    with database().transaction() as session:
        found = session.get(AccessToken, token_id)
        if found is None or found.revoked_at is not None:
            raise click.ClickException(f"There is no token {token_id}.")
        tokens.revoke(found)
    click.echo(f"Token {token_id} is revoked.")


@oauth_client.command("add")
@_issuer
@_client_id
@click.option("--deployment-id", help="The courses of this deployment alone.")
@click.option("--name", required=True, help="What people are told that wants to act for them.")
@click.option(
    "--redirect-uri", "redirect_uris", multiple=True, help="Where people are sent back to; may be repeated."
)
@click.option("--jwks-file", type=click.File(), help="The program's public keys, instead of a secret.")
@click.option("--jwks-url", help="The address of its public keys, instead of a secret.")
@click.option(
    "--public", "is_public", is_flag=True, help="It keeps no secret: it runs on people's own machines."
)
@click.option("--service", "is_service", is_flag=True, help="It may act for the platform itself.")
@_scope
def add_client(
    issuer: str,
    client_id: str | None,
    deployment_id: str | None,
    jwks_file: TextIO | None,
    scopes: tuple[str, ...],
    **entry: Any,  # noqa: ANN401 - the fields of `ClientEntry`
) -> None:
    """Let a program ask for tokens; print its client id, and its secret if it gets one."""
    with refusals_as_messages(), database().transaction() as session:
        platform = find_platform(session, issuer, client_id)
        deployment = known_deployment(session, platform.id, deployment_id) if deployment_id else None
        wanted = clients.ClientEntry(
            **entry, jwks=_read_json(jwks_file) if jwks_file else None, scopes=_known(scopes)
        )
        try:
            made = clients.register_client(
                session, platform, deployment, wanted, production=current_settings().production
            )
        except clients.ClientConfigError as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"client_id={made.client.client_id}")
    if made.secret is not None:
        click.echo(f"client_secret={made.secret}")
        click.echo("The secret is shown this once.", err=True)


@oauth_client.command("list")
@click.option("--issuer", help="The programs of this platform alone.")
@_client_id
def list_clients(issuer: str | None, client_id: str | None) -> None:
    """List the programs."""
    with refusals_as_messages(), database().transaction() as session:
        found = clients.list_clients(session, _platform(session, issuer, client_id))
        rows = [_client_row(client, platform) for client, platform in found]
    headings = ("client id", "name", "issuer", "shows who it is by", "acts for", "sends people to", "scopes")
    _print_table(headings, rows, "There is no program.")


@oauth_client.command("remove")
@click.argument("client_id")
def remove_client(client_id: str) -> None:
    """Give a program no more tokens, and revoke those that it has."""
    with database().transaction() as session:
        try:
            removed = clients.remove_client(session, client_id)
        except clients.ClientConfigError as error:
            raise click.ClickException(str(error)) from error
    click.echo(f"{removed.name} gets no more tokens, and those that it has are revoked.")


def _platform(session: Session, issuer: str | None, client_id: str | None) -> Platform | None:
    return find_platform(session, issuer, client_id) if issuer else None


def _known(scopes: Iterable[str]) -> list[str] | None:
    try:
        return checked_scopes(scopes)
    except UnknownScopeError as error:
        raise click.ClickException(f"There is no scope “{error}”.") from error


def _read_json(file: TextIO) -> Any:  # noqa: ANN401 - whatever it holds
    try:
        return json.load(file)
    except ValueError as error:
        raise click.ClickException(f"{file.name} is no JSON: {error}") from error


def _token_row(each: AccessToken, user: User, client: OAuthClient | None) -> tuple[object, ...]:
    return (
        each.id,
        f"{each.hint}…",
        "the platform" if each.is_service else user.name or user.canvas_user_id or user.id,
        " · ".join(filter(None, (client.name if client else None, each.name))) or "-",
        "all" if each.scopes is None else len(each.scopes),
        _moment(each.expires_at, "never"),
        _moment(each.last_used_at, "-"),
    )


def _client_row(client: OAuthClient, platform: Platform) -> tuple[object, ...]:
    keys = "keys" if client.jwks or client.jwks_url else None
    return (
        client.client_id,
        client.name,
        platform.issuer,
        "nothing" if client.is_public else keys or "a secret",
        " and ".join(
            ["people"] * bool(client.redirect_uris) + ["the platform"] * (client.service_user_id is not None)
        ),
        ", ".join(client.redirect_uris) or "-",
        "all" if client.scopes is None else len(client.scopes),
    )


def _moment(moment: datetime | None, otherwise: str) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else otherwise


def _print_table(headings: tuple[str, ...], rows: list[tuple[object, ...]], nothing: str) -> None:
    if not rows:
        click.echo(nothing)
        return
    for row in (headings, *rows):
        click.echo("\t".join(str(cell) for cell in row))
