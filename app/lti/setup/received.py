"""What a launch carried, laid out for administrators to read. Its message came from outside: any claim may be missing
or of any shape.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from app.lti import canvas, tool
from app.lti.claims import CLAIM
from app.lti.roles import ExplainedRole, explain_roles, read_roles
from app.text import with_marks_shown

SHORT = 160
MAX_SHOWN = 100

# What came, by the path of its claim.
_FACTS: tuple[tuple[LazyString, tuple[str, ...]], ...] = (
    (_l("Message"), (CLAIM + "message_type",)),
    (_l("LTI version"), (CLAIM + "version",)),
    (_l("Placement"), (canvas.PLACEMENT,)),
    (_l("Link opened"), (CLAIM + "target_link_uri",)),
    (_l("Resource link"), (CLAIM + "resource_link", "id")),
    (_l("Course (context)"), (CLAIM + "context", "id")),
    (_l("Platform's name"), (CLAIM + "tool_platform", "name")),
    (_l("Product"), (CLAIM + "tool_platform", "product_family_code")),
    (_l("Product version"), (CLAIM + "tool_platform", "version")),
    (_l("Language"), (CLAIM + "launch_presentation", "locale")),
)


class FieldState(StrEnum):
    """What became of a custom variable: a platform that cannot fill one in sends it as it is written."""

    RESOLVED = "resolved"
    UNRESOLVED = "unresolved"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Text:
    """A value as text. Where ``is_long``, ``beginning`` stands for it until somebody wants the ``whole``."""

    whole: str

    @property
    def is_long(self) -> bool:
        """True for more than a page has room for."""
        return len(self.whole) > SHORT

    @property
    def beginning(self) -> str:
        """Its beginning, on one line."""
        return " ".join(self.whole[: 4 * SHORT].split())[:SHORT] + "…"


@dataclass(frozen=True, slots=True)
class CustomField:
    """A custom variable (Core 1.3, 5.4.6). ``wanted`` marks those that the tool uses."""

    name: str
    value: Text
    state: FieldState
    wanted: bool


@dataclass(frozen=True, slots=True)
class Received:
    """The message of a launch. ``omitted`` counts the claims beyond the hundred that are shown."""

    facts: list[tuple[LazyString, Text]]
    roles: list[tuple[Text, ExplainedRole]]
    custom: list[CustomField]
    claims: list[tuple[str, Text]]
    omitted: int


def lay_out(claims: Mapping[str, Any], *, on_canvas: bool) -> Received:
    """Lay out the (masked) claims of a launch."""
    facts = ((label, _at(claims, path)) for label, path in _FACTS)
    named = sorted(claims.items())
    return Received(
        facts=[(label, as_text(value)) for label, value in facts if value not in (None, "")],
        roles=[(as_text(role.received), role) for role in explained_roles(claims)[:MAX_SHOWN]],
        custom=custom_fields(claims, on_canvas=on_canvas)[:MAX_SHOWN],
        claims=[(with_marks_shown(name), as_text(value)) for name, value in named[:MAX_SHOWN]],
        omitted=max(0, len(named) - MAX_SHOWN),
    )


def explained_roles(claims: Mapping[str, Any]) -> list[ExplainedRole]:
    """Return the roles that came, each with what it comes to."""
    return explain_roles(read_roles(claims.get(CLAIM + "roles")))


def custom_fields(claims: Mapping[str, Any], *, on_canvas: bool) -> list[CustomField]:
    """Return the custom variables: those that the tool wants first, sent or not."""
    sent = claims.get(CLAIM + "custom")
    sent = sent if isinstance(sent, Mapping) else {}
    wanted = canvas.CUSTOM_FIELDS if on_canvas else tool.CUSTOM_FIELDS
    names = [*wanted, *sorted(sent.keys() - wanted.keys())]
    return [
        CustomField(with_marks_shown(name), as_text(sent.get(name, "")), _state(sent, name), name in wanted)
        for name in names
    ]


def as_text(value: object) -> Text:
    """Return a value as it is read: text itself, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return Text(with_marks_shown(text))


def _state(sent: Mapping[str, Any], name: str) -> FieldState:
    value = sent.get(name)
    if value is None:
        return FieldState.ABSENT
    unresolved = isinstance(value, str) and value.startswith("$")
    return FieldState.UNRESOLVED if unresolved else FieldState.RESOLVED


def _at(claims: Mapping[str, Any], path: tuple[str, ...]) -> object:
    found: object = claims
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
