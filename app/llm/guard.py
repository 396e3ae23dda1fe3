"""Watching what a small model writes, and holding back enough to notice before anyone reads it."""

import re
from collections import deque
from collections.abc import Iterable
from functools import lru_cache

from app.text import UNSEEN, folded

_LETTER = rf"[^\W_{UNSEEN}]"
WORD = re.compile(rf"{_LETTER}+(?:['\u2019{UNSEEN}]+{_LETTER}+)*")
# A forbidden phrase that has begun shows itself within so many characters, or as one of these beginnings.
HELD_CHARACTERS = 16
BEGINNING = re.compile(r"\b(?:as an?|I(?:['\u2019]m| am))\b[^.!?,]{0,32}$", re.IGNORECASE)
# So many words in a row as in the brief are a recital of it; a persona may well tell a
# fact as it is written. Somewhat fewer may become one and are held back.
RECITAL_WORDS = 24
SUSPICIOUS_WORDS = 16
# Instructions whose words are kept ready: those of one experience are asked for with every reply.
SOURCES = 64
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


class Runs:
    """Follows how many words at the end of a growing text stand in a source in the same order.

    What a list puts before its lines breaks no run: numbers are left out, and single letters where they do not fit.
    """

    def __init__(self, source: str) -> None:
        self._source = _source_of(source)
        self._read = 0
        self._run: deque[tuple[str, int]] = deque()

    @property
    def length(self) -> int:
        """How many words the run has."""
        return len(self._run)

    @property
    def start(self) -> int:
        """Where in the text the run begins; only where there is one."""
        return self._run[0][1]

    def follow(self, text: str, *, ended: bool = False) -> None:
        """Read on in the text. Its last word may be unfinished, unless it has ``ended``."""
        words = list(WORD.finditer(text, self._read))
        for word in words if ended else words[:-1]:
            self._read = word.end()
            if plain := _words_but_numbers(word.group()):
                self._run.append((plain, word.start()))
                if len(plain) == 1 and not self._stands_in_source():
                    self._run.pop()
                while self._run and not self._stands_in_source():
                    self._run.popleft()

    def _stands_in_source(self) -> bool:
        return f" {' '.join(word for word, _ in self._run)} " in self._source


class Guard:
    """Takes a reply piece by piece and gives back what is safe to show.

    ``brief`` is what the model was told of the persona, ``lines`` what was said so far, ``names`` those that
    begin a line in the prompt. A persona that is an AI by its brief may say so.
    """

    def __init__(self, brief: str, lines: Iterable[str], names: Iterable[str]) -> None:
        self._runs = Runs(brief)
        self._lines = {_words_of(line) for line in lines if len(line.split()) >= PARROTED_WORDS}
        label = re.compile(rf"^\s*(?:{'|'.join(map(re.escape, names))})\s*:", re.IGNORECASE)
        self._forbidden = [MARKUP, label] if AI_PERSONA.search(brief) else [MARKUP, label, OUT_OF_CHARACTER]
        self._text = ""
        self._shown = 0

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
        self._runs.follow(self._text)
        if self._runs.length >= RECITAL_WORDS:
            self._text = self._text[: max(self._shown, self._last_sentence_end())]
            raise OutOfCharacterError

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
        return self._runs.start if self._runs.length >= SUSPICIOUS_WORDS else len(self._text)


@lru_cache(SOURCES)
def _source_of(text: str) -> str:
    return f" {_words_but_numbers(text)} "


def _words_but_numbers(text: str) -> str:
    return " ".join(word for word in _words_of(text).split() if not word.isdecimal())


def _words_of(text: str) -> str:
    return " ".join(WORD.findall(folded(text))).replace("\u2019", "'")
