"""What an endpoint is, declared once: its route, its scope and its part of the OpenAPI document come from here."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint
from pydantic import BaseModel
from werkzeug.wrappers import Response

PREFIX = "/api/v1"
# Every endpoint may answer these: 409 where several courses have the id.
USUAL_REFUSALS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
)
BODY_REFUSALS = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

_PARAMETER = re.compile(r":(\w+)")

View = Callable[..., Response]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path, which is written as Canvas writes it: ``/courses/:course_id/ai_experiences/:id``.

    ``answer`` is the shape of a success (whatever Pydantic's `TypeAdapter` takes), ``body`` that of what is sent, flat
    or in ``wrapper``, ``query`` that of the query string. ``has_page`` is True where a browser within a launch is sent
    on to a page. ``refusals`` are statuses of errors beyond the usual ones.
    """

    method: str
    path: str
    view: View
    answer: Any
    status: HTTPStatus = HTTPStatus.OK
    body: type[BaseModel] | None = None
    wrapper: str | None = None
    query: type[BaseModel] | None = None
    paginated: bool = False
    streams: bool = False
    has_page: bool = False
    refusals: tuple[HTTPStatus, ...] = ()

    @property
    def scope(self) -> str:
        """The scope that a token needs, in Canvas's words."""
        return f"url:{self.method}|{PREFIX}{self.path}"

    @property
    def name(self) -> str:
        """The endpoint's name, unique in the API."""
        return self.view.__name__

    @property
    def all_refusals(self) -> list[HTTPStatus]:
        """The statuses of every error that it may answer with, in order."""
        of_bodies = BODY_REFUSALS if self.body else ()
        return sorted({*USUAL_REFUSALS, *of_bodies, *self.refusals})

    @property
    def parameters(self) -> list[str]:
        """The names of the path's parameters, as Canvas writes them."""
        return _PARAMETER.findall(self.path)

    @property
    def rule(self) -> str:
        """The path as Flask routes it."""
        return _PARAMETER.sub(_converter, self.path)

    @property
    def documented_path(self) -> str:
        """The path as OpenAPI writes it."""
        return PREFIX + _PARAMETER.sub(r"{\1}", self.path)


_declared: list[Endpoint] = []


def endpoint(method: str, path: str, answer: Any, **options: Any) -> Callable[[View], View]:  # noqa: ANN401
    """Declare an endpoint, with the fields of `Endpoint`. Its docstring is its documentation.

    The view gets the caller's `Identity` and the ids of its path except the course's, by name.
    """

    def declare(view: View) -> View:
        _declared.append(Endpoint(method, path, view, answer, **options))
        return view

    return declare


def endpoints() -> Iterable[Endpoint]:
    """Return all that were declared."""
    return tuple(_declared)


def known_scopes() -> frozenset[str]:
    """Return the scopes that a token may have."""
    return frozenset(declared.scope for declared in _declared)


def add_routes(blueprint: Blueprint, make_view: Callable[[Endpoint], View], *, prefix: str = "") -> None:
    """Route every endpoint in a blueprint, with and without `.json`, as Canvas does."""
    for declared in _declared:
        view = make_view(declared)
        for suffix in ("", ".json"):
            blueprint.add_url_rule(
                prefix + declared.rule + suffix, declared.name, view, methods=[declared.method]
            )


def _converter(parameter: re.Match[str]) -> str:
    """Name Canvas's `:id`, which is always the experience's, for what it is."""
    name = "experience_id" if parameter[1] == "id" else parameter[1]
    return "<course_id>" if name == "course_id" else f"<id:{name}>"
