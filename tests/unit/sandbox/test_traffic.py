"""What tests do to the platform: failures, delays, foreign links, and a count of what was asked."""

import time

import pytest

from app.sandbox import Storage
from app.sandbox.people import CanvasRole, Person
from app.sandbox.scopes import LINE_ITEM, SCOPES

ROSTER = "/api/lti/courses/1101/names_and_roles"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/login/oauth2/token"),
        ("GET", "/api/lti/security/jwks"),
        ("GET", "/api/lti/security/openid-configuration"),
        ("POST", "/api/lti/registrations"),
        ("GET", ROSTER),
        ("POST", "/api/lti/courses/1101/line_items/1/scores"),
    ],
)
def test_every_service_can_fail(client, sandbox, method, path):
    sandbox.fail_next(503, path_contains=path)
    answer = client.open(path, method=method)
    assert answer.status_code == 503
    assert answer.json["errors"]["type"] == "http_503"


def test_a_failure_can_be_for_one_method_and_answer_rubbish(client, sandbox):
    sandbox.fail_next(200, body="<html>", method="POST", path_contains="jwks")
    assert client.get("/api/lti/security/jwks").json["keys"]
    sandbox.fail_next(200, body="<html>", path_contains="jwks")
    assert client.get("/api/lti/security/jwks").text == "<html>"


def test_a_service_can_be_slow_and_answer_as_ever(client, sandbox):
    sandbox.fail_next(None, delay=0.2, path_contains="jwks")
    begun = time.monotonic()
    assert client.get("/api/lti/security/jwks").json["keys"]
    assert time.monotonic() - begun >= 0.2


def test_pages_do_not_fail(client, sandbox):
    sandbox.fail_next(500)
    assert client.get("/?as=amara.diallo").status_code == 200
    assert client.get(ROSTER).status_code == 500


def test_requests_are_remembered_until_they_are_cleared(client, sandbox, bearer):
    client.get(f"{ROSTER}?limit=2", headers=bearer())
    (record,) = sandbox.requests
    assert (record.method, record.path, record.query) == ("GET", ROSTER, {"limit": "2"})
    sandbox.traffic.clear()
    assert sandbox.requests == ()


def test_links_can_lead_to_another_host(client, sandbox, bearer):
    sandbox.links_to = "https://evil.example"
    links = client.get(f"{ROSTER}?limit=2", headers=bearer()).headers["Link"]
    assert f'<https://evil.example{ROSTER}?limit=2&page=2>; rel="next"' in links


def test_a_course_of_2500_is_read_page_by_page(client, sandbox, bearer):
    course = sandbox.directory.add_course("Everybody")
    students = sandbox.directory.add_students(course, 2500)
    headers, seen = bearer(), set()
    for page in range(1, 51):
        answer = client.get(
            f"/api/lti/courses/{course.canvas_id}/names_and_roles?page={page}", headers=headers
        )
        seen |= {member["user_id"] for member in answer.json["members"]}
    assert seen == {student.sub for student in students}
    assert 'rel="next"' not in answer.headers["Link"]


def test_somebody_who_is_removed_is_off_the_roster_and_may_come_back(client, sandbox, bearer):
    amara, biology = sandbox.person("amara.diallo"), sandbox.course(1101)

    def listed():
        members = client.get(ROSTER, headers=bearer()).json["members"]
        return amara.sub in {member["user_id"] for member in members}

    sandbox.directory.remove_enrollments(amara, biology)
    assert not listed()
    sandbox.directory.enroll(amara, biology, CanvasRole.STUDENT)
    assert listed()


def test_somebody_without_a_name_is_on_the_roster_without_one(client, sandbox, bearer):
    nameless = Person(5001, "nameless", "", "", has_email=False)
    sandbox.directory.enroll(nameless, sandbox.course(1101), CanvasRole.STUDENT)
    members = client.get(ROSTER, headers=bearer()).json["members"]
    (member,) = (member for member in members if member["user_id"] == nameless.sub)
    assert "name" not in member


def test_line_items_of_another_tool_are_not_there(client, sandbox):
    other = sandbox.install("Another")
    own, theirs = (
        {"Authorization": f"Bearer {sandbox.tokens.issue(SCOPES, client_id).value}"}
        for client_id in (sandbox.config.client_id, other.client_id)
    )
    made = client.post(
        "/api/lti/courses/1101/line_items",
        json={"label": "x", "scoreMaximum": 1},
        headers=own,
        content_type="application/vnd.ims.lis.v2.lineitem+json",
    )
    path = made.json["id"].removeprefix(sandbox.config.url)
    assert client.get(path, headers=own).status_code == 200
    assert client.get(path, headers=theirs).status_code == 404
    assert client.get("/api/lti/courses/1101/line_items", headers=theirs).json == []


def test_platform_storage_is_offered_or_not(client, sandbox, authorization):
    launch = sandbox.launch("amara.diallo", 1101)
    assert sandbox.login_parameters(launch)["lti_storage_target"]
    sandbox.storage = Storage.OFF
    assert "lti_storage_target" not in sandbox.login_parameters(launch)
    assert "lti_storage_target" not in client.post("/api/lti/authorize_redirect", data=authorization()).text


def test_the_scope_of_a_token_is_that_of_its_request(sandbox):
    token = sandbox.tokens.issue([LINE_ITEM], sandbox.config.client_id)
    assert sandbox.tokens.find(token.value).scopes == {LINE_ITEM}
