"""The API's OpenAPI 3.1 document, made from what the endpoints declare and from the docstrings of their views."""

import inspect
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from http import HTTPStatus
from operator import attrgetter
from types import ModuleType
from typing import Any

from pydantic import BaseModel

from app.api.answers import to_json
from app.api.caller import CONTEXT_MARK
from app.api.endpoints import PREFIX, Endpoint, endpoints
from app.api.paging import MOST_PER_PAGE, PER_PAGE
from app.api.refusals import REFUSALS, Refusal, RefusalKind
from app.api.schemas import Json, Mode, Schemas
from app.api.shapes import ClientKey, MessageNoticed, OwnConversation, ReplyBegun, TextAdded
from app.lti.sessions import LAUNCHES_PATH
from app.web import LARGEST_ID, MAX_REQUEST_BYTES

_ABOUT = f"""
Canvas's API of *AI Experiences*, with its paths, parameters, fields, statuses and error bodies, and the endpoints with
which Canvas's own page holds a conversation.

- **Two ways in.** With a token, in `Authorization: Bearer …`. In a browser within a launch, at
  `{LAUNCHES_PATH}/…{PREFIX}`, with the launch's cookie: only its own course is there, and what writes carries the CSRF
  token of the launch's pages in `X-CSRFToken`.
- **Tokens.** One with scopes may do those alone; one without, what its person may do in the course now. A service's is
  an administrator of its platform's courses.
- **Ids** are integers. **Times** are in UTC, to the second: `2026-02-15T08:56:12Z`. **Lengths** count characters.
- **Bodies** are JSON or forms, of at most {MAX_REQUEST_BYTES:,} bytes. Forms write lists as in Rails:
  `learning_objectives[]=…`, `evaluation_metrics[][name]=…`. Fields that an endpoint does not know are passed over.
- **Lists** come in pages of {PER_PAGE}, at most {MOST_PER_PAGE}; the `Link` header says where the others are.
- **Paths** may end in `.json`. A method that a path does not have is answered 405, with `Allow`.
- **Refusals** are worded as Canvas words them where it does, and otherwise carry `code`, `retryable` and
  `reference_id`. What is not there and what is not the caller's to know of are both 404.
- **Limits.** What a token and its person may ask for in a minute is told by `X-Rate-Limit-Remaining`, as in Canvas; and
  a person may begin, send and have evaluated so much in a day. Beyond it comes 429, with `Retry-After` in seconds.
"""
_EVENTS: dict[str, Any] = {
    "reply": ReplyBegun,
    "notice": MessageNoticed,
    "text": TextAdded,
    "done": OwnConversation,
    "error": Refusal,
}
_ONE_EVENT = (
    "One of the server-sent events: `reply` at first, then `text` as often as there is a further piece, at last `done` "
    "or `error`; before the last a `notice`, where the tool itself has something to say to the student. Comments keep "
    "the connection while there is nothing to say. To hang up stops nothing."
)
_EVENTS_EXAMPLE = 'event: reply\ndata: {"id":42}\n\nevent: text\ndata: {"text":"Good "}\n\n'
_COURSE = f"The Canvas course id, or `{CONTEXT_MARK}` and the id of the course's LTI context."
_KEY = "In place of the body's `client_key`."
_PAGE = "Which page of the list. What makes no sense counts as not given."
_PER_PAGE = f"Entries in a page; more than {MOST_PER_PAGE} count as {MOST_PER_PAGE}."
_HEADERS: Json = {
    name: {"description": words, "schema": {"type": kind}}
    for name, words, kind in (
        (
            "Link",
            "Where other pages of the list are (RFC 8288): `current`, `next`, `prev`, `first`, `last`.",
            "string",
        ),
        ("X-Rate-Limit-Remaining", "The cost of requests that may still be asked at once.", "number"),
        ("X-Request-Cost", "What this request took of it.", "number"),
    )
}
_RATE_HEADERS = ("X-Rate-Limit-Remaining", "X-Request-Cost")
_JSON = "application/json"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_OAUTH = "/login/oauth2"
_READING = "GET"


@lru_cache(maxsize=1)
def openapi_json(app_url: str) -> bytes:
    """Write the document of the installation at an address, once."""
    return to_json(describe(app_url, sorted(endpoints(), key=attrgetter("path"))))


def describe(app_url: str, declared: list[Endpoint]) -> Json:
    """Return the document of endpoints."""
    schemas = Schemas(_shapes(declared))
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "AI Experiences",
            "version": PREFIX.rpartition("/")[2],
            "description": _ABOUT.strip(),
        },
        "servers": _servers(app_url),
        "tags": _tags(declared),
        "paths": _paths(declared, schemas),
        "components": {
            "schemas": schemas.components | _forms(declared, schemas),
            "parameters": _parameters(declared),
            "responses": {str(status): _refusal(kind, schemas) for status, kind in REFUSALS.items()},
            "headers": _HEADERS,
            "securitySchemes": _security_schemes(app_url, declared),
        },
    }


def _shapes(declared: list[Endpoint]) -> dict[Any, Mode]:
    going_out = [kind.shape for kind in REFUSALS.values()] + list(_EVENTS.values())
    shapes: dict[Any, Mode] = dict.fromkeys(going_out, "serialization")
    for each in declared:
        shapes[each.answer] = "serialization"
        shapes |= {shape: "validation" for shape in (each.body, each.query) if shape}
    return shapes


def _servers(app_url: str) -> list[Json]:
    launch = {"default": "launch", "description": "As in the address of the launch's pages."}
    return [
        {"url": app_url, "description": "With a token"},
        {
            "url": f"{app_url}{LAUNCHES_PATH}/{{launch_id}}",
            "description": "Within a launch",
            "variables": {"launch_id": launch},
        },
    ]


def _tags(declared: list[Endpoint]) -> list[Json]:
    """Return the rooms of the endpoints, each with the first line of its module's docstring."""
    modules = dict.fromkeys(each.view.__module__ for each in declared)
    return [{"name": _tag(name), "description": _paragraphs(sys.modules[name])[0]} for name in modules]


def _security_schemes(app_url: str, declared: list[Endpoint]) -> Json:
    scopes = {each.scope: _in_a_line(_paragraphs(each.view)[0]) for each in declared}
    token = {"tokenUrl": f"{app_url}{_OAUTH}/token", "scopes": scopes}
    code = token | {"authorizationUrl": f"{app_url}{_OAUTH}/auth", "refreshUrl": token["tokenUrl"]}
    return {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token that a program got, or that a person made.",
        },
        "oauth2": {
            "type": "oauth2",
            "description": "Tokens of programs: for the platform itself, or for people who allow it (with PKCE, S256).",
            "flows": {"clientCredentials": token, "authorizationCode": code},
        },
        "launch": {
            "type": "apiKey",
            "in": "cookie",
            "name": "launch",
            "description": "The cookie of a launch, at the addresses of that launch.",
        },
        "csrf": {
            "type": "apiKey",
            "in": "header",
            "name": "X-CSRFToken",
            "description": 'The CSRF token of a launch\'s pages (`<meta name="csrf-token">`), for what writes.',
        },
    }


def _parameters(declared: list[Endpoint]) -> Json:
    ids = {name: _id_parameter(name) for each in declared for name in each.parameters}
    course = {
        "type": "string",
        "minLength": 1,
        "examples": ["1578941", f"{CONTEXT_MARK}4dde05e8ca1973bcca9b"],
    }
    return ids | {
        "course_id": _parameter("course_id", "path", _COURSE, course),
        "page": _parameter("page", "query", _PAGE, {"type": "integer", "minimum": 1, "default": 1}),
        "per_page": _parameter(
            "per_page",
            "query",
            _PER_PAGE,
            {"type": "integer", "minimum": 1, "maximum": MOST_PER_PAGE, "default": PER_PAGE},
        ),
        "idempotency_key": _parameter("Idempotency-Key", "header", _KEY, {"type": "string", "minLength": 1}),
    }


def _id_parameter(name: str) -> Json:
    of = "experience" if name == "id" else name.removesuffix("_id")
    schema = {"type": "integer", "format": "int32", "minimum": 1, "maximum": LARGEST_ID}
    return _parameter(name, "path", f"The {of}'s id.", schema)


def _parameter(name: str, place: str, description: str, schema: Json) -> Json:
    parameter = {"name": name, "in": place, "description": description, "schema": schema}
    return parameter | {"required": True} if place == "path" else parameter


def _paths(declared: list[Endpoint], schemas: Schemas) -> Json:
    paths: Json = {}
    for each in declared:
        parameters = [_reference("parameters", name) for name in each.parameters]
        path = paths.setdefault(each.documented_path, {"parameters": parameters})
        path[each.method.lower()] = _operation(each, schemas)
    return paths


def _operation(declared: Endpoint, schemas: Schemas) -> Json:
    summary, *further = _paragraphs(declared.view)
    operation = {
        "operationId": declared.name,
        "tags": [_tag(declared.view.__module__)],
        "summary": _in_a_line(summary),
        "description": "\n\n".join([*further, f"Scope: `{declared.scope}`"]),
        "parameters": _further_parameters(declared, schemas),
        "responses": _responses(declared, schemas),
        "security": _security(declared),
    }
    return operation | ({"requestBody": _body(declared, declared.body, schemas)} if declared.body else {})


def _further_parameters(declared: Endpoint, schemas: Schemas) -> list[Json]:
    names = ["page", "per_page"] if declared.paginated else []
    if declared.body and issubclass(declared.body, ClientKey):
        names.append("idempotency_key")
    asked = schemas.fields_of(declared.query) if declared.query else {}
    return [
        *(_parameter(name, "query", schema.pop("description", ""), schema) for name, schema in asked.items()),
        *(_reference("parameters", name) for name in names),
    ]


def _body(declared: Endpoint, body: type[BaseModel], schemas: Schemas) -> Json:
    """Describe what is sent. In a form, nested names are only told of: each field has two."""
    schema, description = schemas.of(body), "What is `null` in JSON is empty in a form."
    if wrapper := declared.wrapper:
        nested = {"type": "object", "required": [wrapper], "properties": {wrapper: schema}}
        schema = {"anyOf": [schema, nested]}
        name = next(iter(body.model_fields))
        description = f"Fields stand alone or in `{wrapper}`; in a form, `{name}=…` or `{wrapper}[{name}]=…`."
    form = {"schema": _reference("schemas", _form_name(body))}
    return {
        "description": description,
        "required": bool(_required(body)),
        "content": {_JSON: {"schema": schema}} | dict.fromkeys(_FORMS, form),
    }


def _forms(declared: list[Endpoint], schemas: Schemas) -> Json:
    """Return the forms' schemas. Where a field has two names, neither is required."""
    forms: Json = {}
    for each in declared:
        if each.body:
            required = [] if each.wrapper else _required(each.body)
            forms[_form_name(each.body)] = schemas.form_of(each.body) | {"required": required}
    return forms


def _required(body: type[BaseModel]) -> list[str]:
    return [name for name, field in body.model_fields.items() if field.is_required()]


def _form_name(body: type[BaseModel]) -> str:
    return f"{body.__name__}Form"


def _responses(declared: Endpoint, schemas: Schemas) -> Json:
    responses = {str(declared.status): _success(declared, schemas)}
    if declared.has_page:
        responses[str(HTTPStatus.FOUND)] = {
            "description": "Within a launch, a browser that asks for HTML is sent on to the form itself.",
            "headers": {"Location": _text("The form's address.")},
        }
    return responses | {str(status): _reference("responses", str(status)) for status in declared.all_refusals}


def _success(declared: Endpoint, schemas: Schemas) -> Json:
    content: Json = {_JSON: {"schema": schemas.of(declared.answer)}}
    if declared.streams:
        content["text/event-stream"] = {"schema": _event(schemas), "example": _EVENTS_EXAMPLE}
    headers = ("Link", *_RATE_HEADERS) if declared.paginated else _RATE_HEADERS
    return {"description": declared.status.phrase, "headers": _headers(headers), "content": content}


def _event(schemas: Schemas) -> Json:
    """Describe an event of a stream, as is the custom before OpenAPI 3.2, which has `itemSchema` for it."""
    return {
        "description": _ONE_EVENT,
        "oneOf": [_event_named(name, schemas.of(_EVENTS[name])) for name in _EVENTS],
    }


def _event_named(name: str, content: Json) -> Json:
    data = {"type": "string", "contentMediaType": _JSON, "contentSchema": content}
    return {
        "type": "object",
        "required": ["event", "data"],
        "properties": {"event": {"const": name}, "data": data},
    }


def _refusal(kind: RefusalKind, schemas: Schemas) -> Json:
    return {
        "description": kind.words,
        "headers": _headers(_RATE_HEADERS) | {name: _text(words) for name, words in kind.headers},
        "content": {_JSON: {"schema": schemas.of(kind.shape)}},
    }


def _security(declared: Endpoint) -> list[Json]:
    by_launch: Json = {"launch": []} if declared.method == _READING else {"launch": [], "csrf": []}
    return [{"token": []}, {"oauth2": [declared.scope]}, by_launch]


def _headers(names: Iterable[str]) -> Json:
    return {name: _reference("headers", name) for name in names}


def _text(description: str) -> Json:
    return {"description": description, "schema": {"type": "string"}}


def _tag(module: str) -> str:
    return module.rpartition(".")[2]


def _paragraphs(documented: Callable[..., Any] | ModuleType) -> list[str]:
    text = inspect.getdoc(documented) or ""
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _in_a_line(sentence: str) -> str:
    """Return a sentence as it stands in a list, where Markdown is not read."""
    return sentence.removesuffix(".").replace("`", "")


def _reference(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}
