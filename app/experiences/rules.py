"""The rules of an experience's fields, the one place for pages and API alike."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from typing import Any

from app.errors import FieldError, InvalidInputError
from app.experiences.models import MAX_PERSONA_NAME, MAX_TITLE, Experience, WorkflowState
from app.text import clean_text

MAX_TEXT = 10_000
MAX_OBJECTIVES = 10
MAX_METRICS = 5
MAX_METRIC_NAME = 255
MAX_TURNS = 200

_INTEGER = re.compile(r"[+-]?[0-9]{1,99}")
# What forms have in place of true and false.
_TICKS = dict.fromkeys(("true", "1", "on", "yes", "y"), True) | dict.fromkeys(
    ("false", "0", "off", "no", ""), False
)
_BLANK = FieldError("blank", "can't be blank")
NOT_INCLUDED = FieldError("inclusion", "is not included in the list")

Rule = Callable[[object], Any]
Errors = dict[str, list[FieldError]]


@dataclass(frozen=True, slots=True)
class ExperienceFields:
    """What a teacher writes, cleaned and checked. Lengths count characters."""

    title: str
    pedagogical_guidance: str
    learning_objectives: list[str]
    description: str = ""
    facts: str = ""
    persona_name: str = ""
    opening_line: str = ""
    evaluation_metrics: list[dict[str, Any]] = field(default_factory=list)
    max_turns: int | None = None
    workflow_state: WorkflowState = WorkflowState.UNPUBLISHED

    def as_columns(self) -> dict[str, Any]:
        """Return the fields by their columns' names."""
        return asdict(self)


class _BrokenRuleError(Exception):
    """A value that breaks a rule, and what is wrong with it."""

    def __init__(self, *problems: FieldError) -> None:
        self.problems = list(problems)


def check_fields(raw: Mapping[str, Any], experience: Experience | None = None) -> ExperienceFields:
    """Clean and check what came from outside; what it leaves out stays as it is in `experience`.

    None empties a field. Names that are no field of an experience are passed over, those of a metric too. Objectives
    may come as a list (``learning_objectives``; a newline in one becomes a space) or as a text with one in each line
    (``learning_objective``); blank ones are dropped. Where both come, the one that says something new counts.

    Raises `InvalidInputError` naming every field that breaks a rule.
    """
    kept = _fields_of(experience) if experience else {}
    rules = {name: rule for name, rule in _RULES.items() if name in raw or name in _REQUIRED - kept.keys()}
    if not kept and not _OBJECTIVES & raw.keys():
        rules["learning_objective"] = _RULES["learning_objective"]
    given, errors = _apply(rules, raw)
    _settle_objectives(given, errors, kept.get("learning_objectives"))
    if experience and experience.stays_published and given.get("workflow_state") is WorkflowState.UNPUBLISHED:
        errors["workflow_state"] = [FieldError("started", "can't be unpublished once a student has started")]
    if errors:
        raise InvalidInputError(errors)
    return ExperienceFields(**(kept | given))


def _fields_of(experience: Experience) -> dict[str, Any]:
    return {each.name: getattr(experience, each.name) for each in fields(ExperienceFields)}


def _apply(rules: Mapping[str, Rule], raw: Mapping[str, Any]) -> tuple[dict[str, Any], Errors]:
    """Return the cleaned values of those who keep their rule, and what is wrong with the others."""
    values: dict[str, Any] = {}
    errors: Errors = {}
    for name, rule in rules.items():
        try:
            values[name] = rule(raw.get(name))
        except _BrokenRuleError as broken:
            errors[name] = broken.problems
    return values, errors


def _settle_objectives(given: dict[str, Any], errors: Errors, before: list[str] | None) -> None:
    """Make one list of the objectives that came as text and as list; a script may send back what it has read."""
    came = [given.pop(name) for name in sorted(_OBJECTIVES) if name in given]
    new = [objectives for objectives in came if objectives != before] or came
    if any(objectives != new[0] for objectives in new):
        errors["learning_objective"] = [FieldError("invalid", "contradicts learning_objectives")]
    if new:
        given["learning_objectives"] = new[0]


def _text(value: object, limit: int = MAX_TEXT, *, required: bool = False, one_line: bool = False) -> str:
    text = _as_line(value) if one_line else _as_text(value)
    if required and not text:
        raise _BrokenRuleError(_BLANK)
    if len(text) > limit:
        raise _BrokenRuleError(_too_long(limit))
    return text


def _objectives(value: object) -> list[str]:
    objectives = [line for line in map(_as_line, _as_list(value)) if line]
    if not objectives:
        raise _BrokenRuleError(_BLANK)
    if len(objectives) > MAX_OBJECTIVES:
        raise _BrokenRuleError(_too_many(MAX_OBJECTIVES))
    if len("\n".join(objectives)) > MAX_TEXT:
        raise _BrokenRuleError(_too_long(MAX_TEXT))
    return objectives


def _objective_lines(value: object) -> list[str]:
    return _objectives(_as_text(value).split("\n"))


def _metrics(value: object) -> list[dict[str, Any]]:
    entries = _as_list(value)
    if len(entries) > MAX_METRICS:
        raise _BrokenRuleError(_too_many(MAX_METRICS))
    metrics: list[dict[str, Any]] = []
    problems: list[FieldError] = []
    for number, entry in enumerate(entries, 1):
        try:
            metrics.append(_metric(entry, {metric["name"].casefold() for metric in metrics}))
        except _BrokenRuleError as broken:
            problems += [_at_entry(number, problem) for problem in broken.problems]
    if problems:
        raise _BrokenRuleError(*problems)
    return metrics


def _metric(entry: object, taken: set[str]) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        raise _BrokenRuleError(FieldError("invalid", "must have a name"))
    metric, errors = _apply(_METRIC_RULES, entry)
    if "name" in metric and metric["name"].casefold() in taken:
        errors["name"] = [FieldError("taken", "has already been taken")]
    if errors:
        raise _BrokenRuleError(*(_of(name, each) for name, found in errors.items() for each in found))
    return metric


def _metric_name(value: object) -> str:
    if "\n" in _as_text(value):
        raise _BrokenRuleError(FieldError("invalid", "must be one line"))
    return _text(value, MAX_METRIC_NAME, required=True, one_line=True)


def _tick(value: object, *, default: bool) -> bool:
    if value is None:
        return default
    ticked = _TICKS.get(value.strip().lower()) if isinstance(value, str) else value
    if not isinstance(ticked, bool):
        raise _BrokenRuleError(FieldError("invalid", "must be true or false"))
    return ticked


def _max_turns(value: object) -> int | None:
    typed = value.strip() if isinstance(value, str) else value
    if typed in (None, ""):
        return None
    if isinstance(typed, str) and _INTEGER.fullmatch(typed):
        typed = int(typed)
    if not isinstance(typed, int) or isinstance(typed, bool):
        raise _BrokenRuleError(FieldError("not_an_integer", "must be an integer"))
    if typed < 1:
        raise _BrokenRuleError(
            FieldError("greater_than_or_equal_to", "must be greater than or equal to 1", 1)
        )
    if typed > MAX_TURNS:
        raise _BrokenRuleError(
            FieldError("less_than_or_equal_to", f"must be less than or equal to {MAX_TURNS}", MAX_TURNS)
        )
    return typed


def _workflow_state(value: object) -> WorkflowState:
    """Publish or unpublish; deleting is no edit."""
    for state in (WorkflowState.PUBLISHED, WorkflowState.UNPUBLISHED):
        if value == state:
            return state
    raise _BrokenRuleError(NOT_INCLUDED)


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _BrokenRuleError(FieldError("invalid", "must be text"))
    return clean_text(value)


def _as_line(value: object) -> str:
    return " ".join(_as_text(value).split())


def _as_list(value: object) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _BrokenRuleError(FieldError("invalid", "must be a list"))
    return value


def _of(name: str, problem: FieldError) -> FieldError:
    return replace(problem, message=f"{name} {problem.message}")


def _at_entry(number: int, problem: FieldError) -> FieldError:
    return replace(problem, message=f"entry {number}: {problem.message}", entry=number)


def _too_long(limit: int) -> FieldError:
    return FieldError("too_long", f"is too long (maximum is {limit} characters)", limit)


def _too_many(limit: int) -> FieldError:
    return FieldError("too_many", f"has too many entries (maximum is {limit})", limit)


_RULES: dict[str, Rule] = {
    "title": partial(_text, limit=MAX_TITLE, required=True, one_line=True),
    "description": _text,
    "facts": _text,
    "learning_objectives": _objectives,
    "learning_objective": _objective_lines,
    "pedagogical_guidance": partial(_text, required=True),
    "persona_name": partial(_text, limit=MAX_PERSONA_NAME, one_line=True),
    "opening_line": _text,
    "evaluation_metrics": _metrics,
    "max_turns": _max_turns,
    "workflow_state": _workflow_state,
}
_REQUIRED = {"title", "pedagogical_guidance"}
_OBJECTIVES = {"learning_objective", "learning_objectives"}
_METRIC_RULES: dict[str, Rule] = {
    "name": _metric_name,
    "description": _text,
    "enabled": partial(_tick, default=True),
    "visible_to_learners": partial(_tick, default=False),
}
