"""Where the sandbox and the tool are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from app.sandbox.errors import SandboxRefusedError
from app.settings import is_loopback

TOOL_NAME = "AI Experiences"
STORAGE_FRAME = "post_message_forwarding"

# What a tool may ask for in its developer key. Names that the sandbox cannot resolve reach the tool as `$…`,
# as they do in Canvas; `$Canvas.masqueradingUser.id` is one for whoever is simply themselves.
CUSTOM_FIELDS: Mapping[str, str] = {
    "canvas_course_id": "$Canvas.course.id",
    "canvas_user_id": "$Canvas.user.id",
    "canvas_user_prefers_high_contrast": "$Canvas.user.prefersHighContrast",
    "canvas_enrollment_state": "$Canvas.enrollment.enrollmentState",
    "canvas_membership_roles": "$Canvas.membership.roles",
    "canvas_course_section_ids": "$Canvas.course.sectionIds",
    "canvas_term_name": "$Canvas.term.name",
    "canvas_masquerading_user_id": "$Canvas.masqueradingUser.id",
    "canvas_root_account_global_id": "$Canvas.root_account.global_id",
    "canvas_api_domain": "$Canvas.api.domain",
    "canvas_brand_config_url": "$com.instructure.brandConfigJSON.url",
    "context_id_history": "$Context.id.history",
    "resource_link_history": "$ResourceLink.id.history",
    "message_locale": "$Message.locale",
    "person_timezone": "$Person.address.timezone",
}


class Flavour(StrEnum):
    """Whose ways the sandbox has; the value is the product family code."""

    CANVAS = "canvas"
    # The standard alone: no variables, placements or registration rules of Canvas's own.
    MOODLE = "moodle"


class Storage(StrEnum):
    """How the platform keeps values for the tool (LTI Platform Storage)."""

    OFFERED = "offered"
    SILENT = "silent"  # offered, and never answers
    OFF = "off"


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """One sandbox and the tool installed in it. The tool is known by its addresses alone."""

    url: str = "http://127.0.0.1:8100"
    tool_url: str = "http://localhost:8000"
    client_id: str = "10000000000007"
    deployment_id: str = "7:8865aa05b4b79b64a91a86042e43af5ea8ae79eb"
    state_dir: Path = Path("instance/sandbox")
    custom_fields: Mapping[str, str] = field(default_factory=lambda: CUSTOM_FIELDS)
    token_seconds: int = 3600
    hint_seconds: int = 300
    flavour: Flavour = Flavour.CANVAS
    storage: Storage = Storage.OFFERED

    @property
    def issuer(self) -> str:
        """The `iss` of its tokens: its own address, as of a self-hosted Canvas."""
        return self.url

    @property
    def authorize_url(self) -> str:
        """Where the tool sends the browser to have a launch authorized."""
        return f"{self.url}/api/lti/authorize_redirect"

    @property
    def token_url(self) -> str:
        """Where the tool gets access tokens for the services."""
        return f"{self.url}/login/oauth2/token"

    @property
    def key_set_url(self) -> str:
        """Where the sandbox publishes the keys of its tokens."""
        return f"{self.url}/api/lti/security/jwks"

    @property
    def metadata_url(self) -> str:
        """Where a tool that registers itself reads what the platform is."""
        return f"{self.url}/api/lti/security/openid-configuration"

    @property
    def registration_url(self) -> str:
        """Where a tool registers itself."""
        return f"{self.url}/api/lti/registrations"

    @property
    def login_url(self) -> str:
        """The tool's third-party login initiation."""
        return f"{self.tool_url}/lti/login"

    @property
    def launch_url(self) -> str:
        """The tool's launch address: the target link of course navigation."""
        return f"{self.tool_url}/lti/launch"

    @property
    def deep_link_url(self) -> str:
        """The tool's target link of deep linking."""
        return f"{self.tool_url}/lti/deep-link"

    @property
    def tool_key_set_url(self) -> str:
        """Where the tool publishes the keys of its assertions."""
        return f"{self.tool_url}/lti/jwks.json"

    @property
    def redirect_uris(self) -> frozenset[str]:
        """The only addresses to which an id token is posted."""
        return frozenset({self.launch_url, self.deep_link_url})


def refuse_unless_local(config: SandboxConfig) -> None:
    """Raise `SandboxRefusedError` unless tool and sandbox are both on this machine.

    The sandbox lets anyone be anyone, so it must never vouch for people to a tool that others reach.
    """
    refuse_foreign("tool", config.tool_url)
    refuse_foreign("sandbox", config.url)


def refuse_foreign(what: str, url: str) -> None:
    """Raise `SandboxRefusedError` for an address that is not on this machine."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not is_loopback(parts.hostname or ""):
        raise SandboxRefusedError(
            f"The sandbox runs on this machine only, but the {what}'s address is {url}. "
            "Use a localhost address; in production, register a real Canvas instead."
        )
