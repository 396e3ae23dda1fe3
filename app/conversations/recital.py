"""Noticing that a model recites its instructions, before anybody reads them."""

import re
from dataclasses import dataclass
from functools import lru_cache

from app.llm.guard import RECITAL_WORDS, SOURCES, Runs
from app.text import UNSEEN, folded, with_blanks_as_spaces

# So many words in a row may become a recital: they are held back until they turn out to be one, or none.
SUSPICIOUS_WORDS = 8
# What may stand between the signs of a marker.
_BETWEEN = rf"[\W_{UNSEEN}]*+"


@dataclass(frozen=True, slots=True)
class Secret:
    """What a persona must not say: the ``marker`` that stands all over its instructions, and their ``text``."""

    marker: str
    text: str


class RecitedError(Exception):
    """The model writes what stands in its instructions."""


class RecitalGuard:
    """Takes a reply piece by piece and gives back what is safe to show, a word or two behind at most."""

    def __init__(self, secret: Secret) -> None:
        self._whole_marker, self._begun_marker = _patterns_of(secret.marker)
        self._runs, self._spaced_runs = Runs(secret.text), Runs(secret.text)
        self.text = self._spaced = ""
        self._shown = 0

    def take(self, piece: str) -> str:
        """Add a piece and return what may be shown now. Raises `RecitedError`."""
        self.text += piece
        self._spaced += with_blanks_as_spaces(piece)
        self._follow()
        held = self._check()
        begun = self._begun_marker.search(held)
        start_of_marker = self._shown + begun.start() if begun else len(self.text)
        return self._show(min(start_of_marker, self._start_of_run()))

    def end(self) -> str:
        """Return the rest. Raises `RecitedError`."""
        self._follow(ended=True)
        self._check()
        return self._show(len(self.text))

    def _follow(self, *, ended: bool = False) -> None:
        """Read on. What is blank may stand for a space or hide a word: where there is such, the text is read twice."""
        self._runs.follow(self.text, ended=ended)
        if self._spaced != self.text:
            self._spaced_runs.follow(self._spaced, ended=ended)

    def _check(self) -> str:
        """Return what is not shown yet, in plain characters."""
        held = _plain(self.text[self._shown :])
        if self._longest_run().length >= RECITAL_WORDS or self._whole_marker.search(held):
            raise RecitedError
        return held

    def _show(self, end: int) -> str:
        start, self._shown = self._shown, max(self._shown, end)
        return self.text[start : self._shown]

    def _start_of_run(self) -> int:
        run = self._longest_run()
        return run.start if run.length >= SUSPICIOUS_WORDS else len(self.text)

    def _longest_run(self) -> Runs:
        return max(self._runs, self._spaced_runs, key=lambda runs: runs.length)


@lru_cache(SOURCES)
def _patterns_of(marker: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what finds a marker, whatever stands between its signs, and what finds its beginning at the end."""
    begun = ""
    for sign in reversed(marker):
        begun = f"{re.escape(sign)}(?:{_BETWEEN}{begun})?"
    return re.compile(_BETWEEN.join(map(re.escape, marker)) or "(?!)"), re.compile(rf"{begun}{_BETWEEN}\Z")


def _plain(text: str) -> str:
    """Return text of the same length, without case and width."""
    if text.isascii():
        return text.lower()
    return "".join(plain if len(plain := folded(char)) == 1 else char for char in text)
