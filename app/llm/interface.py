"""What every model adapter takes and gives. The rest of the tool knows models through this file alone."""

from collections.abc import Callable, Iterator, Mapping
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
class Completion:
    """How a reply ended: who wrote it and what it cost. Counts are None where the server gives none."""

    model: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    truncated: bool = False


@dataclass(slots=True)
class Attempt:
    """One attempt of one model at what was asked: what it has written so far, and how it ended, once it has.

    ``asked`` is all that it had to read. ``unread`` says that it turned that down, or was out of reach.
    """

    model: str
    asked: tuple[str, ...] = field(repr=False)
    text: str = field(default="", repr=False)
    end: Completion | None = None
    unread: bool = False

    @property
    def writer(self) -> str:
        """The model's name, as its server gives it where it has."""
        return self.end.model if self.end and self.end.model else self.model


class Attempts(list[Attempt]):
    """The attempts at a request, oldest first. ``given_up`` says that nobody waits for an answer any more."""

    def __init__(self) -> None:
        super().__init__()
        self.given_up = False
        self._hang_up: Callable[[], None] | None = None

    def hang_up_by(self, hang_up: Callable[[], None]) -> None:
        """Learn how to hang up on the model that is being asked."""
        self._hang_up = hang_up
        if self.given_up:
            hang_up()

    def give_up(self) -> None:
        """Hang up on whoever is being asked, and let nobody else be asked."""
        self.given_up = True
        if self._hang_up is not None:
            self._hang_up()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A reply asked of the persona.

    ``instructions`` is the whole system prompt for a capable model; ``brief`` a short form of the persona for
    a small one. ``lines`` is the conversation so far, oldest first; it is empty or ends with a persona's line
    only where the persona opens. ``conversation`` is a stable key for prompt caches, without meaning outside.
    ``script`` is what the scripted persona plays from (see ``scripted.py``), None where there is none. ``began_at`` is
    when the turn began, by `time.monotonic`, and ``attempts`` are those made at it so far: a request that is made anew
    from another belongs to the same turn.
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
    attempts: Attempts = field(default_factory=Attempts, compare=False, repr=False)

    @property
    def asked(self) -> tuple[str, ...]:
        """All that a model has to read."""
        return (self.instructions, *(line.text for line in self.lines))


@dataclass(frozen=True, slots=True)
class StructuredRequest:
    """A JSON answer asked of a model.

    ``instructions`` is the system prompt, ``prompt`` what is to be judged. ``schema`` is a JSON Schema called
    ``name``; an adapter makes it strict where its server wants that. ``conversation`` is a stable key for prompt
    caches, without meaning outside. ``scripted`` is what the scripted persona answers, None where it has nothing
    to say. ``attempts`` are those made at it so far, also in the form of another request that was made from it.
    """

    instructions: str
    prompt: str
    name: str
    schema: Mapping[str, Any]
    conversation: str
    max_tokens: int = 1_500
    scripted: Any = None
    attempts: Attempts = field(default_factory=Attempts, compare=False, repr=False)

    @property
    def asked(self) -> tuple[str, ...]:
        """All that a model has to read."""
        return (self.instructions, self.prompt)


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
    seconds. ``end`` is how an answer ended that is of no use.
    """

    code: ModelErrorCode
    detail: str = ""
    retryable: bool = True
    retry_after: float | None = None
    end: Completion | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    @property
    def unread(self) -> bool:
        """Whether the model has not read what it was asked, unless it had begun to write."""
        return self.code in UNREAD


class ModelAdapter(Protocol):
    """A model that plays personas and judges. ``context_tokens`` is its window, prompt and reply together."""

    context_tokens: int

    def status(self) -> ModelStatus:
        """Say whether the model can answer now; cheap enough for every page."""

    def stream(self, request: ChatRequest) -> Iterator[str | Completion]:
        """Yield the reply piece by piece as it is written, then one `Completion`; note the attempts in the request.

        Closing the iterator ends the call upstream. Raises `ModelError`.
        """

    def answer(self, request: StructuredRequest) -> StructuredAnswer:
        """Return the model's whole answer; note the attempts in the request.

        Raises `ModelError`: BAD_ANSWER for what is no JSON.
        """
