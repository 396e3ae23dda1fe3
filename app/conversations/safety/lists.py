"""The check that comes with the tool: lists of phrases, a file a language, all of them tried on every text.

Which language a text is in is not asked: people change it in mid-sentence, and a launch tells the page's alone.
"""

import tomllib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from app.conversations.safety.automaton import Automaton, Match
from app.conversations.safety.findings import Category, Finding, Severity, worst_by_category
from app.conversations.safety.notation import NotationError, Phrase, Sets, read_phrase, read_sets
from app.llm.interface import Speaker
from app.text import with_blanks_as_spaces

BUILT_IN = Path(__file__).parent / "phrases"


class ListError(Exception):
    """A list that cannot be read; the message names its file."""


class Rule(BaseModel):
    """Phrases that are a finding when one of the speakers of ``by`` writes them, unless others overlap them."""

    model_config = ConfigDict(extra="forbid")

    category: Category
    severity: Severity
    by: frozenset[Speaker]
    phrases: list[str]
    unless: list[str] = []


class PhraseList(BaseModel):
    """One file: rules, and sets of phrases that they share."""

    model_config = ConfigDict(extra="forbid")

    sets: dict[str, list[str]] = {}
    rules: list[Rule]


class ReadRule:
    """A rule whose phrases were read."""

    def __init__(self, rule: Rule, sets: Sets) -> None:
        self.category, self.severity, self.by = rule.category, rule.severity, rule.by
        self.phrases = [read_phrase(phrase, sets) for phrase in rule.phrases]
        self.unless = [read_phrase(phrase, sets) for phrase in rule.unless]


class SpeakersList:
    """The rules for what one speaker writes. Phrases are labelled by twice their rule's number, exceptions one more."""

    def __init__(self, rules: Iterable[ReadRule]) -> None:
        self._rules = list(rules)
        self.automaton = Automaton(self._labelled(), matters=lambda label: not label % 2)

    def look_at(self, text: str) -> list[Finding]:
        """Return what is found, at most one finding a category."""
        readings = dict.fromkeys((text, with_blanks_as_spaces(text)))
        matches = [match for reading in readings for match in self.automaton.find(reading)]
        exceptions = [match for match in matches if match.label % 2]
        return worst_by_category(
            self._finding(match)
            for match in matches
            if not match.label % 2 and not any(_excuses(exception, match) for exception in exceptions)
        )

    def _finding(self, match: Match) -> Finding:
        rule = self._rules[match.label // 2]
        return Finding(rule.category, rule.severity, match.start, match.end)

    def _labelled(self) -> Iterable[tuple[Phrase, int]]:
        for number, rule in enumerate(self._rules):
            yield from ((phrase, 2 * number) for phrase in rule.phrases)
            yield from ((phrase, 2 * number + 1) for phrase in rule.unless)


class ListCheck:
    """The lists of some folders, for every speaker. Raises `ListError` for one that cannot be read."""

    def __init__(self, folders: Iterable[Path]) -> None:
        rules = [rule for folder in folders for path in _lists_in(folder) for rule in _read(path)]
        self.by_speaker = {
            speaker: SpeakersList(rule for rule in rules if speaker in rule.by) for speaker in Speaker
        }

    def look_at(self, text: str, speaker: Speaker) -> list[Finding]:
        """See `Check.look_at`. Takes well under a millisecond for the longest message."""
        return self.by_speaker[speaker].look_at(text)


@lru_cache
def list_check(*more: Path) -> ListCheck:
    """Return the check by the lists that come with the tool and those in the folders `more`; read once a process."""
    return ListCheck((BUILT_IN, *more))


def _lists_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ListError(f"{folder} is no folder")
    return sorted(folder.glob("*.toml"))


def _read(path: Path) -> list[ReadRule]:
    try:
        listed = PhraseList.model_validate(tomllib.loads(path.read_text("utf-8")))
        sets = read_sets(listed.sets)
        return [ReadRule(rule, sets) for rule in listed.rules]
    except (OSError, ValidationError, NotationError, tomllib.TOMLDecodeError) as error:
        raise ListError(f"{path}: {error}") from error


def _excuses(exception: Match, match: Match) -> bool:
    same_rule = exception.label == match.label + 1
    return same_rule and exception.start < match.end and match.start < exception.end
