"""Answers in JSON: times in UTC to the second, as Canvas writes them."""

from http import HTTPStatus
from typing import Any

import orjson
from flask import Response

_WRITING = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS


def json_response(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:  # noqa: ANN401 - what JSON holds
    """Return an answer of plain values, mappings, lists, times and dataclasses."""
    return Response(to_json(content), status, mimetype="application/json")


def to_json(content: Any) -> bytes:  # noqa: ANN401 - what JSON holds
    """Write JSON: times to the second (``2026-02-15T08:56:12Z``)."""
    return orjson.dumps(content, option=_WRITING)
