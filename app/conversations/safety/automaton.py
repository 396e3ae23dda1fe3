"""Finding many phrases in a text at once, in a time that grows with the text alone, whatever stands in it.

The phrases make one non-deterministic automaton over words. Texts are read by its deterministic form, which is worked
out state by state as texts need it and kept. Only a sentence with a hit is read again, to find where the hit begins.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from app.conversations.safety.notation import Beginning, Choice, Element, Gap, Phrase, Word
from app.conversations.safety.words import TOKEN, is_break, is_end, plain, readings

# Which of the phrases' words a token may be; tokens of one kind are alike to every phrase.
Kind = frozenset[str]
END: Final[Kind] = frozenset({"the end of a sentence"})
BREAK: Final[Kind] = frozenset({"an empty line"})
_OTHER: Final[Kind] = frozenset()
_ANY = "any word"
_STEM = "*"
_GAP_WORDS = 3
# Positions in which every phrase begins: anywhere, and where a sentence does.
_ANYWHERE, _BEGINNING = 0, 1
_NOT_BEGUN = -1
# Fewer letters do not tell what word they may become.
_TELLING_LETTERS = 4
_KNOWN_WORDS = 1 << 15
_KNOWN_MOVES = 1 << 16
_MOST_STEPS = 1 << 16


@dataclass(frozen=True, slots=True)
class Match:
    """A phrase in a text, from the character ``start`` to before ``end``. ``label`` is what it was added with."""

    label: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a text, an empty line, or the end of a sentence, from the character ``start`` to before ``end``."""

    kind: Kind
    start: int
    end: int


@dataclass(slots=True, eq=False)
class State:
    """How far which phrases have come; ``next`` by a token's kind.

    ``is_hit``: one of them that matters ends here. ``is_deep``: one has come further than its first word.
    """

    positions: frozenset[int]
    is_hit: bool
    is_deep: bool
    next: dict[Kind, "State"] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether some phrase has begun and may go on."""
        return not self.positions <= {_BEGINNING}


class Automaton:
    """Phrases, each with a label. Many threads may use it.

    ``matters`` tells of a label whether a text with its phrases alone is worth a second look.
    """

    def __init__(self, phrases: Iterable[tuple[Phrase, int]], matters: Callable[[int], bool]) -> None:
        self._moves: list[dict[str, set[int]]] = [{}, {}]
        self._labels: dict[int, set[int]] = defaultdict(set)
        self._matters = matters
        self._led: dict[tuple[frozenset[int], Element], frozenset[int]] = {}
        for phrase, label in phrases:
            for position in self._extend(frozenset({_ANYWHERE}), phrase):
                self._labels[position].add(label)
        self._led.clear()
        self._vocabulary = {symbol for moves in self._moves for symbol in moves}
        self._stem_lengths = {len(word) - 1 for word in self._vocabulary if word.endswith(_STEM)}
        firsts = (self._moves[position].values() for position in (_ANYWHERE, _BEGINNING))
        self._first = _union(targets for moves in firsts for targets in moves) | {_BEGINNING}
        self._single_words = frozenset(self._beginnings_of_single_words())
        self.kind_of = lru_cache(_KNOWN_WORDS)(self._kind_of)
        self._moved = lru_cache(_KNOWN_MOVES)(self._targets)
        self._steps, self._states = 0, dict[frozenset[int], State]()
        self._nothing, self.beginning = self._state(frozenset()), self._state(frozenset({_BEGINNING}))

    def step(self, state: State, kind: Kind) -> State:
        """Return the state after a further token, of that kind (`kind_of`)."""
        following = state.next.get(kind)
        if following is None:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                self._forget_states()
            following = state.next[kind] = self._state(self._after(state.positions, kind))
        return following

    def may_be_phrase(self, unfinished: str) -> bool:
        """Tell whether a word that is not whole yet may become a phrase by itself."""
        return plain(unfinished) in self._single_words

    def find(self, text: str) -> list[Match]:
        """Return the phrases of the sentences in which one matters, each from where it may first have begun."""
        if not self._has_hit(text):
            return []
        return [match for sentence in self._sentences_with_hits(text) for match in self._locate(sentence)]

    def _has_hit(self, text: str) -> bool:
        state, kind_of, step = self.beginning, self.kind_of, self.step
        for token in TOKEN.finditer(text):
            kind = kind_of(token[0])
            state = state.next.get(kind) or step(state, kind)
            if state.is_hit:
                return True
        return False

    def _sentences_with_hits(self, text: str) -> Iterator[list[Token]]:
        sentence: list[Token] = []
        state, has_hit = self.beginning, False
        for found in TOKEN.finditer(text):
            token = Token(self.kind_of(found[0]), found.start(), found.end())
            if token.kind is END:
                if has_hit:
                    yield sentence
                sentence, has_hit = [], False
            else:
                sentence.append(token)
            state = self.step(state, token.kind)
            has_hit = has_hit or state.is_hit
        if has_hit:
            yield sentence

    def _locate(self, sentence: Iterable[Token]) -> Iterable[Match]:
        """Find matches and where they begin: with each position goes the earliest start that leads to it."""
        longest: dict[tuple[int, int], Match] = {}
        starts = {_BEGINNING: _NOT_BEGUN}
        for token in sentence:
            starts = self._starts_after(starts, token)
            if token.kind is BREAK:
                continue
            for position in starts.keys() & self._labels.keys():
                for label in self._labels[position]:
                    longest[label, starts[position]] = Match(label, starts[position], token.end)
        return longest.values()

    def _starts_after(self, starts: Mapping[int, int], token: Token) -> dict[int, int]:
        if token.kind is BREAK:
            return {_BEGINNING: _NOT_BEGUN, **starts}
        after: dict[int, int] = {}
        for position, start in [*starts.items(), (_ANYWHERE, _NOT_BEGUN)]:
            begun = token.start if start == _NOT_BEGUN else start
            for following in self._moved(position, token.kind):
                after[following] = min(begun, after.get(following, begun))
        return after

    def _after(self, positions: frozenset[int], kind: Kind) -> frozenset[int]:
        if kind is END:
            return frozenset({_BEGINNING})
        if kind is BREAK:
            return positions | {_BEGINNING}
        return _union(self._moved(position, kind) for position in (_ANYWHERE, *positions))

    def _targets(self, position: int, kind: Kind) -> frozenset[int]:
        moves = self._moves[position]
        return _union(moves.get(symbol, ()) for symbol in (_ANY, *kind))

    def _state(self, positions: frozenset[int]) -> State:
        state = self._states.get(positions)
        if state is None:
            state = self._states[positions] = State(
                positions, is_hit=any(self._matter(positions)), is_deep=not positions <= self._first
            )
        return state

    def _matter(self, positions: Iterable[int]) -> Iterator[bool]:
        return (self._matters(label) for position in positions for label in self._labels.get(position, ()))

    def _forget_states(self) -> None:
        """Begin anew, so that no texts fill the memory; a state that somebody has in hand goes on working."""
        self._steps, self._states = 0, {state.positions: state for state in (self._nothing, self.beginning)}
        for state in self._states.values():
            state.next.clear()

    def _kind_of(self, token: str) -> Kind:
        if is_end(token):
            return END
        if is_break(token):
            return BREAK
        return next(filter(None, map(self._symbols_of, readings(token))), _OTHER)

    def _symbols_of(self, word: str) -> Kind:
        stems = (word[:length] + _STEM for length in self._stem_lengths if length <= len(word))
        return frozenset(symbol for symbol in (word, *stems) if symbol in self._vocabulary)

    def _extend(self, positions: frozenset[int], phrase: Phrase, target: int | None = None) -> frozenset[int]:
        """Lead on from `positions` by a phrase; return where it ends: at `target`, if that is given and can be."""
        for element in phrase[:-1]:
            positions = self._extend_by(positions, element)
        return self._extend_by(positions, phrase[-1], target)

    def _extend_by(
        self, positions: frozenset[int], element: Element, target: int | None = None
    ) -> frozenset[int]:
        """Lead on by one element; phrases that begin alike share the way as far as they do."""
        if target is not None:
            return self._new_way(positions, element, target)
        ends = self._led.get((positions, element))
        if ends is None:
            ends = self._led[positions, element] = self._new_way(positions, element, self._new_position())
        return ends

    def _new_way(self, positions: frozenset[int], element: Element, target: int) -> frozenset[int]:
        match element:
            case Word(text, is_stem):
                return self._lead(positions, text + _STEM * is_stem, target)
            case Choice(phrases, is_optional):
                # All alternatives end in one place where they can, or every further word would lead on from each.
                ends = _union(self._extend(positions, phrase, target) for phrase in phrases)
                return ends | positions if is_optional else ends
            case Gap():
                ends = positions
                for _ in range(_GAP_WORDS):
                    positions = self._lead(positions, _ANY, self._new_position())
                    ends |= positions
                return ends
            case Beginning():
                return frozenset({_BEGINNING})

    def _beginnings_of_single_words(self) -> Iterator[str]:
        for symbol, targets in self._moves[_ANYWHERE].items():
            if any(self._matter(targets)):
                word = symbol.removesuffix(_STEM)
                yield from (
                    word[:length] for length in range(min(_TELLING_LETTERS, len(word)), len(word) + 1)
                )

    def _lead(self, positions: Iterable[int], symbol: str, target: int) -> frozenset[int]:
        for position in positions:
            self._moves[position].setdefault(symbol, set()).add(target)
        return frozenset({target})

    def _new_position(self) -> int:
        self._moves.append({})
        return len(self._moves) - 1


def _union(sets: Iterable[Iterable[int]]) -> frozenset[int]:
    return frozenset[int]().union(*sets)
