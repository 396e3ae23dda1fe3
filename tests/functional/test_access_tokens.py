"""Access tokens that people make for themselves, and those that a command makes."""

import logging
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from bs4 import BeautifulSoup
from click.testing import Result
from flask import Flask
from sqlmodel import select, update

from app.api.caller import ADMINISTERS_FOR
from app.api.oauth import tokens
from app.api.oauth.commands import oauth_client, token
from app.api.oauth.models import AccessToken, OAuthClient
from app.courses.models import Course, Enrollment, EnrollmentState, Role, User
from app.database import utc_now
from app.lti.models import Deployment, Platform, RegistrationSource, RegistrationState
from app.sandbox import Sandbox
from tests.support.people import BIOLOGY, HISTORY, Visitor
from tests.support.programs import READ, WRITE, bearer, list_with

pytestmark = pytest.mark.usefixtures("unread_lists")
FORM = {"name": "Weekly report", "days": "90", "groups": ["everything"]}


def make(visitor: Visitor, **changes: Any) -> str:
    """Make a token on the page, and return it."""
    response = visitor.post("/access-tokens", FORM | changes)
    assert response.status_code == 201, response.text
    return str(BeautifulSoup(response.text, "html.parser").select_one("[data-testid=secret]")["value"])


def rows(visitor: Visitor) -> list[str]:
    listed = visitor.page("/access-tokens").select("[data-testid=token]")
    return [" ".join(row.select_one(".row-main").text.split()) for row in listed]


def change(app: Flask, model: type[Any], **values: Any) -> None:
    with app.extensions["database"].transaction() as session:
        session.execute(update(model).values(**values))


def all_of(app: Flask, model: type[Any]) -> list[Any]:
    with app.extensions["database"].snapshot() as session:
        return list(session.exec(select(model).order_by(model.id)))


# On the page


def test_a_token_is_shown_once_and_works(app: Flask, teacher: Visitor) -> None:
    secret = make(teacher)
    assert list_with(app, secret).status_code == 200
    page = teacher.get("/access-tokens").text
    assert secret not in page
    assert secret[:10] in page


def test_pages_say_where_programs_find_the_course(app: Flask, teacher: Visitor) -> None:
    made = BeautifulSoup(teacher.post("/access-tokens", FORM).text, "html.parser")
    for page in (teacher.page("/access-tokens"), made):
        address = page.select_one("[data-testid=api-address]").text
        assert address == f"{app.config['SETTINGS'].app_url}/api/v1/courses/{BIOLOGY}/ai_experiences"


def test_a_list_says_what_a_token_is_for_until_when_and_when_it_was_used(
    app: Flask, teacher: Visitor
) -> None:
    secret = make(teacher, groups=["read"])
    (row,) = rows(teacher)
    for part in ("Weekly report", "never used", "expires", "See the experiences of the course"):
        assert part in row
    list_with(app, secret)
    assert "last used" in rows(teacher)[0]
    change(app, AccessToken, expires_at=utc_now())
    assert "expired" in rows(teacher)[0]
    assert list_with(app, secret).status_code == 401


def test_a_token_is_narrowed_to_what_is_ticked(app: Flask, teacher: Visitor) -> None:
    secret = make(teacher, groups=["read"])
    assert list_with(app, secret).status_code == 200
    address = f"/api/v1/courses/{BIOLOGY}/ai_experiences"
    assert app.test_client().post(address, json={}, headers=bearer(secret)).status_code == 401


def test_a_token_lasts_for_as_long_as_was_chosen(app: Flask, teacher: Visitor) -> None:
    make(teacher, days="30")
    left = all_of(app, AccessToken)[0].expires_at - utc_now()
    assert timedelta(days=29) < left <= timedelta(days=30)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "  "}, "Name"),
        ({"name": "x" * 256}, "Name"),
        ({"days": "9999"}, "Works for"),
        ({"days": "x"}, "Works for"),
        ({"groups": []}, "What may be done with it"),
        ({"groups": ["made-up"]}, "What may be done with it"),
    ],
    ids=str,
)
def test_a_mistake_makes_no_token_and_loses_nothing(
    app: Flask, teacher: Visitor, changes: dict[str, Any], field: str
) -> None:
    response = teacher.post("/access-tokens", FORM | changes)
    page = BeautifulSoup(response.text, "html.parser")
    assert response.status_code == 400
    assert page.select_one("[data-testid=form-errors] a").text == field
    assert page.select_one("#name")["value"] == (FORM | changes)["name"]
    assert all_of(app, AccessToken) == []


def test_a_revoked_token_works_no_more(app: Flask, teacher: Visitor) -> None:
    secret = make(teacher)
    form = teacher.page("/access-tokens").select_one("[data-testid=token] form")
    action = urlsplit(str(form["action"])).path.removeprefix(teacher.root)
    assert teacher.post(action).status_code == 303
    assert list_with(app, secret).status_code == 401
    assert rows(teacher) == []
    assert teacher.post(action).status_code == 404


def test_a_name_is_shown_as_it_was_typed(teacher: Visitor) -> None:
    make(teacher, name="<img src=x>")
    assert teacher.page("/access-tokens").select("main img") == []
    assert "<img src=x>" in rows(teacher)[0]


def test_students_make_no_tokens(app: Flask, student: Visitor) -> None:
    assert student.get("/access-tokens").status_code == 403
    assert student.post("/access-tokens", FORM).status_code == 403
    assert all_of(app, AccessToken) == []
    assert student.get("/programs").status_code == 200


@pytest.mark.parametrize("who", ["miriam.okafor", "priya.raman", "ingrid.bauer"])
def test_teaching_assistants_and_administrators_make_tokens_too(
    app: Flask, sandbox: Sandbox, who: str
) -> None:
    assert list_with(app, make(Visitor.launch(app, sandbox, who))).status_code == 200


def test_nobody_sees_or_revokes_anothers_token(app: Flask, sandbox: Sandbox, teacher: Visitor) -> None:
    secret = make(teacher)
    assistant = Visitor.launch(app, sandbox, "priya.raman")
    assert rows(assistant) == []
    token_id = all_of(app, AccessToken)[0].id
    assert assistant.post(f"/access-tokens/{token_id}/revoke").status_code == 404
    assert list_with(app, secret).status_code == 200


def test_a_token_is_as_strong_as_its_person_is_now(app: Flask, teacher: Visitor) -> None:
    teacher.write_experience(publish=False)
    secret = make(teacher)
    assert len(list_with(app, secret).get_json()) == 1
    change(app, Enrollment, role=Role.STUDENT)
    assert list_with(app, secret).get_json() == []
    change(app, Enrollment, workflow_state=EnrollmentState.LEFT)
    assert list_with(app, secret).status_code == 404


def test_an_administrators_token_works_for_a_month_after_their_last_launch(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    as_administrator = make(Visitor.launch(app, sandbox, "ingrid.bauer"))
    as_teacher = make(teacher)
    change(app, Enrollment, last_launch_at=utc_now() - ADMINISTERS_FOR + timedelta(minutes=1))
    assert list_with(app, as_administrator).status_code == 200
    change(app, Enrollment, last_launch_at=utc_now() - ADMINISTERS_FOR)
    assert list_with(app, as_administrator).status_code == 404
    assert list_with(app, as_teacher).status_code == 200
    Visitor.launch(app, sandbox, "ingrid.bauer")
    assert list_with(app, as_administrator).status_code == 200


def test_a_token_reaches_its_persons_courses_alone(app: Flask, sandbox: Sandbox, teacher: Visitor) -> None:
    Visitor.launch(app, sandbox, "amara.diallo", HISTORY)
    assert list_with(app, make(teacher), HISTORY).status_code == 404


@pytest.mark.parametrize("model", [Platform, Deployment])
def test_a_token_of_a_place_that_was_removed_works_no_more(
    app: Flask, teacher: Visitor, model: type[Any]
) -> None:
    secret = make(teacher)
    change(app, model, workflow_state=RegistrationState.REMOVED)
    assert list_with(app, secret).status_code in {401, 404}


def test_nobody_has_more_tokens_than_they_can_keep_track_of(
    app: Flask, teacher: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_PERSONAL", 1)
    make(teacher)
    response = teacher.post("/access-tokens", FORM)
    assert response.status_code == 409
    assert "Revoke one that you no longer need" in response.text
    assert len(all_of(app, AccessToken)) == 1


def test_a_page_costs_the_same_however_many_tokens_there_are(teacher: Visitor, count_queries: Any) -> None:
    make(teacher)
    one = count_queries(lambda: teacher.get("/access-tokens"))
    for number in range(5):
        make(teacher, name=f"Number {number}")
    assert count_queries(lambda: teacher.get("/access-tokens")) == one


def test_the_lists_lead_to_api_access(teacher: Visitor, student: Visitor) -> None:
    for visitor, page in ((teacher, "/access-tokens"), (student, "/programs")):
        link = visitor.page("/experiences").select_one("[data-testid=api-access]")
        assert urlsplit(str(link["href"])).path == visitor.root + page


def test_no_token_stands_in_the_log(app: Flask, teacher: Visitor, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    secret = make(teacher, name="A name of mine")
    list_with(app, secret)
    assert secret not in caplog.text
    assert "A name of mine" not in caplog.text


# By command


def run(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(token, arguments)


def create(
    app: Flask, *arguments: str, role: str = "teacher", user: int = 5, course: int = BIOLOGY
) -> Result:
    with app.extensions["database"].snapshot() as session:
        issuer = session.exec(select(Platform.issuer)).first()
    named = ("--issuer", issuer, "--course", str(course), "--user", str(user), "--role", role)
    return run(app, "create", *named, *arguments)


def test_a_command_prints_a_token_alone(app: Flask) -> None:
    result = create(app, "--name", "Nightly", "--days", "7", "--scope", READ)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("aix_")
    assert result.stdout.count("\n") == 1
    assert list_with(app, result.stdout.strip()).get_json() == []
    kept = all_of(app, AccessToken)[0]
    assert (kept.name, kept.scopes) == ("Nightly", [READ])
    assert kept.created_by_id is None
    assert timedelta(days=6) < kept.expires_at - utc_now() <= timedelta(days=7)


def test_a_commands_token_lasts_until_it_is_revoked(app: Flask) -> None:
    secret = create(app).stdout.strip()
    change(app, AccessToken, created_at=utc_now() - timedelta(days=4000))
    assert list_with(app, secret).status_code == 200
    assert run(app, "revoke", "1").output == "Token 1 is revoked.\n"
    assert list_with(app, secret).status_code == 401
    assert run(app, "revoke", "1").output == "Error: There is no token 1.\n"
    assert run(app, "list").output == "There is no token.\n"


def test_somebody_whom_the_platform_sent_is_found_by_their_canvas_id(
    app: Flask, sandbox: Sandbox, teacher: Visitor
) -> None:
    person = sandbox.person("miriam.okafor")
    experience_id = teacher.write_experience()
    secret = create(app, user=person.canvas_id).stdout.strip()
    assert [row["id"] for row in list_with(app, secret).get_json()] == [experience_id]
    assert len(all_of(app, User)) == 1
    assert len(all_of(app, Course)) == 1
    assert "Weekly report" not in rows(teacher)[0]
    assert "does not expire" in rows(teacher)[0]


def test_a_role_that_contradicts_the_platform_is_refused(
    app: Flask, sandbox: Sandbox, student: Visitor
) -> None:
    result = create(app, user=sandbox.person("amara.diallo").canvas_id)
    assert result.exit_code == 1
    assert "is in course 1101 as student, not teacher" in result.output
    assert all_of(app, AccessToken) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--scope", "url:GET|/api/v1/nothing"), "There is no scope"),
        (("--deployment-id", "nowhere"), "no deployment nowhere"),
        (("--client-id", "unknown"), "There is no such platform. Registered: http"),
        (("--days", "0"), "0 is not in the range"),
        (("--user", ""), "'' is no Canvas id"),
        (("--course", "a\x1fb"), "is no Canvas id"),
        (("--role", "observer"), "is not one of"),
    ],
    ids=str,
)
def test_what_a_command_cannot_do_it_says(app: Flask, arguments: tuple[str, ...], message: str) -> None:
    result = create(app, *arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert all_of(app, AccessToken) == []
    assert all_of(app, User) == []


def test_the_deployment_must_be_named_where_it_cannot_be_told(app: Flask) -> None:
    with app.extensions["database"].transaction() as session:
        first = session.exec(select(Deployment)).one()
        platform_id, named = first.platform_id, first.deployment_id
        for number in ("2", "3"):
            session.add(
                Deployment(platform_id=platform_id, deployment_id=number, source=RegistrationSource.COMMAND)
            )
    assert "say which one" in create(app).output
    assert create(app, "--deployment-id", named).exit_code == 0
    assert create(app).exit_code == 0  # now only that one has the course
    assert create(app, "--deployment-id", "2").exit_code == 0
    assert "say which one" in create(app).output
    change(app, Deployment, workflow_state=RegistrationState.PENDING)
    assert "may not launch the tool" in create(app, "--deployment-id", "2").output
    assert "no deployment that may launch" in create(app).output


def test_a_list_tells_tokens_apart_and_none_of_them_whole(app: Flask, teacher: Visitor) -> None:
    secret = make(teacher)
    create(app, "--name", "Nightly")
    heading, first, second = run(app, "list").output.splitlines()
    assert heading == "id\ttoken\tperson\tfor\tscopes\texpires\tlast used"
    assert first.split("\t")[1:5] == [f"{secret[:10]}…", "Miriam Okafor", "Weekly report", "all"]
    assert second.split("\t")[2:] == ["5", "Nightly", "all", "never", "-"]
    with app.extensions["database"].snapshot() as session:
        issuer = session.exec(select(Platform.issuer)).one()
    assert run(app, "list", "--issuer", issuer).output == run(app, "list").output
    assert run(app, "list", "--issuer", "https://elsewhere.example").exit_code == 1


# Programs, by command


def client(app: Flask, *arguments: str) -> Result:
    with app.extensions["database"].snapshot() as session:
        issuer = session.exec(select(Platform.issuer)).one()
    return app.test_cli_runner().invoke(
        oauth_client, ["add", "--issuer", issuer, "--name", "Notebook", *arguments]
    )


def test_a_program_is_added_listed_and_removed(app: Flask) -> None:
    made = client(app, "--service", "--scope", READ, "--scope", WRITE)
    told = dict(line.split("=") for line in made.stdout.splitlines())
    assert set(told) == {"client_id", "client_secret"}
    asked = {"grant_type": "client_credentials", **told}
    given = app.test_client().post("/login/oauth2/token", data=asked).get_json()
    assert given["scope"] == f"{READ} {WRITE}"
    row = app.test_cli_runner().invoke(oauth_client, ["list"]).output.splitlines()[1].split("\t")
    assert row[0] == told["client_id"]
    assert row[3:5] == ["a secret", "the platform"]
    removed = app.test_cli_runner().invoke(oauth_client, ["remove", told["client_id"]])
    assert removed.output == "Notebook gets no more tokens, and those that it has are revoked.\n"
    assert app.test_client().post("/login/oauth2/token", data=asked).status_code == 401
    assert list_with(app, given["access_token"]).status_code == 401
    again = app.test_cli_runner().invoke(oauth_client, ["remove", told["client_id"]])
    assert "There is no program" in again.output
    assert app.test_cli_runner().invoke(oauth_client, ["list"]).output == "There is no program.\n"


def test_a_public_program_gets_no_secret(app: Flask) -> None:
    made = client(app, "--public", "--redirect-uri", "http://localhost/back")
    assert made.exit_code == 0
    assert "client_secret" not in made.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--redirect-uri"),
        (("--public",), "--redirect-uri"),
        (("--public", "--service"), "cannot act for the platform"),
        (("--redirect-uri", "http://notebook.example.edu/back"), "no address to return to"),
        (("--redirect-uri", "javascript:alert(1)"), "no address to return to"),
        (("--redirect-uri", "https://notebook.example.edu/back#here"), "no address to return to"),
        (("--redirect-uri", "https://user@notebook.example.edu/back"), "no address to return to"),
        (("--service", "--jwks-url", "http://notebook.example.edu/keys"), "must begin with https://"),
        (("--service", "--jwks-url", "https://a.example/keys", "--jwks-file", "keys.json"), "not both"),
        (("--service", "--jwks-file", "private.json"), "private keys"),
        (("--service", "--jwks-file", "empty.json"), "no RSA, EC or OKP key"),
        (("--service", "--jwks-file", "list.json"), "must be a JWKS"),
        (("--service", "--jwks-file", "no.json"), "is no JSON"),
        (("--service", "--deployment-id", "nowhere"), "no deployment nowhere"),
        (("--service", "--scope", "made-up"), "There is no scope"),
        (("--service", "--name", " "), "needs a name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_a_program_that_cannot_be_is_not_added(
    app: Flask, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    key = '{"kty": "RSA", "n": "AQAB", "e": "AQAB"%s}'
    (tmp_path / "keys.json").write_text(f'{{"keys": [{key % ""}]}}')
    (tmp_path / "private.json").write_text('{"keys": [%s]}' % (key % ', "d": "AQAB"'))
    (tmp_path / "empty.json").write_text('{"keys": []}')
    (tmp_path / "list.json").write_text('{"keys": [1]}')
    (tmp_path / "no.json").write_text("keys")
    result = client(app, *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert all_of(app, OAuthClient) == []
