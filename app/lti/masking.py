"""A launch's message as it is kept for administrators: with nothing in it that would let somebody act."""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from app.lti.claims import CLAIM

MASK = "••••"
MAX_DEPTH = 8
MAX_TEXT = 4000
MAX_PARAMETER = 20  # longer values in an address may be keys of some kind
FOR_USER = CLAIM + "for_user"

_SECRET_NAMES = frozenset({"nonce", "jti", "sid", "data", "at_hash", "c_hash"})
_SECRET_WORDS = re.compile(
    r"token|secret|passw|passphrase|credential|assertion|verifier|signature|_sign$|cookie|csrf|jwt"
    r"|(api|access|private|session)[_-]?(key|id)",
    re.IGNORECASE,
)
# Looks at each run of characters once, wherever "eyJ" stands in it: the time it takes grows with the text's length.
_JWT = re.compile(r"(?<![\w-])(?=(?:[\w-]*[-_])?eyJ[\w-])[\w-]++\.[\w.-]++")
_ADDRESS = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)


def masked(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return claims as any database can store them: at most eight levels deep, texts at most 4,000
    characters long, without numbers that JSON lacks.

    Masked are nonces, tokens and whatever is named or looks like one, in addresses too, the platform's opaque data,
    and who somebody else is (``for_user``).
    """
    return {
        name: _of_another(value) if name == FOR_USER else _masked(name, value)
        for name, value in claims.items()
    }


def _of_another(person: object) -> object:
    if not isinstance(person, Mapping):
        return _masked("", person)
    shown = {"user_id", "roles"}
    return {name: _masked(name, value, 2) if name in shown else MASK for name, value in person.items()}


def _masked(name: str, value: object, depth: int = 1) -> object:
    if value is not None and _is_secret(name):
        return MASK
    if isinstance(value, Mapping | list) and depth == MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {key: _masked(key, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked("", item, depth + 1) for item in value]
    if isinstance(value, str):
        return _ADDRESS.sub(lambda found: _masked_address(found[0]), _JWT.sub(MASK, _cut(value)))
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _cut(text: str) -> str:
    """Cut a text between two words, since the beginning of a key may no longer look like one."""
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT].rpartition(" ")[0] + "…"


def _is_secret(name: str) -> bool:
    return name.lower() in _SECRET_NAMES or _SECRET_WORDS.search(name) is not None


def _masked_address(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return MASK
    _, at, host = parts.netloc.rpartition("@")
    return parts._replace(
        netloc=f"{MASK}@{host}" if at else host,
        query=_masked_parameters(parts.query),
        fragment=_masked_parameters(parts.fragment),
    ).geturl()


def _masked_parameters(query: str) -> str:
    return "&".join(map(_masked_parameter, query.split("&")))


def _masked_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if not equals:
        return parameter if len(parameter) <= MAX_PARAMETER else MASK
    return f"{name}={MASK}" if _is_secret(unquote_plus(name)) or len(value) > MAX_PARAMETER else parameter
