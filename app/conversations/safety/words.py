"""Texts as words that lists can be compared with: without case and accents, and in spite of usual disguises."""

import re
from collections.abc import Iterator
from unicodedata import normalize

from app.text import MARKS, UNSEEN, folded

_LETTER = rf"[^\W_{UNSEEN}]"
# What may stand inside a word: unseen characters and marks; apostrophes, and signs that mask a letter.
_HIDDEN = rf"[{UNSEEN}{MARKS}]*+"
_INSIDE = rf"{_HIDDEN}(?:['`\u00b4\u2019\u02bc*@$]{_HIDDEN}){{0,3}}+"
_WORD = rf"[@$]?{_LETTER}++(?:{_INSIDE}{_LETTER}++)*+"
# k i l l, k.i.l.l: at least three letters with the same sign between them.
_BETWEEN = "[ ._*·|/-]"
_SPELT = rf"{_LETTER}(?P<between>{_BETWEEN}){_LETTER}(?:(?P=between){_LETTER})+(?!{_LETTER})"
_BREAK = r"\n\s*\n"
# Several dots are a pause in a sentence, not its end.
_END = r"[!?;¡¿]|(?<!\.)\.(?!\.)"
TOKEN = re.compile(f"{_SPELT}|{_WORD}|{_END}|{_BREAK}")
# What may become a token, or another one, with more text after it.
_SPELT_BEGUN = rf"{_LETTER}(?:(?P<sign>{_BETWEEN})(?:{_LETTER}(?:(?P=sign){_LETTER})*(?P=sign)?)?)?"
_BEGUN = rf"(?:{_SPELT_BEGUN}|{_WORD}{_INSIDE}|\.|\n\s*|[@$])\Z"
_TOKEN_OR_BEGUN = re.compile(f"(?P<begun>{_BEGUN})|{TOKEN.pattern}")
_SPELT_OUT = re.compile(_SPELT)
_MASKS = "*@$"
_LONG_RUN = re.compile(r"(.)\1{2,}")
_DIGITS = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s"}
_SIGNS_AS_LETTERS = tuple(str.maketrans(_DIGITS | {"1": one}) for one in "il")


def is_end(token: str) -> bool:
    """Tell whether a token ends a sentence instead of being a word."""
    return not token[-1].isalnum() and not is_break(token)


def is_break(token: str) -> bool:
    """Tell whether a token is an empty line, after which a sentence begins or goes on."""
    return token.isspace()


def whole_tokens(text: str, start: int) -> tuple[list[re.Match[str]], int]:
    """Return the tokens from `start` on that no further text changes, and where what it may change begins."""
    tokens: list[re.Match[str]] = []
    for found in _TOKEN_OR_BEGUN.finditer(text, start):
        if found["begun"]:
            return tokens, found.start()
        tokens.append(found)
    return tokens, len(text)


def plain(word: str) -> str:
    """Return a word in small letters without accents, apostrophes and invisible characters."""
    if word.isascii() and word.isalnum():
        return word.lower()
    if _SPELT_OUT.fullmatch(word):
        word = word[::2]
    letters = normalize("NFKD", folded(word)).replace("œ", "oe").replace("æ", "ae")
    return "".join(letter for letter in letters if letter.isalnum() or letter in _MASKS)


def readings(word: str) -> Iterator[str]:
    """Yield what a word may be meant as, likeliest first: as it stands, with digits as letters, without runs."""
    form = plain(word)
    yield form
    if not form.isalpha() and any(map(str.isalpha, form)):
        yield from (form.translate(letters) for letters in _SIGNS_AS_LETTERS)
    if _LONG_RUN.search(form):
        yield from (_LONG_RUN.sub(short, form) for short in (r"\1\1", r"\1"))
