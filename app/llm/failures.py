"""What a server's failure means, and how much of its words a log may have."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from html import unescape
from typing import Final

import orjson
import urllib3
from urllib3.exceptions import InvalidHeader

from app.llm.interface import ModelError, ModelErrorCode

DETAIL_LENGTH: Final = 300
# So many letters in a row of what is private are a quote of it. A text that is shorter is one as a whole.
QUOTE_LENGTH = 12
SHORTEST_QUOTE = 3
ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|[nrt])")
NO_LETTERS = re.compile(r"[\W_]+")
SERVER_ERROR = 500
# 529 is Anthropic's word for an overloaded service. Other statuses below 500 are our own fault.
CODES = {
    408: ModelErrorCode.TIMEOUT,
    429: ModelErrorCode.BUSY,
    529: ModelErrorCode.BUSY,
}
# What the code or type of an error in mid-stream has in it.
SIGNS_IN_STREAM = {
    "429": ModelErrorCode.BUSY,
    "rate_limit": ModelErrorCode.BUSY,
    "overloaded": ModelErrorCode.BUSY,
    "timeout": ModelErrorCode.TIMEOUT,
    "api_error": ModelErrorCode.UNREACHABLE,
    "server_error": ModelErrorCode.UNREACHABLE,
}


def describe(body: bytes) -> str:
    """Return what a server says is wrong, from the usual forms of JSON errors; nothing of other bodies."""
    try:
        return error_message(orjson.loads(body))
    except orjson.JSONDecodeError:
        return "no JSON"


def error_message(answer: object) -> str:
    """Return the message in a parsed error answer, or an empty string."""
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if isinstance(error, dict):
        error = error.get("message") or error.get("type") or ""
    return error if isinstance(error, str) else ""


def discreet(detail: str, private: Iterable[str]) -> str:
    """Return ``detail`` short enough for a log, and without its words where it quotes something private.

    Servers quote in other case, spacing and escapes than they were told.
    """
    # What is cut off here may be the rest of something private: that is looked for in more than is kept.
    short, letters = detail[:DETAIL_LENGTH], _letters(detail[: 2 * DETAIL_LENGTH])
    runs = {letters[start : start + QUOTE_LENGTH] for start in range(len(letters) - QUOTE_LENGTH + 1)}
    if any(_is_quoted(_letters(each), letters, runs) for each in private):
        return f"{short.partition(':')[0]}: (withheld, it quotes the request)"
    return short


def _is_quoted(private: str, letters: str, runs: Collection[str]) -> bool:
    if len(private) < QUOTE_LENGTH:
        return len(private) >= SHORTEST_QUOTE and private in letters
    return any(run in private for run in runs)


def _letters(text: str) -> str:
    """Return the letters and digits of a text, whatever form they are written in."""
    plain = ESCAPED.sub(lambda found: chr(int(found[1] or found[2] or "20", 16)), unescape(text))
    return NO_LETTERS.sub("", unicodedata.normalize("NFKC", plain).casefold())


def failure_in_stream(error: object, private: Iterable[str]) -> ModelError:
    """Translate an error that comes in mid-stream, when the status has long been 200."""
    kind = f"{error.get('code')} {error.get('type')}".lower() if isinstance(error, dict) else ""
    code = next(
        (code for sign, code in SIGNS_IN_STREAM.items() if sign in kind),
        ModelErrorCode.BAD_ANSWER,
    )
    return ModelError(code, discreet(f"in mid-stream: {error_message({'error': error})}", private))


def error_for(status: int, headers: Mapping[str, str], detail: str) -> ModelError:
    """Return the error that a status other than 200 stands for."""
    code = CODES.get(status, ModelErrorCode.UNREACHABLE if status >= SERVER_ERROR else ModelErrorCode.REFUSED)
    if code is ModelErrorCode.REFUSED:
        return ModelError(code, detail, retryable=False)
    return ModelError(code, detail, retry_after=_retry_after(headers.get("Retry-After")))


def _retry_after(value: str | None) -> float | None:
    """Read seconds or an HTTP date; None for anything else."""
    if value is None:
        return None
    try:
        return urllib3.Retry().parse_retry_after(value)
    except (InvalidHeader, ValueError, OverflowError):  # a year or a number that nothing holds
        return None
