"""Tokens for programs: by authorization codes, client credentials, and refreshing; and every refusal."""

import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from sqlmodel import select, text, update
from werkzeug.test import TestResponse

from app.api.oauth import tokens
from app.api.oauth.models import AccessToken, AuthorizationCode, ClientAssertion, OAuthClient, SignIn
from app.courses.models import Enrollment, EnrollmentState
from app.database import utc_now
from app.lti.models import Deployment, Platform, RegistrationSource, RegistrationState
from app.lti.registration.platforms import PlatformEntry, save_platform
from tests.support.people import BIOLOGY, Visitor
from tests.support.programs import (
    BACK,
    READ,
    TOKEN,
    TOOL,
    VERIFIER,
    WRITE,
    Program,
    allow,
    answer_of,
    bearer,
    decide,
    list_with,
    sign_in,
)

pytestmark = pytest.mark.usefixtures("unread_lists")


@pytest.fixture
def program(app: Flask) -> Program:
    """A program that keeps a secret."""
    return Program.register(app)


@pytest.fixture
def public(app: Flask) -> Program:
    """A program on people's own machines."""
    return Program.register(
        app, name="Phone", is_public=True, redirect_uris=("http://127.0.0.1/back", "edu.example.phone:/back")
    )


@pytest.fixture
def service(app: Flask) -> Program:
    """A program that acts for the platform."""
    return Program.register(app, name="Reports", is_service=True, redirect_uris=())


def change(app: Flask, model: type[Any], **values: Any) -> None:
    with app.extensions["database"].transaction() as session:
        session.execute(update(model).values(**values))


def error_of(response: TestResponse, status: int = 400) -> str:
    assert response.status_code == status, response.text
    assert response.headers["Cache-Control"] == "no-store"
    return str(response.get_json()["error"])


# Authorization codes


def test_somebody_allows_a_program_which_then_acts_as_they_may(
    app: Flask, program: Program, teacher: Visitor
) -> None:
    browser = sign_in(teacher)
    page = BeautifulSoup(browser.get(program.address()).text, "html.parser")
    assert page.h1.text == "Allow Notebook to act for you?"
    assert page.select_one("[data-testid=who]").text == "You are Miriam Okafor."
    assert page.select_one("[data-testid=host]").text == "Your answer is sent to notebook.example.edu"
    answer = answer_of(decide(browser, program.address()))
    assert answer["state"] == "xyz"
    given = program.exchange(answer["code"]).get_json()
    assert given["token_type"] == "Bearer"
    assert given["expires_in"] == 3600
    assert given["user"]["name"] == "Miriam Okafor"
    assert given["access_token"].startswith("aix_")
    assert given["refresh_token"].startswith("aixr_")
    assert list_with(app, given["access_token"]).status_code == 200


def test_a_students_token_sees_what_a_student_sees(
    app: Flask, program: Program, teacher: Visitor, student: Visitor
) -> None:
    teacher.write_experience(publish=False)
    token = program.exchange(allow(program, student)).get_json()["access_token"]
    assert list_with(app, token).get_json() == []


def test_somebody_may_say_no(program: Program, teacher: Visitor) -> None:
    answer = answer_of(decide(sign_in(teacher), program.address(), "deny"))
    assert answer["error"] == "access_denied"
    assert answer["state"] == "xyz"
    assert "code" not in answer


def test_an_answer_needs_the_proof_of_the_tools_own_page(
    app: Flask, program: Program, teacher: Visitor
) -> None:
    browser = sign_in(teacher)
    for proof in ({}, {"proof": "made up"}, {"proof": ""}, {"proof": "é"}):
        answer = browser.post(program.address(), data={"decision": "allow"} | proof)
        assert (answer.status_code, answer.location) == (303, program.address())
    with app.extensions["database"].snapshot() as session:
        assert session.exec(select(AuthorizationCode)).all() == []


def test_nobody_who_is_not_signed_in_is_asked(app: Flask, program: Program) -> None:
    page = BeautifulSoup(app.test_client().get(program.address()).text, "html.parser")
    assert page.h1.text == "Sign in"
    assert "Notebook wants to use AI Experiences as you" in page.text
    assert page.select_one("[name=proof]") is None
    assert page.select_one("[data-testid=go-on]")["href"] == program.address()


def test_somebody_else_may_sign_in_instead(
    app: Flask, program: Program, teacher: Visitor, student: Visitor
) -> None:
    browser = sign_in(teacher)
    assert decide(browser, program.address(), "leave").location == program.address()
    assert "<h1>Sign in</h1>" in browser.get(program.address()).text
    sign_in(student, browser)
    assert "You are Amara Diallo." in browser.get(program.address()).text


def test_a_page_that_waits_is_told_of_the_sign_in(program: Program, teacher: Visitor) -> None:
    state = "/login/oauth2/sign-in/state"
    assert teacher.client.get(state).get_json() == {"signed_in": None}
    sign_in(teacher)
    first = teacher.client.get(state).get_json()["signed_in"]
    sign_in(teacher)
    assert teacher.client.get(state).get_json()["signed_in"] not in {None, first}


def test_a_ticket_works_once_and_from_the_tools_own_page_alone(app: Flask, teacher: Visitor) -> None:
    page = BeautifulSoup(teacher.get("/programs").text, "html.parser")
    ticket = str(page.select_one("[name=ticket]")["value"])
    own, anybody = {"Origin": TOOL}, app.test_client()
    for headers in ({}, {"Origin": "https://evil.example"}):
        assert (
            anybody.post("/login/oauth2/sign-in", data={"ticket": ticket}, headers=headers).status_code == 400
        )
    for forged in ("", "made-up", ticket[:-1], f"x{ticket}"):
        assert anybody.post("/login/oauth2/sign-in", data={"ticket": forged}, headers=own).status_code == 400
    answers = [anybody.post("/login/oauth2/sign-in", data={"ticket": ticket}, headers=own) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 400]
    cookie = answers[0].headers["Set-Cookie"]
    for part in ("Path=/login/oauth2", "HttpOnly", "Secure", "SameSite=Lax"):
        assert part in cookie


def test_a_ticket_is_not_used_twice_by_being_written_in_another_way(app: Flask, teacher: Visitor) -> None:
    """The last letter of a signature has bits to spare."""
    page = BeautifulSoup(teacher.get("/programs").text, "html.parser")
    ticket = str(page.select_one("[name=ticket]")["value"])
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    answers = [
        app.test_client().post(
            "/login/oauth2/sign-in", data={"ticket": ticket[:-1] + letter}, headers={"Origin": TOOL}
        )
        for letter in letters
    ]
    assert [answer.status_code for answer in answers].count(303) == 1


def test_signing_in_lasts_for_a_quarter_of_an_hour(app: Flask, program: Program, teacher: Visitor) -> None:
    browser = sign_in(teacher)
    change(app, SignIn, created_at=utc_now() - timedelta(minutes=16))
    assert "<h1>Sign in</h1>" in browser.get(program.address()).text


def test_no_page_frames_the_question_and_its_form_leads_to_the_program(
    program: Program, teacher: Visitor
) -> None:
    policy = sign_in(teacher).get(program.address()).headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https:" in policy
    assert "default-src 'self'" in policy


def test_a_program_with_its_own_scheme_can_be_answered(public: Program, teacher: Visitor) -> None:
    address = public.address(redirect_uri="edu.example.phone:/back")
    browser = sign_in(teacher)
    assert "edu.example.phone:" in browser.get(address).headers["Content-Security-Policy"]
    assert decide(browser, address).location.startswith("edu.example.phone:/back?code=")


def test_a_program_on_ones_own_machine_may_listen_on_any_port(public: Program, teacher: Visitor) -> None:
    back = "http://127.0.0.1:51004/back"
    code = allow(public, teacher, redirect_uri=back)
    assert error_of(public.exchange(code)) == "invalid_grant"
    assert public.exchange(code, redirect_uri=back).status_code == 200


def test_a_program_with_one_address_need_not_name_it(program: Program, teacher: Visitor) -> None:
    code = allow(program, teacher, redirect_uri=None)
    assert program.exchange(code, redirect_uri=None).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": None},
        {"client_id": "unknown"},
        {"client_id": "\x00"},
        {"redirect_uri": "https://evil.example/back"},
        {"redirect_uri": BACK + "/more"},
        {"redirect_uri": BACK + "?more"},
        {"redirect_uri": "http://notebook.example.edu/back"},
        {"redirect_uri": "https://notebook.example.edu:444/back"},
        {"redirect_uri": "javascript:alert(1)"},
        {"redirect_uri": 'https://"é\\'},
        {"redirect_uri": "//["},
    ],
    ids=lambda changes: "-".join(f"{name} {value}" for name, value in changes.items()).encode(
        "ascii", "replace"
    ),
)
def test_nobody_is_sent_where_the_program_has_not_said(
    program: Program, teacher: Visitor, changes: dict[str, str | None]
) -> None:
    browser = sign_in(teacher)
    for response in (browser.get(program.address(**changes)), browser.post(program.address(**changes))):
        assert response.status_code == 400
        assert "This program cannot be let in" in response.text
        assert "Location" not in response.headers


def test_a_visit_without_a_request_is_told_what_is_missing(app: Flask) -> None:
    response = app.test_client().get("/login/oauth2/auth")
    assert response.status_code == 400
    page = BeautifulSoup(response.text, "html.parser").text
    assert "unsupported_response_type: The 'response_type' must be 'code'." in page


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"scope": "url:GET|/api/v1/everything"}, "invalid_scope"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
    ],
)
def test_a_program_is_told_what_was_wrong(
    program: Program, teacher: Visitor, changes: dict[str, str | None], error: str
) -> None:
    response = sign_in(teacher).get(program.address(**changes))
    assert response.location.startswith(BACK + "?")
    answer = answer_of(response)
    assert answer["error"] == error
    assert answer["state"] == "xyz"


def test_a_parameter_that_comes_twice_is_refused(program: Program, teacher: Visitor) -> None:
    response = sign_in(teacher).get(program.address() + "&scope=" + READ + "&scope=" + WRITE)
    assert response.status_code == 400


def test_a_public_program_must_use_pkce(public: Program, teacher: Visitor) -> None:
    browser = sign_in(teacher)
    asked = public.address(code_challenge=None, code_challenge_method=None)
    assert answer_of(browser.get(asked))["error"] == "invalid_request"
    code = answer_of(decide(browser, public.address()))["code"]
    for verifier in (None, "b" * 43, VERIFIER[:-1] + "é"):
        assert error_of(public.exchange(code, code_verifier=verifier)) in {"invalid_request", "invalid_grant"}
    assert public.exchange(code).status_code == 200


def test_a_program_with_a_secret_may_do_without_pkce(program: Program, teacher: Visitor) -> None:
    code = allow(program, teacher, code_challenge=None, code_challenge_method=None)
    assert error_of(program.exchange(code)) == "invalid_request"  # a verifier for no challenge
    assert program.exchange(code, code_verifier=None).status_code == 200


def test_a_code_that_comes_again_ends_what_came_of_it(app: Flask, program: Program, teacher: Visitor) -> None:
    code = allow(program, teacher)
    given = program.exchange(code).get_json()
    assert error_of(program.exchange(code)) == "invalid_grant"
    assert list_with(app, given["access_token"]).status_code == 401
    assert error_of(program.refresh(given["refresh_token"])) == "invalid_grant"


def test_of_two_who_bring_a_code_at_once_one_gets_a_token_which_then_ends(
    app: Flask, program: Program, teacher: Visitor
) -> None:
    code = allow(program, teacher)
    with ThreadPoolExecutor() as threads:
        answers = list(threads.map(lambda _: program.exchange(code), range(4)))
    given = [answer for answer in answers if answer.status_code == 200]
    assert len(given) == 1
    assert list_with(app, given[0].get_json()["access_token"]).status_code == 401


def test_a_code_lasts_for_ten_minutes(app: Flask, program: Program, teacher: Visitor) -> None:
    code = allow(program, teacher)
    change(app, AuthorizationCode, created_at=utc_now() - timedelta(minutes=10, seconds=1))
    assert error_of(program.exchange(code)) == "invalid_grant"


def test_a_code_is_its_own_programs_alone(app: Flask, program: Program, teacher: Visitor) -> None:
    code = allow(program, teacher)
    assert error_of(Program.register(app).exchange(code)) == "invalid_grant"
    assert program.exchange(code).status_code == 200


@pytest.mark.parametrize("redirect_uri", [None, BACK + "/", "https://evil.example/back"])
def test_a_code_needs_the_address_that_it_was_sent_to(
    program: Program, teacher: Visitor, redirect_uri: str | None
) -> None:
    assert error_of(program.exchange(allow(program, teacher), redirect_uri=redirect_uri)) == "invalid_grant"


def test_a_code_of_somebody_who_has_left_gives_no_token(
    app: Flask, program: Program, teacher: Visitor
) -> None:
    code = allow(program, teacher)
    change(app, Enrollment, workflow_state=EnrollmentState.LEFT)
    assert error_of(program.exchange(code)) == "invalid_grant"


def test_somebody_who_has_left_every_course_is_not_asked(
    app: Flask, program: Program, teacher: Visitor
) -> None:
    browser = sign_in(teacher)
    change(app, Enrollment, workflow_state=EnrollmentState.LEFT)
    page = BeautifulSoup(browser.get(program.address()).text, "html.parser")
    assert page.select_one("[data-testid=elsewhere]") is not None
    assert page.select_one("[name=proof]") is None


@pytest.mark.parametrize("model", [Platform, Deployment])
def test_nothing_comes_of_a_code_when_its_place_was_removed(
    app: Flask, program: Program, teacher: Visitor, model: type[Any]
) -> None:
    code = allow(program, teacher)
    change(app, model, workflow_state=RegistrationState.REMOVED)
    assert error_of(program.exchange(code), 401 if model is Platform else 400) in {
        "invalid_client",
        "invalid_grant",
    }


def test_another_platforms_people_cannot_allow_a_program(app: Flask, teacher: Visitor) -> None:
    with app.extensions["database"].transaction() as session:
        entry = PlatformEntry(
            client_id="9",
            deployment_ids=["1"],
            **{f"{name}_url": "https://lms.example/x" for name in ("auth_login", "auth_token", "key_set")},
        )
        other = save_platform(session, "https://lms.example", entry, RegistrationSource.COMMAND)
        other_id = other.id
    program = Program.register(app)
    with app.extensions["database"].transaction() as session:
        session.execute(update(OAuthClient).values(platform_id=other_id))
    browser = sign_in(teacher)
    page = BeautifulSoup(browser.get(program.address()).text, "html.parser")
    assert page.select_one("[data-testid=elsewhere]") is not None
    answer = browser.post(program.address(), data={"decision": "allow"})
    assert "Location" not in answer.headers


def test_a_program_of_one_deployment_reaches_that_ones_courses(app: Flask, teacher: Visitor) -> None:
    program = Program.register(app, of_deployment=True, is_service=True)
    token = program.exchange(allow(program, teacher)).get_json()["access_token"]
    assert list_with(app, token).status_code == 200
    served = program.ask("client_credentials").get_json()["access_token"]
    assert list_with(app, served).status_code == 200
    with app.extensions["database"].transaction() as session:
        platform_id = session.exec(select(Platform.id)).one()
        elsewhere = Deployment(
            platform_id=platform_id, deployment_id="elsewhere", source=RegistrationSource.COMMAND
        )
        session.add(elsewhere)
        session.flush()
        session.execute(update(OAuthClient).values(deployment_id=elsewhere.id))
    assert "elsewhere" in sign_in(teacher).get(program.address()).text
    served = program.ask("client_credentials").get_json()["access_token"]
    assert list_with(app, served).status_code == 404


# Scopes


def test_a_program_gets_the_scopes_that_it_asks_for(app: Flask, program: Program, teacher: Visitor) -> None:
    given = program.exchange(allow(program, teacher, scope=READ)).get_json()
    assert given["scope"] == READ
    token = given["access_token"]
    assert list_with(app, token).status_code == 200
    written = app.test_client().post(
        f"/api/v1/courses/{BIOLOGY}/ai_experiences", json={"title": "x"}, headers=bearer(token)
    )
    assert written.status_code == 401
    assert written.get_json() == {"errors": [{"message": "Insufficient scopes on access token."}]}


def test_a_program_with_scopes_never_gets_others(app: Flask, teacher: Visitor) -> None:
    program = Program.register(app, scopes=[READ], is_service=True)
    browser = sign_in(teacher)
    assert answer_of(browser.get(program.address(scope=WRITE)))["error"] == "invalid_scope"
    assert answer_of(browser.get(program.address(scope=f"{READ} {WRITE}")))["error"] == "invalid_scope"
    page = BeautifulSoup(browser.get(program.address()).text, "html.parser")
    assert [item.text for item in page.select("main ul li")] == ["See the experiences of the course"]
    given = program.exchange(answer_of(decide(browser, program.address()))["code"]).get_json()
    assert given["scope"] == READ
    assert program.ask("client_credentials").get_json()["scope"] == READ
    assert error_of(program.ask("client_credentials", scope=WRITE)) == "invalid_scope"
    assert error_of(program.refresh(given["refresh_token"], scope=WRITE)) == "invalid_scope"


def test_the_page_says_that_a_program_without_scopes_can_do_everything(
    program: Program, teacher: Visitor
) -> None:
    page = BeautifulSoup(sign_in(teacher).get(program.address()).text, "html.parser")
    assert "everything that you may" in page.select_one("[data-testid=everything]").text


# Refreshing


def test_a_program_with_a_secret_refreshes_with_the_same_token_as_in_canvas(
    app: Flask, program: Program, teacher: Visitor
) -> None:
    given = program.exchange(allow(program, teacher)).get_json()
    for _ in range(2):
        again = program.refresh(given["refresh_token"]).get_json()
        assert "refresh_token" not in again
        assert again["user"] == given["user"]
        assert list_with(app, again["access_token"]).status_code == 200
    assert list_with(app, given["access_token"]).status_code == 401


def test_a_public_programs_refresh_token_changes_with_every_use(
    app: Flask, public: Program, teacher: Visitor
) -> None:
    given = public.exchange(allow(public, teacher)).get_json()
    second = public.refresh(given["refresh_token"]).get_json()
    third = public.refresh(second["refresh_token"]).get_json()
    assert len({given["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert list_with(app, third["access_token"]).status_code == 200


def test_a_refresh_token_that_comes_again_ends_all_that_came_of_the_consent(
    app: Flask, public: Program, teacher: Visitor
) -> None:
    given = public.exchange(allow(public, teacher)).get_json()
    second = public.refresh(given["refresh_token"]).get_json()
    assert error_of(public.refresh(given["refresh_token"])) == "invalid_grant"
    assert list_with(app, second["access_token"]).status_code == 401
    assert error_of(public.refresh(second["refresh_token"])) == "invalid_grant"


def test_a_refreshed_token_may_have_fewer_scopes_and_all_of_them_again(
    app: Flask, program: Program, teacher: Visitor
) -> None:
    both = " ".join(sorted((READ, WRITE)))
    given = program.exchange(allow(program, teacher, scope=both)).get_json()
    assert program.refresh(given["refresh_token"], scope=READ).get_json()["scope"] == READ
    assert program.refresh(given["refresh_token"]).get_json()["scope"] == both


def test_a_token_without_scopes_may_be_refreshed_with_some(program: Program, teacher: Visitor) -> None:
    given = program.exchange(allow(program, teacher)).get_json()
    assert program.refresh(given["refresh_token"], scope=READ).get_json()["scope"] == READ
    assert "scope" not in program.refresh(given["refresh_token"]).get_json()


@pytest.mark.parametrize("made_up", ["", "aixr_made-up", "aixr_made.up"])
def test_a_refresh_token_that_is_none_refreshes_nothing(program: Program, made_up: str) -> None:
    assert error_of(program.refresh(made_up)) == "invalid_grant"


def test_another_program_refreshes_nothing(app: Flask, program: Program, teacher: Visitor) -> None:
    given = program.exchange(allow(program, teacher)).get_json()
    assert error_of(Program.register(app).refresh(given["refresh_token"])) == "invalid_grant"
    assert program.refresh(given["refresh_token"]).status_code == 200


def test_refreshing_ends_after_ninety_days_without_use(
    app: Flask, program: Program, teacher: Visitor
) -> None:
    given = program.exchange(allow(program, teacher)).get_json()
    with app.extensions["database"].snapshot() as session:
        left = session.exec(select(AccessToken)).one().refresh_expires_at - utc_now()
    assert timedelta(days=89) < left < timedelta(days=90)
    change(app, AccessToken, refresh_expires_at=utc_now())
    assert error_of(program.refresh(given["refresh_token"])) == "invalid_grant"


def test_nobody_refreshes_for_somebody_who_has_left(app: Flask, program: Program, teacher: Visitor) -> None:
    given = program.exchange(allow(program, teacher)).get_json()
    change(app, Enrollment, workflow_state=EnrollmentState.LEFT)
    assert error_of(program.refresh(given["refresh_token"])) == "invalid_grant"


# Client credentials


def test_a_service_is_an_administrator_of_its_courses(app: Flask, service: Program, teacher: Visitor) -> None:
    experience_id = teacher.write_experience(publish=False)
    given = service.ask("client_credentials").get_json()
    assert set(given) == {"scope", "access_token", "token_type", "expires_in"}
    assert (given["scope"], given["expires_in"]) == ("", 3600)
    listed = list_with(app, given["access_token"]).get_json()
    assert [experience["id"] for experience in listed] == [experience_id]


def test_a_service_shows_who_it_is_in_a_header_or_in_json_too(app: Flask, service: Program) -> None:
    client, asked = app.test_client(), {"grant_type": "client_credentials"}
    basic = client.post(TOKEN, data=asked, auth=(service.client_id, service.secret))
    as_json = client.post(TOKEN, json=asked | service.credentials)
    for response in (basic, as_json):
        assert response.status_code == 200, response.text
        assert response.headers["Cache-Control"] == "no-store"


def test_only_a_service_acts_for_the_platform(program: Program, public: Program) -> None:
    assert error_of(program.ask("client_credentials")) == "unauthorized_client"
    assert error_of(public.ask("client_credentials"), 401) == "invalid_client"


def test_a_service_asks_nobody(service: Program, teacher: Visitor) -> None:
    browser = sign_in(teacher)
    assert browser.get(service.address(redirect_uri=BACK)).status_code == 400
    assert error_of(service.exchange("any")) == "unauthorized_client"


@pytest.mark.parametrize(
    "credentials",
    [
        {"client_secret": "wrong"},
        {"client_secret": None},
        {"client_id": "unknown"},
        {"client_id": None},
        {"client_id": "\N{SNOWMAN}"},
    ],
    ids=str,
)
def test_a_program_that_does_not_show_who_it_is_gets_nothing(
    service: Program, credentials: dict[str, str | None]
) -> None:
    response = service.ask("client_credentials", **credentials)
    assert error_of(response, 401) == "invalid_client"
    assert response.get_json()["error_description"] == "The client id or its secret is wrong."
    assert response.headers["WWW-Authenticate"] == 'Basic realm="canvas-lms"'


@pytest.mark.parametrize(
    "header", ["Basic /w==", "Basic", "Basic !", "Bearer x", "Nothing", "Basic Og==", "Basic \x1f", "Basic é"]
)
def test_a_header_that_says_nothing_is_refused(app: Flask, header: str) -> None:
    answer = app.test_client().post(
        TOKEN, data={"grant_type": "client_credentials"}, headers={"Authorization": header}
    )
    assert error_of(answer, 401) == "invalid_client"


def test_a_removed_program_gets_nothing(app: Flask, service: Program) -> None:
    change(app, OAuthClient, workflow_state=RegistrationState.REMOVED)
    assert error_of(service.ask("client_credentials"), 401) == "invalid_client"


@pytest.mark.parametrize("model", [Platform, Deployment])
def test_a_removed_place_lets_no_service_in(app: Flask, teacher: Visitor, model: type[Any]) -> None:
    service = Program.register(app, is_service=True, of_deployment=True)
    token = service.ask("client_credentials").get_json()["access_token"]
    change(app, model, workflow_state=RegistrationState.REMOVED)
    assert error_of(service.ask("client_credentials"), 401) == "invalid_client"
    assert list_with(app, token).status_code in {401, 404}


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        ({"data": {}}, "invalid_request"),
        ({"data": {"grant_type": "password"}}, "unsupported_grant_type"),
        ({"data": {"grant_type": ["client_credentials", "client_credentials"]}}, "invalid_request"),
        ({"data": {"grant_type": "client_credentials\x00"}}, "invalid_request"),
        ({"query_string": {"grant_type": "client_credentials"}}, "invalid_request"),
        ({"json": ["grant_type"]}, "invalid_request"),
        ({"json": {"grant_type": {"a": 1}}}, "invalid_request"),
        ({"json": {"grant_type": "client_credentials", "client_id": "\ud800"}}, "invalid_request"),
        ({"data": "{", "content_type": "application/json"}, "invalid_request"),
        ({"data": 100_000 * "[", "content_type": "application/json"}, "invalid_request"),
        ({"data": "x", "content_type": "text/plain"}, "invalid_request"),
    ],
    ids=lambda value: (
        f"{value!s:.60}".encode("ascii", "replace").decode() if isinstance(value, dict) else value
    ),
)
def test_a_request_that_makes_no_sense_is_told_so(app: Flask, sent: dict[str, Any], error: str) -> None:
    assert error_of(app.test_client().post(TOKEN, **sent)) == error


# Signed assertions (RFC 7523)

KEY = RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})
OTHER_KEY = RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"})


@pytest.fixture
def signer(app: Flask) -> Program:
    """A service that signs."""
    jwks = KeySet([KEY]).as_dict()
    return Program.register(app, name="Signer", is_service=True, redirect_uris=(), jwks=jwks)


def assertion(program: Program, key: Any = KEY, header: dict[str, Any] | None = None, **changes: Any) -> str:
    claims = {
        "iss": program.client_id,
        "sub": program.client_id,
        "aud": f"{TOOL}{TOKEN}",
        "exp": int(time.time()) + 300,
        "iat": int(time.time()),
        "jti": "one",
    } | changes
    kept = {name: value for name, value in claims.items() if value is not None}
    return str(jwt.encode({"alg": "RS256", "kid": "first"} | (header or {}), kept, key))


def signed(program: Program, client_assertion: str, **changes: str | None) -> TestResponse:
    return program.ask(
        "client_credentials",
        **{
            "client_id": None,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": client_assertion,
        }
        | changes,
    )


def test_a_service_may_sign_instead_of_telling_a_secret(
    app: Flask, signer: Program, teacher: Visitor
) -> None:
    given = signed(signer, assertion(signer))
    assert given.status_code == 200, given.text
    assert list_with(app, given.get_json()["access_token"]).status_code == 200


def test_an_assertion_works_once(signer: Program) -> None:
    first = assertion(signer)
    assert [signed(signer, first).status_code for _ in range(2)] == [200, 401]
    assert signed(signer, assertion(signer, jti="two")).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://elsewhere.example/login/oauth2/token"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"exp": 10**12},
        {"exp": "soon"},
        {"jti": None},
        {"jti": 1},
        {"iss": "another"},
        {"sub": "unknown"},
        {"sub": None},
        {"sub": 1},
        {"nbf": 10**12},
    ],
    ids=str,
)
def test_an_assertion_must_be_the_programs_own_and_fresh(signer: Program, changes: dict[str, Any]) -> None:
    assert error_of(signed(signer, assertion(signer, **changes)), 401) == "invalid_client"


def test_a_client_id_beside_an_assertion_must_be_the_same(signer: Program, service: Program) -> None:
    """RFC 7521, section 4.2."""
    for client_id in (signer.client_id, ""):
        same = signed(signer, assertion(signer, jti=f"with {client_id}"), client_id=client_id)
        assert same.status_code == 200, same.text
    for client_id in (service.client_id, "unknown"):
        answer = signed(signer, assertion(signer, jti=f"with {client_id}"), client_id=client_id)
        assert error_of(answer, 401) == "invalid_client"


def test_an_assertion_by_another_key_is_refused(signer: Program) -> None:
    assert error_of(signed(signer, assertion(signer, OTHER_KEY)), 401) == "invalid_client"
    unknown = assertion(signer, header={"kid": "second"})
    assert error_of(signed(signer, unknown), 401) == "invalid_client"


@pytest.mark.parametrize(
    "text",
    ["", "x", "a.b.c", "..", "e30.e30.", "eyJhbGciOiJub25lIn0.e30.", "W10.W10.W10", "\N{SNOWMAN}", '".".".'],
)
def test_an_assertion_that_is_none_is_refused(signer: Program, text: str) -> None:
    assert error_of(signed(signer, text), 401) == "invalid_client"


def test_an_unsigned_assertion_is_refused(signer: Program) -> None:
    head, body, signature = assertion(signer).split(".")
    for forged in (
        f"{head}.{body}.",
        f"eyJhbGciOiJub25lIn0.{body}.",
        f"eyJhbGciOiJIUzI1NiJ9.{body}.{signature}",
    ):
        assert error_of(signed(signer, forged), 401) == "invalid_client"


def test_a_program_with_keys_has_no_secret_and_one_with_a_secret_no_keys(
    signer: Program, service: Program
) -> None:
    assert error_of(signer.ask("client_credentials", client_secret="x"), 401) == "invalid_client"
    forged = assertion(service, jti="for-a-secret")
    assert error_of(signed(service, forged), 401) == "invalid_client"


class Keys:
    """A program's key set behind an address, counting who asks."""

    def __init__(self) -> None:
        self.keys: list[Any] = [KEY]
        self.asked = 0

    def fetch_json(self, _url: str) -> dict[str, Any]:
        self.asked += 1
        return KeySet(self.keys).as_dict()


@pytest.fixture
def published(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[Keys]:
    """The key set that a program publishes."""
    keys = Keys()
    monkeypatch.setattr(app.extensions["key_sets"]._outbound, "to", lambda asked: keys)
    return keys


def test_a_programs_keys_may_be_fetched_and_may_change(app: Flask, published: Keys) -> None:
    address = "https://notebook.example.edu/keys"
    signer = Program.register(app, is_service=True, redirect_uris=(), jwks_url=address)
    for jti in ("one", "two"):
        assert signed(signer, assertion(signer, jti=jti)).status_code == 200
    assert published.asked == 1
    second = ECKey.generate_key("P-256", {"kid": "second", "alg": "ES256"})
    published.keys = [second]
    given = signed(signer, assertion(signer, second, {"alg": "ES256", "kid": "second"}, jti="three"))
    assert given.status_code == 200, given.text
    assert published.asked == 2


def test_keys_that_cannot_be_had_let_nobody_in(app: Flask) -> None:
    address = "https://127.0.0.1:1/keys"
    signer = Program.register(app, is_service=True, redirect_uris=(), jwks_url=address)
    assert error_of(signed(signer, assertion(signer)), 401) == "invalid_client"


def test_people_may_allow_a_program_that_signs(app: Flask, teacher: Visitor) -> None:
    signer = Program.register(app, jwks=KeySet([KEY]).as_dict())
    code = allow(signer, teacher)
    own = {
        "client_id": None,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    given = signer.exchange(code, client_assertion=assertion(signer), **own)
    assert given.status_code == 200, given.text
    again = signer.refresh(
        given.get_json()["refresh_token"], client_assertion=assertion(signer, jti="two"), **own
    )
    assert again.status_code == 200


# Revoking


def test_a_token_can_be_given_back(app: Flask, program: Program, teacher: Visitor) -> None:
    given = program.exchange(allow(program, teacher)).get_json()
    answer = app.test_client().delete(TOKEN, headers=bearer(given["access_token"]))
    assert (answer.status_code, answer.get_json()) == (200, {})
    assert list_with(app, given["access_token"]).status_code == 401
    assert error_of(program.refresh(given["refresh_token"])) == "invalid_grant"


@pytest.mark.parametrize("header", [{}, bearer("aix_made-up"), {"Authorization": "Basic YTpi"}], ids=str)
def test_nothing_is_revoked_without_a_token(app: Flask, header: dict[str, str]) -> None:
    answer = app.test_client().delete(TOKEN, headers=header)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="canvas-lms"'
    assert answer.get_json()["status"] == "unauthenticated"


# What is kept


def test_no_secret_stands_in_the_database_or_in_the_log(
    app: Flask, program: Program, teacher: Visitor, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    code = allow(program, teacher)
    given = program.exchange(code).get_json()
    again = program.refresh(given["refresh_token"]).get_json()
    program.exchange(code)
    cookie = teacher.client.get_cookie("sign_in", path="/login/oauth2")
    told = [
        given["access_token"],
        given["refresh_token"],
        again["access_token"],
        program.secret,
        code,
        cookie.value,
    ]
    with app.extensions["database"].snapshot() as session:
        tables = ("access_tokens", "oauth_clients", "authorization_codes", "sign_ins", "client_assertions")
        rows = [tuple(row) for table in tables for row in session.execute(text(f"SELECT * FROM {table}"))]
    kept = json.dumps(rows, default=str) + caplog.text
    for secret in told:
        assert secret not in kept


def test_what_is_over_is_forgotten_in_time(
    app: Flask, program: Program, teacher: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    program.exchange(allow(program, teacher))
    long_ago = utc_now() - timedelta(days=31)
    with app.extensions["database"].transaction() as session:
        session.add(ClientAssertion(jti_hash="0" * 64, expires_at=utc_now()))
    change(app, AuthorizationCode, created_at=long_ago)
    change(app, SignIn, created_at=long_ago)
    change(app, AccessToken, expires_at=long_ago, refresh_expires_at=long_ago)
    monkeypatch.setattr(tokens, "FORGET_ONE_IN", 1)
    program.exchange(allow(program, teacher))
    with app.extensions["database"].snapshot() as session:
        assert session.exec(select(ClientAssertion)).all() == []
        for model in (AuthorizationCode, SignIn, AccessToken):
            assert len(session.exec(select(model)).all()) == 1, model


def test_an_expired_token_that_can_be_refreshed_is_kept(
    app: Flask, program: Program, teacher: Visitor
) -> None:
    given = program.exchange(allow(program, teacher)).get_json()
    change(app, AccessToken, expires_at=utc_now() - timedelta(days=60))
    change(app, AuthorizationCode, created_at=utc_now() - timedelta(days=60))
    with app.extensions["database"].transaction() as session:
        tokens.forget_what_is_over(session)
    assert program.refresh(given["refresh_token"]).status_code == 200


# In the launch


def test_somebody_sees_the_programs_that_they_allowed_and_stops_them(
    app: Flask, program: Program, student: Visitor
) -> None:
    token = program.exchange(allow(program, student)).get_json()["access_token"]
    program.exchange(allow(program, student))
    assert list_with(app, token).status_code == 200
    listed = student.page("/programs").select("[data-testid=program]")
    assert len(listed) == 1
    assert "Notebook" in listed[0].text
    assert "last used" in listed[0].text
    action = urlsplit(str(listed[0].select_one("form")["action"])).path.removeprefix(student.root)
    assert student.post(action).status_code == 303
    assert student.page("/programs").select("[data-testid=program]") == []
    assert list_with(app, token).status_code == 401


def test_nobody_stops_another_persons_program(
    app: Flask, program: Program, teacher: Visitor, student: Visitor
) -> None:
    token = program.exchange(allow(program, teacher)).get_json()["access_token"]
    with app.extensions["database"].snapshot() as session:
        client_id = session.exec(select(OAuthClient.id)).one()
    assert student.post(f"/programs/{client_id}/revoke").status_code == 303
    assert list_with(app, token).status_code == 200
