"""The scripted persona: it speaks where no model runs, always the same way, and pages label it as a demo."""

import logging
import re
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app.llm.improvised import recite
from app.llm.interface import (
    ChatRequest,
    Completion,
    ModelError,
    ModelErrorCode,
    ModelStatus,
    Readiness,
    Speaker,
    StructuredAnswer,
    StructuredRequest,
)
from app.llm.model import Pieces, noted

SCRIPTED_NAME: Final = "Scripted demo"
# Words this short are meant as they are; longer ones also begin their inflections: refund, refunded.
WHOLE_WORD = 3
SENTENCES = re.compile(r"(?<=[.!?])\s+")
LEAST_SENTENCE = 20
DEFLECTIONS = (
    "I'm not sure what to say to that. Could you ask me something else?",
    "I can't answer that. Could you put it another way?",
    "Let's stay with what brought us here.",
)

logger = logging.getLogger(__name__)


def _as_groups(keywords: object) -> object:
    """Read a plain list of words as one group."""
    plain = isinstance(keywords, list | tuple) and all(isinstance(word, str) for word in keywords)
    return [keywords] if plain else keywords


Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
Groups = Annotated[tuple[Words, ...], BeforeValidator(_as_groups), Field(min_length=1)]


class ScriptReply(BaseModel):
    """One answer of a script.

    ``keywords`` is a list of words, any of which will do, or a list of such lists, each of which must be met.
    A word may be a phrase; longer words also match their inflections (refund: refunded). ``mood`` is the mood
    that the persona is in after it; ``when_mood`` restricts the answer to a persona in that mood.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keywords: Groups
    text: str = Field(min_length=1)
    mood: str | None = None
    when_mood: str | None = None


class Script(BaseModel):
    """What the scripted persona plays from: how it opens, what it answers, and what it says otherwise.

    ``objectives`` has, for each learning objective in turn, the words by which students show it: as in a reply's
    ``keywords``, but each list may be met in another message.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    opening: str | None = None
    replies: tuple[ScriptReply, ...] = ()
    deflections: tuple[str, ...] = ()
    objectives: tuple[Groups, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A learning objective that a student has shown by a script's words. Both numbers count from 0.

    ``quote`` is what completed it in the ``message``.
    """

    objective: int
    message: int
    quote: str


class ScriptedAdapter:
    """Plays personas from a script or, without one, from the facts. ``pause`` is seconds a word."""

    # It reads the whole conversation anew each time to know its mood.
    context_tokens = 1_000_000

    def __init__(self, pause: float = 0.03) -> None:
        self._pause = pause

    def status(self) -> ModelStatus:
        """Say ready, and scripted."""
        return ModelStatus(SCRIPTED_NAME, Readiness.READY, scripted=True)

    def stream(self, request: ChatRequest) -> Iterator[str | Completion]:
        """Yield the reply word by word."""
        return noted(request, SCRIPTED_NAME, self._speak(request))

    def _speak(self, request: ChatRequest) -> Pieces:
        for number, word in enumerate(re.findall(r"\S+\s*", compose(request))):
            if number:
                time.sleep(self._pause)
            yield word
        yield Completion(SCRIPTED_NAME)

    def answer(self, request: StructuredRequest) -> StructuredAnswer:
        """Return what the request brings along for it; it judges nothing itself."""
        if request.scripted is None:
            raise ModelError(ModelErrorCode.REFUSED, "the scripted persona has no answer", retryable=False)
        return StructuredAnswer(request.scripted, SCRIPTED_NAME)


def compose(request: ChatRequest) -> str:
    """Return what the scripted persona says next."""
    script = _script_of(request.script)
    if script is None:
        return recite(request)
    messages = [line.text for line in request.lines if line.speaker is Speaker.STUDENT]
    if not messages:
        return script.opening or recite(request)
    return _play(script, messages)


def find_shown(given: Mapping[str, Any] | None, messages: Sequence[str]) -> list[Shown]:
    """Return the objectives that a student's messages show by the words of a script, if there is one."""
    script = _script_of(given)
    found = [
        _find_shown(number, groups, messages)
        for number, groups in enumerate(script.objectives if script else ())
    ]
    return [shown for shown in found if shown is not None]


def objectives_sought(given: Mapping[str, Any] | None) -> set[int]:
    """Return the objectives that a script, if there is one, has words for."""
    script = _script_of(given)
    return set(range(len(script.objectives))) if script else set()


def _find_shown(objective: int, groups: Groups, messages: Sequence[str]) -> Shown | None:
    missing = list(groups)
    for number, message in enumerate(messages):
        plain = _plain(message)
        met = [group for group in missing if _has_any(group, plain)]
        missing = [group for group in missing if group not in met]
        if not missing:
            return Shown(objective, number, _telling_sentence(groups, message))
    return None


def _telling_sentence(groups: Groups, message: str) -> str:
    """Return the sentence with words of the most groups; the whole message where a sentence alone says too little."""

    def groups_in(sentence: str) -> int:
        return sum(_has_any(group, _plain(sentence)) for group in groups)

    found = max(SENTENCES.split(message), key=groups_in)
    return found if len(found) >= LEAST_SENTENCE else message


def _script_of(given: Mapping[str, Any] | None) -> Script | None:
    if given is None:
        return None
    try:
        return Script.model_validate(given)
    except ValidationError as error:
        logger.warning("a script cannot be played: %s", error.errors(include_input=False, include_url=False))
        return None


@dataclass
class _Scene:
    """How far a performance is: it is played anew from the start for each reply, so nothing needs storing."""

    mood: str | None = None
    said: list[str] = field(default_factory=list)
    deflected: int = 0


def _play(script: Script, messages: Sequence[str]) -> str:
    scene = _Scene()
    for message in messages:
        reply = _choose(script.replies, _plain(message), scene)
        if reply is None:
            _deflect(script, scene)
        else:
            scene.mood = reply.mood or scene.mood
            scene.said.append(reply.text)
    return scene.said[-1]


def _choose(replies: Sequence[ScriptReply], message: str, scene: _Scene) -> ScriptReply | None:
    """Pick the most particular reply that fits; one that was given already only if nothing new fits."""
    fitting = [reply for reply in replies if _fits(reply, message, scene.mood)]
    fresh = [reply for reply in fitting if reply.text not in scene.said]
    usable = fresh or [reply for reply in fitting if reply.text != scene.said[-1]]
    return max(usable, key=lambda reply: (len(reply.keywords), reply.when_mood is not None), default=None)


def _fits(reply: ScriptReply, message: str, mood: str | None) -> bool:
    if reply.when_mood not in {None, mood}:
        return False
    return all(_has_any(group, message) for group in reply.keywords)


def _has_any(words: Words, message: str) -> bool:
    return any(_occurs(word, message) for word in words)


def _occurs(word: str, message: str) -> bool:
    plain = _plain(word)
    end = r"\b" if len(plain) <= WHOLE_WORD else ""
    return re.search(rf"\b{re.escape(plain)}{end}", message) is not None


def _deflect(script: Script, scene: _Scene) -> None:
    lines = script.deflections or DEFLECTIONS
    scene.said.append(lines[scene.deflected % len(lines)])
    scene.deflected += 1


def _plain(text: str) -> str:
    """Return the text as it is compared: small letters, no accents, straight apostrophes, single spaces."""
    decomposed = unicodedata.normalize("NFKD", text.replace("\u2019", "'")).casefold()
    return " ".join("".join(char for char in decomposed if not unicodedata.combining(char)).split())
