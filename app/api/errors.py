"""Refusals as Canvas words them: the bodies that its clients know."""

from typing import Any

from flask import Response, request
from flask_babel import lazy_gettext as _l

from app.api.answers import json_response
from app.api.endpoints import PREFIX
from app.conversations.service import MessageMissingError
from app.errors import (
    AppError,
    FieldError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    SessionEndedError,
    log_error,
)

AUTHENTICATE = {"WWW-Authenticate": 'Bearer realm="canvas-lms"'}


class UnauthenticatedError(AppError):
    """No token, or one that is unknown, revoked or expired."""

    status, code = 401, "unauthenticated"
    message = _l("A valid access token is needed.")
    headers = AUTHENTICATE


class ScopeError(AppError):
    """A token without the endpoint's scope."""

    status, code = 401, "insufficient_scope"
    message = _l("The access token does not have the scope that this needs.")


def concerns_api() -> bool:
    """Tell whether the request is one of the API, by a token or within a launch."""
    return f"{PREFIX}/" in request.path


def as_canvas(error: AppError, reference: str) -> Response:
    """Render an error as Canvas does; where Canvas is silent, as ``{error, code, retryable, reference_id}``."""
    response = json_response(_body(error, reference))
    if isinstance(error, SessionEndedError):
        response.headers.update(AUTHENTICATE)
    return response


def error_json(error: AppError, reference: str | None = None) -> dict[str, Any]:
    """Render an error for which Canvas has no words of its own, once its answer has begun too."""
    return {
        "error": str(error.message),
        "code": error.code,
        "retryable": error.retryable,
        "reference_id": reference or log_error(error),
    }


def _body(error: AppError, reference: str) -> dict[str, Any]:
    for kinds, body in _CANVAS_BODIES:
        if isinstance(error, kinds):
            return body
    if isinstance(error, InvalidInputError):
        return {
            "errors": {name: [_field(name, each) for each in found] for name, found in error.errors.items()}
        }
    body = error_json(error, reference)
    return body | {"error": "message is required"} if isinstance(error, MessageMissingError) else body


def _with_status(status: str, message: str) -> dict[str, Any]:
    return {"status": status, "errors": [{"message": message}]}


def _field(attribute: str, problem: FieldError) -> dict[str, str]:
    return {"attribute": attribute, "type": problem.type, "message": problem.message}


_CANVAS_BODIES: tuple[tuple[tuple[type[AppError], ...], dict[str, Any]], ...] = (
    (
        (UnauthenticatedError, SessionEndedError),
        _with_status("unauthenticated", "user authorization required"),
    ),
    ((ScopeError,), {"errors": [{"message": "Insufficient scopes on access token."}]}),
    ((ForbiddenError,), _with_status("unauthorized", "user not authorized to perform that action")),
    ((NotFoundError,), {"error": "Resource Not Found"}),
)
