"""What refusals look like, status by status: the shapes of what `app.api.errors` writes, and when they come."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from pydantic import Field

from app.api.shapes import Shape


class AuthorizationRequired(Shape):
    """What Canvas says to those whom it does not know."""

    message: Literal["user authorization required"]


class Unauthenticated(Shape):
    """No token, or one that is unknown, revoked or expired; a launch that has ended."""

    status: Literal["unauthenticated"]
    errors: list[AuthorizationRequired]


class ScopeMissing(Shape):
    """What Canvas says of a token without the endpoint's scope."""

    message: Literal["Insufficient scopes on access token."]


class InsufficientScopes(Shape):
    """A token without the endpoint's scope."""

    errors: list[ScopeMissing]


class NotAuthorized(Shape):
    """What Canvas says to those who may not."""

    message: Literal["user not authorized to perform that action"]


class Unauthorized(Shape):
    """Somebody whose role in the course does not allow that."""

    status: Literal["unauthorized"]
    errors: list[NotAuthorized]


class NotFound(Shape):
    """Not there, deleted, another course's, or another student's."""

    error: Literal["Resource Not Found"]


class FieldProblem(Shape):
    """What is wrong with a field, as Rails prints it."""

    attribute: str = Field(description="The field.")
    type: str = Field(description="By which programs tell problems apart.", examples=["blank"])
    message: str = Field(examples=["can't be blank"])


class InvalidFields(Shape):
    """Fields that break a rule, each with what is wrong with it. Nothing was changed."""

    errors: dict[str, list[FieldProblem]]


class Refusal(Shape):
    """A refusal for which Canvas has no words of its own."""

    error: str = Field(description="A sentence for people.")
    code: str = Field(description="By which programs tell refusals apart.", examples=["turn_in_progress"])
    retryable: bool = Field(description="Whether the same request may work later.")
    reference_id: str = Field(description="By which the tool's log knows the refusal.")


@dataclass(frozen=True, slots=True)
class RefusalKind:
    """When a status comes, in which shape (whatever Pydantic's `TypeAdapter` takes), with which headers and what they
    say.
    """

    words: str
    shape: Any = Refusal
    headers: tuple[tuple[str, str], ...] = ()


REFUSALS = {
    HTTPStatus.BAD_REQUEST: RefusalKind(
        "Fields that break a rule, by name; or a body that is no JSON object and no form.",
        InvalidFields | Refusal,
    ),
    HTTPStatus.UNAUTHORIZED: RefusalKind(
        "No valid token, or one without the scope. Within a launch: it has ended, or the CSRF token is missing.",
        Unauthenticated | InsufficientScopes,
        (("WWW-Authenticate", 'With `Unauthenticated`: `Bearer realm="canvas-lms"`.'),),
    ),
    HTTPStatus.FORBIDDEN: RefusalKind("The role in the course does not allow that.", Unauthorized),
    HTTPStatus.NOT_FOUND: RefusalKind("Not there, deleted, or not within the caller's reach.", NotFound),
    HTTPStatus.CONFLICT: RefusalKind("What was asked does not fit what has happened; `code` says which."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: RefusalKind("The body is over one megabyte."),
    HTTPStatus.UNPROCESSABLE_ENTITY: RefusalKind("The message is too long. The model was not called."),
    HTTPStatus.TOO_MANY_REQUESTS: RefusalKind(
        "More than the token or its person may do in the time.",
        headers=(("Retry-After", "Seconds until it may be asked again."),),
    ),
    HTTPStatus.INTERNAL_SERVER_ERROR: RefusalKind("The tool made a mistake."),
    HTTPStatus.SERVICE_UNAVAILABLE: RefusalKind("The model did not answer. What was written is kept."),
}
