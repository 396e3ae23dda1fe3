"""The command `budget`."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlmodel import select

from app.cli import cli
from app.courses.models import Course
from app.database import Database, utc_now
from app.experiences.models import Experience
from app.lti.models import Deployment
from app.usage.budgets import Tokens, record_tokens

ISSUER = "https://lms.example.edu"
SEVEN = ("--issuer", ISSUER, "--course", "7")
ADD = (
    *("platform", "add", "--issuer", ISSUER, "--client-id", "1"),
    *("--deployment-id", "first", "--deployment-id", "second"),
    *("--auth-login-url", f"{ISSUER}/auth", "--auth-token-url", f"{ISSUER}/token"),
    *("--key-set-url", f"{ISSUER}/keys"),
)


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A database with one platform of two deployments; course 7 is in the first."""
    monkeypatch.chdir(tmp_path)
    for name in ("APP_URL", "LLM_PROVIDER", "SECRET_KEY", "COURSE_TOKENS_PER_MONTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/test.db")
    assert run("db", "upgrade").exit_code == 0
    assert run(*ADD).exit_code == 0
    database = Database(f"sqlite:///{tmp_path}/test.db")
    add_course(database, "first")
    return database


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def add_course(database: Database, deployment_id: str) -> None:
    with database.transaction() as session:
        found = session.exec(select(Deployment).where(Deployment.deployment_id == deployment_id)).one()
        course = Course(
            platform_id=found.platform_id, deployment_id=found.id, context_id="c7", canvas_course_id="7"
        )
        session.add(course)
        session.flush()
        session.add(Experience(course_id=course.id, title="T", pedagogical_guidance="G"))


def test_a_course_may_use_as_many_tokens_as_it_likes_until_somebody_decides() -> None:
    assert run("budget", "show", *SEVEN).output.splitlines() == [
        "Course 7 may use as many tokens as it likes, as the setting for all courses says.",
        "month\tused\tof them estimated",
        f"{utc_now():%Y-%m}\t0\t0",
    ]


def test_a_budget_is_set_shown_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_TOKENS_PER_MONTH", "9")
    set_to = run("budget", "set", *SEVEN, "--tokens", "5000")
    assert set_to.output == "Course 7 may use 5000 tokens a month.\n"
    assert run("budget", "show", *SEVEN).output.startswith("Course 7 may use 5000 tokens a month.\n")
    taken_back = run("budget", "set", *SEVEN, "--default")
    assert taken_back.output == "Course 7 may use 9 tokens a month, as the setting for all courses says.\n"


def test_what_was_used_is_shown(database: Database) -> None:
    with database.transaction() as session:
        record_tokens(session, 1, Tokens(30))
        record_tokens(session, 1, Tokens(4, estimated=True))
    assert run("budget", "show", *SEVEN).output.splitlines()[-1] == f"{utc_now():%Y-%m}\t34\t4"


def test_a_course_that_nobody_knows_is_named() -> None:
    result = run("budget", "set", "--issuer", ISSUER, "--course", "8", "--tokens", "1")
    assert result.exit_code == 1
    assert "There is no course 8. Open the tool in it once" in result.output


def test_of_two_courses_with_one_id_the_deployment_decides(database: Database) -> None:
    add_course(database, "second")
    result = run("budget", "set", *SEVEN, "--tokens", "1")
    assert result.exit_code == 1
    assert "Name one with --deployment-id" in result.output
    assert run("budget", "set", *SEVEN, "--tokens", "1", "--deployment-id", "second").exit_code == 0
    first = run("budget", "show", *SEVEN, "--deployment-id", "first").output
    assert first.startswith("Course 7 may use as many tokens as it likes")


@pytest.mark.parametrize("options", [(), ("--tokens", "1", "--default")], ids=["neither", "both"])
def test_a_number_or_the_default_must_be_named(options: tuple[str, ...]) -> None:
    result = run("budget", "set", *SEVEN, *options)
    assert result.exit_code == 2
    assert "Give either --tokens or --default." in result.output


@pytest.mark.parametrize("tokens", ["-1", "many", "1" * 20])
def test_a_budget_that_cannot_be_is_refused(tokens: str) -> None:
    assert run("budget", "set", *SEVEN, "--tokens", tokens).exit_code == 2
