"""Scopes: Canvas's own strings, one for each endpoint, and what they come to in plain words."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from app.api.endpoints import known_scopes


@dataclass(frozen=True, slots=True)
class ScopeGroup:
    """Scopes that belong together, and what they allow in words."""

    key: str
    words: LazyString | str
    scopes: tuple[str, ...]


_WORDS = {
    "read": _l("See the experiences of the course"),
    "write": _l("Write, change, publish and delete experiences"),
    "class": _l("Read the conversations of students and evaluations"),
    "converse": _l("Hold conversations, and say what one thinks of replies"),
}


class UnknownScopeError(ValueError):
    """A scope that no endpoint has."""


def parse_scopes(text: str | None) -> list[str] | None:
    """Read scopes parted by spaces, as OAuth writes them (RFC 6749, section 3.3). None for none.

    Raises `UnknownScopeError`.
    """
    return checked_scopes((text or "").split())


def checked_scopes(scopes: Iterable[str]) -> list[str] | None:
    """Return the scopes in order, each once; None for none. Raises `UnknownScopeError`."""
    wanted = set(scopes)
    for unknown in sorted(wanted - known_scopes()):
        raise UnknownScopeError(unknown)
    return sorted(wanted) or None


def within(scopes: Collection[str] | None, limit: Collection[str] | None) -> bool:
    """Tell whether `scopes` ask for nothing beyond `limit`; None is all that a person may do."""
    return limit is None or (scopes is not None and set(scopes) <= set(limit))


def all_groups() -> list[ScopeGroup]:
    """Return every known scope, in groups."""
    return groups_of(known_scopes())


def groups_of(scopes: Iterable[str]) -> list[ScopeGroup]:
    """Group scopes; one that is of no group stands for itself."""
    by_key: dict[str, list[str]] = {}
    for scope in sorted(scopes):
        by_key.setdefault(_key(scope), []).append(scope)
    order = [*_WORDS, *sorted(set(by_key) - set(_WORDS))]
    return [ScopeGroup(key, _WORDS.get(key, key), tuple(by_key[key])) for key in order if key in by_key]


def _key(scope: str) -> str:
    method, _, path = scope.removeprefix("url:").partition("|")
    _, found, rest = path.partition("/ai_experiences")
    if not found:
        return scope
    if "/ai_conversations" in rest or rest.endswith(("/evaluation", "/conversations/:conversation_id")):
        return "class" if method == "GET" else "converse"
    if "/conversations" in rest or "/feedback" in rest:
        return "converse"
    return "read" if method == "GET" else "write"
