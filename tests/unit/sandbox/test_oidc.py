"""The platform's side of a launch."""

import time

import jwt
import pytest
from bs4 import BeautifulSoup

from app.sandbox import SandboxConfig, create_sandbox
from app.sandbox.claims import LTI, Launch
from app.sandbox.roles import INSTITUTION, MEMBERSHIP, SYSTEM, TEST_USER


def posted(answer):
    """Where the page's form leads and with what."""
    form = BeautifulSoup(answer.text, "html.parser").find("form")
    return form["action"], {field["name"]: field["value"] for field in form.find_all("input")}


def claims_of(client, config, parameters):
    answer = client.get("/api/lti/authorize_redirect", query_string=parameters)
    assert answer.status_code == 200
    action, fields = posted(answer)
    assert action == config.launch_url
    assert fields["state"] == "state-1"
    assert fields["lti_storage_target"] == "post_message_forwarding"
    keys = jwt.PyJWKSet.from_dict(client.get("/api/lti/security/jwks").json)
    key = keys[jwt.get_unverified_header(fields["id_token"])["kid"]]
    return jwt.decode(
        fields["id_token"], key, algorithms=["RS256"], audience=config.client_id, issuer=config.issuer
    )


def error_of(client, config, parameters):
    answer = client.post("/api/lti/authorize_redirect", data=parameters)
    action, fields = posted(answer)
    assert action == config.launch_url
    assert "id_token" not in fields
    assert fields["state"] == "state-1"
    return fields["error"]


def test_key_set_publishes_no_private_part(client):
    (key,) = client.get("/api/lti/security/jwks").json["keys"]
    assert set(key) == {"kty", "n", "e", "alg", "use", "kid"}


def test_key_outlives_a_restart_and_a_rotation_keeps_the_old_one(config, tmp_path):
    config = SandboxConfig(state_dir=tmp_path)
    first = create_sandbox(config).extensions["sandbox"]
    again = create_sandbox(config).extensions["sandbox"]
    assert again.keys.kid == first.keys.kid
    rotated = again.keys.rotate()
    assert [key["kid"] for key in again.keys.key_set()["keys"]] == [first.keys.kid, rotated]
    assert (tmp_path / "platform-key.pem").stat().st_mode & 0o077 == 0


def test_student_launch_carries_what_canvas_sends(client, config, sandbox, authorization):
    claims = claims_of(client, config, authorization("amara.diallo"))
    amara, biology = sandbox.person("amara.diallo"), sandbox.course(1101)
    assert claims["sub"] == amara.sub
    assert claims["nonce"] == "nonce-1"
    assert (claims["aud"], claims["azp"]) == (config.client_id, config.client_id)
    assert (claims["name"], claims["email"]) == ("Amara Diallo", "amara.diallo@sandbox.example")
    assert claims[f"{LTI}/message_type"] == "LtiResourceLinkRequest"
    assert claims[f"{LTI}/version"] == "1.3.0"
    assert claims[f"{LTI}/deployment_id"] == config.deployment_id
    assert claims[f"{LTI}/target_link_uri"] == config.launch_url
    assert claims[f"{LTI}/context"]["id"] == claims[f"{LTI}/resource_link"]["id"] == biology.context_id
    assert claims[f"{LTI}/context"]["label"] == "BIO-101"
    assert claims[f"{LTI}/tool_platform"]["product_family_code"] == "canvas"
    assert claims[f"{LTI}/launch_presentation"]["document_target"] == "iframe"
    assert claims[f"{LTI}/roles"] == [f"{INSTITUTION}#Student", f"{MEMBERSHIP}#Learner", f"{SYSTEM}#User"]


def test_services_of_the_launch_are_those_of_the_course(client, config, authorization):
    claims = claims_of(client, config, authorization())
    base = f"{config.url}/api/lti/courses/1101"
    grades = claims["https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"]
    roster = claims["https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice"]
    assert grades["lineitems"] == f"{base}/line_items"
    assert "https://purl.imsglobal.org/spec/lti-ags/scope/score" in grades["scope"]
    assert roster == {"context_memberships_url": f"{base}/names_and_roles", "service_versions": ["2.0"]}


def test_custom_fields_are_resolved_and_what_cannot_be_stays_literal(client, config, authorization):
    custom = claims_of(client, config, authorization("yusuf.demir"))[f"{LTI}/custom"]
    assert custom["canvas_course_id"] == 1101
    assert custom["canvas_user_id"] == 305
    assert custom["canvas_user_prefers_high_contrast"] == "true"
    assert custom["canvas_enrollment_state"] == "active"
    assert custom["canvas_membership_roles"] == "StudentEnrollment"
    assert custom["context_id_history"]
    assert custom["canvas_masquerading_user_id"] == "$Canvas.masqueradingUser.id"


@pytest.mark.parametrize(
    ("login", "course_id", "expected"),
    [
        ("miriam.okafor", 1101, {f"{MEMBERSHIP}#Instructor", f"{INSTITUTION}#Instructor"}),
        ("priya.raman", 1101, {f"{MEMBERSHIP}#Instructor", f"{MEMBERSHIP}/Instructor#TeachingAssistant"}),
        ("elena.petrova", 1101, {f"{MEMBERSHIP}#ContentDeveloper"}),
        ("grace.diallo", 1101, {f"{MEMBERSHIP}#Mentor", f"{INSTITUTION}#Observer"}),
        ("test.student.1101", 1101, {f"{MEMBERSHIP}#Learner", TEST_USER}),
        ("jonas.lindqvist", 1101, {f"{MEMBERSHIP}#Learner", f"{INSTITUTION}#Instructor"}),
        ("jonas.lindqvist", 1102, {f"{MEMBERSHIP}#Instructor", f"{INSTITUTION}#Student"}),
    ],
)
def test_roles_are_those_of_the_course_beside_those_of_the_institution(sandbox, login, course_id, expected):
    roles = sandbox.launch_claims(login, course_id, nonce="n")[f"{LTI}/roles"]
    assert expected <= set(roles)


def test_teacher_elsewhere_has_no_teacher_role_here(sandbox):
    roles = sandbox.launch_claims("jonas.lindqvist", 1101, nonce="n")[f"{LTI}/roles"]
    assert f"{MEMBERSHIP}#Instructor" not in roles


def test_administrator_has_no_course_role(sandbox):
    roles = sandbox.launch_claims("ingrid.bauer", 1101, nonce="n")[f"{LTI}/roles"]
    assert roles == [f"{INSTITUTION}#Administrator", f"{SYSTEM}#User"]


def test_observer_names_whom_they_observe(sandbox):
    claims = sandbox.launch_claims("grace.diallo", 1101, nonce="n")
    assert claims[f"{LTI}/role_scope_mentor"] == [sandbox.person("amara.diallo").sub]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"response_type": "code"}, "invalid_request"),
        ({"response_mode": "query"}, "invalid_request"),
        ({"prompt": "login"}, "invalid_request"),
        ({"scope": "profile"}, "invalid_request"),
        ({"nonce": ""}, "invalid_request"),
        ({"login_hint": ""}, "invalid_request"),
        ({"lti_message_hint": "altered"}, "launch_no_longer_valid"),
    ],
)
def test_bad_request_is_answered_at_the_redirect_address(client, config, authorization, change, error):
    assert error_of(client, config, authorization(**change)) == error


def test_hint_of_somebody_else_is_refused(client, config, sandbox, authorization):
    other = sandbox.person("liam.oconnor").lti11_id
    assert error_of(client, config, authorization(login_hint=other)) == "login_required"


def test_old_hint_is_refused(client, config, sandbox, authorization, monkeypatch):
    parameters = authorization()
    an_hour_ago = time.time() - 3600
    monkeypatch.setattr(time, "time", lambda: an_hour_ago)
    stale = Launch(sandbox.person("amara.diallo"), sandbox.course(1101), config.launch_url)
    parameters["lti_message_hint"] = sandbox.message_hint(stale)
    monkeypatch.undo()
    assert error_of(client, config, parameters) == "launch_no_longer_valid"


def test_somebody_who_has_left_the_course_gets_no_token(client, config, sandbox, authorization):
    parameters = authorization()
    sandbox.directory.end_enrollments(sandbox.person("amara.diallo"), sandbox.course(1101))
    assert error_of(client, config, parameters) == "access_denied"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"client_id": "another"}, 401),
        ({"redirect_uri": "http://localhost:8000/lti/launch/"}, 400),
        ({"redirect_uri": "https://evil.example/lti/launch"}, 400),
        ({"redirect_uri": ""}, 400),
    ],
)
def test_unknown_client_or_redirect_address_gets_a_page_and_no_form(client, authorization, change, status):
    answer = client.get("/api/lti/authorize_redirect", query_string=authorization(**change))
    assert answer.status_code == status
    assert "<form" not in answer.text


def test_launch_of_a_line_item_names_its_resource_link(sandbox):
    fields = {"label": "Chat", "score_maximum": 10, "submission_type": {"type": "external_tool"}}
    item = sandbox.gradebook.add_line_item(sandbox.course(1101), fields)
    claims = sandbox.launch_claims("amara.diallo", 1101, nonce="n", line_item=item)
    assert claims[f"{LTI}/resource_link"]["id"] == item.resource_link_id
    assert claims["https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"]["lineitem"].endswith(
        "/line_items/1"
    )
