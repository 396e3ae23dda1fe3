"""The command `budget`, for whoever runs the tool."""

import click
from flask.cli import AppGroup
from sqlmodel import Session, select

from app.console import refusals_as_messages
from app.courses.models import Course
from app.database import database
from app.lti.registration.platforms import find_platform, known_deployment
from app.usage.budgets import MOST_TOKENS, CourseUse, use_of, write_budget

budget = AppGroup("budget", help="How many tokens of the AI a course may use in a month.")

_issuer = click.option("--issuer", required=True, help="The platform's issuer.")
_client_id = click.option("--client-id", help="The tool's client id there, where the issuer has several.")
_deployment_id = click.option(
    "--deployment-id", help="The deployment that the course is in, where there are several."
)
_course = click.option("--course", required=True, metavar="ID", help="The Canvas course id.")


@budget.command("set")
@_issuer
@_client_id
@_deployment_id
@_course
@click.option("--tokens", type=click.IntRange(0, MOST_TOKENS), help="Tokens a month; 0 for no AI at all.")
@click.option("--default", "is_default", is_flag=True, help="As many as COURSE_TOKENS_PER_MONTH says.")
def set_budget(
    *,
    issuer: str,
    client_id: str | None,
    deployment_id: str | None,
    course: str,
    tokens: int | None,
    is_default: bool,
) -> None:
    """Decide how many tokens a course may use in a month."""
    if is_default is (tokens is not None):
        raise click.UsageError("Give either --tokens or --default.")
    with refusals_as_messages(), database().transaction() as session:
        found = _find_course(session, issuer, client_id, deployment_id, course)
        write_budget(session, found, tokens)
        click.echo(_allowance(course, use_of(session, found)))


@budget.command("show")
@_issuer
@_client_id
@_deployment_id
@_course
def show_budget(*, issuer: str, client_id: str | None, deployment_id: str | None, course: str) -> None:
    """Show how many tokens a course may use in a month, and how many it has used in the last twelve."""
    with refusals_as_messages(), database().snapshot() as session:
        use = use_of(session, _find_course(session, issuer, client_id, deployment_id, course))
    click.echo(_allowance(course, use))
    click.echo("month\tused\tof them estimated")
    for month in use.months:
        click.echo(f"{month.month:%Y-%m}\t{month.used}\t{month.estimated}")


def _find_course(
    session: Session, issuer: str, client_id: str | None, deployment_id: str | None, course: str
) -> Course:
    platform = find_platform(session, issuer, client_id)
    query = select(Course).where(Course.platform_id == platform.id, Course.canvas_course_id == course)
    if deployment_id is not None:
        deployment = known_deployment(session, platform.id, deployment_id)
        query = query.where(Course.deployment_id == deployment.courses_of)
    found = session.exec(query).all()
    if not found:
        raise click.ClickException(f"There is no course {course}. Open the tool in it once, then try again.")
    if len(found) > 1:
        raise click.ClickException(
            f"Several deployments have a course {course}. Name one with --deployment-id."
        )
    return found[0]


def _allowance(course: str, use: CourseUse) -> str:
    many = "as many tokens as it likes" if use.budget is None else f"{use.budget} tokens a month"
    source = "" if use.own_budget is not None else ", as the setting for all courses says"
    return f"Course {course} may use {many}{source}."
