"""What a request carries: JSON or a form, flat (`title=…`) or nested (`ai_experience[title]=…`), as Rails reads it."""

import re
from collections.abc import Iterable
from typing import Any

from flask import request
from werkzeug.exceptions import BadRequest

from app.errors import BadRequestError

MAX_DEPTH = 4
_PARTS = re.compile(r"[^\[\]]+|\[\]")


def read_body(wrapper: str | None = None) -> dict[str, Any]:
    """Return the request's fields; those in `wrapper` win over flat ones. Raises `BadRequestError`."""
    fields = _read_json() if request.is_json else from_form(request.form.items(multi=True))
    nested = fields.pop(wrapper, None) if wrapper else None
    return fields | nested if isinstance(nested, dict) else fields


def from_form(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read names such as ``a[b]``, ``a[]`` and ``a[][b]``; a repeated ``b`` in the last begins a further entry."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        parts = _PARTS.findall(name)
        if parts and parts[0] != "[]" and len(parts) <= MAX_DEPTH:
            _put(fields, parts, value)
    return fields


def _read_json() -> dict[str, Any]:
    if not request.get_data():
        return {}
    try:
        fields = request.get_json()
    except (BadRequest, RecursionError) as error:
        raise BadRequestError(log="the body is no JSON") from error
    if not isinstance(fields, dict):
        raise BadRequestError(log="the body is no JSON object")
    return fields


def _put(fields: dict[str, Any], parts: list[str], value: str) -> None:
    name, *rest = parts
    if not rest:
        fields[name] = value
    elif rest[0] != "[]":
        _put(_inside(fields, name), rest, value)
    else:
        _append(fields, name, rest[1:], value)


def _inside(fields: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(fields.get(name), dict):
        fields[name] = {}
    inner: dict[str, Any] = fields[name]
    return inner


def _append(fields: dict[str, Any], name: str, rest: list[str], value: str) -> None:
    entries = fields[name] if isinstance(fields.get(name), list) else fields.setdefault(name, [])
    if not isinstance(entries, list):
        fields[name] = entries = []
    if not rest:
        entries.append(value)
        return
    if not entries or not isinstance(entries[-1], dict) or rest[0] in entries[-1]:
        entries.append({})
    _put(entries[-1], rest, value)
