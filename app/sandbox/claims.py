"""The claims of a launch, as Canvas sends them."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from app.sandbox.config import Flavour, SandboxConfig
from app.sandbox.directory import Directory
from app.sandbox.gradebook import LineItem
from app.sandbox.links import ResourceLink
from app.sandbox.people import Course, EnrollmentState, Person
from app.sandbox.placements import COURSE_NAVIGATION
from app.sandbox.roles import canvas_role_names, launch_roles, membership_roles
from app.sandbox.scopes import GRADE_SCOPES
from app.sandbox.scopes import NRPS as NRPS_SCOPE
from app.sandbox.tools import PERSONAL_CLAIMS, Tool

LTI = "https://purl.imsglobal.org/spec/lti/claim"
AGS = "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"
NRPS = "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice"
PLACEMENT = "https://www.instructure.com/placement"
COURSE_OFFERING = "http://purl.imsglobal.org/vocab/lis/v2/course#CourseOffering"
ACCOUNT_NAME = "Sandbox University"
PLATFORM_GUID = "sandbox:canvas-lms"
ROOT_ACCOUNT_ID = "10000000000001"
TOKEN_SECONDS = 3600
# What variables of Canvas's own begin with.
CANVAS_VARIABLES = ("Canvas.", "com.instructure.")
# The variables that can be resolved, as far as the launch has what they name.
VARIABLES = (
    "Canvas.api.domain",
    "Canvas.course.id",
    "Canvas.course.name",
    "Canvas.course.sectionIds",
    "Canvas.enrollment.enrollmentState",
    "Canvas.masqueradingUser.id",
    "Canvas.membership.roles",
    "Canvas.root_account.global_id",
    "Canvas.term.name",
    "Canvas.user.id",
    "Canvas.user.loginId",
    "Canvas.user.prefersHighContrast",
    "Context.id",
    "Context.id.history",
    "Context.title",
    "Message.locale",
    "Person.address.timezone",
    "Person.name.full",
    "ResourceLink.id",
    "ResourceLink.id.history",
    "ResourceLink.title",
    "com.instructure.brandConfigJSON.url",
)
# `$Name` alone is replaced by the value itself, `${Name}` inside a text by the value as text.
_EMBEDDED = re.compile(r"\$\{([A-Za-z0-9_.]+)\}")


class MessageType(StrEnum):
    """The messages that open a tool."""

    RESOURCE_LINK = "LtiResourceLinkRequest"
    DEEP_LINKING = "LtiDeepLinkingRequest"
    SUBMISSION_REVIEW = "LtiSubmissionReviewRequest"


@dataclass(frozen=True, slots=True)
class Launch:
    """Who opens what from where.

    ``line_item`` and ``resource_link`` are those of the assignment, module item or page opened; without them it
    is course navigation, or the ``placement`` of a deep linking request. ``for_user`` is whose work a submission
    review is about, ``masquerading`` the administrator who acts as the person. The tool is the configured one in
    its latest deployment unless ``client_id`` and ``deployment_id`` say otherwise.
    """

    person: Person
    course: Course
    target_link_uri: str
    document_target: str = "iframe"
    line_item: LineItem | None = None
    resource_link: ResourceLink | None = None
    message_type: MessageType = MessageType.RESOURCE_LINK
    placement: str | None = None
    for_user: Person | None = None
    masquerading: Person | None = None
    client_id: str | None = None
    deployment_id: str | None = None


def launch_claims(
    launch: Launch, *, nonce: str, tool: Tool, config: SandboxConfig, directory: Directory
) -> dict[str, Any]:
    """All claims of the id token for a launch, but for deep linking's settings."""
    return {
        **_token_claims(launch, nonce, tool, config),
        **_person_claims(launch, tool, config, directory),
        **_message_claims(launch, tool, config),
        **_review_claims(launch, tool, config, directory),
        **_service_claims(launch, tool, config),
        f"{LTI}/custom": custom_claim(launch, tool, config, directory),
    }


def custom_claim(launch: Launch, tool: Tool, config: SandboxConfig, directory: Directory) -> dict[str, Any]:
    """The custom fields with their variables resolved; what cannot be resolved stays as it is written."""
    variables = _variables(launch, config, directory)
    own = launch.resource_link.custom if launch.resource_link else {}
    return {name: _expand(value, variables) for name, value in {**tool.custom_fields, **own}.items()}


def course_url(config: SandboxConfig, course: Course) -> str:
    """Where the services of a course are."""
    return f"{config.url}/api/lti/courses/{course.canvas_id}"


def picture_url(config: SandboxConfig, person: Person) -> str:
    """Somebody's avatar."""
    return f"{config.url}/images/thumbnails/{person.canvas_id}.svg"


def personal_claims(person: Person, tool: Tool, config: SandboxConfig) -> dict[str, str]:
    """Name, address and picture, as far as there are any and the tool is told."""
    known = {
        "name": person.name,
        "given_name": person.given_name,
        "family_name": person.family_name,
        "email": person.email,
        "picture": picture_url(config, person),
    }
    told = PERSONAL_CLAIMS[tool.privacy]
    return {claim: value for claim, value in known.items() if value and claim in told}


def _token_claims(launch: Launch, nonce: str, tool: Tool, config: SandboxConfig) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": config.issuer,
        "aud": tool.client_id,
        "azp": tool.client_id,
        "sub": launch.person.sub,
        "iat": now,
        "exp": now + TOKEN_SECONDS,
        "nonce": nonce,
        f"{LTI}/deployment_id": launch.deployment_id or tool.deployment_id,
        f"{LTI}/version": "1.3.0",
        f"{LTI}/message_type": launch.message_type.value,
        f"{LTI}/target_link_uri": launch.target_link_uri,
    }


def _person_claims(launch: Launch, tool: Tool, config: SandboxConfig, directory: Directory) -> dict[str, Any]:
    person = launch.person
    here = directory.enrollments_of(person, launch.course)
    claims: dict[str, Any] = {
        **personal_claims(person, tool, config),
        "locale": person.locale,
        f"{LTI}/roles": launch_roles(person, here=here, anywhere=directory.enrollments_of(person)),
        f"{LTI}/lti11_legacy_user_id": person.lti11_id,
        f"{LTI}/lti1p1": {"user_id": person.lti11_id},
    }
    observed = [directory.person(entry.observes) for entry in here if entry.observes]
    if observed:
        claims[f"{LTI}/role_scope_mentor"] = [student.sub for student in observed if student]
    return claims


def _message_claims(launch: Launch, tool: Tool, config: SandboxConfig) -> dict[str, Any]:
    course = launch.course
    claims: dict[str, Any] = {
        f"{LTI}/context": {
            "id": course.context_id,
            "label": course.code,
            "title": course.title,
            "type": [COURSE_OFFERING],
        },
        f"{LTI}/tool_platform": {
            "guid": PLATFORM_GUID,
            "name": ACCOUNT_NAME,
            "version": "cloud",
            "product_family_code": config.flavour.value,
        },
        f"{LTI}/launch_presentation": _presentation(launch, config),
        f"{LTI}/lis": {
            "person_sourcedid": launch.person.sis_id or "$Person.sourcedId",
            "course_offering_sourcedid": course.sis_id or "$CourseSection.sourcedId",
        },
    }
    if launch.message_type is not MessageType.DEEP_LINKING:
        claims[f"{LTI}/resource_link"] = _resource_link(launch, tool)
    if config.flavour is Flavour.CANVAS:
        claims[PLACEMENT] = _placement(launch)
    return claims


def _placement(launch: Launch) -> str | None:
    of_course = launch.line_item is None and launch.resource_link is None
    return launch.placement or (COURSE_NAVIGATION if of_course else None)


def _resource_link(launch: Launch, tool: Tool) -> dict[str, Any]:
    link, item = launch.resource_link, launch.line_item
    if link is not None:
        return {"id": link.id, "title": item.label if item else link.title, "description": link.text}
    return {"id": launch.course.context_id, "title": tool.title, "description": None}


def _review_claims(launch: Launch, tool: Tool, config: SandboxConfig, directory: Directory) -> dict[str, Any]:
    person = launch.for_user
    if person is None:
        return {}
    roles = membership_roles(directory.enrollments_of(person, launch.course))
    told = personal_claims(person, tool, config)
    told.pop("picture", None)
    return {f"{LTI}/for_user": {"user_id": person.sub, **told, "roles": roles}}


def _presentation(launch: Launch, config: SandboxConfig) -> dict[str, Any]:
    back = f"/courses/{launch.course.canvas_id}/external_content/success/external_tool_redirect"
    return {
        "document_target": launch.document_target,
        "return_url": f"{config.url}{back}?as={launch.person.login}",
        "locale": launch.person.locale,
        "height": None,
        "width": None,
    }


def _service_claims(launch: Launch, tool: Tool, config: SandboxConfig) -> dict[str, Any]:
    base = course_url(config, launch.course)
    claims: dict[str, Any] = {}
    grading = [scope for scope in GRADE_SCOPES if scope in tool.scopes]
    if grading:
        claims[AGS] = {"scope": grading, "lineitems": f"{base}/line_items"}
        if launch.line_item is not None:
            claims[AGS]["lineitem"] = f"{base}/line_items/{launch.line_item.id}"
    if NRPS_SCOPE in tool.scopes:
        claims[NRPS] = {"context_memberships_url": f"{base}/names_and_roles", "service_versions": ["2.0"]}
    return claims


def _variables(launch: Launch, config: SandboxConfig, directory: Directory) -> dict[str, int | str]:
    person, course, link = launch.person, launch.course, launch.resource_link
    here = directory.enrollments_of(person, course)
    values: dict[str, int | str] = {
        "Canvas.course.id": course.canvas_id,
        "Canvas.course.name": course.title,
        "Canvas.course.sectionIds": ",".join(str(section) for section in course.section_ids),
        "Canvas.term.name": course.term,
        "Canvas.user.id": person.canvas_id,
        "Canvas.user.loginId": person.login,
        "Canvas.user.prefersHighContrast": "true" if person.high_contrast else "false",
        "Canvas.membership.roles": canvas_role_names(person, here),
        "Canvas.root_account.global_id": ROOT_ACCOUNT_ID,
        "Canvas.api.domain": urlsplit(config.url).netloc,
        "Context.id": course.context_id,
        "Context.title": course.title,
        "Context.id.history": ",".join(course.copied_from),
        "Message.locale": person.locale,
        "Person.name.full": person.name,
        "Person.address.timezone": person.timezone,
        "com.instructure.brandConfigJSON.url": f"{config.url}/brand_config.json",
    }
    if here:
        values["Canvas.enrollment.enrollmentState"] = EnrollmentState.ACTIVE.value
    if launch.masquerading:
        values["Canvas.masqueradingUser.id"] = launch.masquerading.canvas_id
    if link is not None:
        values |= {"ResourceLink.id": link.id, "ResourceLink.title": link.title}
    if link is not None and link.copied_from:
        values["ResourceLink.id.history"] = ",".join(link.copied_from)
    if config.flavour is Flavour.CANVAS:
        return values
    return {name: value for name, value in values.items() if not name.startswith(CANVAS_VARIABLES)}


def _expand(text: str, variables: Mapping[str, int | str]) -> int | str:
    if text.startswith("$") and text[1:] in variables:
        return variables[text[1:]]
    return _EMBEDDED.sub(lambda found: str(variables.get(found[1], found[0])), text)
