"""What the tool asks of a platform, whichever it is, and the addresses by which a platform opens it."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

TITLE = "AI Experiences"
DESCRIPTION = "Chat simulations that teachers write and students hold, with learning objectives."
TOOL_ID = "ai-experiences"

LOGIN_PATH = "/lti/login"
LAUNCH_PATH = "/lti/launch"
DEEP_LINK_PATH = "/lti/deep-link"
KEY_SET_PATH = "/lti/jwks.json"
ICON_PATH = "/static/images/icon.svg"

_AGS = "https://purl.imsglobal.org/spec/lti-ags/scope/"
LINE_ITEM_SCOPE = _AGS + "lineitem"
SCORE_SCOPE = _AGS + "score"
RESULT_SCOPE = _AGS + "result.readonly"
ROSTER_SCOPE = "https://purl.imsglobal.org/spec/lti-nrps/scope/contextmembership.readonly"
SCOPES = (LINE_ITEM_SCOPE, SCORE_SCOPE, RESULT_SCOPE, ROSTER_SCOPE)

_ID = re.compile(r"[1-9][0-9]{0,8}")

CLAIMS = ("iss", "sub", "name", "given_name", "family_name", "picture", "locale")
# The platform puts the values in at launch; one that it cannot resolve arrives as it stands here.
CUSTOM_FIELDS = {"context_id_history": "$Context.id.history"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a link opens: an experience, somebody's conversation, or (both None) the tool itself."""

    experience_id: int | None = None
    conversation_id: int | None = None


def experience_link(app_url: str, experience_id: int) -> str:
    """Return the target link URI of an experience, to be embedded in a course."""
    return f"{app_url}{LAUNCH_PATH}?experience={experience_id}"


def conversation_link(app_url: str, conversation_id: int) -> str:
    """Return the target link URI of a conversation, to be opened from the gradebook."""
    return f"{app_url}{LAUNCH_PATH}?conversation={conversation_id}"


def parse_target(target_link_uri: str) -> Target:
    """Read a target link URI of ours. What names nothing opens the tool itself."""
    query = parse_qs(urlsplit(target_link_uri).query)
    return Target(_number(query.get("experience")), _number(query.get("conversation")))


def _number(values: list[str] | None) -> int | None:
    text = values[0] if values else ""
    return int(text) if _ID.fullmatch(text) else None
