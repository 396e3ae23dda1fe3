"""One model at one server, asked once: what a chain of models is made of."""

from collections.abc import Generator, Iterable
from contextlib import closing
from typing import Protocol

from app.llm.interface import Attempt, ChatRequest, Completion, ModelError, StructuredRequest

Request = ChatRequest | StructuredRequest
# Text as it is written, at least one piece, and then how it ended.
Pieces = Generator[str | Completion, None, None]
CHARACTERS_PER_TOKEN = 12  # more than any language needs: only a model without end runs into it


class Model(Protocol):
    """A model that answers or fails, without a second try. ``name`` is for logs."""

    name: str

    def stream(self, request: Request, deadline: float) -> Pieces:
        """Yield the reply, or the JSON of a structured answer, and then one `Completion`.

        ``deadline`` is when the turn is over, by `time.monotonic`. It is `noted` in the request. Raises `ModelError`.
        """


def noted(request: Request, model: str, pieces: Pieces) -> Pieces:
    """Yield what a model writes, and note in the request's attempts what comes of it."""
    attempt = Attempt(model, request.asked)
    request.attempts.append(attempt)
    try:
        with closing(pieces):
            for piece in pieces:
                if isinstance(piece, Completion):
                    attempt.end = piece
                else:
                    attempt.text += piece
                yield piece
    except ModelError as error:
        attempt.end = attempt.end or error.end
        attempt.unread = error.unread and not attempt.text
        raise


def within_limit(pieces: Iterable[str | Completion], max_tokens: int, model: str) -> Pieces:
    """Yield the pieces up to their completion; where `model` would write for ever, cut them and yield one."""
    left = CHARACTERS_PER_TOKEN * max_tokens
    for piece in pieces:
        if isinstance(piece, Completion):
            yield piece
            return
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            yield Completion(model, truncated=True)
            return
