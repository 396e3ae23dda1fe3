"""What Canvas alone wants and says: the developer key's JSON, its custom variables, its extensions of the standard."""

import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from flask_babel import lazy_gettext as _l

from app.lti import tool
from app.text import clean_line

PRODUCT = "canvas"  # LTI's product_family_code
PRIVACY_LEVEL = "public"
CUSTOM_FIELDS = {
    **tool.CUSTOM_FIELDS,
    "canvas_course_id": "$Canvas.course.id",
    "canvas_user_id": "$Canvas.user.id",
}


def _custom_field(name: str) -> str:
    return f"{name}={CUSTOM_FIELDS[name]}"


DEEP_LINKING_PLACEMENTS = (
    "assignment_selection",
    "link_selection",
    "module_index_menu_modal",
    "editor_button",
)
# Where hosted Canvas serves what its issuers say of themselves, signs people in and gives out tokens and keys.
SSO_HOSTS = {
    "canvas.instructure.com": "sso.canvaslms.com",
    "canvas.beta.instructure.com": "sso.beta.canvaslms.com",
    "canvas.test.instructure.com": "sso.test.canvaslms.com",
}
PLACEMENT = "https://www.instructure.com/placement"  # the claim that says where somebody opened the tool
EXTENSION = "https://canvas.instructure.com/lti/"
MAX_CANVAS_ID = 64
_COURSE_SERVICE = re.compile(r"/api/lti/courses/([0-9]{1,64})/(?:names_and_roles|line_items)")
SUBMISSION = EXTENSION + "submission"
SUBMISSION_TYPE = EXTENSION + "submission_type"

# What a developer key calls the scopes.
SCOPE_LABELS = {
    tool.LINE_ITEM_SCOPE: _l(
        "Can create and view assignment data in the gradebook associated with the tool."
    ),
    tool.SCORE_SCOPE: _l(
        "Can create and update submission results for assignments associated with the tool."
    ),
    tool.RESULT_SCOPE: _l("Can view submission data for assignments associated with the tool."),
    tool.ROSTER_SCOPE: _l("Can retrieve user data associated with the context the tool is installed in."),
}
FEATURES = frozenset({"ids"})  # of `app.lti.setup.checklist` that only Canvas has
FEATURE_NAMES = {
    "review": _l("Transcripts in SpeedGrader"),
    "ids": _l("Links to Canvas (ids)"),
}
ID_FIELDS = ("canvas_course_id", "canvas_user_id")
# What its administrators change for each `app.lti.setup.checklist.Lack`, where Canvas has words of its own for it.
CHANGES = {
    "names": _l("In the developer key, under “Additional Settings”, set the privacy level to “Public”."),
    "roster": _l("In the developer key, turn on “%(scope)s”", scope=SCOPE_LABELS[tool.ROSTER_SCOPE]),
    "grades": _l(
        "In the developer key, turn on “%(line_items)s” and “%(scores)s”",
        line_items=SCOPE_LABELS[tool.LINE_ITEM_SCOPE],
        scores=SCOPE_LABELS[tool.SCORE_SCOPE],
    ),
    "scores": _l("In the developer key, turn on “%(scope)s”", scope=SCOPE_LABELS[tool.SCORE_SCOPE]),
    "columns": _l("In the developer key, turn on “%(scope)s”", scope=SCOPE_LABELS[tool.LINE_ITEM_SCOPE]),
    "embedding": _l(
        "Nobody has chosen an experience from within Canvas lately. If the tool is not offered there, turn on in "
        "the developer key the placements %(placements)s, each with the message type LtiDeepLinkingRequest.",
        placements=", ".join(DEEP_LINKING_PLACEMENTS),
    ),
    "history": _l(
        "In the developer key, add the custom field %(field)s",
        field=_custom_field("context_id_history"),
    ),
    "ids": _l(
        "In the developer key, add the custom fields %(course)s and %(user)s",
        course=_custom_field("canvas_course_id"),
        user=_custom_field("canvas_user_id"),
    ),
}


def developer_key(app_url: str) -> dict[str, Any]:
    """Return the LTI 1.3 configuration that Canvas's “Enter URL” method reads."""
    return {
        "title": tool.TITLE,
        "description": tool.DESCRIPTION,
        "oidc_initiation_url": app_url + tool.LOGIN_PATH,
        "target_link_uri": app_url + tool.LAUNCH_PATH,
        "public_jwk_url": app_url + tool.KEY_SET_PATH,
        "scopes": list(tool.SCOPES),
        "custom_fields": CUSTOM_FIELDS,
        "extensions": [
            {
                "platform": "canvas.instructure.com",
                "domain": urlsplit(app_url).netloc,
                "tool_id": tool.TOOL_ID,
                "privacy_level": PRIVACY_LEVEL,
                "settings": {
                    "text": tool.TITLE,
                    "icon_url": app_url + tool.ICON_PATH,
                    "placements": placements(app_url),
                },
            }
        ],
    }


def placements(app_url: str) -> list[dict[str, Any]]:
    """Return where the tool appears in Canvas: in the course navigation, and wherever a teacher picks a tool."""
    icon = app_url + tool.ICON_PATH
    return [
        {
            "placement": "course_navigation",
            "message_type": "LtiResourceLinkRequest",
            "text": tool.TITLE,
            "target_link_uri": app_url + tool.LAUNCH_PATH,
            "enabled": True,
            "default": "enabled",
            "visibility": "public",
        },
        *(
            {
                "placement": placement,
                "message_type": "LtiDeepLinkingRequest",
                "text": tool.TITLE,
                "target_link_uri": app_url + tool.DEEP_LINK_PATH,
                "icon_url": icon,
                "enabled": True,
                "selection_width": 800,
                "selection_height": 600,
            }
            for placement in DEEP_LINKING_PLACEMENTS
        ),
    ]


def tool_configuration(app_url: str) -> dict[str, Any]:
    """Return what Canvas reads of a registration's tool configuration in the standard's place or beside it."""
    return {
        "custom_parameters": CUSTOM_FIELDS,
        "messages": [_message(placement) for placement in placements(app_url)],
        f"{EXTENSION}tool_id": tool.TOOL_ID,
        f"{EXTENSION}privacy_level": PRIVACY_LEVEL,
    }


def _message(placement: Mapping[str, Any]) -> dict[str, Any]:
    """Say of a placement in a registration what `placements` says of it in a developer key."""
    message = {
        "type": placement["message_type"],
        "label": placement["text"],
        "target_link_uri": placement["target_link_uri"],
        "placements": [placement["placement"]],
    }
    more = {
        "icon_uri": placement.get("icon_url"),
        f"{EXTENSION}visibility": placement.get("visibility"),
        f"{EXTENSION}course_navigation/default_enabled": placement.get("default") == "enabled" or None,
        f"{EXTENSION}launch_width": placement.get("selection_width"),
        f"{EXTENSION}launch_height": placement.get("selection_height"),
    }
    return message | {name: value for name, value in more.items() if value is not None}


def canvas_id(custom: Mapping[str, Any], name: str) -> str | None:
    """Return a Canvas id among the custom variables as text; Canvas sends numbers as text or not."""
    value = custom.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = clean_line(str(value), MAX_CANVAS_ID)
    return None if text is None or text.startswith("$") else text


def canvas_course_id(product: str | None, service_address: str | None) -> str | None:
    """Return the course's id as Canvas writes it into the addresses of a course's services, which nobody can change."""
    found = _COURSE_SERVICE.fullmatch(urlsplit(service_address or "").path) if product == PRODUCT else None
    return found[1] if found else None


def vouches_for_custom(product: str | None, message_type: str, link_id: str | None, context_id: str) -> bool:
    """Tell whether a message's custom variables are the developer key's, which teachers cannot change.

    Those of a link override them, and teachers may set them by Canvas's API (of resource links, of assignments). A
    deep linking request has no link; nor has course navigation, where the context's id stands for the link's.
    """
    return product == PRODUCT and (message_type == "LtiDeepLinkingRequest" or link_id == context_id)


def assignment(link: str) -> dict[str, Any]:
    """Return what makes a new line item an assignment that opens `link`."""
    return {SUBMISSION_TYPE: {"type": "external_tool", "external_tool_url": link}}


def submission(link: str, submitted_at: datetime, *, new: bool) -> dict[str, Any]:
    """Return what makes a score's work open at `link` in SpeedGrader; ``new`` counts it as another attempt."""
    submitted = {"submission_type": "basic_lti_launch", "submission_data": link, "new_submission": new}
    if new:
        submitted["submitted_at"] = submitted_at.isoformat(timespec="milliseconds")
    return {SUBMISSION: submitted}


def is_older_timestamp(status: int | None, words: str) -> bool:
    """Tell Canvas's refusal of a score that is older than what it has; the standard's is a 409."""
    return status == HTTPStatus.BAD_REQUEST and "before last updated timestamp" in words
