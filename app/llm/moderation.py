"""OpenAI's moderation endpoint, which others speak too: which of a provider's categories a text falls into."""

from contextlib import closing
from time import monotonic
from typing import Self

import orjson

from app.llm.choice import ModelChoice
from app.llm.circuit import Circuit
from app.llm.http import StreamingClient, Timeouts, bearer
from app.llm.interface import ModelError, ModelErrorCode
from app.settings import Settings

OK = 200


class Moderator:
    """Asks a provider about texts. A provider that keeps failing is left alone for a while."""

    def __init__(
        self, choice: ModelChoice, client: StreamingClient, circuit: Circuit, *, seconds: float
    ) -> None:
        self._choice, self._client, self._circuit, self._seconds = choice, client, circuit, seconds

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Return the one that the settings want, None where they want none."""
        choice, seconds = settings.moderation_model, settings.safety_timeout
        if choice is None:
            return None
        timeouts = Timeouts(
            min(seconds, settings.llm_connect_timeout), first_token=seconds, token=seconds, turn=seconds
        )
        circuit = Circuit(
            choice.model, failures=settings.llm_circuit_failures, seconds=settings.llm_circuit_seconds
        )
        return cls(choice, StreamingClient(timeouts), circuit, seconds=seconds)

    def categories(self, text: str) -> frozenset[str]:
        """Return the provider's names of the categories into which a text falls. Raises `ModelError`."""
        self._circuit.admit()
        try:
            named = self._ask(text)
        except ModelError as error:
            self._circuit.failed(error)
            raise
        self._circuit.succeeded()
        return named

    def _ask(self, text: str) -> frozenset[str]:
        answer = self._client.post(
            f"{self._choice.base_url}/moderations",
            {"model": self._choice.model, "input": text},
            headers=bearer(self._choice.api_key),
            deadline=monotonic() + self._seconds,
        )
        with closing(answer):
            if answer.status != OK:
                raise answer.refusal((self._choice.api_key or "", text))[0]
            return _named(answer.body())


def _named(body: bytes) -> frozenset[str]:
    try:
        results = orjson.loads(body)["results"]
        return frozenset(
            name for result in results for name, flagged in result["categories"].items() if flagged
        )
    except (orjson.JSONDecodeError, AttributeError, TypeError, LookupError) as error:
        raise ModelError(ModelErrorCode.BAD_ANSWER, "no moderation that can be read") from error
