"""Dynamic registration, in Canvas's way and in the plain standard's."""

from urllib.parse import parse_qs, urlsplit

import pytest
from bs4 import BeautifulSoup

from app.sandbox import Flavour, SandboxConfig, SandboxRefusedError, create_sandbox, registration
from app.sandbox.claims import AGS, LTI, NRPS
from app.sandbox.registrations import CANVAS, PLATFORM_CONFIGURATION, TOOL_CONFIGURATION
from app.sandbox.scopes import SCORE

METADATA = "/api/lti/security/openid-configuration"
REGISTRATIONS = "/api/lti/registrations"
TOOL = "http://localhost:8000"


def token_of(sandbox):
    query = parse_qs(urlsplit(sandbox.registration_url(f"{TOOL}/lti/register?invitation=x")).query)
    assert query["invitation"] == ["x"]
    assert query["openid_configuration"] == [sandbox.config.metadata_url]
    return {"Authorization": f"Bearer {query['registration_token'][0]}"}


def a_registration(configuration=None, **changes):
    return {
        "application_type": "web",
        "grant_types": ["implicit", "client_credentials"],
        "response_types": ["id_token"],
        "redirect_uris": [f"{TOOL}/lti/launch"],
        "initiate_login_uri": f"{TOOL}/lti/login",
        "client_name": "AI Experiences",
        "jwks_uri": f"{TOOL}/lti/jwks.json",
        "token_endpoint_auth_method": "private_key_jwt",
        "scope": SCORE,
        TOOL_CONFIGURATION: {
            "domain": "localhost:8000",
            "target_link_uri": f"{TOOL}/lti/launch",
            "claims": ["sub", "name", "email"],
            "custom_parameters": {"canvas_course_id": "$Canvas.course.id"},
            "messages": [
                {"type": "LtiResourceLinkRequest", "placements": [f"{CANVAS}course_navigation"]},
                {
                    "type": "LtiDeepLinkingRequest",
                    "target_link_uri": f"{TOOL}/lti/deep-link",
                    "placements": ["assignment_selection", "ContentArea", "RichTextEditor", "elsewhere"],
                },
            ],
            **(configuration or {}),
        },
        **changes,
    }


@pytest.fixture
def register(client, sandbox):
    def post(body):
        return client.post(REGISTRATIONS, json=body, headers=token_of(sandbox))

    return post


@pytest.fixture
def moodle(state_dir, tool):
    config = SandboxConfig(state_dir=state_dir, flavour=Flavour.MOODLE)
    return create_sandbox(config, fetch=tool.key_set)


def test_metadata_and_registration_name_the_same_endpoints(client, config, sandbox):
    metadata = client.get(METADATA, headers=token_of(sandbox)).json
    entry = registration(config)
    assert metadata["issuer"] == entry["issuer"] == config.url
    assert metadata["authorization_endpoint"] == entry["auth_login_url"]
    assert metadata["token_endpoint"] == entry["auth_token_url"]
    assert metadata["jwks_uri"] == entry["key_set_url"]
    assert metadata["registration_endpoint"] == config.url + REGISTRATIONS
    platform = metadata[PLATFORM_CONFIGURATION]
    assert platform["product_family_code"] == "canvas"
    assert platform[f"{CANVAS}account_name"] == "Sandbox University"
    assert "Context.id.history" in platform["variables"]
    messages = {message["type"]: message["placements"] for message in platform["messages_supported"]}
    assert "course_navigation" in messages["LtiResourceLinkRequest"]
    assert "assignment_selection" in messages["LtiDeepLinkingRequest"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer another"}, {"Authorization": "Basic x"}])
def test_without_a_good_token_there_is_no_metadata_and_no_registration(client, sandbox, headers):
    assert client.get(METADATA, headers=headers).status_code == 401
    assert client.post(REGISTRATIONS, json=a_registration(), headers=headers).status_code == 401
    assert len(sandbox.tools.all()) == 1


def test_a_registered_tool_is_launched(client, sandbox, config, register):
    answer = register(a_registration())
    assert answer.status_code == 200
    own = answer.json[TOOL_CONFIGURATION]
    tool = sandbox.tools.find(answer.json["client_id"])
    assert own["deployment_id"] == tool.deployment_id
    assert answer.json["scope"] == SCORE
    assert tool.placements == {
        "course_navigation": f"{TOOL}/lti/launch",
        "assignment_selection": f"{TOOL}/lti/deep-link",
        "link_selection": f"{TOOL}/lti/deep-link",
        "editor_button": f"{TOOL}/lti/deep-link",
    }
    claims = sandbox.launch_claims("amara.diallo", 1101, nonce="n", client_id=tool.client_id)
    assert claims[f"{LTI}/deployment_id"] == tool.deployment_id
    assert claims[f"{LTI}/custom"] == {"canvas_course_id": 1101}
    assert claims[AGS]["scope"] == [SCORE]
    assert NRPS not in claims
    assert claims["name"] == "Amara Diallo"
    page = BeautifulSoup(client.get("/courses/1101/external_tools/2?as=amara.diallo").text, "html.parser")
    assert page.select_one("[name=client_id]")["value"] == tool.client_id


def test_a_token_registers_one_tool(client, sandbox):
    headers = token_of(sandbox)
    assert client.post(REGISTRATIONS, json={}, headers=headers).status_code == 400
    assert client.post(REGISTRATIONS, json=a_registration(), headers=headers).status_code == 200
    assert client.post(REGISTRATIONS, json=a_registration(), headers=headers).status_code == 401
    assert client.get(METADATA, headers=headers).status_code == 401


@pytest.mark.parametrize(
    "change",
    [
        {"application_type": "native"},
        {"grant_types": ["implicit"]},
        {"response_types": ["code"]},
        {"redirect_uris": []},
        {"redirect_uris": ["https://evil.example/launch"]},
        {"initiate_login_uri": "javascript:alert(1)"},
        {"jwks_uri": "http://10.0.0.7/keys"},
        {"client_name": ""},
        {"token_endpoint_auth_method": "client_secret_basic"},
        {"scope": "https://example.org/everything"},
        {TOOL_CONFIGURATION: None},
        {"configuration": {"target_link_uri": "https://evil.example"}},
        {"configuration": {"messages": "all"}},
        {"configuration": {f"{CANVAS}privacy_level": "everything"}},
    ],
    ids=str,
)
def test_a_registration_that_canvas_would_refuse_is_refused(sandbox, register, change):
    answer = register(a_registration(**change))
    assert (answer.status_code, answer.json["error"]) == (400, "invalid_client_metadata")
    assert answer.json["error_description"]
    assert len(sandbox.tools.all()) == 1


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ({"claims": ["sub", "picture"]}, ["email", "family_name", "given_name", "name", "picture"]),
        ({"claims": ["sub", "name"]}, ["family_name", "given_name", "name"]),
        ({"claims": ["sub", "email"]}, ["email"]),
        ({"claims": ["sub"]}, []),
        ({"claims": ["picture"], f"{CANVAS}privacy_level": "anonymous"}, []),
    ],
    ids=str,
)
def test_a_tool_is_told_of_people_what_it_asked_for(sandbox, register, configuration, told):
    client_id = register(a_registration(configuration)).json["client_id"]
    claims = sandbox.launch_claims("amara.diallo", 1101, nonce="n", client_id=client_id)
    personal = {"name", "given_name", "family_name", "email", "picture"}
    assert sorted(personal & set(claims)) == told


def test_the_plain_standard_tells_everybody_its_metadata_and_gives_no_deployment(moodle):
    client, sandbox = moodle.test_client(), moodle.extensions["sandbox"]
    metadata = client.get(METADATA).json
    assert metadata[PLATFORM_CONFIGURATION]["product_family_code"] == "moodle"
    assert not [name for name in metadata[PLATFORM_CONFIGURATION] if "canvas" in name]
    body = a_registration(
        {"messages": [{"type": "LtiDeepLinkingRequest"}]}, scope=f"openid {SCORE} urn:other"
    )
    answer = client.post(REGISTRATIONS, json=body, headers=token_of(sandbox))
    assert "deployment_id" not in answer.json[TOOL_CONFIGURATION]
    assert answer.json["scope"] == SCORE
    assert "assignment_selection" in sandbox.tools.find(answer.json["client_id"]).placements


def test_developer_keys_are_for_administrators(client):
    assert client.get("/accounts/1/developer_keys?as=miriam.okafor").status_code == 403
    assert client.get("/accounts/1/developer_keys/register?as=miriam.okafor").status_code == 403
    page = BeautifulSoup(client.get("/accounts/1/developer_keys?as=ingrid.bauer").text, "html.parser")
    assert len(page.select("[data-testid=developer-keys] tbody tr")) == 1
    assert page.select_one("[aria-current=page]").get_text(strip=True) == "Admin"


def test_a_registration_url_is_opened_in_a_frame(client):
    query = {"as": "ingrid.bauer", "registration_url": "http://127.0.0.1:9000/register"}
    answer = client.get("/accounts/1/developer_keys/register", query_string=query)
    page = BeautifulSoup(answer.text, "html.parser")
    frame = page.select_one("[data-registration-frame]")
    assert frame["src"].startswith("http://127.0.0.1:9000/register?openid_configuration=")
    assert frame["data-tool-origin"] == "http://127.0.0.1:9000"
    assert "http://127.0.0.1:9000" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("url", ["https://tool.example.edu/register", "javascript:alert(1)", ""])
def test_a_registration_url_elsewhere_is_not_opened(client, sandbox, url):
    query = {"as": "ingrid.bauer", "registration_url": url}
    answer = client.get("/accounts/1/developer_keys/register", query_string=query)
    assert answer.status_code == 400
    assert "this machine only" in answer.text
    with pytest.raises(SandboxRefusedError):
        sandbox.registration_url(url)
