"""Texts as words that lists can be compared with: without case and accents, and in spite of usual disguises."""

import re
from collections.abc import Iterator
from unicodedata import normalize

_LETTER = r"[^\W_]"
# What may stand inside a word: combining accents, invisible characters, apostrophes, and signs that mask a letter.
_INSIDE = r"[\u0300-\u036f\u00ad\u200b-\u200d\u2060\ufeff'`\u00b4\u2019\u02bc*@$]{1,3}+"
_WORD = rf"[@$]?{_LETTER}++(?:{_INSIDE}{_LETTER}++)*+"
# k i l l, k.i.l.l: at least three letters with the same sign between them.
_SPELT = rf"{_LETTER}(?P<between>[ ._*·|/-]){_LETTER}(?:(?P=between){_LETTER})+(?!{_LETTER})"
# Several dots are a pause in a sentence, not its end.
_END = r"[!?;¡¿]|\n\s*\n|(?<!\.)\.(?!\.)"
TOKEN = re.compile(f"{_SPELT}|{_WORD}|{_END}")
_SPELT_OUT = re.compile(_SPELT)
_MASKS = "*@$"
_LONG_RUN = re.compile(r"(.)\1{2,}")
_DIGITS = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s"}
_SIGNS_AS_LETTERS = tuple(str.maketrans(_DIGITS | {"1": one}) for one in "il")


def is_end(token: str) -> bool:
    """Tell whether a token ends a sentence instead of being a word."""
    return not token[-1].isalnum()


def plain(word: str) -> str:
    """Return a word in small letters without accents, apostrophes and invisible characters."""
    if word.isascii() and word.isalnum():
        return word.lower()
    if _SPELT_OUT.fullmatch(word):
        word = word[::2]
    letters = normalize("NFKD", normalize("NFKC", word).casefold()).replace("œ", "oe").replace("æ", "ae")
    return "".join(letter for letter in letters if letter.isalnum() or letter in _MASKS)


def readings(word: str) -> Iterator[str]:
    """Yield what a word may be meant as, likeliest first: as it stands, with digits as letters, without runs."""
    form = plain(word)
    yield form
    if not form.isalpha() and any(map(str.isalpha, form)):
        yield from (form.translate(letters) for letters in _SIGNS_AS_LETTERS)
    if _LONG_RUN.search(form):
        yield from (_LONG_RUN.sub(short, form) for short in (r"\1\1", r"\1"))
