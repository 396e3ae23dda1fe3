"""The claims of a launch, as Canvas sends them."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from app.sandbox.config import TOOL_NAME, SandboxConfig
from app.sandbox.directory import Directory
from app.sandbox.gradebook import LineItem
from app.sandbox.people import Course, EnrollmentState, Person
from app.sandbox.roles import canvas_role_names, launch_roles
from app.sandbox.tokens import GRADE_SCOPES

LTI = "https://purl.imsglobal.org/spec/lti/claim"
AGS = "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint"
NRPS = "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice"
PLACEMENT = "https://www.instructure.com/placement"
COURSE_OFFERING = "http://purl.imsglobal.org/vocab/lis/v2/course#CourseOffering"
ACCOUNT_NAME = "Sandbox University"
PLATFORM_GUID = "sandbox:canvas-lms"
ROOT_ACCOUNT_ID = "10000000000001"
TOKEN_SECONDS = 3600
# `$Name` alone is replaced by the value itself, `${Name}` inside a text by the value as text.
_EMBEDDED = re.compile(r"\$\{([A-Za-z0-9_.]+)\}")


@dataclass(frozen=True, slots=True)
class Launch:
    """Who opens what from where. ``line_item`` is the assignment opened, None in course navigation."""

    person: Person
    course: Course
    target_link_uri: str
    document_target: str = "iframe"
    line_item: LineItem | None = None


def launch_claims(
    launch: Launch, *, nonce: str, config: SandboxConfig, directory: Directory
) -> dict[str, Any]:
    """All claims of the id token for a launch."""
    return {
        **_token_claims(launch, nonce, config),
        **_person_claims(launch, config, directory),
        **_message_claims(launch, config),
        **_service_claims(launch, config),
        f"{LTI}/custom": custom_claim(launch.person, launch.course, config, directory),
    }


def custom_claim(
    person: Person, course: Course, config: SandboxConfig, directory: Directory
) -> dict[str, Any]:
    """The custom fields with their variables resolved; what cannot be resolved stays as it is written."""
    variables = _variables(person, course, config, directory)
    return {name: _expand(value, variables) for name, value in config.custom_fields.items()}


def course_url(config: SandboxConfig, course: Course) -> str:
    """Where the services of a course are."""
    return f"{config.url}/api/lti/courses/{course.canvas_id}"


def picture_url(config: SandboxConfig, person: Person) -> str:
    """Somebody's avatar."""
    return f"{config.url}/images/thumbnails/{person.canvas_id}.svg"


def _token_claims(launch: Launch, nonce: str, config: SandboxConfig) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": config.issuer,
        "aud": config.client_id,
        "azp": config.client_id,
        "sub": launch.person.sub,
        "iat": now,
        "exp": now + TOKEN_SECONDS,
        "nonce": nonce,
        f"{LTI}/deployment_id": config.deployment_id,
        f"{LTI}/version": "1.3.0",
        f"{LTI}/message_type": "LtiResourceLinkRequest",
        f"{LTI}/target_link_uri": launch.target_link_uri,
    }


def _person_claims(launch: Launch, config: SandboxConfig, directory: Directory) -> dict[str, Any]:
    person = launch.person
    here = directory.enrollments_of(person, launch.course)
    claims: dict[str, Any] = {
        "name": person.name,
        "given_name": person.given_name,
        "family_name": person.family_name,
        "picture": picture_url(config, person),
        "locale": person.locale,
        f"{LTI}/roles": launch_roles(person, here=here, anywhere=directory.enrollments_of(person)),
        f"{LTI}/lti11_legacy_user_id": person.lti11_id,
        f"{LTI}/lti1p1": {"user_id": person.lti11_id},
    }
    if person.email:
        claims["email"] = person.email
    observed = [directory.person(entry.observes) for entry in here if entry.observes]
    if observed:
        claims[f"{LTI}/role_scope_mentor"] = [student.sub for student in observed if student]
    return claims


def _message_claims(launch: Launch, config: SandboxConfig) -> dict[str, Any]:
    course = launch.course
    return {
        f"{LTI}/resource_link": _resource_link(launch),
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
            "product_family_code": "canvas",
        },
        f"{LTI}/launch_presentation": _presentation(launch, config),
        f"{LTI}/lis": {
            "person_sourcedid": launch.person.sis_id or "$Person.sourcedId",
            "course_offering_sourcedid": course.sis_id or "$CourseSection.sourcedId",
        },
        PLACEMENT: "course_navigation" if launch.line_item is None else None,
    }


def _resource_link(launch: Launch) -> dict[str, Any]:
    if launch.line_item is not None:
        return {"id": launch.line_item.resource_link_id, "title": launch.line_item.label, "description": ""}
    return {"id": launch.course.context_id, "title": TOOL_NAME, "description": None}


def _presentation(launch: Launch, config: SandboxConfig) -> dict[str, Any]:
    back = f"/courses/{launch.course.canvas_id}/external_content/success/external_tool_redirect"
    return {
        "document_target": launch.document_target,
        "return_url": f"{config.url}{back}?as={launch.person.login}",
        "locale": launch.person.locale,
        "height": None,
        "width": None,
    }


def _service_claims(launch: Launch, config: SandboxConfig) -> dict[str, Any]:
    base = course_url(config, launch.course)
    endpoint: dict[str, Any] = {"scope": list(GRADE_SCOPES), "lineitems": f"{base}/line_items"}
    if launch.line_item is not None:
        endpoint["lineitem"] = f"{base}/line_items/{launch.line_item.id}"
    return {
        AGS: endpoint,
        NRPS: {"context_memberships_url": f"{base}/names_and_roles", "service_versions": ["2.0"]},
    }


def _variables(
    person: Person, course: Course, config: SandboxConfig, directory: Directory
) -> dict[str, int | str]:
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
    return values


def _expand(text: str, variables: Mapping[str, int | str]) -> int | str:
    if text.startswith("$") and text[1:] in variables:
        return variables[text[1:]]
    return _EMBEDDED.sub(lambda found: str(variables.get(found[1], found[0])), text)
