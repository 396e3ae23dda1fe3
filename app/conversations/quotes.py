"""Whether a quote proves anything: it stands in the student's message, and the words are the student's own."""

import re
import time
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby

from app.conversations.models import Message
from app.llm.interface import Speaker
from app.text import MARKS, folded, with_blanks_as_spaces

# Letters and digits. A quote with less proves nothing ("yes", "a virus"), unless it is the whole message.
LEAST_QUOTE = 10
# A run of words this heavy that somebody else said first is theirs; shorter ones meet by chance.
ECHO = 20
# What is the student's own in a quote must weigh at least one part in so many of what is others'.
OWN_SHARE = 2
# Texts whose words are kept ready: the next judgement of a conversation reads nearly all of them again.
TEXTS = 512
# A character that is a syllable or a word weighs as much as the letters that it stands for.
WIDE_WEIGHT = 3
WIDE = frozenset("WF")
QUOTATION_MARKS = frozenset("'\"`\u00b4\u201a\u201e\u2032\u2033")
# Scripts that put no spaces between words: there each character is taken as one.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"(?=[^\W_])[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+")
# What no letter has a character for; it can be put on any of them, to make a word look like another one.
_LEFT_OVER = re.compile(f"[{MARKS}]")

# Who said a text.
Heard = tuple[Speaker, str]


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
    time.sleep(0)  # one of several proofs
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

    Others are the persona in what was said `before`, also in attempts that a reply took the place of, and the teacher
    in an objective that the message copies whole.
    """
    readings = dict.fromkeys(
        [(quote, message.text), (with_blanks_as_spaces(quote), with_blanks_as_spaces(message.text))]
    )
    return all(_reads_as_own(*reading, before, objectives) for reading in readings)


def _reads_as_own(quote: str, text: str, before: Sequence[Message], objectives: Sequence[str]) -> bool:
    heard = [(Speaker.PERSONA, each) for each in objectives if _spaced(each) in _spaced(text)]
    for said in before:
        heard += [(Speaker.PERSONA, said.replaced)] if said.replaced else []
        heard.append((said.speaker, said.text))
    words = _words(quote)
    echoed = _echoed(words, heard)
    others = sum(_weight(words[place]) for place in echoed)
    own = sum(map(_weight, words)) - others
    return not echoed or (own >= LEAST_QUOTE and own * OWN_SHARE >= others)


def _echoed(words: Sequence[str], heard: Sequence[Heard]) -> set[int]:
    """Return the places of the words that stand in a run which somebody other than the student said first."""
    runs = list(_runs(words))
    heard_in = _texts_with({hash(run) for _, _, run in runs}, heard)
    echoed: set[int] = set()
    known = 0
    for start, shortest, run in runs:
        if shortest > known and hash(run) in heard_in:
            end = _end_of_echo(words, start, shortest, heard_in[hash(run)])
            known = max(known, end)
            echoed.update(range(start, end))
            time.sleep(0)  # texts made to take long must not keep other chats from going on
    return echoed


def _texts_with(runs: set[int], heard: Sequence[Heard]) -> Mapping[int, Sequence[Heard]]:
    """Return by the hashes of runs the texts that have them, oldest first; only of runs that the persona said."""
    persona = (text for speaker, text in heard if speaker is Speaker.PERSONA)
    theirs = {run for text in persona for run in runs.intersection(_hashes_of_runs(text))}
    texts: dict[int, list[Heard]] = defaultdict(list)
    for said in heard if theirs else ():
        for run in theirs.intersection(_hashes_of_runs(said[1])):
            texts[run].append(said)
    return texts


def _end_of_echo(words: Sequence[str], start: int, end: int, heard: Sequence[Heard]) -> int:
    """Return where the run ends that begins there, goes on to `end` at least and was not the student's first.

    Returns `start` where there is none. The longer a run, the later it was first said: each text is looked at once.
    """
    echo = start
    for speaker, text in heard:
        while end <= len(words) and f" {' '.join(words[start:end])} " in _spaced(text):
            if speaker is not Speaker.PERSONA:
                return echo
            echo, end = end, end + 1
    return echo


def _runs(words: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield for each word the shortest run from it on that is no chance: where it begins and ends, and its words."""
    weights = {word: _weight(word) for word in set(words)}
    places = [0, *accumulate(len(word) + 1 for word in words)]
    spaced = " ".join(words)
    end = weight = 0
    for start, word in enumerate(words):
        while weight < ECHO and end < len(words):
            weight += weights[words[end]]
            end += 1
        if weight < ECHO:
            return
        yield start, end, spaced[places[start] : places[end] - 1]
        weight -= weights[word]


@lru_cache(TEXTS)
def _hashes_of_runs(text: str) -> "array[int]":
    """Return the hashes of a text's shortest runs. That another run has the same one is rare, but may be."""
    time.sleep(0)  # as above: a long conversation that nobody has read yet takes a while
    return array("q", {hash(run) for _, _, run in _runs(_words(text))})


@lru_cache(TEXTS)
def _spaced(text: str) -> str:
    """Return a text's words with a space around each, so that a run of them is found by looking for it."""
    return f" {' '.join(_words(text))} "


def _words(text: str) -> list[str]:
    return _WORD.findall(_LEFT_OVER.sub("", folded(text)))


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
    if text.isascii() and text.isalnum():
        return len(text)
    letters = (char for char in _LEFT_OVER.sub("", text) if char.isalnum() or _is_mark(char))
    return sum(WIDE_WEIGHT if unicodedata.east_asian_width(char) in WIDE else 1 for char in letters)


def _cuts_a_word(text: str, place: int) -> bool:
    """Tell whether a word goes on across a place. Scripts without capitals may write words without spaces."""
    if not 0 < place < len(text):
        return False
    around = text[place - 1 : place + 1]
    return _is_mark(text[place]) or all(char.islower() or char.isdecimal() for char in around)


def _is_mark(char: str) -> bool:
    return unicodedata.category(char).startswith("M")
