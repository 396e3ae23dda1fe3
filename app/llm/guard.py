"""Watching what a small model writes, and holding back enough to notice before anyone reads it."""

import re
from collections.abc import Iterable

WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
# A forbidden phrase that has begun shows itself within so many characters, or as one of these beginnings.
HELD_CHARACTERS = 16
BEGINNING = re.compile(r"\b(?:as an?|I(?:['\u2019]m| am))\b[^.!?,]{0,32}$", re.IGNORECASE)
# So many words in a row as in the brief are a recital of it; a persona may well tell a
# fact as it is written. Somewhat fewer may become one and are held back.
RECITAL_WORDS = 24
SUSPICIOUS_WORDS = 16
# Shorter lines may well be said twice.
PARROTED_WORDS = 3
SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
MARKUP = re.compile(r"```|<\||\|>")
OUT_OF_CHARACTER = re.compile(
    r"\bas an? (?:AI\b|artificial intelligence|(?:large )?language model)"
    r"|\bI(?:['\u2019]m| am) (?:only |just )?an? (?:AI\b|artificial intelligence|chatbot)"
    r"|\bI(?:['\u2019]m| am) (?:only |just )?a (?:large )?language model"
    r"|\bAI (?:language )?model\b|\bAlibaba Cloud\b|\bI(?:['\u2019]m| am) Qwen\b",
    re.IGNORECASE,
)
AI_PERSONA = re.compile(r"\b(?:AI|artificial intelligence|chatbot|language model)\b")


class OutOfCharacterError(Exception):
    """What the model writes is not what the persona would say."""


class Guard:
    """Takes a reply piece by piece and gives back what is safe to show.

    ``brief`` is what the model was told of the persona, ``lines`` what was said so far, ``names`` those that
    begin a line in the prompt. A persona that is an AI by its brief may say so.
    """

    def __init__(self, brief: str, lines: Iterable[str], names: Iterable[str]) -> None:
        self._brief = f" {_words_of(brief)} "
        self._lines = {_words_of(line) for line in lines if len(line.split()) >= PARROTED_WORDS}
        label = re.compile(rf"^\s*(?:{'|'.join(map(re.escape, names))})\s*:", re.IGNORECASE)
        self._forbidden = [MARKUP, label] if AI_PERSONA.search(brief) else [MARKUP, label, OUT_OF_CHARACTER]
        self._text = ""
        self._shown = 0
        self._words_seen = 0
        self._run = 0

    @property
    def shown(self) -> str:
        """What was given back so far."""
        return self._text[: self._shown]

    def take(self, piece: str) -> str:
        """Add a piece and return what may be shown now. Raises `OutOfCharacterError`."""
        self._text = (self._text + piece).lstrip()
        self._check()
        held = len(self._text) - HELD_CHARACTERS
        return self._show(min(held, self._start_of_phrase(), self._start_of_line(), self._start_of_run()))

    def end(self) -> str:
        """Return the rest. Raises `OutOfCharacterError`."""
        self._check()
        if _words_of(self._text) in self._lines:
            raise OutOfCharacterError
        return self._show(len(self._text.rstrip()))

    def end_at_sentence(self) -> str:
        """Return the rest of a reply that cannot go on: to its last whole sentence, or with an ellipsis."""
        whole = self._last_sentence_end()
        if whole and whole >= self._shown:
            return self._show(whole)
        return f"{self._show(len(self._text.rstrip()))}\u2026"

    def _last_sentence_end(self) -> int:
        return max((match.end() for match in SENTENCE_END.finditer(self._text)), default=0)

    def _show(self, end: int) -> str:
        start, self._shown = self._shown, max(self._shown, end)
        return self._text[start : self._shown]

    def _check(self) -> None:
        for pattern in self._forbidden:
            if match := pattern.search(self._text):
                self._text = self._text[: match.start()]
                raise OutOfCharacterError
        self._follow_runs()

    def _follow_runs(self) -> None:
        """Keep count of how many words at the end stand in the brief in the same order."""
        words = WORD.findall(self._text)
        # The last word may be unfinished.
        for end in range(self._words_seen + 1, len(words)):
            self._run += 1
            while self._run and f" {_joined(words[end - self._run : end])} " not in self._brief:
                self._run -= 1
            if self._run >= RECITAL_WORDS:
                self._text = self._text[: max(self._shown, self._last_sentence_end())]
                raise OutOfCharacterError
            self._words_seen = end

    def _start_of_phrase(self) -> int:
        """Return where a forbidden phrase may have begun."""
        begun = BEGINNING.search(self._text)
        return begun.start() if begun else len(self._text)

    def _start_of_line(self) -> int:
        """Return the start while the reply may turn out to be a line that was said already."""
        words = _words_of(self._text)
        return 0 if any(line.startswith(words) for line in self._lines) else len(self._text)

    def _start_of_run(self) -> int:
        """Return where the words begin that may turn out to be a recital."""
        if self._run < SUSPICIOUS_WORDS:
            return len(self._text)
        starts = [match.start() for match in WORD.finditer(self._text)]
        return starts[self._words_seen - self._run]


def _words_of(text: str) -> str:
    return _joined(WORD.findall(text))


def _joined(words: Iterable[str]) -> str:
    return " ".join(words).casefold().replace("\u2019", "'")
