"""Reading a reply while it is written, whatever form its events have."""

import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import orjson

from app.llm.http import Answer
from app.llm.interface import Completion, ModelError, ModelErrorCode
from app.llm.model import Pieces
from app.text import clean_line, is_blank

MAX_MODEL_NAME = 200
MAX_REASON = 40
MAX_COUNT = 10_000_000  # no call takes more tokens, whatever a server says
HALF_A_SIGN = re.compile(rb"\\u[dD][89a-fA-F]")
OUT_OF_ROOM = frozenset({"length", "max_tokens", "model_context_window_exceeded"})


@dataclass
class Reply(ABC):
    """What is known of a reply so far. ``private`` are the words that no log is to quote."""

    model: str
    private: tuple[str, ...]
    spoken: bool = False
    done: bool = False
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    _named: object = None
    _half: str = ""

    @property
    def complete(self) -> bool:
        """Whether the server has said that there is no more."""
        return self.done or self.finish_reason is not None

    def take(self, data: bytes) -> str | None:
        """Note what an event tells and return the text in it, None at the end. Raises `ModelError`."""
        try:
            text = self.read(data)
        except (ValueError, RecursionError, AttributeError, TypeError, LookupError) as error:
            raise ModelError(ModelErrorCode.BAD_ANSWER, "an event that cannot be read") from error
        if text and (self._half or not text.isascii()):
            text = self._with_whole_signs(text)
        if text and not self.spoken:
            self.spoken = not is_blank(text)
        return text

    def _with_whole_signs(self, text: str) -> str:
        """Put a sign together that was cut in two, as servers do that count in halves; a half alone is none."""
        text, self._half = self._half + text, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    @abstractmethod
    def read(self, data: bytes) -> str | None:
        """Do what `take` says; errors of a malformed event may pass."""

    def note_model(self, name: object) -> None:
        """Keep the name that the server gives the model, where it gives one; most repeat it with each token."""
        if name == self._named:
            return
        self._named = name
        self.model = clean_line(name, MAX_MODEL_NAME) or self.model

    def note_finish(self, reason: object) -> None:
        """Keep why the server says that the reply has ended, where it does."""
        if isinstance(reason, str):
            self.finish_reason = clean_line(reason, MAX_REASON) or self.finish_reason

    def completion(self) -> Completion:
        """Return how the reply ended, or raise if it did not end or says nothing."""
        if not self.complete:
            raise ModelError(ModelErrorCode.BAD_ANSWER, "the reply broke off")
        truncated = self.finish_reason in OUT_OF_ROOM
        end = Completion(self.model, self.prompt_tokens, self.completion_tokens, truncated)
        if not self.spoken:
            raise ModelError(ModelErrorCode.BAD_ANSWER, f"an empty reply ({self.finish_reason})", end=end)
        return end


def read_reply(answer: Answer, reply: Reply) -> Pieces:
    """Yield the pieces of an answer; its connection can be used again when it was read to the end."""
    try:
        yield from _texts(answer, reply)
        yield reply.completion()
    finally:
        if reply.complete:  # whoever has the completion reads no further
            answer.finish()
        answer.close()


def parse(data: bytes) -> Any:  # noqa: ANN401 - whatever it is
    """Decode the JSON of an event, also with half a sign in it. Raises `ValueError`."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if not HALF_A_SIGN.search(data):
            raise
        return json.loads(data)


def count(value: object, known: int | None = None) -> int | None:
    """Take a token count from outside; what is none leaves what is known."""
    return value if isinstance(value, int) and 0 <= value <= MAX_COUNT else known


def _texts(answer: Answer, reply: Reply) -> Pieces:
    try:
        yield from answer.texts(reply.take)
    except ModelError:
        # What is lost after the last word is no loss.
        if not reply.complete:
            raise
