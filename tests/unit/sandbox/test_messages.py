"""The messages that open a tool, beside the plain launch: deep linking, submission review, copies, other clients."""

import jwt
import pytest

from app.sandbox import Flavour, MessageType, SandboxConfig, create_sandbox, registration
from app.sandbox.claims import AGS, LTI, NRPS, PLACEMENT, Launch
from app.sandbox.deep_linking import SETTINGS
from app.sandbox.people import Person
from app.sandbox.placements import PLACEMENTS
from app.sandbox.roles import MEMBERSHIP
from app.sandbox.scopes import LINE_ITEM, SCORE


@pytest.fixture
def deep_linking(sandbox):
    def claims(placement, **options):
        options = {"message_type": MessageType.DEEP_LINKING, "placement": placement, **options}
        return sandbox.launch_claims("miriam.okafor", 1101, nonce="n", **options)

    return claims


@pytest.fixture
def assignment(sandbox):
    """An assignment with a column and a resource link of its own."""
    course = sandbox.course(1101)
    link = sandbox.links.add(course, title="Chat", url="http://localhost:8000/lti/launch?experience=7")
    fields = {"label": "Chat with Kim", "score_maximum": 10, "resource_link_id": link.id}
    return sandbox.gradebook.add_line_item(course, fields)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_deep_linking_request_says_what_may_come_back(deep_linking, config, placement):
    claims = deep_linking(placement)
    settings = claims[SETTINGS]
    assert claims[f"{LTI}/message_type"] == "LtiDeepLinkingRequest"
    assert claims[f"{LTI}/target_link_uri"] == "http://localhost:8000/lti/deep-link"
    assert claims[PLACEMENT] == placement
    assert f"{LTI}/resource_link" not in claims
    assert settings["deep_link_return_url"].startswith(f"{config.url}/courses/1101/deep_linking_response?")
    assert "ltiResourceLink" in settings["accept_types"]
    assert settings["data"]


def test_an_assignment_takes_one_item_with_a_line_item_and_a_module_takes_several(deep_linking):
    assignment, modules = (
        deep_linking(name)[SETTINGS] for name in ("assignment_selection", "module_index_menu_modal")
    )
    assert (assignment["accept_multiple"], assignment["accept_lineitem"]) == (False, True)
    assert modules["accept_multiple"]
    assert "link" in deep_linking("editor_button")[SETTINGS]["accept_types"]


def test_a_launch_of_a_line_item_brings_its_resource_link_and_the_other_way_round(sandbox, assignment):
    link = sandbox.links.find(sandbox.course(1101), assignment.resource_link_id)
    by_item = sandbox.launch_claims("amara.diallo", 1101, nonce="n", line_item=assignment)
    by_link = sandbox.launch_claims("amara.diallo", 1101, nonce="n", resource_link=link)
    for claims in (by_item, by_link):
        assert claims[f"{LTI}/resource_link"] == {"id": link.id, "title": "Chat with Kim", "description": ""}
        assert claims[AGS]["lineitem"].endswith(f"/line_items/{assignment.id}")
        assert claims[f"{LTI}/target_link_uri"] == link.url
        assert claims[PLACEMENT] is None


def test_submission_review_names_whose_work_it_is(sandbox, assignment):
    claims = sandbox.launch_claims(
        "miriam.okafor",
        1101,
        nonce="n",
        message_type=MessageType.SUBMISSION_REVIEW,
        line_item=assignment,
        for_user="amara.diallo",
    )
    assert claims[f"{LTI}/message_type"] == "LtiSubmissionReviewRequest"
    assert claims[AGS]["lineitem"].endswith(f"/line_items/{assignment.id}")
    amara = sandbox.person("amara.diallo")
    assert claims[f"{LTI}/for_user"] == {
        "user_id": amara.sub,
        "name": amara.name,
        "given_name": "Amara",
        "family_name": "Diallo",
        "email": amara.email,
        "roles": [f"{MEMBERSHIP}#Learner"],
    }


def test_review_opens_where_the_line_item_says(sandbox):
    fields = {"label": "x", "score_maximum": 1, "submission_review": {"url": "http://localhost:8000/review"}}
    item = sandbox.gradebook.add_line_item(sandbox.course(1101), fields)
    review = {"message_type": MessageType.SUBMISSION_REVIEW, "for_user": "amara.diallo"}
    claims = sandbox.launch_claims("miriam.okafor", 1101, nonce="n", line_item=item, **review)
    assert claims[f"{LTI}/target_link_uri"] == "http://localhost:8000/review"


def test_another_client_and_deployment_are_named_in_login_and_token(sandbox, config):
    tool = sandbox.install("Another")
    second = sandbox.tools.deploy(tool.client_id)
    first = tool.deployment_id
    launch = sandbox.launch("amara.diallo", 1101, client_id=tool.client_id, deployment_id=first)
    claims, login = sandbox.claims_of(launch, nonce="n"), sandbox.login_parameters(launch)
    assert claims["aud"] == claims["azp"] == login["client_id"] == tool.client_id != config.client_id
    assert claims[f"{LTI}/deployment_id"] == login["deployment_id"] == login["lti_deployment_id"] == first
    later = sandbox.launch_claims("amara.diallo", 1101, nonce="n", client_id=tool.client_id)
    assert later[f"{LTI}/deployment_id"] == second != first
    entry = registration(config, sandbox.tools.find(tool.client_id))
    assert (entry["client_id"], entry["deployment_ids"]) == (tool.client_id, [first, second])
    assert not entry["default"]


def test_a_reinstalled_tool_has_one_new_deployment(sandbox, config):
    fresh = sandbox.tools.reinstall()
    assert fresh != config.deployment_id
    assert sandbox.tools.find().deployment_ids == (fresh,)


def test_an_installed_tool_outlives_a_restart(sandbox, config):
    tool = sandbox.install("Another")
    sandbox.save()
    again = create_sandbox(config).extensions["sandbox"]
    assert again.tools.find(tool.client_id) == tool
    with pytest.raises(LookupError):
        again.tools.find("nobody")


def test_the_authorized_launch_is_the_one_of_the_hint(client, sandbox, assignment, authorization):
    tool = sandbox.install("Another")
    launch = sandbox.launch(
        "miriam.okafor",
        1101,
        line_item=assignment,
        message_type=MessageType.SUBMISSION_REVIEW,
        for_user="amara.diallo",
        masquerading="ingrid.bauer",
        client_id=tool.client_id,
    )
    begun = sandbox.login_parameters(launch)
    assert sandbox.read_hint(begun["lti_message_hint"])[0] == launch
    hint = {name: begun[name] for name in ("login_hint", "lti_message_hint")}
    accepted = client.post(
        "/api/lti/authorize_redirect", data=authorization(**hint, client_id=tool.client_id)
    )
    other = client.post("/api/lti/authorize_redirect", data=authorization(**hint))
    assert "id_token" in accepted.text
    assert "unauthorized_client" in other.text


def test_a_copied_course_names_the_old_context_and_the_old_links(sandbox, assignment):
    biology, copy = sandbox.course(1101), sandbox.course(1103)
    (link,) = sandbox.copy_content(biology, copy)
    assert sandbox.copy_content(1101, 1103) == []
    custom = sandbox.launch_claims("miriam.okafor", 1103, nonce="n", resource_link=link)
    assert custom[f"{LTI}/target_link_uri"] == "http://localhost:8000/lti/launch?experience=7"
    assert custom[f"{LTI}/resource_link"]["title"] == "Chat with Kim"
    assert custom[AGS]["lineitem"]
    custom = custom[f"{LTI}/custom"]
    assert custom["context_id_history"].split(",")[0] == biology.context_id
    assert custom["resource_link_history"] == assignment.resource_link_id
    assert (
        sandbox.launch_claims("miriam.okafor", 1101, nonce="n", line_item=assignment)[f"{LTI}/custom"][
            "resource_link_history"
        ]
        == "$ResourceLink.id.history"
    )


def test_custom_parameters_of_a_link_are_sent_with_its_variables(sandbox):
    link = sandbox.links.add(
        sandbox.course(1101),
        title="x",
        url="http://localhost:8000/lti/launch",
        custom={"who": "$Canvas.user.id"},
    )
    claims = sandbox.launch_claims("amara.diallo", 1101, nonce="n", resource_link=link)
    assert claims[f"{LTI}/custom"]["who"] == 301


def test_somebody_who_acts_as_another_is_told(sandbox):
    claims = sandbox.launch_claims("amara.diallo", 1101, nonce="n", masquerading="ingrid.bauer")
    assert claims[f"{LTI}/custom"]["canvas_masquerading_user_id"] == 101


def test_somebody_without_a_name_is_sent_without_one(sandbox):
    nameless = Person(5001, "nameless", "", "", has_email=False)
    claims = sandbox.launch_claims(nameless, 1101, nonce="n")
    assert not {"name", "given_name", "family_name", "email"} & set(claims)


def test_services_whose_scopes_are_cut_are_not_offered(sandbox):
    sandbox.tools.grant_scopes([SCORE])
    claims = sandbox.launch_claims("amara.diallo", 1101, nonce="n")
    assert claims[AGS]["scope"] == [SCORE]
    assert NRPS not in claims


def test_a_platform_of_the_plain_standard_knows_nothing_of_canvas(state_dir):
    config = SandboxConfig(state_dir=state_dir, flavour=Flavour.MOODLE)
    claims = create_sandbox(config).extensions["sandbox"].launch_claims("amara.diallo", 1101, nonce="n")
    assert claims[f"{LTI}/tool_platform"]["product_family_code"] == "moodle"
    assert claims[f"{LTI}/custom"]["canvas_course_id"] == "$Canvas.course.id"
    assert PLACEMENT not in claims


def test_line_items_links_and_results_outlive_a_restart(sandbox, config, client, bearer, assignment):
    score = {
        "userId": sandbox.person("amara.diallo").sub,
        "scoreGiven": 8,
        "scoreMaximum": 10,
        "timestamp": "2026-02-03T10:00:00Z",
        "activityProgress": "Completed",
        "gradingProgress": "FullyGraded",
    }
    url = f"/api/lti/courses/1101/line_items/{assignment.id}/scores"
    sent = client.post(
        url, json=score, headers=bearer(), content_type="application/vnd.ims.lis.v1.score+json"
    )
    assert sent.status_code == 200
    sandbox.save()
    again = create_sandbox(config).extensions["sandbox"]
    course, amara = again.course(1101), again.person("amara.diallo")
    (item,) = again.gradebook.line_items(course)
    assert item == assignment
    assert again.gradebook.result(item, amara) == sandbox.gradebook.result(item, amara)
    assert again.links.of(course) == sandbox.links.of(course)


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_a_damaged_state_file_starts_empty(config, state_dir, content):
    for name in ("gradebook.json", "links.json", "tools.json"):
        (state_dir / name).write_bytes(content)
    sandbox = create_sandbox(config).extensions["sandbox"]
    assert sandbox.gradebook.line_items(sandbox.course(1101)) == []
    assert len(sandbox.tools.all()) == 1


def test_a_launch_made_by_hand_is_that_of_course_navigation(sandbox, config):
    launch = Launch(sandbox.person("amara.diallo"), sandbox.course(1101), config.launch_url)
    claims = jwt.decode(
        sandbox.sign(sandbox.claims_of(launch, nonce="n")), options={"verify_signature": False}
    )
    assert claims[PLACEMENT] == "course_navigation"


def test_a_scope_that_was_cut_fails_the_token_request(client, sandbox, token_form):
    sandbox.tools.grant_scopes([SCORE])
    refused = client.post("/login/oauth2/token", data=token_form(scope=f"{SCORE} {LINE_ITEM}"))
    assert (refused.status_code, refused.json["error"]) == (400, "invalid_scope")
    assert client.post("/login/oauth2/token", data=token_form(scope=SCORE)).status_code == 200
