"""Having the model play its part: one reply, paced, cut where it has no end, and never its own instructions."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.conversations.prompt import deflecting
from app.conversations.recital import RecitalGuard, RecitedError, Secret
from app.llm.interface import ChatRequest, Completion, ModelAdapter, ModelError, ModelErrorCode
from app.text import without_controls

logger = logging.getLogger(__name__)
CHARACTERS_PER_TOKEN = 12  # more than any language needs: only a model without end runs into it
PIECES_A_TURN = 32
# Said where even a second attempt recites the instructions.
DEFLECTION = "Sorry, I lost my thread for a moment. Where were we?"

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Played:
    """A whole reply. ``recited`` tells that it stands in the place of a recital of the instructions."""

    text: str
    completion: Completion
    recited: bool = False


def play(model: ModelAdapter, request: ChatRequest, secret: Secret, show: Show) -> Played:
    """Have the model write a reply, and ``show`` each piece of it as soon as it is safe to be seen.

    ``show`` may raise to end it. Raises `ModelError`.
    """
    try:
        return _attempt(model, request, secret, show)
    except RecitedError:
        logger.warning("the model recited its instructions (%s)", request.conversation)
        return _deflect(model, request, secret, show)


def _deflect(model: ModelAdapter, request: ChatRequest, secret: Secret, show: Show) -> Played:
    """Write something else in place of a recital; nothing of it is shown before it is whole."""
    try:
        played = _attempt(model, deflecting(request), secret, lambda _piece: show(""))
    except (RecitedError, ModelError):
        return Played(DEFLECTION, Completion(model.status().name), recited=True)
    return Played(played.text, played.completion, recited=True)


def _attempt(model: ModelAdapter, request: ChatRequest, secret: Secret, show: Show) -> Played:
    guard = RecitalGuard(secret)
    for piece in _pieces(model, request):
        if not isinstance(piece, Completion):
            show(guard.take(piece))
            continue
        show(guard.end())
        if guard.text.strip():
            return Played(guard.text.strip(), piece)
    raise ModelError(ModelErrorCode.BAD_ANSWER, "an empty reply")


def _pieces(model: ModelAdapter, request: ChatRequest) -> Iterator[str | Completion]:
    """Yield what the model writes, then its completion, also where it would write for ever."""
    length = 0
    for number, piece in enumerate(model.stream(request)):
        if isinstance(piece, Completion):
            yield piece
            return
        yield without_controls(piece)
        length += len(piece)
        if length > CHARACTERS_PER_TOKEN * request.max_tokens:
            yield Completion(model.status().name, truncated=True)
            return
        if number % PIECES_A_TURN == 0:
            time.sleep(0)  # a model that never pauses must not keep other chats from going on
