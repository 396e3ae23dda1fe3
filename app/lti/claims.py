"""What a verified launch says, in this tool's words. Nothing outside this room reads claims."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.courses.models import MAX_NAME
from app.courses.service import Visit
from app.lti.refusals import NoContextError, NoPersonError, NoRoleError, TokenRefusedError
from app.lti.roles import course_role
from app.text import clean_line

CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"
MAX_ID = 255
MAX_URL = 2000
MAX_LOCALE = 35


@dataclass(frozen=True, slots=True)
class LaunchClaims:
    """A resource link launch (LTI Core 1.3, section 5.3): the visit to a course, and what belongs to the launch."""

    visit: Visit
    resource_link_id: str
    locale: str | None


def parse_claims(body: Mapping[str, Any]) -> LaunchClaims:
    """Read the claims of a verified token.

    Optional claims that are absent, null or of the wrong kind count as absent. Raises a `LaunchRefusedError`
    where person, course or role is missing.
    """
    presentation = _object(body, CLAIM + "launch_presentation")
    return LaunchClaims(
        visit=_visit(body),
        resource_link_id=_identifier(_object(body, CLAIM + "resource_link"), "resource_link"),
        locale=clean_line(presentation.get("locale") or body.get("locale"), MAX_LOCALE),
    )


def _visit(body: Mapping[str, Any]) -> Visit:
    custom = _object(body, CLAIM + "custom")
    context = _object(body, CLAIM + "context")
    mapped = course_role(_roles(body))
    if mapped is None:
        raise NoRoleError(log=f"roles {body.get(CLAIM + 'roles')!r:.500}")
    return Visit(
        sub=_sub(body),
        context_id=_identifier(context, "context"),
        role=mapped.role,
        is_teaching_assistant=mapped.is_teaching_assistant,
        is_test=mapped.is_test,
        name=_person_name(body),
        avatar_url=_picture(body.get("picture")),
        canvas_user_id=_custom(custom, "canvas_user_id"),
        canvas_course_id=_custom(custom, "canvas_course_id"),
        course_title=clean_line(context.get("title"), MAX_NAME),
        course_label=clean_line(context.get("label"), MAX_NAME),
    )


def _sub(body: Mapping[str, Any]) -> str:
    sub = body.get("sub")
    if not isinstance(sub, str) or not sub.strip():
        raise NoPersonError(log="sub missing")
    if len(sub) > MAX_ID or not sub.isascii() or not sub.isprintable():
        raise NoPersonError(log="sub longer than 255 characters or not printable ASCII")
    return sub


def _identifier(claim: Mapping[str, Any], name: str) -> str:
    """Return the id of a resource link, which LTI requires, or a context, which this tool does (Core 1.3, 5.3-5.4)."""
    identifier = claim.get("id")
    if not isinstance(identifier, str) or not identifier.strip():
        raise NoContextError(log=f"{name} id missing")
    if len(identifier) > MAX_ID or not identifier.isprintable():
        raise TokenRefusedError(log=f"{name} id longer than 255 characters or not printable")
    return identifier


def _roles(body: Mapping[str, Any]) -> tuple[str, ...]:
    roles = body.get(CLAIM + "roles")
    if not isinstance(roles, list):
        raise TokenRefusedError(log="roles claim missing or not a list")
    return tuple(role for role in roles if isinstance(role, str))


def _person_name(body: Mapping[str, Any]) -> str | None:
    parts = (clean_line(body.get(part), MAX_NAME) for part in ("given_name", "family_name"))
    return clean_line(body.get("name"), MAX_NAME) or clean_line(" ".join(filter(None, parts)), MAX_NAME)


def _custom(custom: Mapping[str, Any], name: str) -> str | None:
    """Return a custom variable as text; one that Canvas did not resolve arrives literally as ``$…``."""
    value = custom.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = clean_line(str(value), 64)
    return None if text is None or text.startswith("$") else text


def _picture(value: object) -> str | None:
    if not isinstance(value, str) or len(value) > MAX_URL or not (value.isascii() and value.isprintable()):
        return None
    return value if value.startswith("https://") else None


def _object(claims: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = claims.get(name)
    return value if isinstance(value, Mapping) else {}
