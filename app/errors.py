"""Every error that a person or a client may see, and the one place that turns it into a page or JSON."""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from flask import Flask, Response, current_app, g, jsonify, make_response, render_template, request
from flask_babel import LazyString
from flask_babel import lazy_gettext as _l
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.wrappers import Response as BaseResponse

from app.database import roll_back_request_session

logger = logging.getLogger(__name__)
# Fields in which a page remembers, or somebody chooses: all others hold what was typed.
NOT_TYPED = frozenset(
    {
        "csrf_token",
        "client_key",
        "instead_of",
        "add_objective",
        "add_metric",
        "seen",
        "source",
        "replaces",
        "other",
    }
    | {"experience", "publish", "graded", "vote"}
)
_TICKED = ("-enabled", "-visible_to_learners")  # of the rows of a form


class AppError(Exception):
    """An error with an answer: HTTP status and headers, code for programs, sentence for people.

    ``log`` goes to the log with the reference id and is never shown.
    """

    status = 500
    code = "internal_error"
    retryable = False
    headers: Mapping[str, str] = {}
    title: LazyString | str = _l("Something went wrong")
    message: LazyString | str = _l("The tool made a mistake. Nothing you saved is lost; please try again.")

    def __init__(self, message: LazyString | str | None = None, *, log: str = "") -> None:
        super().__init__(log or self.code)
        if message is not None:
            self.message = message


class NotFoundError(AppError):
    """Not there, or not yours to know of."""

    status = 404
    code = "not_found"
    title = _l("Not found")
    message = _l("There is nothing here. It may have been deleted, or the address is not complete.")


class BadRequestError(AppError):
    """A request that the server cannot make sense of."""

    status = 400
    code = "bad_request"
    title = _l("That request cannot be answered")
    message = _l("The address or the form was not as the tool expects it. Go back and try again.")


class TooLargeError(AppError):
    """More than a request may hold."""

    status = 413
    code = "too_large"
    title = _l("That is too much at once")
    message = _l("What was sent is larger than one megabyte. Please shorten it.")


class ForbiddenError(AppError):
    """There, but not for this role."""

    status = 403
    code = "forbidden"
    title = _l("Not allowed")
    message = _l("Your role in this course does not allow that.")


class SessionEndedError(AppError):
    """The launch that the page belongs to is over, or its cookie did not come."""

    status = 401
    code = "session_ended"
    title = _l("Please open the tool again")
    message = _l("This page belongs to a visit that has ended. Open AI Experiences again from your course.")


class ConflictError(AppError):
    """The request does not fit what has happened meanwhile."""

    status = 409
    code = "conflict"
    title = _l("That cannot be done now")
    message = _l("Something has changed meanwhile. Reload the page and try again.")


class RateLimitedError(AppError):
    """More than a person or a token may do in the time; ``retry_after`` are the seconds until it may go on."""

    status = 429
    code = "rate_limited"
    retryable = True
    title = _l("That is too much for now")
    message = _l("That was too much in a short time. Wait a while, then try again.")

    def __init__(self, message: LazyString | str | None = None, *, retry_after: int, log: str = "") -> None:
        super().__init__(message, log=log)
        self.headers = {"Retry-After": str(retry_after)}


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field. ``type`` and ``message`` read as Rails prints them; ``limit`` counts characters
    or entries, or is the number that may not be passed. ``entry`` counts from 1, where it is one entry of a list.
    """

    type: str
    message: str
    limit: int | None = None
    entry: int | None = None


class InvalidInputError(AppError):
    """Input that breaks a rule; ``errors`` maps each field to what is wrong with it."""

    status = 400
    code = "invalid"
    title = _l("Please check what you wrote")
    message = _l("Some of what you wrote cannot be saved as it is.")

    def __init__(self, errors: dict[str, list[FieldError]]) -> None:
        super().__init__(log=f"invalid {', '.join(errors)}")
        self.errors = errors


_BY_STATUS: dict[int, type[AppError]] = {
    error.status: error for error in (AppError, NotFoundError, ForbiddenError, TooLargeError)
}


Render = Callable[[AppError, str], Response]


def init_app(app: Flask) -> None:
    """Answer every error of `app` with a page or JSON that carries a reference id."""
    app.extensions["error_forms"] = []
    app.register_error_handler(AppError, _answer)
    app.register_error_handler(CSRFError, _answer_csrf)
    app.register_error_handler(HTTPException, _answer_http)
    app.register_error_handler(Exception, _answer_unexpected)


def render_where(app: Flask, concerned: Callable[[], bool], render: Render) -> None:
    """Have the errors of requests that are `concerned` rendered in another form, from error and reference id."""
    app.extensions["error_forms"].append((concerned, render))


def wants_json() -> bool:
    """Tell whether the client asked for something other than a page."""
    best = request.accept_mimetypes.best_match(["text/html", "application/json", "text/event-stream"])
    return best in {"application/json", "text/event-stream"}


def log_error(error: AppError) -> str:
    """Write an error into the log; return the reference id under which it is found there."""
    reference = secrets.token_hex(4)
    level = logging.ERROR if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.INFO
    logger.log(level, "%s %s [%s] %r", error.status, error.code, reference, str(error))
    return reference


def _answer(error: AppError) -> Response:
    roll_back_request_session()
    reference = log_error(error)
    response = _form()(error, reference)
    response.status_code = error.status
    response.headers.update(error.headers)
    return response


def _form() -> Render:
    forms: list[tuple[Callable[[], bool], Render]] = current_app.extensions["error_forms"]
    usual = _as_json if wants_json() else _as_page
    return next((render for concerned, render in forms if concerned()), usual)


def _as_json(error: AppError, reference: str) -> Response:
    return jsonify(
        error=str(error.message), code=error.code, retryable=error.retryable, reference_id=reference
    )


def _as_page(error: AppError, reference: str) -> Response:
    template = getattr(error, "template", "errors/error.html")
    page = render_template(template, error=error, reference=reference, typed=_typed_text())
    return make_response(page)


def _typed_text() -> list[str]:
    """What the person wrote in the form that failed, so that the page can give it back."""
    if (
        "launch_id" not in g
        or request.method != "POST"
        or isinstance(request.routing_exception, HTTPException)
    ):
        return []
    try:
        typed = request.form.items()
    except RequestEntityTooLarge:
        return []
    return [
        text for name, text in typed if text.strip() and name not in NOT_TYPED and not name.endswith(_TICKED)
    ]


def _answer_csrf(error: CSRFError) -> Response:
    return _answer(SessionEndedError(log=f"csrf: {error.description}"))


def _answer_http(error: HTTPException) -> BaseResponse:
    if error.code is None or error.response is not None or error.code < HTTPStatus.BAD_REQUEST:
        return error.get_response()
    answer = _BY_STATUS.get(error.code, BadRequestError)(log=str(error))
    answer.status = error.code
    response = _answer(answer)
    for name, value in error.get_headers():
        if name.lower() != "content-type":
            response.headers.setdefault(name, value)
    return response


def _answer_unexpected(error: Exception) -> Response:
    logger.exception("unexpected %s", type(error).__name__)
    return _answer(AppError(log=type(error).__name__))
