"""What a verified launch says, in this tool's words. Nothing outside this room reads claims."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.courses.models import MAX_NAME, Role
from app.courses.service import Visit
from app.lti.addresses import same_origin, web_address
from app.lti.canvas import canvas_course_id, canvas_id, vouches_for_custom
from app.lti.models import MAX_ID
from app.lti.refusals import (
    IncompleteTokenError,
    NoContextError,
    NoPersonError,
    NoRoleError,
    UnknownRoleError,
    UnsupportedMessageError,
)
from app.lti.roles import course_role, read_roles
from app.lti.tool import Target, parse_target
from app.text import clean_line

CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"
DEEP_LINKING_SETTINGS = "https://purl.imsglobal.org/spec/lti-dl/claim/deep_linking_settings"
GRADES_ENDPOINT = "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"
ROSTER_ENDPOINT = "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice"
MAX_LOCALE = 35
MAX_SCOPES = 20
MAX_HISTORY = 50


class MessageType(StrEnum):
    """The LTI messages that the tool takes (Core 1.3, 5.3.1; Deep Linking 2.0, 4.4; Submission Review 1.0, 2)."""

    RESOURCE_LINK = "LtiResourceLinkRequest"
    DEEP_LINKING = "LtiDeepLinkingRequest"
    SUBMISSION_REVIEW = "LtiSubmissionReviewRequest"


@dataclass(frozen=True, slots=True)
class Services:
    """What the platform offers for the course (NRPS 2.0, 3.6.1.1; AGS 2.0, 3.6). None or empty for what it does not."""

    roster_url: str | None = None
    line_items_url: str | None = None
    line_item_url: str | None = None
    grade_scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LaunchClaims:
    """A launch: the visit to a course, and what the message asks for.

    ``review_of`` is the ``sub`` of the person whose submission is to be shown. ``deep_linking`` are the settings of a
    deep linking request as they came. ``received`` is the whole message.
    """

    message_type: MessageType
    visit: Visit
    target: Target
    received: Mapping[str, Any] = field(repr=False)
    services: Services = Services()
    resource_link_id: str | None = None
    resource_link_title: str | None = None
    review_of: str | None = None
    deep_linking: Mapping[str, Any] | None = None
    platform_guid: str | None = None
    platform_name: str | None = None
    platform_product: str | None = None
    locale: str | None = None

    @property
    def says_all(self) -> bool:
        """True for a launch from which nothing is left out that the platform would tell of the course."""
        teaches = self.visit.role in {Role.TEACHER, Role.ADMINISTRATOR}
        return teaches and self.message_type is MessageType.RESOURCE_LINK


def parse_claims(body: Mapping[str, Any], app_url: str) -> LaunchClaims:
    """Read the claims of a verified token.

    Optional claims that are absent, null or of the wrong kind count as absent. Raises a `LaunchRefusedError`
    where the message, person, course or role is missing.
    """
    message_type = _message_type(body)
    presentation = _object(body, CLAIM + "launch_presentation")
    platform = _object(body, CLAIM + "tool_platform")
    return LaunchClaims(
        message_type=message_type,
        visit=_visit(body, message_type),
        target=_target(body, app_url, required=message_type is MessageType.RESOURCE_LINK),
        received=body,
        services=_services(body),
        resource_link_id=_resource_link_id(body, required=message_type is MessageType.RESOURCE_LINK),
        resource_link_title=clean_line(_object(body, CLAIM + "resource_link").get("title"), MAX_NAME),
        review_of=_review_of(body) if message_type is MessageType.SUBMISSION_REVIEW else None,
        deep_linking=_deep_linking(body) if message_type is MessageType.DEEP_LINKING else None,
        platform_guid=_guid(platform),
        platform_name=clean_line(platform.get("name"), MAX_NAME),
        platform_product=_product(body),
        locale=clean_line(presentation.get("locale") or body.get("locale"), MAX_LOCALE),
    )


def _product(body: Mapping[str, Any]) -> str | None:
    return clean_line(_object(body, CLAIM + "tool_platform").get("product_family_code"), 64)


def _guid(platform: Mapping[str, Any]) -> str | None:
    """Return what tells a platform's instances apart (Core 1.3, 5.4.2); cleaned or cut, it could be another's."""
    guid = platform.get("guid")
    return guid if guid == clean_line(guid, MAX_ID) else None


def _message_type(body: Mapping[str, Any]) -> MessageType:
    if body.get(CLAIM + "version") != "1.3.0":
        raise UnsupportedMessageError(log=f"version {body.get(CLAIM + 'version')!r:.100}")
    kind = body.get(CLAIM + "message_type")
    try:
        return MessageType(kind)  # type: ignore[arg-type]  # whatever came
    except ValueError as error:
        raise UnsupportedMessageError(log=f"message_type {kind!r:.100}") from error


def _visit(body: Mapping[str, Any], message_type: MessageType) -> Visit:
    custom = _object(body, CLAIM + "custom")
    context = _object(body, CLAIM + "context")
    context_id = _required_id(context, "context")
    history = _course_history(custom)
    product, services = _product(body), _services(body)
    vouched = vouches_for_custom(product, message_type, _resource_link_id(body, required=False), context_id)
    mapped = course_role(_roles(body))
    if mapped is None:
        raise UnknownRoleError(log=f"roles {body.get(CLAIM + 'roles')!r:.500}")
    return Visit(
        sub=subject(body.get("sub")),
        context_id=context_id,
        role=mapped.role,
        is_teaching_assistant=mapped.is_teaching_assistant,
        is_test=mapped.is_test,
        is_administrator=mapped.is_administrator,
        name=full_name(body),
        avatar_url=picture(body.get("picture")),
        canvas_user_id=canvas_id(custom, "canvas_user_id") if vouched else None,
        canvas_course_id=(canvas_id(custom, "canvas_course_id") if vouched else None)
        or canvas_course_id(product, services.roster_url or services.line_items_url),
        course_title=clean_line(context.get("title"), MAX_NAME),
        course_label=clean_line(context.get("label"), MAX_NAME),
        course_history=history if vouched else (),
        claimed_history=() if vouched else history,
    )


def subject(sub: object) -> str:
    """Return a person's id as the platform knows them (Core 1.3, 5.3.6.1). Raises `NoPersonError`."""
    if not isinstance(sub, str) or not sub.strip():
        raise NoPersonError(log="sub missing")
    if len(sub) > MAX_ID or not sub.isascii() or not sub.isprintable():
        raise NoPersonError(log="sub longer than 255 characters or not printable ASCII")
    return sub


def _target(body: Mapping[str, Any], app_url: str, *, required: bool) -> Target:
    """Read the target link (Core 1.3, 5.3.4), which only a resource link launch must carry."""
    address = body.get(CLAIM + "target_link_uri")
    if address is None and not required:
        return Target()
    if not isinstance(address, str) or not same_origin(address, app_url):
        raise IncompleteTokenError(
            "target_link_uri", log=f"target_link_uri {address!r:.300} is missing or not ours"
        )
    return parse_target(address)


def _resource_link_id(body: Mapping[str, Any], *, required: bool) -> str | None:
    link = _object(body, CLAIM + "resource_link")
    return _required_id(link, "resource_link") if required or link.get("id") else None


def _required_id(claim: Mapping[str, Any], name: str) -> str:
    """Return the id of a resource link, which LTI requires, or a context, which this tool does (Core 1.3, 5.3-5.4)."""
    identifier = claim.get("id")
    if not isinstance(identifier, str) or not identifier.strip():
        raise NoContextError(log=f"{name} id missing")
    if len(identifier) > MAX_ID or not identifier.isprintable():
        raise IncompleteTokenError(name, log=f"{name} id longer than 255 characters or not printable")
    return identifier


def _roles(body: Mapping[str, Any]) -> tuple[str, ...]:
    roles = read_roles(body.get(CLAIM + "roles"))
    if not roles:
        raise NoRoleError(log="roles missing, empty or not a list")
    return roles


def full_name(body: Mapping[str, Any]) -> str | None:
    """Return a person's name, whole or from its parts; None where none came."""
    parts = (clean_line(body.get(part), MAX_NAME) for part in ("given_name", "family_name"))
    return clean_line(body.get("name"), MAX_NAME) or clean_line(" ".join(filter(None, parts)), MAX_NAME)


def picture(value: object) -> str | None:
    """Return the address of somebody's picture where it may be shown."""
    address = web_address(value)
    return address if address is not None and address.startswith("https://") else None


def _services(body: Mapping[str, Any]) -> Services:
    grades, roster = _object(body, GRADES_ENDPOINT), _object(body, ROSTER_ENDPOINT)
    scopes = grades.get("scope")
    return Services(
        roster_url=web_address(roster.get("context_memberships_url")),
        line_items_url=web_address(grades.get("lineitems")),
        line_item_url=web_address(grades.get("lineitem")),
        grade_scopes=tuple(sorted({scope for scope in scopes if isinstance(scope, str)})[:MAX_SCOPES])
        if isinstance(scopes, list)
        else (),
    )


def _review_of(body: Mapping[str, Any]) -> str:
    """Return the ``sub`` of the person whose submission is asked for (Submission Review 1.0, 3.2)."""
    user = _object(body, CLAIM + "for_user")
    return subject(user.get("user_id"))


def _deep_linking(body: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = _object(body, DEEP_LINKING_SETTINGS)
    address = web_address(settings.get("deep_link_return_url"))
    accepted = settings.get("accept_types")
    if address is None or not isinstance(accepted, list):
        raise UnsupportedMessageError(log="deep linking settings without return address or accepted types")
    return settings


def _course_history(custom: Mapping[str, Any]) -> tuple[str, ...]:
    """Read `$Context.id.history`: context ids with commas, the latest copied first; literal where not resolved."""
    value = custom.get("context_id_history")
    if not isinstance(value, str) or value.startswith("$"):
        return ()
    identifiers = (part.strip() for part in value.split(",")[:MAX_HISTORY])
    return tuple(part for part in identifiers if part and len(part) <= MAX_ID and part.isprintable())


def _object(claims: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = claims.get(name)
    return value if isinstance(value, Mapping) else {}
