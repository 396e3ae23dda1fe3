"""Names and roles."""

import re

import pytest

from app.sandbox.roles import MEMBERSHIP, TEST_USER

ROSTER = "/api/lti/courses/1101/names_and_roles"


def next_of(answer):
    found = re.search(r'<([^>]+)>; rel="next"', answer.headers["Link"])
    return found and found[1].removeprefix("http://127.0.0.1:8100")


def test_roster_has_names_roles_and_states(client, sandbox, bearer):
    answer = client.get(ROSTER, headers=bearer())
    assert answer.mimetype == "application/vnd.ims.lti-nrps.v2.membershipcontainer+json"
    assert answer.json["context"]["id"] == sandbox.course(1101).context_id
    members = {member["name"]: member for member in answer.json["members"]}
    assert members["Miriam Okafor"]["roles"] == [f"{MEMBERSHIP}#Instructor"]
    assert members["Amara Diallo"]["user_id"] == sandbox.person("amara.diallo").sub
    assert members["Amara Diallo"]["status"] == "Active"
    assert members["Mateus Silva"]["status"] == "Inactive"
    assert TEST_USER in members["Test Student"]["roles"]
    assert "email" not in members["Test Student"]
    assert "message" not in members["Amara Diallo"]


def test_roster_of_many_pages_is_read_by_its_links(client, sandbox, bearer):
    headers = bearer()
    sandbox.directory.add_students(sandbox.course(1102), 120)
    url, seen, pages = "/api/lti/courses/1102/names_and_roles", set(), 0
    while url:
        answer = client.get(url, headers=headers)
        assert len(answer.json["members"]) <= 50
        seen.update(member["user_id"] for member in answer.json["members"])
        url, pages = next_of(answer), pages + 1
    assert (pages, len(seen)) == (3, 128)


def test_limit_makes_smaller_pages_and_the_link_keeps_the_query(client, bearer):
    answer = client.get(f"{ROSTER}?limit=2&role=Learner", headers=bearer())
    assert len(answer.json["members"]) == 2
    assert next_of(answer) == f"{ROSTER}?limit=2&role=Learner&page=2"
    assert 'rel="first"' in answer.headers["Link"]


@pytest.mark.parametrize("role", ["Mentor", f"{MEMBERSHIP}#Mentor"])
def test_role_filter_takes_short_and_full_names(client, bearer, role):
    answer = client.get(ROSTER, query_string={"role": role}, headers=bearer())
    assert [member["name"] for member in answer.json["members"]] == ["Grace Diallo"]


def test_resource_link_adds_the_message_of_each_member(client, sandbox, bearer):
    rlid = sandbox.course(1101).context_id
    answer = client.get(ROSTER, query_string={"rlid": rlid, "limit": 1}, headers=bearer())
    (message,) = answer.json["members"][0]["message"]
    assert message["https://purl.imsglobal.org/spec/lti/claim/custom"]["canvas_user_id"] == 201


@pytest.mark.parametrize("query", [{"rlid": "unknown"}, {"limit": "0"}, {"limit": "x"}, {"page": "-1"}])
def test_bad_query_is_400(client, bearer, query):
    assert client.get(ROSTER, query_string=query, headers=bearer()).status_code == 400


def test_unknown_course_is_404(client, bearer):
    assert client.get("/api/lti/courses/9/names_and_roles", headers=bearer()).status_code == 404


def test_outage_happens_once_and_to_its_path_only(client, sandbox, bearer):
    sandbox.fail_next(429, headers={"Retry-After": "1"}, path_contains="names_and_roles")
    headers = bearer()
    assert client.get("/api/lti/courses/1101/line_items", headers=headers).status_code == 200
    limited = client.get(ROSTER, headers=headers)
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "1")
    assert client.get(ROSTER, headers=headers).status_code == 200


def test_request_without_user_agent_is_refused(client, bearer):
    assert client.get(ROSTER, headers={**bearer(), "User-Agent": ""}).status_code == 403
