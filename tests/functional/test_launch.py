"""A launch over the whole stack, with tokens that the sandbox signs and keys that it serves over HTTP."""

import shlex
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from bs4 import BeautifulSoup
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from flask.testing import FlaskClient
from sqlmodel import Session, select, update

from app.courses.models import Course, Enrollment, User
from app.database import utc_now
from app.lti.claims import GRADES_ENDPOINT, ROSTER_ENDPOINT
from app.lti.login import PARAMETERS
from app.lti.models import CourseServices, Launch, Login
from app.sandbox import ABSENT, Sandbox
from tests.support.people import BIOLOGY, Visitor, begin_login, finish_launch, login_answer

CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"


def test_login_sends_the_browser_to_the_platform(client: FlaskClient, sandbox: Sandbox) -> None:
    response = begin_login(client, sandbox, "amara.diallo", lti_storage_target="")
    asked = login_answer(response)
    assert response.status_code == 302
    assert response.location.startswith(sandbox.config.authorize_url)
    assert asked["response_type"] == "id_token"
    assert asked["response_mode"] == "form_post"
    assert asked["prompt"] == "none"
    assert asked["redirect_uri"] == "http://localhost:8000/lti/launch"
    assert asked["lti_message_hint"]


def test_login_by_get_works_as_well(client: FlaskClient, sandbox: Sandbox) -> None:
    query = {
        "iss": sandbox.config.issuer,
        "login_hint": "x",
        "target_link_uri": "http://localhost:8000/lti/launch",
    }
    assert client.get("/lti/login", query_string=query).status_code == 302


def test_login_cookie_works_in_a_frame_and_goes_to_lti_addresses_alone(
    client: FlaskClient, sandbox: Sandbox
) -> None:
    cookie = begin_login(client, sandbox, "amara.diallo").headers["Set-Cookie"]
    for part in ("Path=/lti;", "Secure", "HttpOnly", "SameSite=None", "Partitioned"):
        assert part in cookie


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"iss": ""}, "must carry iss and login_hint"),
        ({"login_hint": ""}, "must carry iss and login_hint"),
        ({"iss": "https://elsewhere.example"}, "Register the platform"),
        ({"client_id": "another"}, "Register the platform"),
        ({"target_link_uri": "https://elsewhere.example/x"}, "own address"),
        ({"lti_deployment_id": "another"}, "--deployment-id=another"),
    ],
)
def test_login_that_is_not_right_is_refused_with_words(
    client: FlaskClient, sandbox: Sandbox, changes: dict[str, str], sentence: str
) -> None:
    response = begin_login(client, sandbox, "amara.diallo", **changes)
    assert 400 <= response.status_code < 500
    assert sentence in response.text
    assert "Reference: " in response.text


def test_an_unknown_platforms_page_shows_what_arrived_and_nothing_of_it_is_markup(
    client: FlaskClient, sandbox: Sandbox
) -> None:
    arrived = {"iss": "https://elsewhere.example/<i>", "client_id": "<script>" + "7" * 300}
    response = begin_login(client, sandbox, "amara.diallo", **arrived)
    page = BeautifulSoup(response.text, "html.parser")
    shown = [code.text for code in page.select("[data-testid=arrived] code")]
    assert shown == [arrived["iss"], arrived["client_id"][:255]]
    assert "<i>" not in response.text
    assert "platform invite" in response.text


def test_a_command_on_a_page_is_no_markup_whatever_the_deployment_is_called(
    client: FlaskClient, sandbox: Sandbox
) -> None:
    named = {"lti_deployment_id": "<b>'; reboot"}
    response = begin_login(client, sandbox, "amara.diallo", **named)
    command = BeautifulSoup(response.text, "html.parser").select_one("[data-testid=command]").text
    assert "<b>" not in response.text
    assert shlex.split(command)[-1] == "--deployment-id=<b>'; reboot"


def test_launch_writes_down_person_course_and_enrollment(
    app: Flask, sandbox: Sandbox, teacher: Visitor, db: Session
) -> None:
    user, course, enrollment = db.exec(
        select(User, Course, Enrollment).where(
            Enrollment.user_id == User.id, Enrollment.course_id == Course.id
        )
    ).one()
    assert user.name == "Miriam Okafor"
    assert user.canvas_user_id == "201"
    assert course.title == "Introduction to Cell Biology"
    assert course.canvas_course_id == "1101"
    assert enrollment.role == "teacher"


def test_a_launch_with_a_page_costs_few_statements_and_a_first_one_two_more(
    app: Flask,
    sandbox: Sandbox,
    teacher: Visitor,
    count_queries: Callable[[Callable[[], object]], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("secrets.randbelow", lambda _: 1)  # no old logins and launches are forgotten
    first = count_queries(lambda: Visitor.launch(app, sandbox, "amara.diallo"))
    again = count_queries(lambda: Visitor.launch(app, sandbox, "amara.diallo"))
    begins = 6 if app.extensions["database"].url.get_backend_name() == "sqlite" else 0
    assert (first, again) == (14 + begins, 12 + begins)


def test_launch_cookie_is_confined_to_its_launch(client: FlaskClient, sandbox: Sandbox) -> None:
    login = begin_login(client, sandbox, "amara.diallo")
    response = finish_launch(client, sandbox, "amara.diallo", login)
    launch_path = response.location.rsplit("/", 1)[0]
    cookie = next(value for value in response.headers.getlist("Set-Cookie") if value.startswith("launch="))
    for part in (f"Path={launch_path}", "Secure", "HttpOnly", "SameSite=None", "Partitioned"):
        assert part in cookie


def test_a_launch_leaves_one_small_cookie(client: FlaskClient, sandbox: Sandbox) -> None:
    teacher = Visitor.launch_in(client, sandbox, "miriam.okafor")
    teacher.write_experience()
    teacher.page("/experiences")
    (cookie,) = client._cookies.values()
    assert cookie.path == teacher.root
    assert len(cookie.key + cookie.value) <= 80


def test_second_launch_keeps_what_it_leaves_blank(app: Flask, sandbox: Sandbox, db: Session) -> None:
    Visitor.launch(app, sandbox, "amara.diallo")
    Visitor.launch(
        app, sandbox, "amara.diallo", name=ABSENT, given_name=ABSENT, family_name=ABSENT, picture=ABSENT
    )
    assert db.exec(select(User.name)).one() == "Amara Diallo"


def test_a_person_without_a_name_gets_a_short_code(app: Flask, sandbox: Sandbox) -> None:
    Visitor.launch(app, sandbox, "amara.diallo", name=ABSENT, given_name=ABSENT, family_name=ABSENT)
    teacher = Visitor.launch(app, sandbox, "miriam.okafor", **{ROSTER_ENDPOINT: ABSENT})
    page = teacher.page(f"/experiences/{teacher.write_experience()}")
    assert page.select_one("[data-testid=student-row] th").text.strip().startswith("Student ")


NOW = int(time.time())
BAD_TOKENS: dict[str, dict[str, object]] = {
    "another issuer": {"iss": "https://elsewhere.example"},
    "another audience": {"aud": "another"},
    "several audiences without azp": {"aud": ["10000000000007", "another"], "azp": ABSENT},
    "another azp": {"azp": "another"},
    "another nonce": {"nonce": "another"},
    "no nonce": {"nonce": ABSENT},
    "expired": {"exp": NOW - 120},
    "no exp": {"exp": ABSENT},
    "exp not a number": {"exp": "soon"},
    "exp a text": {"exp": str(NOW + 600)},
    "iat true": {"iat": True},
    "no resource link": {CLAIM + "resource_link": ABSENT},
    "resource link without id": {CLAIM + "resource_link": {"id": 5}},
    "too old": {"iat": NOW - 7200},
    "from the future": {"iat": NOW + 86_400},
    "no iat": {"iat": ABSENT},
    "not yet valid": {"nbf": NOW + 86_400},
    "no sub": {"sub": ABSENT},
    "long sub": {"sub": "x" * 256},
    "sub not a text": {"sub": 7},
    "another version": {CLAIM + "version": "1.1"},
    "another message": {CLAIM + "message_type": "LtiDeepLinkingRequest"},
    "no message type": {CLAIM + "message_type": ABSENT},
    "another deployment": {CLAIM + "deployment_id": "another"},
    "no deployment": {CLAIM + "deployment_id": ABSENT},
    "deployment not a text": {CLAIM + "deployment_id": 7},
    "no context": {CLAIM + "context": ABSENT},
    "context without id": {CLAIM + "context": {"id": None}},
    "no roles": {CLAIM + "roles": ABSENT},
    "roles not a list": {CLAIM + "roles": "Learner"},
    "empty roles": {CLAIM + "roles": []},
    "unknown role": {CLAIM + "roles": ["urn:someone/else#Instructor"]},
    "unknown kid": {"headers": {"kid": "another"}},
    "no kid": {"headers": {"kid": None}},
    "alg none": {"algorithm": "none"},
    "HS256": {"algorithm": "HS256", "private_key": "x" * 64},
    "another key": {"private_key": rsa.generate_private_key(public_exponent=65537, key_size=2048)},
}


@pytest.mark.parametrize("case", BAD_TOKENS)
def test_launch_that_does_not_verify_is_refused_with_words(
    client: FlaskClient, sandbox: Sandbox, case: str, db: Session
) -> None:
    login = begin_login(client, sandbox, "amara.diallo")
    response = finish_launch(client, sandbox, "amara.diallo", login, **BAD_TOKENS[case])
    assert response.status_code in {400, 401, 403}
    assert "For the administrator" in response.text
    assert "launch=" not in str(response.headers.getlist("Set-Cookie"))
    assert db.exec(select(Launch)).all() == []
    assert db.exec(select(User)).all() == []


def test_clock_a_little_off_is_accepted(app: Flask, sandbox: Sandbox) -> None:
    now = int(time.time())
    Visitor.launch(app, sandbox, "amara.diallo", iat=now + 30, exp=now - 30)


def test_several_audiences_with_our_azp_are_accepted(app: Flask, sandbox: Sandbox) -> None:
    client_id = sandbox.config.client_id
    Visitor.launch(app, sandbox, "amara.diallo", aud=["another", client_id], azp=client_id)


def test_the_same_launch_works_once(client: FlaskClient, sandbox: Sandbox, db: Session) -> None:
    login = begin_login(client, sandbox, "amara.diallo")
    first = finish_launch(client, sandbox, "amara.diallo", login)
    second = finish_launch(client, sandbox, "amara.diallo", login)
    assert (first.status_code, second.status_code) == (303, 401)
    assert "open AI Experiences again" in second.text
    assert len(db.exec(select(Launch)).all()) == 1


def test_another_browser_cannot_finish_a_launch(app: Flask, sandbox: Sandbox) -> None:
    login = begin_login(app.test_client(), sandbox, "amara.diallo")
    response = finish_launch(app.test_client(), sandbox, "amara.diallo", login)
    assert response.status_code == 401
    assert "Location" not in response.headers


def test_a_login_lasts_ten_minutes(app: Flask, client: FlaskClient, sandbox: Sandbox) -> None:
    login = begin_login(client, sandbox, "amara.diallo")
    with app.extensions["database"].transaction() as db:
        db.exec(update(Login).values(created_at=utc_now() - timedelta(minutes=11)))
    assert finish_launch(client, sandbox, "amara.diallo", login).status_code == 401


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "e30.e30.e30", "W10.W10.W10", "x" * 900_000], ids=len)
def test_what_is_no_token_is_refused(client: FlaskClient, sandbox: Sandbox, token: str) -> None:
    login = begin_login(client, sandbox, "amara.diallo")
    response = client.post("/lti/launch", data={"id_token": token, "state": login_answer(login)["state"]})
    assert 400 <= response.status_code < 500


def test_an_error_from_the_platform_and_a_visit_by_hand_are_explained(client: FlaskClient) -> None:
    refused = client.post("/lti/launch", data={"error": "login_required"})
    by_hand = client.get("/lti/launch")
    assert (refused.status_code, by_hand.status_code) == (400, 401)
    for response in (refused, by_hand):
        assert "Go back to your course and open" in response.text


@pytest.mark.parametrize(
    "locale",
    ["pt-BR", "en-AU", "zh-Hans", "da-x-k12", "en-GB-x-ukhe", "en_GB", "xx", "es", "<b>", "\x00", None, 7],
)
def test_any_locale_opens_the_tool_in_a_language_it_has(app: Flask, sandbox: Sandbox, locale: object) -> None:
    presentation = {"locale": locale}
    visitor = Visitor.launch(
        app, sandbox, "amara.diallo", **{"locale": locale, CLAIM + "launch_presentation": presentation}
    )
    assert visitor.page("/shelf").html["lang"] == "en"
    assert visitor.get("/experiences/99").status_code == 403


@pytest.mark.parametrize("name", ["iss", "client_id", "lti_deployment_id", "login_hint"])
def test_control_characters_in_a_login_are_refused(client: FlaskClient, sandbox: Sandbox, name: str) -> None:
    assert begin_login(client, sandbox, "amara.diallo", **{name: "a\x00b"}).status_code == 400


def test_logins_by_get_at_once_all_work(app: Flask, sandbox: Sandbox) -> None:
    query = {"iss": sandbox.config.issuer, "login_hint": "x"}
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(
            lambda _: app.test_client().get("/lti/login", query_string=query).status_code, range(30)
        )
        assert set(answers) == {302}


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "\u202egnp.exe", "x" * 10_000, "a\x00b", "\ud800", 7, None],
    ids=ascii,
)
def test_names_of_any_kind_are_shown_as_text(app: Flask, sandbox: Sandbox, name: object) -> None:
    Visitor.launch(app, sandbox, "amara.diallo", name=name)
    teacher = Visitor.launch(app, sandbox, "miriam.okafor")
    response = teacher.get(f"/experiences/{teacher.write_experience()}")
    assert response.status_code == 200
    assert "<script>alert" not in response.text
    assert "\u202e" not in response.text


def test_unknown_optional_claims_do_no_harm(app: Flask, sandbox: Sandbox) -> None:
    Visitor.launch(
        app,
        sandbox,
        "amara.diallo",
        **{
            CLAIM + "custom": None,
            CLAIM + "launch_presentation": "iframe",
            "picture": "javascript:alert(1)",
            "https://example.org/else": [1],
        },
    )


def test_a_new_role_counts_at_once(app: Flask, sandbox: Sandbox) -> None:
    assert Visitor.launch(app, sandbox, "amara.diallo").get("/experiences/new").status_code == 403
    teaching = ["http://purl.imsglobal.org/vocab/lis/v2/membership#Instructor"]
    promoted = Visitor.launch(app, sandbox, "amara.diallo", **{CLAIM + "roles": teaching})
    assert promoted.get("/experiences/new").status_code == 200


def test_a_role_that_is_won_counts_in_every_tab(app: Flask, sandbox: Sandbox) -> None:
    before = Visitor.launch(app, sandbox, "amara.diallo")
    Visitor.launch(app, sandbox, "amara.diallo", **{CLAIM + "roles": ["Instructor"]})
    assert before.get("/experiences/new").status_code == 200


@pytest.mark.parametrize("role", ["Learner", "Mentor", "ContentDeveloper"])
def test_the_session_of_a_role_that_is_lost_ends_in_every_tab(
    app: Flask, sandbox: Sandbox, role: str
) -> None:
    before = Visitor.launch(app, sandbox, "priya.raman")
    after = Visitor.launch(app, sandbox, "priya.raman", **{CLAIM + "roles": [role]})
    ended = before.get("/experiences")
    assert ended.status_code == 401
    assert "Your role in this course has changed" in ended.text
    assert after.get("/experiences", follow_redirects=True).status_code == 200


def test_a_session_from_before_roles_were_remembered_goes_on(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    with app.extensions["database"].transaction() as db:
        db.execute(update(Launch).values(role=None))
    Visitor.launch(app, sandbox, "miriam.okafor", **{CLAIM + "roles": ["Learner"]})
    assert teacher.get("/experiences/new").status_code == 403


def test_keys_that_cannot_be_had_are_a_clear_page(app: Flask, client: FlaskClient, sandbox: Sandbox) -> None:
    with app.extensions["database"].transaction() as db:
        db.connection().exec_driver_sql("UPDATE platforms SET key_set_url = 'http://127.0.0.1:9/keys'")
    login = begin_login(client, sandbox, "amara.diallo")
    response = finish_launch(client, sandbox, "amara.diallo", login)
    assert response.status_code == 503
    assert "did not answer just now" in response.text


def test_configuration_for_canvas_names_this_host(client: FlaskClient) -> None:
    config = client.get("/lti/config.json").json
    assert config["oidc_initiation_url"] == "http://localhost:8000/lti/login"
    placement = config["extensions"][0]["settings"]["placements"][0]
    assert placement["placement"] == "course_navigation"
    assert config["custom_fields"]["canvas_course_id"] == "$Canvas.course.id"


def test_public_keys_hold_nothing_private(client: FlaskClient) -> None:
    (key,) = client.get("/lti/jwks.json").json["keys"]
    assert {"kty", "n", "e", "kid", "alg", "use"} == set(key)


def test_course_without_titles_is_accepted(app: Flask, sandbox: Sandbox) -> None:
    context = {"id": sandbox.course(BIOLOGY).context_id, "title": None}
    Visitor.launch(app, sandbox, "miriam.okafor", **{CLAIM + "context": context})


def test_a_link_without_grades_takes_them_from_no_other(app: Flask, sandbox: Sandbox) -> None:
    Visitor.launch(app, sandbox, "miriam.okafor")
    before = _offered(app)
    Visitor.launch(app, sandbox, "miriam.okafor", **{GRADES_ENDPOINT: ABSENT, ROSTER_ENDPOINT: ABSENT})
    after = _offered(app)
    assert before.roster_url
    assert (after.roster_url, after.line_items_url) == (None, before.line_items_url)
    assert after.grade_scopes == before.grade_scopes != []


def _offered(app: Flask) -> CourseServices:
    with app.extensions["database"].snapshot() as db:
        return db.exec(select(CourseServices)).one()


def test_what_a_login_names_is_shown_as_text(client: FlaskClient, sandbox: Sandbox) -> None:
    hostile = '"><meta http-equiv="refresh" content="0;url=https://evil.example/">'
    page = begin_login(client, sandbox, "amara.diallo", lti_deployment_id=hostile)
    assert page.status_code == 403
    assert "<meta http-equiv" not in page.text
    assert "&lt;meta http-equiv" in page.text


def test_a_login_keeps_what_lti_knows_alone(app: Flask, client: FlaskClient, sandbox: Sandbox) -> None:
    begin_login(client, sandbox, "amara.diallo", padding="x" * 3_000, canvas_region="eu")
    with app.extensions["database"].snapshot() as db:
        kept = db.exec(select(Login)).one().request
    assert {"iss", "login_hint", "lti_message_hint"} <= kept.keys() <= set(PARAMETERS)
