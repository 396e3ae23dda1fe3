"""Deployments of a registered client: an unknown one is pending until an administrator approves it."""

import shlex

from click.testing import CliRunner
from sqlmodel import select

from app.cli import cli
from app.lti.models import Deployment, RegistrationState
from app.lti.registration.platforms import known_deployment, remove_deployment
from app.settings import Settings
from tests.lti_certification.vocabulary import (
    TEACHER,
    Answer,
    Browser,
    Platform,
    Tool,
    accepted,
    refused,
    text_of,
)

FRESH = "9001:" + "ab" * 20


def state(tool: Tool) -> RegistrationState | None:
    with tool.database.snapshot() as db:
        query = select(Deployment.workflow_state).where(Deployment.deployment_id == FRESH)
        return db.exec(query).one_or_none()


def ask_for_approval(browser: Browser) -> Answer:
    """Follow the link of the page that refuses the login, through the platform."""
    page = refused(
        browser.begin(browser.platform.login(TEACHER, deployment_id=FRESH)), repr(FRESH), status=403
    )
    link = page.select_one("[data-testid=ask-for-approval]")
    assert link is not None
    return browser.finish(browser.authorize(browser.visit(str(link["href"]))))


def test_a_login_from_an_unknown_deployment_writes_nothing_down(browser: Browser, tool: Tool) -> None:
    refused(browser.begin(browser.platform.login(deployment_id=FRESH)), repr(FRESH), status=403)
    assert state(tool) is None


def test_asked_for_it_waits_for_the_administrator_and_works_once_approved(
    browser: Browser, tool: Tool, settings: Settings
) -> None:
    page = refused(ask_for_approval(browser), repr(FRESH), status=403)
    assert state(tool) is RegistrationState.PENDING
    program, *arguments = shlex.split(text_of(page, "[data-testid=command]"))
    assert program == "ai-experiences"
    environment = {
        "APP_URL": settings.app_url,
        "DATABASE_URL": settings.database_url,
        "KEYS_DIR": str(settings.keys_dir),
        "LLM_PROVIDER": "scripted",
    }
    done = CliRunner(env=environment).invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert state(tool) is RegistrationState.ACTIVE
    accepted(browser.launch(browser.platform.login(TEACHER, deployment_id=FRESH)))


def test_who_has_asked_is_told_that_it_waits_and_asks_no_more(browser: Browser, tool: Tool) -> None:
    login = browser.platform.login(TEACHER, deployment_id=FRESH)
    for answer in (ask_for_approval(browser), browser.begin(login)):
        page = refused(answer, repr(FRESH), status=403)
        assert text_of(page, "[data-testid=waits]") == "Asked. It waits for an administrator's approval."
        assert page.select_one("[data-testid=ask-for-approval]") is None


def test_where_it_was_refused_nobody_asks_again(browser: Browser, tool: Tool) -> None:
    ask_for_approval(browser)
    with tool.database.transaction() as db:
        remove_deployment(known_deployment(db, 1, FRESH))
    page = refused(
        browser.begin(browser.platform.login(TEACHER, deployment_id=FRESH)), repr(FRESH), status=403
    )
    assert page.select("[data-testid=waits], [data-testid=ask-for-approval]") == []


def test_a_launch_whose_login_named_no_deployment_waits_too(browser: Browser, tool: Tool) -> None:
    unnamed = {"lti_deployment_id": "", "deployment_id": ""}
    refused(browser.launch(browser.platform.login(deployment_id=FRESH) | unnamed), repr(FRESH), status=403)
    assert state(tool) is RegistrationState.PENDING


def test_refused_for_another_platforms_deployment(
    browser: Browser, tool: Tool, another_platform: Platform
) -> None:
    with tool.database.transaction() as db:
        for deployment in db.exec(select(Deployment)):
            deployment.deployment_id = FRESH if deployment.platform_id != 1 else deployment.deployment_id
    refused(browser.begin(browser.platform.login(deployment_id=FRESH)), repr(FRESH), status=403)
    refused(ask_for_approval(browser), repr(FRESH), status=403)


def test_a_setting_approves_at_once(browser: Browser, tool: Tool, settings: Settings) -> None:
    tool.app.config["SETTINGS"] = settings.model_copy(update={"auto_approve_deployments": True})
    accepted(browser.launch(browser.platform.login(deployment_id=FRESH)))
    assert state(tool) is RegistrationState.ACTIVE


def test_deployments_share_no_course(browser: Browser, tool: Tool, settings: Settings) -> None:
    tool.app.config["SETTINGS"] = settings.model_copy(update={"auto_approve_deployments": True})
    browser.enter(TEACHER).write_experience()
    elsewhere = accepted(browser.launch(browser.platform.login(TEACHER, deployment_id=FRESH)))
    assert elsewhere.page().select("[data-testid=experience]") == []
