"""The rules of an experience's fields, the one place for pages and API alike."""

from dataclasses import asdict, dataclass, field
from typing import Any

from app.errors import FieldError, InvalidInputError
from app.experiences.models import MAX_PERSONA_NAME, MAX_TITLE
from app.text import clean_text

MAX_TEXT = 10_000
MAX_OBJECTIVES = 10

_LIMITS = {
    "title": MAX_TITLE,
    "description": MAX_TEXT,
    "facts": MAX_TEXT,
    "pedagogical_guidance": MAX_TEXT,
    "persona_name": MAX_PERSONA_NAME,
    "opening_line": MAX_TEXT,
}
_REQUIRED = ("title", "pedagogical_guidance")
_ONE_LINE = ("title", "persona_name")


@dataclass(frozen=True, slots=True)
class ExperienceFields:
    """What a teacher writes, cleaned and checked. Lengths count characters."""

    title: str
    pedagogical_guidance: str
    learning_objectives: list[str] = field(default_factory=list)
    description: str = ""
    facts: str = ""
    persona_name: str = ""
    opening_line: str = ""

    def as_columns(self) -> dict[str, Any]:
        """Return the fields by their columns' names."""
        return asdict(self)


def check_fields(raw: dict[str, Any]) -> ExperienceFields:
    """Clean and check what came from outside; blank objectives are dropped, a newline in one becomes a space.

    Raises `InvalidInputError` naming every field that breaks a rule.
    """
    texts = {name: _clean(name, raw.get(name)) for name in _LIMITS}
    objectives = _clean_objectives(raw.get("learning_objectives"))
    errors = {name: found for name, text in texts.items() if (found := _text_errors(name, text))}
    if found := _objective_errors(objectives):
        errors["learning_objectives"] = found
    if errors:
        raise InvalidInputError(errors)
    return ExperienceFields(**texts, learning_objectives=objectives)


def _clean(name: str, value: object) -> str:
    text = clean_text(value) if isinstance(value, str) else ""
    return " ".join(text.split()) if name in _ONE_LINE else text


def _clean_objectives(value: object) -> list[str]:
    texts = value if isinstance(value, list) else []
    lines = (" ".join(clean_text(text).split()) for text in texts if isinstance(text, str))
    return [line for line in lines if line]


def _text_errors(name: str, text: str) -> list[FieldError]:
    if name in _REQUIRED and not text:
        return [FieldError("blank", "can't be blank")]
    if len(text) > _LIMITS[name]:
        return [_too_long(_LIMITS[name])]
    return []


def _objective_errors(objectives: list[str]) -> list[FieldError]:
    if not objectives:
        return [FieldError("blank", "can't be blank")]
    if len(objectives) > MAX_OBJECTIVES:
        return [FieldError("too_many", f"has too many entries (maximum is {MAX_OBJECTIVES})", MAX_OBJECTIVES)]
    if len("\n".join(objectives)) > MAX_TEXT:
        return [_too_long(MAX_TEXT)]
    return []


def _too_long(limit: int) -> FieldError:
    return FieldError("too_long", f"is too long (maximum is {limit} characters)", limit)
