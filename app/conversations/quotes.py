"""Whether a quote proves anything: it stands in the student's message, and the words are the student's own."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from app.conversations.models import Message
from app.llm.interface import Speaker
from app.text import folded

# Letters and digits. A quote with less proves nothing ("yes", "a virus"), unless it is the whole message.
LEAST_QUOTE = 10
# A run of words this heavy that somebody else said first is theirs; shorter ones meet by chance.
ECHO = 20
# What is the student's own in a quote must weigh at least one part in so many of what is others'.
OWN_SHARE = 2
# A character that is a syllable or a word weighs as much as the letters that it stands for.
WIDE_WEIGHT = 3
WIDE = frozenset("WF")
QUOTATION_MARKS = frozenset("'\"`\u00b4\u201a\u201e\u2032\u2033")
# Scripts that put no spaces between words: there each character is taken as one.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"(?=[^\W_])[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")


@dataclass(frozen=True, slots=True)
class Proof:
    """A student's message, and the stretch of it that proves something."""

    message: Message
    quote: str


def prove(quote: str, number: int, said: Mapping[int, Message], objectives: Sequence[str]) -> Proof | None:
    """Return what a quote from the message with this number proves with; None where it proves nothing.

    ``said`` is the conversation by the messages' numbers, oldest first.
    """
    message = said.get(number)
    if message is None or message.speaker is not Speaker.STUDENT:
        return None
    found = find_quote(quote, message.text)
    before = [earlier for place, earlier in said.items() if place < number]
    return Proof(message, found) if found and is_own(found, message, before, objectives) else None


def find_quote(quote: str, text: str) -> str | None:
    """Return the stretch of `text` (in NFC) that `quote` copies; None for less, or for other words.

    Case, white space, the kind of quotation marks and dashes, characters that nobody sees, and punctuation around the
    quote make no difference. Nothing else is forgiven: words left out, changed or cut in two are not a quote.
    """
    wanted = _trimmed(_fold(quote))
    folded, places = _with_places(text)
    if not wanted or (_weight(wanted) < LEAST_QUOTE and wanted != _trimmed(folded)):
        return None
    for match in re.finditer(re.escape(wanted), folded):
        if not (_cuts_a_word(folded, match.start()) or _cuts_a_word(folded, match.end())):
            return unicodedata.normalize("NFC", text)[places[match.start()] : places[match.end() - 1] + 1]
    return None


def is_own(quote: str, message: Message, before: Sequence[Message], objectives: Sequence[str]) -> bool:
    """Tell whether a student's `quote` says something of its own beside what somebody else said first.

    Others are the persona in what was said `before`, and the teacher in an objective that the message copies whole.
    """
    copied = [objective for objective in objectives if _spaced(objective) in _spaced(message.text)]
    heard = [(Speaker.PERSONA, _spaced(objective)) for objective in copied]
    heard += [(said.speaker, _spaced(said.text)) for said in before]
    words = _words(quote)
    echoed = _echoed(words, heard)
    others = sum(_weight(words[place]) for place in echoed)
    own = sum(map(_weight, words)) - others
    return not echoed or (own >= LEAST_QUOTE and own * OWN_SHARE >= others)


def _echoed(words: Sequence[str], heard: Sequence[tuple[Speaker, str]]) -> set[int]:
    """Return the places of the words that stand in a run which somebody other than the student said first."""

    def is_echo(start: int, end: int) -> bool:
        run = f" {' '.join(words[start:end])} "
        return next((speaker for speaker, text in heard if run in text), None) is Speaker.PERSONA

    echoed: set[int] = set()
    known = 0
    for start, shortest in _runs([_weight(word) for word in words]):
        if shortest > known and is_echo(start, shortest):
            known = shortest
            while known < len(words) and is_echo(start, known + 1):
                known += 1
            echoed.update(range(start, known))
    return echoed


def _runs(weights: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield for each word the shortest run from it on that is no chance: where it begins and ends."""
    end = weight = 0
    for start in range(len(weights)):
        while weight < ECHO and end < len(weights):
            weight += weights[end]
            end += 1
        if weight < ECHO:
            return
        yield start, end
        weight -= weights[start]


@lru_cache(maxsize=256)
def _spaced(text: str) -> str:
    """Return a text's words with a space around each, so that a run of them is found by looking for it."""
    return f" {' '.join(_words(text))} "


def _words(text: str) -> list[str]:
    return _WORD.findall(folded(text))


def _fold(text: str) -> str:
    return "".join(char for char, _ in _folded(text))


def _with_places(text: str) -> tuple[str, list[int]]:
    """Return the text as it is compared, and where each of its characters stands in the text's NFC."""
    pairs = list(_folded(text))
    return "".join(char for char, _ in pairs), [place for _, place in pairs]


def _folded(text: str) -> Iterator[tuple[str, int]]:
    plain = (
        (_plain(char), place)
        for place, original in enumerate(unicodedata.normalize("NFC", text))
        for char in folded(original)
    )
    for is_space, pairs in groupby(plain, key=lambda pair: pair[0] == " "):
        if is_space:
            yield next(pairs)
        else:
            yield from pairs


def _plain(char: str) -> str:
    """Return a character as it is compared."""
    category = unicodedata.category(char)
    if char.isspace():
        return " "
    if category in {"Pi", "Pf"} or char in QUOTATION_MARKS:
        return "'"
    return "-" if category == "Pd" or char == "\u2212" else char


def _trimmed(text: str) -> str:
    """Return the text without the punctuation at its ends."""
    places = [place for place, char in enumerate(text) if char.isalnum() or _is_mark(char)]
    return text[places[0] : places[-1] + 1] if places else ""


def _weight(text: str) -> int:
    letters = (char for char in text if char.isalnum() or _is_mark(char))
    return sum(WIDE_WEIGHT if unicodedata.east_asian_width(char) in WIDE else 1 for char in letters)


def _cuts_a_word(text: str, place: int) -> bool:
    """Tell whether a word goes on across a place. Scripts without capitals may write words without spaces."""
    if not 0 < place < len(text):
        return False
    around = text[place - 1 : place + 1]
    return _is_mark(text[place]) or all(char.islower() or char.isdecimal() for char in around)


def _is_mark(char: str) -> bool:
    return unicodedata.category(char).startswith("M")
