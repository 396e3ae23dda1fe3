"""Noticing that a model recites its instructions, before anybody reads them."""

from dataclasses import dataclass

from app.llm.guard import RECITAL_WORDS, Runs

# So many words in a row may become a recital: they are held back until they turn out to be one, or none.
SUSPICIOUS_WORDS = 8


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
        self._marker = secret.marker
        self._runs = Runs(secret.text)
        self.text = ""
        self._shown = 0

    def take(self, piece: str) -> str:
        """Add a piece and return what may be shown now. Raises `RecitedError`."""
        self.text += piece
        self._runs.follow(self.text)
        self._check()
        return self._show(min(self._start_of_marker(), self._start_of_run()))

    def end(self) -> str:
        """Return the rest. Raises `RecitedError`."""
        self._runs.follow(self.text, ended=True)
        self._check()
        return self._show(len(self.text))

    def _check(self) -> None:
        recited = self._runs.length >= RECITAL_WORDS
        if recited or (self._marker and self._marker in self.text[self._shown :]):
            raise RecitedError

    def _show(self, end: int) -> str:
        start, self._shown = self._shown, max(self._shown, end)
        return self.text[start : self._shown]

    def _start_of_marker(self) -> int:
        """Return where the marker may have begun."""
        begun = range(len(self._marker) - 1, 0, -1)
        length = next((each for each in begun if self.text.endswith(self._marker[:each])), 0)
        return len(self.text) - length

    def _start_of_run(self) -> int:
        return self._runs.start if self._runs.length >= SUSPICIOUS_WORDS else len(self.text)
