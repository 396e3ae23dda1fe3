"""Deep linking: what the platform asks a tool for, and what the tool answers (LTI Deep Linking 2.0)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.sandbox.claims import LTI
from app.sandbox.errors import ServiceError
from app.sandbox.messages import read_new_line_item
from app.sandbox.placements import Placement
from app.sandbox.tools import Tool, origin_of

DEEP_LINKING = "https://purl.imsglobal.org/spec/lti-dl/claim"
SETTINGS = f"{DEEP_LINKING}/deep_linking_settings"
RESPONSE = "LtiDeepLinkingResponse"
RESPONSE_CLAIMS = ("exp", "iat", "iss", "aud", "nonce")
RESOURCE_LINK = "ltiResourceLink"


class DeepLinkingError(Exception):
    """A response that is refused; the message says why."""


@dataclass(frozen=True, slots=True)
class ContentItem:
    """One thing that the teacher has chosen. ``line_item`` holds the fields of the column to make."""

    type: str
    url: str
    title: str
    text: str = ""
    custom: Mapping[str, str] = field(default_factory=dict)
    line_item: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What came back: the items, and words for the person where the tool has some."""

    items: tuple[ContentItem, ...]
    message: str | None = None
    error: str | None = None


def deep_linking_settings(placement: Placement, *, return_url: str, data: str) -> dict[str, Any]:
    """The claim that says what may come back, and where."""
    return {
        "deep_link_return_url": return_url,
        "accept_types": list(placement.accept_types),
        "accept_presentation_document_targets": list(placement.document_targets),
        "accept_media_types": placement.media_types,
        "accept_multiple": placement.accept_multiple,
        "accept_lineitem": placement.accept_lineitem,
        "auto_create": placement.auto_create,
        "title": "",
        "text": "",
        "data": data,
    }


def check_message(claims: Mapping[str, Any], *, deployment_id: str) -> None:
    """Raise `DeepLinkingError` for another message than the answer to a request of this deployment."""
    wanted = {"message_type": RESPONSE, "version": "1.3.0", "deployment_id": deployment_id}
    for name, value in wanted.items():
        if claims.get(f"{LTI}/{name}") != value:
            raise DeepLinkingError(f"{name} must be {value}")


def read_selection(claims: Mapping[str, Any], *, placement: Placement, tool: Tool) -> Selection:
    """The items of a response. Raises `DeepLinkingError` for what the placement does not take."""
    content = claims.get(f"{DEEP_LINKING}/content_items", [])
    if not isinstance(content, list):
        raise DeepLinkingError("content_items must be a list")
    if len(content) > 1 and not placement.accept_multiple:
        raise DeepLinkingError("this placement takes one item, and several came")
    return Selection(
        items=tuple(_read_item(item, placement, tool) for item in content),
        message=_words(claims, "msg"),
        error=_words(claims, "errormsg"),
    )


def _read_item(item: object, placement: Placement, tool: Tool) -> ContentItem:
    if not isinstance(item, dict):
        raise DeepLinkingError("a content item must be an object")
    kind = item.get("type")
    if kind not in placement.accept_types:
        raise DeepLinkingError(f"an item is of the type {kind}, which this placement does not take")
    url = item.get("url") or (tool.target_link_uri if kind == RESOURCE_LINK else "")
    if not isinstance(url, str) or origin_of(url) != tool.origin:
        raise DeepLinkingError(f"an item's url is not on the tool's host: {url}")
    title = str(item.get("title") or tool.title)
    return ContentItem(
        type=kind,
        url=url,
        title=title,
        text=str(item.get("text") or ""),
        custom=_custom(item.get("custom", {})),
        line_item=_line_item(item.get("lineItem"), title, placement),
    )


def _custom(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise DeepLinkingError("custom must be an object")
    return {str(name): str(content) for name, content in value.items()}


def _line_item(value: object, title: str, placement: Placement) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not placement.accept_lineitem:
        raise DeepLinkingError("this placement takes no line item")
    if not isinstance(value, dict):
        raise DeepLinkingError("lineItem must be an object")
    try:
        return read_new_line_item({"label": title, **value})
    except ServiceError as error:
        raise DeepLinkingError(f"lineItem: {error.message}") from error


def _words(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(f"{DEEP_LINKING}/{name}")
    return str(value) if value else None
