"""Having the model play its part: one reply, paced, cut where it has no end, never its instructions, fit to be read."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from app.conversations.prompt import deflecting
from app.conversations.recital import RecitalGuard, RecitedError, Secret
from app.conversations.safety.findings import Finding
from app.conversations.safety.watch import Watch
from app.llm.interface import ChatRequest, Completion, ModelAdapter, ModelError, ModelErrorCode
from app.llm.model import within_limit
from app.markdown import plain_text
from app.text import is_blank, without_controls

logger = logging.getLogger(__name__)
PIECES_A_TURN = 32
# Said where even a second attempt recites the instructions; without a word, for a student of whatever language.
DEFLECTION = "…?"

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Played:
    """A whole reply, and what is found in it. ``recited``: it stands in the place of a recital of the instructions."""

    text: str
    completion: Completion
    recited: bool = False
    findings: Sequence[Finding] = ()


class ReplyGuard:
    """Takes a reply piece by piece and gives back what may be shown: no recital, and nothing unfit to be read."""

    def __init__(self, secret: Secret, watch: Watch) -> None:
        self._recital, self._watch = RecitalGuard(secret), watch

    def take(self, piece: str) -> str:
        """Add a piece and return what may be shown now. Raises `RecitedError`, `UnsafeReplyError`.

        White space before the first word is left out: what is found is told by its place in the reply as it is kept.
        """
        return self._watch.take(self._recital.take(piece if self._recital.text else piece.lstrip()))

    def end(self) -> str:
        """Return the rest. Raises `RecitedError`, `UnsafeReplyError`."""
        return self._watch.take(self._recital.end()) + self._watch.end()

    def played(self, completion: Completion) -> Played:
        """Return the reply, which has ended."""
        return Played(self._recital.text.strip(), completion, findings=tuple(self._watch.findings))


MakeGuard = Callable[[], ReplyGuard]


def play(model: ModelAdapter, request: ChatRequest, guard: MakeGuard, show: Show) -> Played:
    """Have the model write a reply, and ``show`` each piece of it as soon as it is safe to be seen.

    ``show`` may raise to end it. Raises `ModelError`, `UnsafeReplyError`.
    """
    try:
        return _attempt(model, request, guard(), show)
    except RecitedError:
        logger.warning("the model recited its instructions (%s)", request.conversation)
    try:
        # Nothing of what takes its place is shown before it is whole.
        played = _attempt(model, deflecting(request), guard(), lambda _piece: show(""))
    except (RecitedError, ModelError):
        played = Played(DEFLECTION, Completion(model.status().name))
    return replace(played, recited=True)


def _attempt(model: ModelAdapter, request: ChatRequest, guard: ReplyGuard, show: Show) -> Played:
    for piece in _pieces(model, request):
        if not isinstance(piece, Completion):
            show(guard.take(without_controls(piece)))
            continue
        show(guard.end())
        played = guard.played(piece)
        if not is_blank(plain_text(played.text)):
            return played
    raise ModelError(ModelErrorCode.BAD_ANSWER, "an empty reply")


def _pieces(model: ModelAdapter, request: ChatRequest) -> Iterator[str | Completion]:
    written = within_limit(model.stream(request), request.max_tokens, model.status().name)
    for number, piece in enumerate(written):
        yield piece
        if number % PIECES_A_TURN == 0:
            time.sleep(0)  # a model that never pauses must not keep other chats from going on
