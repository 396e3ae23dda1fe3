"""A model that is served over HTTP: the same call for every provider, whose words and events are a dialect."""

import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol, Self

from app.llm.choice import ModelChoice
from app.llm.http import Answer, StreamingClient
from app.llm.model import Pieces, Request, noted
from app.llm.reply import Reply, read_reply
from app.llm.turns import words_of

OK: Final = 200
MAY_BE_DIALECT: Final = frozenset({400, 422})

logger = logging.getLogger(__name__)


class Dialect(Protocol):
    """How a provider is asked."""

    def payload(self, model: str, request: Request) -> dict[str, Any]:
        """Return the body of a streaming request."""

    def adapted(self, complaint: str, request: Request) -> Self | None:
        """Return the dialect without what the server complains of, or None if it is none of its parts."""


class ServedModel:
    """A model at a provider's server. What the server turns out not to know is remembered."""

    def __init__(
        self,
        choice: ModelChoice,
        client: StreamingClient,
        *,
        path: str,
        headers: Mapping[str, str],
        dialect: Dialect,
        reply: type[Reply],
    ) -> None:
        self.name = choice.model
        self._url = f"{choice.base_url}/{path}"
        self._api_key = choice.api_key
        self._client = client
        self._headers = dict(headers)
        self._dialect = dialect
        self._reply = reply

    def stream(self, request: Request, deadline: float) -> Pieces:
        """See `Model.stream`."""
        return noted(request, self.name, self._stream(request, deadline))

    def _stream(self, request: Request, deadline: float) -> Pieces:
        answer = self._ask(request, deadline)
        yield from read_reply(answer, self._reply(self.name, self._private(request)))

    def _ask(self, request: Request, deadline: float) -> Answer:
        dialect = self._dialect
        while True:
            payload = dialect.payload(self.name, request)
            answer = self._client.post(
                self._url, payload, headers=self._headers, deadline=deadline, asked=request
            )
            if answer.status == OK:
                self._dialect = dialect
                return answer
            dialect = self._adapted(dialect, answer, request)

    def _adapted(self, dialect: Dialect, answer: Answer, request: Request) -> Dialect:
        error, complaint = answer.refusal(self._private(request))
        answer.close()
        adapted = dialect.adapted(complaint, request) if answer.status in MAY_BE_DIALECT else None
        if adapted is None:
            raise error
        logger.info("%s is asked in another way: %s", self.name, error)
        return adapted

    def _private(self, request: Request) -> tuple[str, ...]:
        return (self._api_key or "", *words_of(request))
