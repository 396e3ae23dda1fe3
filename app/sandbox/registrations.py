"""How a tool registers itself: LTI Dynamic Registration 1.0, with what Canvas adds to it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, jsonify, request
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from app.sandbox.claims import ACCOUNT_NAME, PLATFORM_GUID, VARIABLES, MessageType
from app.sandbox.config import Flavour, SandboxConfig
from app.sandbox.errors import OAuthError
from app.sandbox.placements import COURSE_NAVIGATION, PLACEMENTS
from app.sandbox.platform import Sandbox, sandbox_of
from app.sandbox.scopes import SCOPES
from app.sandbox.tools import PERSONAL_CLAIMS, PrivacyLevel, Tool, new_deployment_id
from app.settings import is_loopback

registrations = Blueprint("registrations", __name__)

PLATFORM_CONFIGURATION = "https://purl.imsglobal.org/spec/lti-platform-configuration"
TOOL_CONFIGURATION = "https://purl.imsglobal.org/spec/lti-tool-configuration"
CANVAS = "https://canvas.instructure.com/lti/"
GRANT_TYPES = {"client_credentials", "implicit"}
# The standard's names for placements, and Canvas's.
STANDARD_PLACEMENTS = {"ContentArea": "link_selection", "RichTextEditor": "editor_button"}
# Where a message goes that names no placement.
DEFAULT_PLACEMENTS: Mapping[Flavour, Mapping[str, tuple[str, ...]]] = {
    Flavour.CANVAS: {MessageType.DEEP_LINKING: ("link_selection",)},
    Flavour.MOODLE: {
        MessageType.DEEP_LINKING: tuple(PLACEMENTS),
        MessageType.RESOURCE_LINK: (COURSE_NAVIGATION,),
    },
}


def _local_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not is_loopback(parts.hostname or ""):
        raise ValueError("the sandbox registers tools on this machine only")
    return url


def _with_both_grants(grants: list[str]) -> list[str]:
    if not set(grants) >= GRANT_TYPES:
        raise ValueError(f"must hold {' and '.join(sorted(GRANT_TYPES))}")
    return grants


LocalUrl = Annotated[str, AfterValidator(_local_url)]


class Message(BaseModel):
    """One message that the tool takes, and where."""

    type: str
    target_link_uri: LocalUrl | None = None
    placements: list[str] = Field(default_factory=list)


class ToolConfiguration(BaseModel):
    """What is LTI's own in a registration."""

    domain: str = Field(min_length=1)
    target_link_uri: LocalUrl
    messages: list[Message]
    claims: list[str] = Field(default_factory=list)
    custom_parameters: dict[str, str] = Field(default_factory=dict)
    privacy_level: PrivacyLevel | None = Field(None, alias="https://canvas.instructure.com/lti/privacy_level")

    @property
    def privacy(self) -> PrivacyLevel:
        """What is told of people: what the tool says, or what follows from the claims that it asks for."""
        if self.privacy_level is not None:
            return self.privacy_level
        asked = set(self.claims)
        if "picture" in asked:
            return PrivacyLevel.PUBLIC
        names, email = asked & PERSONAL_CLAIMS[PrivacyLevel.NAME_ONLY], "email" in asked
        levels = {
            (True, True): PrivacyLevel.PUBLIC,
            (True, False): PrivacyLevel.NAME_ONLY,
            (False, True): PrivacyLevel.EMAIL_ONLY,
        }
        return levels.get((bool(names), email), PrivacyLevel.ANONYMOUS)


class ToolRegistration(BaseModel):
    """A registration as a tool sends it."""

    application_type: Literal["web"]
    grant_types: Annotated[list[str], AfterValidator(_with_both_grants)]
    response_types: list[Literal["id_token"]] = Field(min_length=1)
    redirect_uris: list[LocalUrl] = Field(min_length=1)
    initiate_login_uri: LocalUrl
    client_name: str = Field(min_length=1)
    jwks_uri: LocalUrl
    token_endpoint_auth_method: Literal["private_key_jwt"]
    scope: str = ""
    configuration: ToolConfiguration = Field(alias="https://purl.imsglobal.org/spec/lti-tool-configuration")


@registrations.errorhandler(OAuthError)
def _refused(error: OAuthError) -> tuple[Response, int]:
    return jsonify(error=error.error, error_description=error.description), error.status


@registrations.get("/api/lti/security/openid-configuration")
def metadata() -> Response:
    """What the platform is and where its endpoints are. Canvas tells it to holders of a registration token only."""
    sandbox = sandbox_of(current_app)
    if sandbox.config.flavour is Flavour.CANVAS:
        sandbox.check_registration_token(_bearer())
    return jsonify(_metadata(sandbox.config))


@registrations.post("/api/lti/registrations")
def register() -> Response:
    """Register a tool, and answer with the registration as it is kept."""
    sandbox = sandbox_of(current_app)
    sandbox.check_registration_token(_bearer())
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise OAuthError("invalid_client_metadata", "The body must be a JSON object.")
    tool = _read(body, sandbox)
    sandbox.check_registration_token(_bearer(), use=True)
    sandbox.tools.install(tool)
    return jsonify(_registered(body, tool, sandbox.config))


def _bearer() -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _read(body: Mapping[str, Any], sandbox: Sandbox) -> Tool:
    try:
        sent = ToolRegistration.model_validate(body)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()
        )
        raise OAuthError("invalid_client_metadata", problems) from error
    return Tool(
        client_id=sandbox.tools.new_client_id(),
        title=sent.client_name,
        deployment_ids=(new_deployment_id(),),
        login_url=sent.initiate_login_uri,
        target_link_uri=sent.configuration.target_link_uri,
        key_set_url=sent.jwks_uri,
        redirect_uris=frozenset(sent.redirect_uris),
        placements=_placements(sent.configuration, sandbox.config.flavour),
        custom_fields=sent.configuration.custom_parameters,
        scopes=_scopes(sent.scope, sandbox.config.flavour),
        privacy=sent.configuration.privacy,
    )


def _placements(configuration: ToolConfiguration, flavour: Flavour) -> dict[str, str]:
    known = {COURSE_NAVIGATION, *PLACEMENTS}
    return {
        name: message.target_link_uri or configuration.target_link_uri
        for message in configuration.messages
        for name in _names(message, flavour)
        if name in known
    }


def _names(message: Message, flavour: Flavour) -> list[str]:
    if not message.placements:
        return list(DEFAULT_PLACEMENTS[flavour].get(message.type, ()))
    bare = [name.removeprefix(CANVAS) for name in message.placements]
    return [STANDARD_PLACEMENTS.get(name, name) for name in bare]


def _scopes(scope: str, flavour: Flavour) -> tuple[str, ...]:
    asked = [name for name in scope.split() if name != "openid"]
    unknown = [name for name in asked if name not in SCOPES]
    if unknown and flavour is Flavour.CANVAS:
        raise OAuthError("invalid_client_metadata", f"scope: unknown are {', '.join(unknown)}")
    return tuple(name for name in asked if name in SCOPES)


def _registered(body: Mapping[str, Any], tool: Tool, config: SandboxConfig) -> dict[str, Any]:
    own = dict(body[TOOL_CONFIGURATION])
    if config.flavour is Flavour.CANVAS:
        own["deployment_id"] = tool.deployment_id
    return {**body, "client_id": tool.client_id, "scope": " ".join(tool.scopes), TOOL_CONFIGURATION: own}


def _metadata(config: SandboxConfig) -> dict[str, Any]:
    return {
        "issuer": config.issuer,
        "authorization_endpoint": config.authorize_url,
        "registration_endpoint": config.registration_url,
        "token_endpoint": config.token_url,
        "token_endpoint_auth_methods_supported": ["private_key_jwt"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
        "jwks_uri": config.key_set_url,
        "scopes_supported": ["openid", *SCOPES],
        "response_types_supported": ["id_token"],
        "response_modes_supported": ["form_post"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["sub", "picture", "email", "name", "given_name", "family_name", "locale"],
        "authorization_server": urlsplit(config.url).netloc,
        PLATFORM_CONFIGURATION: _platform(config),
    }


def _platform(config: SandboxConfig) -> dict[str, Any]:
    if config.flavour is Flavour.MOODLE:
        messages: list[dict[str, Any]] = [{"type": kind} for kind in MessageType]
        return {"product_family_code": config.flavour, "version": "5.0", "messages_supported": messages}
    placements = {
        MessageType.RESOURCE_LINK: [COURSE_NAVIGATION, *PLACEMENTS],
        MessageType.DEEP_LINKING: list(PLACEMENTS),
    }
    return {
        "product_family_code": config.flavour,
        "version": "OpenSource",
        "messages_supported": [{"type": kind, "placements": names} for kind, names in placements.items()],
        "variables": list(VARIABLES),
        f"{CANVAS}account_name": ACCOUNT_NAME,
        f"{CANVAS}account_lti_guid": PLATFORM_GUID,
    }
