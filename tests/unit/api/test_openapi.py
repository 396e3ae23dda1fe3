"""The OpenAPI document, as it is made from the endpoints."""

import json
from http import HTTPStatus
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask_babel import Babel
from pydantic import TypeAdapter

import app.api.wiring  # noqa: F401 - it declares the endpoints
from app.api.caller import AmbiguousCourseError
from app.api.endpoints import endpoints, known_scopes
from app.api.errors import ScopeError, UnauthenticatedError, as_canvas
from app.api.openapi import openapi_json
from app.api.refusals import REFUSALS
from app.conversations.evaluation import EvaluationFailedError
from app.conversations.service import MessageMissingError, MessageTooLongError, TurnInProgressError
from app.errors import (
    AppError,
    BadRequestError,
    FieldError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    RateLimitedError,
    SessionEndedError,
    TooLargeError,
)
from app.experiences.service import DeletedError, NotPublishedError

APP_URL = "https://ai.example.edu"
# From https://developerdocs.instructure.com/services/canvas/resources/ai_experiences
PUBLISHED_SCOPES = {
    "url:GET|/api/v1/courses/:course_id/ai_experiences",
    "url:GET|/api/v1/courses/:course_id/ai_experiences/:id",
    "url:GET|/api/v1/courses/:course_id/ai_experiences/new",
    "url:GET|/api/v1/courses/:course_id/ai_experiences/:id/edit",
    "url:POST|/api/v1/courses/:course_id/ai_experiences",
    "url:PUT|/api/v1/courses/:course_id/ai_experiences/:id",
    "url:DELETE|/api/v1/courses/:course_id/ai_experiences/:id",
    "url:GET|/api/v1/courses/:course_id/ai_experiences/:id/ai_conversations",
    "url:GET|/api/v1/courses/:course_id/ai_experiences/:id/ai_conversations/:conversation_id",
}
_CHAT = "/api/v1/courses/:course_id/ai_experiences/:id/conversations"
_FEEDBACK = f"{_CHAT}/:conversation_id/messages/:message_id/feedback"
SCOPES_OF_CANVAS_ITSELF = {
    f"url:GET|{_CHAT}",
    f"url:POST|{_CHAT}",
    f"url:GET|{_CHAT}/:conversation_id",
    f"url:DELETE|{_CHAT}/:conversation_id",
    f"url:GET|{_CHAT}/:conversation_id/evaluation",
    f"url:POST|{_CHAT}/:conversation_id/messages",
    f"url:POST|{_FEEDBACK}",
    f"url:DELETE|{_FEEDBACK}/:feedback_id",
}
REFUSED = [
    UnauthenticatedError(),
    SessionEndedError(),
    ScopeError(),
    ForbiddenError(),
    NotPublishedError(),
    NotFoundError(),
    DeletedError(),
    InvalidInputError({"title": [FieldError("blank", "can't be blank")]}),
    BadRequestError(),
    MessageMissingError(),
    TooLargeError(),
    MessageTooLongError(),
    TurnInProgressError(),
    AmbiguousCourseError(),
    RateLimitedError(retry_after=7),
    EvaluationFailedError("unreachable"),
    AppError(),
]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    written: dict[str, Any] = json.loads(openapi_json(APP_URL))
    return written


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every operation by its name."""
    return {
        operation["operationId"]: operation
        for path in document["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    }


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference within the document."""
    found: Any = document
    for part in schema["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)


def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(document).validate()


def test_it_has_every_endpoint_and_no_other(operations: dict[str, dict[str, Any]]) -> None:
    assert operations.keys() == {declared.name for declared in endpoints()}


def test_every_operation_is_described(operations: dict[str, dict[str, Any]]) -> None:
    for declared in endpoints():
        operation = operations[declared.name]
        assert operation["summary"]
        assert f"Scope: `{declared.scope}`" in operation["description"]


def test_the_scopes_are_those_that_canvas_publishes_and_those_of_its_own_page() -> None:
    assert known_scopes() == PUBLISHED_SCOPES | SCOPES_OF_CANVAS_ITSELF


def test_every_scope_can_be_asked_for(document: dict[str, Any]) -> None:
    flows = document["components"]["securitySchemes"]["oauth2"]["flows"]
    assert flows.keys() == {"clientCredentials", "authorizationCode"}
    for flow in flows.values():
        assert flow["scopes"].keys() == known_scopes()
        assert flow["tokenUrl"] == f"{APP_URL}/login/oauth2/token"
    assert flows["authorizationCode"]["authorizationUrl"] == f"{APP_URL}/login/oauth2/auth"


def test_the_two_ways_in_are_servers(document: dict[str, Any]) -> None:
    assert [server["url"] for server in document["servers"]] == [APP_URL, f"{APP_URL}/launches/{{launch_id}}"]


def test_what_writes_within_a_launch_needs_the_csrf_token(operations: dict[str, dict[str, Any]]) -> None:
    for declared in endpoints():
        (by_launch,) = [way for way in operations[declared.name]["security"] if "launch" in way]
        assert ("csrf" in by_launch) == (declared.method != "GET")


def test_lists_tell_of_pages_and_of_no_more_than_a_hundred(
    document: dict[str, Any], operations: dict[str, dict[str, Any]]
) -> None:
    listed = operations["list_experiences"]
    references = [parameter for parameter in listed["parameters"] if "$ref" in parameter]
    page, per_page = (resolved(document, reference) for reference in references)
    assert (page["name"], page["schema"]["minimum"]) == ("page", 1)
    assert (per_page["name"], per_page["schema"]["maximum"]) == ("per_page", 100)
    assert "Link" in listed["responses"]["200"]["headers"]


@pytest.mark.parametrize("name", ["start_conversation", "send_message"])
def test_streams_tell_of_their_events(operations: dict[str, dict[str, Any]], name: str) -> None:
    success = next(iter(operations[name]["responses"].values()))
    events = success["content"]["text/event-stream"]["schema"]["oneOf"]
    assert {"reply", "text", "done", "error"} <= {event["properties"]["event"]["const"] for event in events}


@pytest.mark.parametrize("name", ["start_conversation", "send_message"])
def test_what_may_be_sent_again_takes_a_key(operations: dict[str, dict[str, Any]], name: str) -> None:
    assert {"$ref": "#/components/parameters/idempotency_key"} in operations[name]["parameters"]


def test_json_may_be_wrapped(operations: dict[str, dict[str, Any]]) -> None:
    flat, wrapped = operations["update_experience"]["requestBody"]["content"]["application/json"]["schema"][
        "anyOf"
    ]
    assert wrapped["properties"] == {"ai_experience": flat}


def test_forms_have_the_names_that_rails_reads(
    document: dict[str, Any], operations: dict[str, dict[str, Any]]
) -> None:
    content = operations["create_experience"]["requestBody"]["content"]
    form = resolved(document, content["application/x-www-form-urlencoded"]["schema"])
    assert {"title", "learning_objectives[]", "evaluation_metrics[][name]"} <= form["properties"].keys()
    assert "learning_objectives" not in form["properties"]
    # Each field may stand in the wrapper instead.
    assert form["required"] == []


def test_what_is_left_out_of_a_change_has_no_default(document: dict[str, Any]) -> None:
    fields = document["components"]["schemas"]["ExperienceChanges"]["properties"]
    assert [name for name, field in fields.items() if "default" in field] == []


def test_every_refusal_that_an_endpoint_declares_is_described(operations: dict[str, dict[str, Any]]) -> None:
    for declared in endpoints():
        documented = {HTTPStatus(int(status)) for status in operations[declared.name]["responses"]}
        assert set(declared.all_refusals) <= documented
        assert set(declared.all_refusals) <= REFUSALS.keys()


@pytest.mark.parametrize("error", REFUSED, ids=lambda error: type(error).__name__)
def test_refusals_have_the_shapes_that_are_described(error: AppError) -> None:
    application = Flask(__name__)
    Babel(application)
    with application.test_request_context():
        body = as_canvas(error, "1f2e3d4c").get_data()
    TypeAdapter(REFUSALS[HTTPStatus(error.status)].shape).validate_json(body, strict=True)


@pytest.mark.parametrize("status", [HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS])
def test_headers_that_come_with_a_refusal_are_described(status: HTTPStatus) -> None:
    headers = {name for error in REFUSED if error.status == status for name in error.headers}
    assert headers == {name for name, _words in REFUSALS[status].headers}


def test_it_is_written_once() -> None:
    assert openapi_json(APP_URL) is openapi_json(APP_URL)
