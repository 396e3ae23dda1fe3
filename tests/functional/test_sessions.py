"""A session belongs to a launch, not to a browser."""

from datetime import timedelta

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient
from sqlmodel import select, update

from app.database import utc_now
from app.lti import sessions
from app.lti.models import Launch
from app.sandbox import Sandbox
from tests.support.people import BIOLOGY, EXPERIENCE, HISTORY, Visitor, begin_login, login_answer

OWN_PAGE = {"Origin": "http://localhost:8000"}


def test_two_courses_and_two_people_in_one_browser_never_mix(client: FlaskClient, sandbox: Sandbox) -> None:
    teacher = Visitor.launch_in(client, sandbox, "miriam.okafor", BIOLOGY)
    student = Visitor.launch_in(client, sandbox, "amara.diallo", BIOLOGY)
    elsewhere = Visitor.launch_in(client, sandbox, "amara.diallo", HISTORY)
    teacher.write_experience()
    assert teacher.get("/experiences/new").status_code == 200
    assert student.get("/experiences/new").status_code == 403
    assert len(student.page("/shelf").select("[data-testid=experience]")) == 1
    assert elsewhere.page("/shelf").select("[data-testid=experience]") == []


def test_one_person_may_teach_here_and_learn_there(client: FlaskClient, sandbox: Sandbox) -> None:
    assert (
        Visitor.launch_in(client, sandbox, "priya.raman", BIOLOGY).get("/experiences/new").status_code == 200
    )
    assert (
        Visitor.launch_in(client, sandbox, "priya.raman", HISTORY).get("/experiences/new").status_code == 403
    )


def test_the_address_alone_opens_nothing(app: Flask, teacher: Visitor) -> None:
    response = app.test_client().get(f"{teacher.root}/experiences")
    assert response.status_code == 401
    assert "Open AI Experiences again from your course" in response.text


def test_one_launchs_cookie_does_not_open_another(app: Flask, sandbox: Sandbox) -> None:
    student, teacher = (Visitor.launch(app, sandbox, who) for who in ("amara.diallo", "miriam.okafor"))
    cookie = student.client.get_cookie("launch", path=student.root)
    assert cookie is not None
    thief = app.test_client()
    thief.set_cookie("launch", cookie.value, path="/")
    assert thief.get(f"{teacher.root}/experiences").status_code == 401


def test_a_launch_ends_after_the_idle_time(app: Flask, teacher: Visitor) -> None:
    with app.extensions["database"].transaction() as db:
        db.exec(update(Launch).values(last_seen_at=utc_now() - timedelta(minutes=241)))
    assert teacher.get("/experiences").status_code == 401


def test_pages_keep_a_launch_alive(app: Flask, teacher: Visitor) -> None:
    with app.extensions["database"].transaction() as db:
        db.exec(update(Launch).values(last_seen_at=utc_now() - timedelta(minutes=200)))
    assert teacher.get("/experiences").status_code == 200
    with app.extensions["database"].transaction() as db:
        launch = db.exec(select(Launch)).one()
        assert utc_now() - launch.last_seen_at < timedelta(minutes=1)


def test_writes_keep_a_launch_alive_too(app: Flask, teacher: Visitor) -> None:
    with app.extensions["database"].transaction() as db:
        db.exec(update(Launch).values(last_seen_at=utc_now() - timedelta(minutes=200)))
    teacher.write_experience()
    with app.extensions["database"].transaction() as db:
        assert utc_now() - db.exec(select(Launch)).one().last_seen_at < timedelta(minutes=1)


def test_a_removed_platform_ends_its_launches(app: Flask, teacher: Visitor) -> None:
    with app.extensions["database"].transaction() as db:
        db.connection().exec_driver_sql("UPDATE platforms SET workflow_state = 'removed'")
    assert teacher.get("/experiences").status_code == 401


def test_a_write_needs_the_pages_token(teacher: Visitor) -> None:
    response = teacher.client.post(f"{teacher.root}/experiences", data=EXPERIENCE)
    assert response.status_code == 401


def test_another_launchs_token_does_for_no_write(client: FlaskClient, sandbox: Sandbox) -> None:
    teacher, once_more = (Visitor.launch_in(client, sandbox, "miriam.okafor") for _ in range(2))
    assert teacher.csrf != once_more.csrf
    assert teacher.post("/experiences", EXPERIENCE | {"csrf_token": once_more.csrf}).status_code == 401
    assert teacher.post("/experiences", EXPERIENCE).status_code == 303


def test_a_pages_token_does_for_no_write_without_the_cookie(app: Flask, teacher: Visitor) -> None:
    thief = Visitor(app.test_client(), teacher.root, teacher.csrf)
    assert thief.post("/experiences", EXPERIENCE).status_code == 401
    assert "csrf" not in thief.get("/experiences").text


def test_what_was_typed_comes_back_when_the_visit_has_ended(app: Flask, teacher: Visitor) -> None:
    with app.extensions["database"].transaction() as db:
        db.exec(update(Launch).values(last_seen_at=utc_now() - timedelta(minutes=241)))
    response = teacher.post("/experiences", EXPERIENCE)
    assert response.status_code == 401
    assert EXPERIENCE["pedagogical_guidance"] in response.text
    assert teacher.csrf not in response.text


def test_a_message_too_long_comes_back_without_javascript(teacher: Visitor) -> None:
    conversation_id = teacher.start(teacher.write_experience())
    response = teacher.post(f"/conversations/{conversation_id}/messages", {"message": "x" * 4_001})
    assert response.status_code == 422
    assert "x" * 4_001 in response.text


def test_pages_say_who_may_frame_them_and_run_no_inline_script(teacher: Visitor) -> None:
    response = teacher.get("/experiences")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert "frame-ancestors" in policy
    assert response.headers["Cache-Control"] == "no-store"


@pytest.fixture
def keyed(app: Flask, sandbox: Sandbox) -> Visitor:
    """A teacher whose browser keeps no cookies: the platform's storage gave the login's secret back."""
    browser = app.test_client(use_cookies=False)
    login = begin_login(browser, sandbox, "miriam.okafor")
    asked = login_answer(login)
    token = sandbox.sign(sandbox.launch_claims("miriam.okafor", BIOLOGY, nonce=asked["nonce"]))
    form = {"state": asked["state"], "id_token": token}
    page = browser.post("/lti/launch", data=form)
    assert page.status_code == 401
    assert BeautifulSoup(page.text, "html.parser").select_one("[data-find-secret]")
    secret = BeautifulSoup(login.text, "html.parser").select_one("[data-login]")["data-secret"]
    arrived = browser.post("/lti/launch", data=form | {"secret": secret}, headers=OWN_PAGE)
    assert "Set-Cookie" not in arrived.headers
    return Visitor.arrive(browser, arrived)


def test_without_cookies_the_address_carries_the_session(keyed: Visitor) -> None:
    assert "~" in keyed.root
    experience_id = keyed.write_experience()
    answer = keyed.get(f"/experiences/{experience_id}")
    assert EXPERIENCE["title"] in answer.text
    assert "Set-Cookie" not in answer.headers


def test_a_write_without_cookies_needs_the_pages_token_too(keyed: Visitor) -> None:
    assert keyed.client.post(f"{keyed.root}/experiences", data=EXPERIENCE).status_code == 401


def test_a_key_opens_its_own_launch_alone(app: Flask, keyed: Visitor, teacher: Visitor) -> None:
    path, _, key = keyed.root.partition("~")
    for root in (path, f"{path}~", f"{path}~{key[:-1]}", f"{teacher.root}~{key}"):
        assert app.test_client().get(f"{root}/experiences").status_code == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_link_to_a_keyed_address_opens_nothing(keyed: Visitor, site: str) -> None:
    assert keyed.get("/experiences", headers={"Sec-Fetch-Site": site}).status_code == 401
    assert keyed.get("/experiences", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


@pytest.mark.parametrize(
    ("storage", "headers"), [("_parent", {"Origin": "https://evil.example"}), ("_parent", {}), ("", OWN_PAGE)]
)
def test_another_sites_form_finishes_no_login(
    app: Flask, sandbox: Sandbox, storage: str, headers: dict[str, str]
) -> None:
    """An attacker begins a login, keeps its secret, and has a victim's browser post the rest."""
    login = begin_login(app.test_client(), sandbox, "miriam.okafor", lti_storage_target=storage)
    asked = login_answer(login)
    secret = login.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    token = sandbox.sign(sandbox.launch_claims("miriam.okafor", BIOLOGY, nonce=asked["nonce"]))
    form = {"state": asked["state"], "id_token": token, "secret": secret}
    answer = app.test_client().post("/lti/launch", data=form, headers=headers)
    assert answer.status_code == 401
    with app.extensions["database"].snapshot() as db:
        assert db.exec(select(Launch)).all() == []


@pytest.mark.parametrize(("days", "kept"), [(2, 2), (31, 1)])
def test_launches_are_forgotten_when_the_set_up_page_no_longer_tells_of_them(
    app: Flask, sandbox: Sandbox, teacher: Visitor, monkeypatch: pytest.MonkeyPatch, days: int, kept: int
) -> None:
    with app.extensions["database"].transaction() as db:
        db.exec(update(Launch).values(created_at=utc_now() - timedelta(days=days)))
    monkeypatch.setattr(sessions, "FORGET_ONE_IN", 1)
    Visitor.launch(app, sandbox, "amara.diallo")
    with app.extensions["database"].snapshot() as db:
        assert len(db.exec(select(Launch)).all()) == kept
