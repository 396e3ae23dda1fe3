"""Text that came from outside, made fit to keep and to show."""

import re
import unicodedata

# Marks that turn the direction of the text after them, and could make one name read as another.
_DIRECTION_MARKS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# What nobody sees, as a class of a regular expression has it: all that Unicode calls Default_Ignorable_Code_Point (soft
# hyphens, joiners, marks of direction, signs that choose a variant, tags, fillers of Hangul, which count as letters),
# the blank Braille pattern, and the signs that stand for annotations and objects.
UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_UNSEEN = re.compile(f"[{UNSEEN}]")
# Those that take room all the same: within a word they hide it, between two words they are read as a space.
_BLANKS = re.compile("[\u115f\u1160\u2800\u3164\uffa0\ufffc]")
# Marks above, below and around letters, as a class too. Most letters with one have a character of their own, in NFKC.
MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"

# Common tokenizers make a token of about four bytes of English and three of Chinese; three errs on the safe side.
BYTES_PER_TOKEN = 3


def N_(text: str) -> str:  # noqa: N802 - the name by which catalogs are extracted
    """Mark a text that is translated where it is shown."""
    return text


def clean_line(value: object, limit: int) -> str | None:
    """Return one line of at most `limit` characters without control or direction marks; None for no text."""
    if not isinstance(value, str):
        return None
    begun = value[: 4 * limit]
    seen = begun if begun.isascii() and begun.isprintable() else "".join(map(_visible, begun))
    line = " ".join(seen.split())
    return (line if len(line) <= limit else line[: limit - 1] + "…") or None


def clean_text(value: str) -> str:
    """Return text of several lines with Unix line ends, without NUL and other control characters, trimmed."""
    return without_controls(value.replace("\r\n", "\n").replace("\r", "\n")).strip()


def without_controls(value: str) -> str:
    """Return text that any database stores: no control characters but line ends and tabs."""
    return "".join(char for char in value if char in "\n\t" or not _is_control(char))


def folded(value: str) -> str:
    """Return text as it is compared: in NFKC, without case and what nobody sees."""
    if value.isascii():
        return value.lower()
    return unicodedata.normalize("NFKC", _UNSEEN.sub("", value)).casefold()


def with_blanks_as_spaces(value: str) -> str:
    """Return text of the same length, with a space for each unseen character that is read as one."""
    return value if value.isascii() else _BLANKS.sub(" ", value)


def is_blank(value: str) -> bool:
    """Tell whether nobody sees anything of a text: it is empty, white space, unseen and control characters."""
    return not without_controls(_UNSEEN.sub("", value)).strip()


def estimate_tokens(value: str) -> int:
    """Return about how many tokens a model makes of a text: rather too many than too few."""
    return len(value.encode()) // BYTES_PER_TOKEN + 1


def with_marks_shown(value: str) -> str:
    """Return text with its control and direction marks, which nobody would see, written out (``\\u202e``)."""
    return "".join(f"\\u{ord(char):04x}" if _is_invisible(char) else char for char in value)


def _is_invisible(char: str) -> bool:
    return char in _DIRECTION_MARKS or (_is_control(char) and char not in "\n\t")


def _visible(char: str) -> str:
    if _is_control(char):
        return " "
    return "" if char in _DIRECTION_MARKS else char


def _is_control(char: str) -> bool:
    # Cs: half of a surrogate pair, which no database stores.
    return unicodedata.category(char) in {"Cc", "Cs"}
