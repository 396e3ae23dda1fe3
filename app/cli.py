"""The command `ai-experiences`."""

import os
import re
import shutil
import sys
from datetime import timedelta
from typing import Any, cast

import click
from flask import Flask, current_app
from flask.cli import FlaskGroup
from sqlalchemy.exc import DBAPIError

from app import create_app, serving
from app.api.oauth.commands import oauth_client, token
from app.console import refusals_as_messages
from app.database import database, utc_now
from app.llm.embedded.errors import EmbeddedModelError
from app.llm.embedded.fetch import fetch_model
from app.llm.embedded.server import run as run_embedded_model
from app.lti.keys import KeyRing, PrivateKeyError
from app.lti.registration.dynamic import PATH as REGISTRATION_PATH
from app.lti.registration.dynamic import invite
from app.lti.registration.platforms import (
    PlatformConfigError,
    PlatformEntry,
    add_platform,
    approve_deployment,
    find_deployment,
    find_platform,
    known_deployment,
    list_platforms,
    note_deployment,
    pending_deployments,
    private_key_files,
    remove_deployment,
    remove_platform,
    sync_tool_config,
)
from app.paths import shipped_tool_config
from app.sandbox.demo import DemoError, plan_demo, prepare_demo, run_demo, stdout_is_a_person
from app.sandbox.errors import SandboxRefusedError
from app.sandbox.seed import seed_course
from app.settings import Settings, SettingsError, is_loopback, load_settings
from app.usage.commands import budget
from app.web import current_settings

# A database that no “db upgrade” has made, or none since a release: SQLite's words, PostgreSQL's codes.
_NOT_UPGRADED = re.compile(r"no such (table|column)|unable to open")
_UNDEFINED = frozenset({"42P01", "42703"})


class _Commands(FlaskGroup):
    """Commands that end in a sentence where the database cannot be used."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        try:
            return super().invoke(ctx)
        except DBAPIError as error:
            advice = _database_advice(error)
            if advice is None:
                raise
            raise click.ClickException(advice) from error


def _database_advice(error: DBAPIError) -> str | None:
    """Return what to do where the database is not there or not up to date; None for any other error."""
    reason = str(error.orig).partition("\n")[0]
    if _NOT_UPGRADED.search(reason) or getattr(error.orig, "sqlstate", None) in _UNDEFINED:
        return f"Run “ai-experiences db upgrade” first, and check DATABASE_URL: the database is not ready ({reason})."
    if error.statement is None:
        return f"Check DATABASE_URL, and that the database's server runs: it cannot be reached ({reason})."
    return None


def _create_app() -> Flask:
    try:
        return create_app()
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


cli = _Commands(
    name="ai-experiences",
    create_app=_create_app,
    add_default_commands=False,
    add_version_option=False,
    help="AI Experiences: chat simulations for Canvas, an LTI 1.3 tool.",
)


cli.add_command(token)
cli.add_command(oauth_client)
cli.add_command(budget)


def main() -> None:
    """Run the command line. What it writes, conversations among it, is its user's alone."""
    os.umask(0o077)
    cli.main(prog_name="ai-experiences")


def prepare() -> None:
    """Bring the running application's tables, platforms and keys up to date."""
    settings = current_settings()
    try:
        database().upgrade()
        if not settings.tool_config.exists():
            shutil.copy(shipped_tool_config(), settings.tool_config)
            click.echo(f"{settings.tool_config} is a form for the platforms that may launch the tool.")
        with database().transaction() as session:
            sync_tool_config(session, settings.tool_config)
            _key_ring().check(private_key_files(session))
    except (PlatformConfigError, PrivateKeyError, OSError) as error:
        raise click.ClickException(str(error)) from error


def _key_ring() -> KeyRing:
    return cast(KeyRing, current_app.extensions["key_ring"])


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on.")
@click.option("--workers", default=serving.workers, show_default=True, help="Worker processes.")
def serve(host: str, port: int, workers: int) -> None:
    """Migrate, then serve the tool."""
    if not current_settings().production and not is_loopback(host):
        raise click.ClickException(
            f"Over plain http the tool serves this machine alone, not {host}. Set APP_URL to its https address."
        )
    prepare()
    click.echo(f"Serving {current_settings().app_url} on http://{host}:{port}")
    sys.stdout.flush()
    # gevent must patch the standard library before the application is imported: a fresh process does.
    os.execv(sys.executable, gunicorn_command(host, port, workers))  # noqa: S606 - no shell is wanted


def gunicorn_command(host: str, port: int, workers: int) -> list[str]:
    """Return the command line that serves the tool."""
    return [
        *(sys.executable, "-m", "gunicorn", "app:create_app()", "--config", "python:app.serving"),
        *("--bind", f"{host}:{port}", "--workers", str(workers)),
    ]


@cli.group()
def db() -> None:
    """The database."""


@db.command()
def upgrade() -> None:
    """Bring the tables up to date, and the platforms with tool_config.json."""
    prepare()
    click.echo("The database is up to date.")


@cli.group()
def platform() -> None:
    """Platforms that may launch the tool."""


@platform.command("add")
@click.option("--issuer", required=True, help="The platform's issuer, exactly as it sends it.")
@click.option("--client-id", required=True, help="The client id that the platform gave this tool.")
@click.option("--deployment-id", "deployment_ids", multiple=True, required=True, help="May be repeated.")
@click.option("--auth-login-url", required=True, help="The platform's authorization endpoint.")
@click.option("--auth-token-url", required=True, help="The platform's token endpoint.")
@click.option("--key-set-url", required=True, help="The platform's public keys.")
@click.option("--auth-audience", help="Whom the tool asks for tokens, where it is not the token endpoint.")
def register_platform(issuer: str, deployment_ids: tuple[str, ...], **fields: str | None) -> None:
    """Register a platform, or bring its registration up to date: what is left out stays as it was."""
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        entry = PlatformEntry(deployment_ids=list(deployment_ids), **given)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    with refusals_as_messages(), database().transaction() as session:
        add_platform(session, issuer, entry, production=current_settings().production)
    click.echo(f"{issuer} may launch the tool.")


@platform.command("list")
def show_platforms() -> None:
    """List the platforms."""
    with database().transaction() as session:
        platforms = list_platforms(session)
        click.echo("issuer\tclient id\tdeployments\tsource" if platforms else "No platform is registered.")
        for found, deployments in platforms:
            click.echo(f"{found.issuer}\t{found.client_id}\t{', '.join(deployments) or '-'}\t{found.source}")
            for pending in pending_deployments(session, found.id):
                name = f" ({pending.platform_name})" if pending.platform_name else ""
                click.echo(f"  pending since {pending.created_at:%Y-%m-%d}: {pending.deployment_id}{name}")


@platform.command("remove")
@click.option("--issuer", required=True, help="The platform's issuer.")
@click.option("--client-id", required=True, help="The tool's client id there.")
@click.option("--deployment-id", help="This deployment alone, not all of the platform.")
def forbid_platform(issuer: str, client_id: str, deployment_id: str | None) -> None:
    """Stop the launches of a platform, or of one deployment. Its people and their work stay."""
    with refusals_as_messages(), database().transaction() as session:
        if deployment_id is None:
            remove_platform(session, issuer, client_id)
        else:
            found = find_platform(session, issuer, client_id)
            remove_deployment(known_deployment(session, found.id, deployment_id))
    removed = f"Deployment {deployment_id}" if deployment_id else f"Client {client_id}"
    click.echo(f"{removed} of {issuer} may no longer launch the tool.")


@platform.command("invite")
@click.option(
    "--days", type=click.IntRange(1, 90), default=7, show_default=True, help="How long the link works."
)
def invite_platform(days: int) -> None:
    """Print a link with which one platform can register itself (LTI Dynamic Registration)."""
    with database().transaction() as session:
        token = invite(session, days)
    click.echo(f"It works once, until {utc_now() + timedelta(days=days):%Y-%m-%d %H:%M} UTC.", err=True)
    click.echo(f"{current_settings().app_url}{REGISTRATION_PATH}/{token}")


@platform.command("approve")
@click.option("--issuer", required=True, help="The platform's issuer.")
@click.option("--client-id", required=True, help="The tool's client id there.")
@click.option("--deployment-id", required=True, help="The deployment, which may be pending.")
@click.option("--replaces", help="The deployment whose courses it opens, after the tool was installed again.")
def approve(issuer: str, client_id: str, deployment_id: str, replaces: str | None) -> None:
    """Let a new deployment of a registered platform in."""
    with refusals_as_messages(), database().transaction() as session:
        found = find_platform(session, issuer, client_id)
        seen = find_deployment(session, found.id, deployment_id) is not None
        replaced = known_deployment(session, found.id, replaces) if replaces else None
        approve_deployment(session, note_deployment(session, found, deployment_id), replaced)
    click.echo(f"Deployment {deployment_id} may launch the tool.")
    if not seen:
        click.echo("Nobody has opened it there yet; it is approved for when somebody does.", err=True)


@cli.group()
def keys() -> None:
    """The tool's own keys."""


@keys.command("list")
def list_keys() -> None:
    """List the key ids that are published; the first one signs."""
    for key in _key_ring().public_key_set()["keys"]:
        click.echo(key["kid"])


@keys.command("rotate")
@click.option(
    "--keep", type=click.IntRange(1), default=2, show_default=True, help="Older keys left published."
)
def rotate_keys(keep: int) -> None:
    """Make a new key, which signs from now on in every worker, and print its id."""
    try:
        click.echo(_key_ring().rotate(keep).kid)
    except PrivateKeyError as error:
        raise click.ClickException(str(error)) from error


@cli.group()
def model() -> None:
    """The embedded model."""


def _settings() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


@model.command("fetch", with_appcontext=False)
def fetch_embedded_model() -> None:
    """Fetch the embedded model's file (1.1 GB) and check it."""
    settings = _settings()
    try:
        with click.progressbar(length=1000, label="Fetching the model") as bar:
            path = fetch_model(settings, lambda share: bar.update(max(0, int(share * 1000) - bar.pos)))
    except EmbeddedModelError as error:
        raise click.ClickException(str(error)) from error
    click.echo(path)


@model.command("serve", with_appcontext=False)
def serve_embedded_model() -> None:
    """Run the embedded model in this process, fetching it first where it is missing."""
    run_embedded_model(_settings())


@cli.command(with_appcontext=False)
@click.option("--port", default=8000, show_default=True, help="The tool's port.")
@click.option("--sandbox-port", default=8100, show_default=True, help="The look-alike's port.")
@click.option("--browser/--no-browser", default=stdout_is_a_person, help="Open a browser.")
def demo(port: int, sandbox_port: int, browser: bool) -> None:
    """Run the tool with a small Canvas look-alike, on this machine alone."""
    try:
        planned = plan_demo(_settings(), port, sandbox_port)
        if planned.port != port:
            click.echo(
                f"Port {port} is taken, perhaps by an earlier demo. This one takes {planned.port}.", err=True
            )
        prepare_demo(planned)
        model_command = [sys.executable, "-m", "app.cli", "model", "serve"]
        run_demo(
            planned,
            gunicorn_command("127.0.0.1", planned.port, serving.workers),
            model_command,
            open_browser=browser,
        )
    except (DemoError, SandboxRefusedError) as error:
        raise click.ClickException(str(error)) from error


@cli.command()
@click.option("--issuer", required=True, help="The platform's issuer.")
@click.option("--client-id", help="Which client, where the issuer has several.")
@click.option("--course", required=True, help="The Canvas course id.")
@click.option("--students", type=click.IntRange(1), default=30, show_default=True, help="Made-up students.")
def seed(issuer: str, client_id: str | None, course: str, students: int) -> None:
    """Fill a course with sample experiences and made-up students, to try the tool at size."""
    if current_settings().production:
        raise click.ClickException("Made-up students have no place in production.")
    with refusals_as_messages(), database().transaction() as session:
        found = find_platform(session, issuer, client_id)
        seed_course(session, found.id, course, students)
    click.echo(f"Course {course} has its sample experiences and {students} made-up students.")


if __name__ == "__main__":
    main()
