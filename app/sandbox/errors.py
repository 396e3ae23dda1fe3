"""What the sandbox refuses, and how it says so."""

from collections.abc import Mapping


class SandboxRefusedError(Exception):
    """The sandbox must not run with this configuration; the message says why and what to do."""


class ServiceError(Exception):
    """A refused roster or grade request, answered the way Canvas answers: JSON with a type and a message."""

    def __init__(self, status: int, message: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


class OAuthError(Exception):
    """A refused token or authorization request, in the words of RFC 6749."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status
