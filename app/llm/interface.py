"""What every model adapter takes and gives. The rest of the tool knows models through this file alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic
from typing import Any, Protocol


class Speaker(StrEnum):
    """Who said a line of the conversation."""

    STUDENT = "student"
    PERSONA = "persona"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing said, as plain text or Markdown."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A reply asked of the persona.

    ``instructions`` is the whole system prompt for a capable model; ``brief`` a short form of the persona for
    a small one. ``lines`` is the conversation so far, oldest first; it is empty or ends with a persona's line
    only where the persona opens. ``conversation`` is a stable key for prompt caches, without meaning outside.
    ``script`` is what the scripted persona plays from (see ``scripted.py``), None where there is none. ``began_at`` is
    when the turn began, by `time.monotonic`: a request that is made anew from another belongs to the same turn.
    """

    instructions: str
    brief: str
    persona_name: str
    facts: str
    lines: tuple[Line, ...]
    conversation: str
    script: Mapping[str, Any] | None = None
    max_tokens: int = 600
    began_at: float = field(default_factory=monotonic, compare=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """How a reply ended: who wrote it and what it cost. Counts are None where the server gives none."""

    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class StructuredRequest:
    """A JSON answer asked of a model.

    ``instructions`` is the system prompt, ``prompt`` what is to be judged. ``schema`` is a JSON Schema called
    ``name``; an adapter makes it strict where its server wants that. ``conversation`` is a stable key for prompt
    caches, without meaning outside. ``scripted`` is what the scripted persona answers, None where it has nothing
    to say.
    """

    instructions: str
    prompt: str
    name: str
    schema: Mapping[str, Any]
    conversation: str
    max_tokens: int = 1_500
    scripted: Any = None


@dataclass(frozen=True, slots=True)
class StructuredAnswer:
    """What a model answered: decoded JSON that nobody has validated yet, and what it cost."""

    data: Any
    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Readiness(StrEnum):
    """Whether a model can be talked to now."""

    READY = "ready"
    PREPARING = "preparing"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What pages say of the model. ``scripted`` and ``embedded`` put a label on, ``progress`` is 0 to 1."""

    name: str
    readiness: Readiness
    scripted: bool = False
    embedded: bool = False
    progress: float | None = None
    detail: str = ""


class ModelErrorCode(StrEnum):
    """Why a model did not answer; stored with the failed reply."""

    UNREACHABLE = "model_unreachable"
    TIMEOUT = "model_timeout"
    BUSY = "model_busy"
    REFUSED = "model_refused"
    BAD_ANSWER = "model_bad_answer"


# Failures of a model that has not read what it was asked: it is out of reach, has too much to do, or turns it down.
UNREAD = frozenset({ModelErrorCode.UNREACHABLE, ModelErrorCode.BUSY, ModelErrorCode.REFUSED})


@dataclass
class ModelError(Exception):
    """A model that did not answer. ``detail`` holds the upstream's words: for the log, never for a person.

    ``retryable`` is False where the configuration is wrong and trying again cannot help; ``retry_after`` is
    seconds. ``text`` is what the model wrote where an answer is of no use, ``end`` how it ended where it did.
    """

    code: ModelErrorCode
    detail: str = ""
    retryable: bool = True
    retry_after: float | None = None
    text: str = field(default="", repr=False)
    end: Completion | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    @property
    def unread(self) -> bool:
        """Whether the model has neither read nor written anything, so that it has cost nothing."""
        return self.code in UNREAD and not self.text


class ModelAdapter(Protocol):
    """A model that plays personas. ``context_tokens`` is its window, prompt and reply together."""

    context_tokens: int

    def status(self) -> ModelStatus:
        """Say whether the model can answer now; cheap enough for every page."""

    def stream(self, request: ChatRequest) -> Iterator[str | Completion]:
        """Yield the reply piece by piece as it is written, then one `Completion`.

        Closing the iterator ends the call upstream. Raises `ModelError`.
        """

    def answer(self, request: StructuredRequest) -> StructuredAnswer:
        """Return the model's whole answer. Raises `ModelError`: BAD_ANSWER for what is no JSON."""
