"""One model at one server, asked once: what a chain of models is made of."""

from collections.abc import Generator
from typing import Protocol

from app.llm.interface import ChatRequest, Completion, StructuredRequest

Request = ChatRequest | StructuredRequest
# Text as it is written, at least one piece, and then how it ended.
Pieces = Generator[str | Completion, None, None]


class Model(Protocol):
    """A model that answers or fails, without a second try. ``name`` is for logs."""

    name: str

    def stream(self, request: Request, deadline: float) -> Pieces:
        """Yield the reply, or the JSON of a structured answer, and then one `Completion`.

        ``deadline`` is when the turn is over, by `time.monotonic`. Raises `ModelError`.
        """
