"""The notation of the lists: phrases of words, alternatives, what may be left out, and gaps.

`i [really] (want|wish) to die` · `suicid*` begins a word · `{set}` stands for any phrase of a set · `...` for up to
three words · `^` for the beginning of a sentence.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.conversations.safety.words import plain

_PIECE = re.compile(r"\s*(\.\.\.|\{\w+\}|[()\[\]|^]|[^\s()\[\]{}|^]+)")
_CLOSING = {"(": ")", "[": "]"}


@dataclass(frozen=True, slots=True)
class Word:
    """A word; or with ``is_stem`` any that begins so."""

    text: str
    is_stem: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """Up to three words, whatever they are."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """The beginning of a sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One of several phrases, or with ``is_optional`` none. A set is the same choice wherever it stands."""

    phrases: tuple["Phrase", ...]
    is_optional: bool = False


Element = Word | Gap | Beginning | Choice
Phrase = tuple[Element, ...]
Sets = Mapping[str, Choice]


class NotationError(ValueError):
    """A phrase that cannot be read."""


def read_sets(written: Mapping[str, Sequence[str]]) -> Sets:
    """Read sets of phrases by their names; each may refer to those before it. Raises `NotationError`."""
    sets: dict[str, Choice] = {}
    for name, phrases in written.items():
        sets[name] = Choice(tuple(read_phrase(phrase, sets) for phrase in phrases))
    return sets


def read_phrase(text: str, sets: Sets) -> Phrase:
    """Read a phrase; ``sets`` are the phrases that `{name}` stands for. Raises `NotationError`."""
    pieces = _PIECE.findall(text)
    if not pieces or "".join(text.split()) != "".join(pieces):
        raise NotationError(f"cannot read: {text}")
    phrases, rest = _read_alternatives(pieces, sets)
    if rest or len(phrases) != 1:
        raise NotationError(f"a bracket or bar too many: {text}")
    return phrases[0]


def _read_alternatives(pieces: Sequence[str], sets: Sets) -> tuple[tuple[Phrase, ...], Sequence[str]]:
    """Read phrases between bars until a closing bracket; return them and what begins with it."""
    phrases: list[list[Element]] = [[]]
    while pieces and pieces[0] not in _CLOSING.values():
        piece, pieces = pieces[0], pieces[1:]
        if piece == "|":
            phrases.append([])
        elif piece in _CLOSING:
            inner, pieces = _read_alternatives(pieces, sets)
            if not pieces or pieces[0] != _CLOSING[piece]:
                raise NotationError(f"no {_CLOSING[piece]} for {piece}")
            pieces = pieces[1:]
            phrases[-1].append(Choice(inner, is_optional=piece == "["))
        else:
            phrases[-1].append(_read_element(piece, sets))
    if not all(phrases):
        raise NotationError("an empty alternative")
    return tuple(map(tuple, phrases)), pieces


def _read_element(piece: str, sets: Sets) -> Element:
    if piece == "...":
        return Gap()
    if piece == "^":
        return Beginning()
    if piece.startswith("{"):
        name = piece[1:-1]
        if name not in sets:
            raise NotationError(f"no set before it is called {name}")
        return sets[name]
    is_stem = piece.endswith("*")
    return Word(plain(piece.removesuffix("*")), is_stem)
