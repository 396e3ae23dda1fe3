"""What a check of a text finds. Every check takes a text and who wrote it, and returns these."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from app.llm.interface import Speaker


class Category(StrEnum):
    """What a text is about. ``recital``: the model recited its instructions, which their own guard finds."""

    SELF_HARM = "self_harm"
    VIOLENCE = "violence"
    ABUSE = "abuse"
    RECITAL = "recital"


class Severity(StrEnum):
    """``high``: intent or attack in plain words; ``low``: worth a look."""

    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found, and where it stands: from the character ``start`` to before ``end``."""

    category: Category
    severity: Severity
    start: int = 0
    end: int = 0

    @property
    def is_high(self) -> bool:
        """Whether it is of high severity."""
        return self.severity is Severity.HIGH


class Check(Protocol):
    """Something that looks at texts. It never logs them."""

    def look_at(self, text: str, speaker: Speaker) -> list[Finding]:
        """Return what is found in what `speaker` wrote, at most one finding a category."""


def self_harm_in(findings: Iterable[Finding]) -> Finding | None:
    """Return what a student has written of harming themselves, plainly or not."""
    return next((finding for finding in findings if finding.category is Category.SELF_HARM), None)


def is_in_danger(findings: Iterable[Finding]) -> bool:
    """Tell whether a student has written plainly of harming themselves."""
    found = self_harm_in(findings)
    return found is not None and found.is_high


def fit_around(
    found: Finding, text: str, findings: Sequence[Finding], limit: int
) -> tuple[str, Sequence[Finding]]:
    """Return as much of a text as fits around what was found, and those findings that stand in it, as they do then."""
    if len(text) <= limit:
        return text, findings
    start = max(0, found.start - limit // 2)
    end = start + limit - 2
    before, after = "…" * (start > 0), "…" * (end < len(text))
    shift = len(before) - start
    moved = [
        replace(each, start=each.start + shift, end=min(each.end, end) + shift)
        for each in findings
        if start <= each.start < end
    ]
    return f"{before}{text[start:end]}{after}", moved


def worst_by_category(findings: Iterable[Finding]) -> list[Finding]:
    """Return one finding a category: of those with the highest severity, the one that stands first."""
    worst: dict[Category, Finding] = {}
    for finding in sorted(findings, key=lambda found: (not found.is_high, found.start, -found.end)):
        worst.setdefault(finding.category, finding)
    return list(worst.values())
