"""LTI Dynamic Registration 1.0: a platform whose administrator was invited registers the tool, and the tool it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from flask_babel import lazy_gettext as _l
from pydantic import AfterValidator, BaseModel, Field, ValidationError
from sqlalchemy import update
from sqlmodel import Session, col, select

from app.database import Database, utc_now
from app.errors import AppError
from app.lti import canvas, tool
from app.lti.addresses import host_of, same_origin, web_address, without_query
from app.lti.claims import MessageType
from app.lti.models import MAX_ID, Invitation, Platform, RegistrationSource
from app.lti.outbound import OutboundError, OutboundSession
from app.lti.registration.platforms import PlatformConfigError, PlatformEntry, WebAddress, save_platform
from app.secret import hash_of, new_secret
from app.text import clean_line

PATH = "/lti/register"
PLATFORM_CONFIGURATION = "https://purl.imsglobal.org/spec/lti-platform-configuration"
TOOL_CONFIGURATION = "https://purl.imsglobal.org/spec/lti-tool-configuration"
MAX_PRODUCT = 64


class RegistrationRefusedError(AppError):
    """A platform that does not get registered. Subclasses say why to its administrator; ``log`` holds the details."""

    status = 400
    code = "registration_refused"
    title = _l("The registration did not work")


class InvitationRefusedError(RegistrationRefusedError):
    """The link's token is unknown, used or too old."""

    code = "invitation_refused"
    status = 403
    message = _l(
        "This registration link is not complete, has expired or was used before. Ask whoever runs AI Experiences for "
        "a new one; they make it with “ai-experiences platform invite”."
    )


class IncompleteRegistrationError(RegistrationRefusedError):
    """The link was opened by hand: the platform adds the address of its configuration."""

    code = "incomplete_registration"
    message = _l(
        "Do not open this link by itself: paste it where your learning platform registers a tool (in Canvas: Admin, "
        "Developer Keys, LTI Registration). It works once, and has not been used up."
    )


class ConfigurationUnavailableError(RegistrationRefusedError):
    """The platform's OpenID configuration cannot be fetched."""

    code = "platform_configuration_unavailable"
    status = 502
    message = _l(
        "The configuration of your learning platform could not be read. Its address must begin with https:// and be "
        "reachable from the internet. The registration link has not been used up."
    )


class ConfigurationRefusedError(RegistrationRefusedError):
    """The platform's OpenID configuration is not one that the tool can trust."""

    code = "platform_configuration_refused"
    message = _l(
        "The configuration of your learning platform is not as LTI Dynamic Registration 1.0 asks for it."
    )


class ForeignConfigurationError(ConfigurationRefusedError):
    """The configuration speaks for an issuer on another host."""

    code = "foreign_platform_configuration"
    message = _l(
        "The configuration of your learning platform speaks for another host than the one it lies on, so it cannot be "
        "trusted. A self-hosted platform needs an issuer of its own."
    )


class ForeignEndpointError(ConfigurationRefusedError):
    """The configuration leads to an endpoint on another host."""

    code = "foreign_platform_endpoint"
    message = _l(
        "The configuration of your learning platform leads to addresses on another host than its own, so it cannot be "
        "trusted. If they are right, ask whoever runs AI Experiences to register the platform with "
        "“ai-experiences platform add”."
    )


class ToolRefusedError(RegistrationRefusedError):
    """The platform does not take the tool, or its answer cannot be used."""

    code = "tool_refused"
    status = 502
    message = _l(
        "Your learning platform did not accept the registration. Begin again there, since it may accept each attempt "
        "once only; the registration link has not been used up. The log has the platform's words."
    )


class AlreadyRegisteredError(RegistrationRefusedError):
    """The client id is registered at the issuer: an invitation adds platforms, and changes none."""

    code = "already_registered"
    status = 409
    message = _l(
        "This client id is registered already, and stays as it is. To register it anew, ask whoever runs AI "
        "Experiences to remove it first with “ai-experiences platform remove”; the registration link has not been "
        "used up."
    )


@dataclass(frozen=True, slots=True)
class Initiation:
    """What a platform adds to the link: where its configuration lies, and the token with which to ask for it."""

    configuration_url: str
    token: str | None

    @property
    def host(self) -> str:
        """The platform's host, with its port where that is not the usual one."""
        return host_of(self.configuration_url)

    @property
    def headers(self) -> dict[str, str]:
        """What the tool's requests carry; Canvas wants the token for its configuration too."""
        bearer = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {"Accept": "application/json"} | bearer


@dataclass(frozen=True, slots=True)
class Registered:
    """A platform that has been registered. Without a deployment its first launch waits for approval."""

    platform: Platform
    deployment_id: str | None


def _printable(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise ValueError("must be printable ASCII")
    return value


_Id = Annotated[str, Field(min_length=1, max_length=MAX_ID), AfterValidator(_printable)]


class _Supported(BaseModel):
    type: str
    placements: list[str] | None = None


class _PlatformConfiguration(BaseModel):
    product_family_code: str
    messages_supported: list[_Supported] | None = None


class OpenIdConfiguration(BaseModel):
    """What a platform says of itself: LTI Dynamic Registration 1.0's OpenID configuration, as far as it is used."""

    issuer: _Id
    authorization_endpoint: WebAddress
    token_endpoint: WebAddress
    jwks_uri: WebAddress
    registration_endpoint: WebAddress
    authorization_server: _Id | None = None
    scopes_supported: list[str] | None = None
    platform: _PlatformConfiguration = Field(validation_alias=PLATFORM_CONFIGURATION)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where the tool and its people's browsers are sent."""
        return self.authorization_endpoint, self.token_endpoint, self.jwks_uri, self.registration_endpoint

    @property
    def hosts(self) -> set[str]:
        """The hosts that the issuer speaks for, as `host_of` writes them; the empty one where it is no address."""
        issuer = host_of(self.issuer)
        return {issuer, canvas.SSO_HOSTS.get(issuer, issuer)}

    @property
    def foreign_endpoints(self) -> list[str]:
        """The endpoints on other hosts than the issuer's.

        Hosted Canvas takes registrations at the school's own host, which it alone can name; no secret goes there.
        """
        checked = self.endpoints[:-1] if host_of(self.issuer) in canvas.SSO_HOSTS else self.endpoints
        return [endpoint for endpoint in checked if host_of(endpoint) not in self.hosts]

    @property
    def audience(self) -> str | None:
        """The audience of the tool's assertions where it is not the token endpoint, on whose origin it has to be.

        All platforms know the tool by one key: an assertion for another's audience would be good there. Canvas puts a
        bare host here, and wants the token endpoint all the same.
        """
        named = self.authorization_server or ""
        return named if same_origin(named, self.token_endpoint) else None


class _ToolConfiguration(BaseModel):
    deployment_id: _Id | None = None


class _Answer(BaseModel):
    """A successful registration (section 3.6.1)."""

    client_id: _Id
    configuration: _ToolConfiguration | None = Field(default=None, validation_alias=TOOL_CONFIGURATION)


def read_initiation(parameters: Mapping[str, str]) -> Initiation:
    """Read a registration initiation request. Raises `IncompleteRegistrationError`."""
    given = parameters.get("openid_configuration", "")
    url = web_address(given)
    if url is None:
        raise IncompleteRegistrationError(log=f"openid_configuration {without_query(given)!r:.300}")
    return Initiation(url, parameters.get("registration_token"))


def invite(session: Session, days: int) -> str:
    """Make an invitation that is good for so many days; return its token, of which only a hash is kept."""
    token = new_secret()
    session.add(Invitation(token_hash=hash_of(token), expires_at=utc_now() + timedelta(days=days)))
    return token


def check_invitation(session: Session, token: str) -> None:
    """Use nothing up. Raises `InvitationRefusedError`."""
    if session.exec(select(Invitation.id).where(*_open(token))).first() is None:
        raise InvitationRefusedError(log="unknown, used or expired")


def register_platform(
    database: Database, http: OutboundSession, invitation: str, initiation: Initiation, app_url: str
) -> Registered:
    """Register the tool at a platform and the platform here, for an invitation that is then used up.

    No transaction is open while the platform is asked. Raises a `RegistrationRefusedError`.
    """
    with _claimed(database, invitation) as invitation_id:
        configuration = read_configuration(http, initiation)
        answer = _register_tool(http, initiation, configuration, tool_registration(configuration, app_url))
        with database.transaction() as session:
            registered = _save(session, configuration, answer)
            session.get_one(Invitation, invitation_id).platform_id = registered.platform.id
    return registered


def read_configuration(http: OutboundSession, initiation: Initiation) -> OpenIdConfiguration:
    """Fetch a platform's configuration and check it, its issuer's host too (section 3.5.1).

    Its endpoints stand on that host as well, which the standard leaves open. Raises a `RegistrationRefusedError`.
    """
    try:
        body = http.fetch_json(initiation.configuration_url, headers=initiation.headers)
        configuration = OpenIdConfiguration.model_validate(body)
    except OutboundError as error:
        raise ConfigurationUnavailableError(log=str(error)) from error
    except ValidationError as error:
        raise ConfigurationRefusedError(log=_problems(error)) from error
    if initiation.host not in configuration.hosts:
        raise ForeignConfigurationError(log=f"issuer {configuration.issuer!r} on {initiation.host!r:.300}")
    # Its token endpoint could be another platform's, whose tokens the tool would then carry to this one's services.
    # From its own host a platform gets its own tokens back, wherever its launches have the tool send them.
    if foreign := configuration.foreign_endpoints:
        told = ", ".join(map(without_query, foreign))
        raise ForeignEndpointError(log=f"issuer {configuration.issuer!r} names {told:.1000}")
    try:
        for endpoint in configuration.endpoints:
            http.check_address(endpoint)
    except OutboundError as error:
        raise ConfigurationRefusedError(log=str(error)) from error
    return configuration


def tool_registration(configuration: OpenIdConfiguration, app_url: str) -> dict[str, Any]:
    """Return the client registration request: what the tool asks of a platform, as far as it is supported there."""
    own = _tool_configuration(app_url)
    if configuration.platform.product_family_code == canvas.PRODUCT:
        own |= canvas.tool_configuration(app_url)
    own["messages"] = _supported_messages(own["messages"], configuration)
    return {
        "application_type": "web",
        "response_types": ["id_token"],
        "grant_types": ["implicit", "client_credentials"],
        "client_name": tool.TITLE,
        "logo_uri": app_url + tool.ICON_PATH,
        "initiate_login_uri": app_url + tool.LOGIN_PATH,
        "redirect_uris": [app_url + tool.LAUNCH_PATH, app_url + tool.DEEP_LINK_PATH],
        "jwks_uri": app_url + tool.KEY_SET_PATH,
        "token_endpoint_auth_method": "private_key_jwt",
        "scope": " ".join(_supported_scopes(configuration)),
        TOOL_CONFIGURATION: own,
    }


def _tool_configuration(app_url: str) -> dict[str, Any]:
    message = {"label": tool.TITLE, "icon_uri": app_url + tool.ICON_PATH}
    return {
        "domain": urlsplit(app_url).netloc,
        "description": tool.DESCRIPTION,
        "target_link_uri": app_url + tool.LAUNCH_PATH,
        "claims": list(tool.CLAIMS),
        "custom_parameters": tool.CUSTOM_FIELDS,
        "messages": [
            message | {"type": MessageType.RESOURCE_LINK, "target_link_uri": app_url + tool.LAUNCH_PATH},
            message
            | {
                "type": MessageType.DEEP_LINKING,
                "target_link_uri": app_url + tool.DEEP_LINK_PATH,
                "placements": ["ContentArea", "RichTextEditor"],
                "supported_types": ["ltiResourceLink"],
            },
        ],
    }


def _supported_scopes(configuration: OpenIdConfiguration) -> list[str]:
    supported = configuration.scopes_supported
    return [scope for scope in tool.SCOPES if supported is None or scope in supported]


def _supported_messages(
    messages: Sequence[dict[str, Any]], configuration: OpenIdConfiguration
) -> list[dict[str, Any]]:
    """Return the messages that the platform sends, in the placements that it has, where it tells which."""
    supported = configuration.platform.messages_supported
    if not supported:
        return list(messages)
    kept = []
    for message in messages:
        offers = [each.placements for each in supported if each.type == message["type"]]
        offered = [name for names in offers for name in names or ()]
        wanted = message.get("placements", ())
        found = [name for name in offered if name.removeprefix(canvas.EXTENSION) in wanted]
        if offers and (found or not (wanted and offered)):
            kept.append(message | ({"placements": found} if found else {}))
    return kept


def _register_tool(
    http: OutboundSession, initiation: Initiation, configuration: OpenIdConfiguration, body: dict[str, Any]
) -> _Answer:
    try:
        answer = http.post_json(configuration.registration_endpoint, body, headers=initiation.headers)
        return _Answer.model_validate(answer)
    except OutboundError as error:
        raise ToolRefusedError(log=str(error)) from error
    except ValidationError as error:
        raise ToolRefusedError(log=_problems(error)) from error


def _save(session: Session, configuration: OpenIdConfiguration, answer: _Answer) -> Registered:
    deployment_id = answer.configuration.deployment_id if answer.configuration else None
    entry = PlatformEntry(
        client_id=answer.client_id,
        auth_login_url=configuration.authorization_endpoint,
        auth_token_url=configuration.token_endpoint,
        key_set_url=configuration.jwks_uri,
        auth_audience=configuration.audience,
        deployment_ids=[deployment_id] if deployment_id else [],
    )
    source = RegistrationSource.REGISTRATION
    try:
        platform = save_platform(session, configuration.issuer, entry, source, replace=False)
    except PlatformConfigError as error:
        raise AlreadyRegisteredError(
            log=f"client {answer.client_id!r} of {configuration.issuer!r}"
        ) from error
    platform.product = clean_line(configuration.platform.product_family_code, MAX_PRODUCT)
    return Registered(platform, deployment_id)


@contextmanager
def _claimed(database: Database, token: str) -> Iterator[int]:
    """Take an invitation in one statement, so that two cannot use it at once; give it back where all was in vain."""
    with database.transaction() as session:
        claim = (
            update(Invitation).where(*_open(token)).values(used_at=utc_now()).returning(col(Invitation.id))
        )
        invitation_id = session.scalars(claim).first()
    if invitation_id is None:
        raise InvitationRefusedError(log="unknown, used or expired")
    try:
        yield invitation_id
    except BaseException:
        with database.transaction() as session:
            session.get_one(Invitation, invitation_id).used_at = None
        raise


def _open(token: str) -> tuple[Any, ...]:
    return (
        col(Invitation.token_hash) == hash_of(token),
        col(Invitation.used_at).is_(None),
        col(Invitation.expires_at) > utc_now(),
    )


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())[:1000]
