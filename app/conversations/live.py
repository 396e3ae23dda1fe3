"""A reply while it is written, for those who read along in the same process."""

import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field

from app.conversations.models import Conversation, Message, reference_of
from app.llm.interface import Attempts

HEARTBEAT_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class Scene:
    """What a reply is written from: the conversation, and what was said in it before, oldest first."""

    conversation: Conversation
    said: Sequence[Message]


@dataclass(eq=False)
class LiveReply:
    """A reply under way in this process. ``changed`` wakes readers; ``text`` only grows, until the reply is ``ending``.

    ``scene`` is there where whoever began the reply knew it; ``renewed`` is when its lease was, by `time.monotonic`;
    ``saved`` is how much of the text stands in the database, ``settled`` the reply as it was stored at its end, before
    it is ``done``. ``attempts`` are those of models at writing it, about the experience with the id.
    """

    reply_id: int
    attempt: int
    scene: Scene | None = None
    text: str = ""
    saved: int = 0
    settled: Message | None = None
    ending: bool = False
    done: bool = False
    started: float = field(default_factory=time.monotonic)
    renewed: float = field(default_factory=time.monotonic)
    first_token_ms: int | None = None
    experience_id: int = 0
    attempts: Attempts = field(default_factory=Attempts)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def reference(self) -> str:
        """What the log calls it."""
        return reference_of(self.reply_id, self.attempt)

    def append(self, piece: str) -> bool:
        """Take in the next piece; tell whether there is still somebody to write for."""
        with self.changed:
            if self.ending or not piece:
                return not self.ending
            if self.first_token_ms is None:
                self.first_token_ms = self.elapsed_ms()
            self.text += piece
            self.changed.notify_all()
            return True

    def claim_end(self) -> bool:
        """Take it upon oneself to store how the reply ends; False where another has. No more of it is written."""
        with self.changed:
            first, self.ending = not self.ending, True
            return first

    def close(self) -> None:
        """Tell readers that no more comes; what is not settled is in the database."""
        with self.changed:
            self.done = True
            self.changed.notify_all()

    def elapsed_ms(self) -> int:
        """Return the milliseconds since the model was asked."""
        return round((time.monotonic() - self.started) * 1000)

    def follow(self) -> Generator[str | None, None, int]:
        """Yield the text as it grows, None as a sign of life meanwhile; return how much of it was sent."""
        sent = 0
        while True:
            text, done = self._wait_beyond(sent)
            if len(text) > sent:
                yield text[sent:]
                sent = len(text)
            elif not done:
                yield None
            if done:
                return sent

    def _wait_beyond(self, length: int) -> tuple[str, bool]:
        """Wait for more text than `length`, the end, or a heartbeat's time; return the text and whether it is whole."""
        with self.changed:
            self.changed.wait_for(lambda: self.done or len(self.text) > length, timeout=HEARTBEAT_EVERY)
            return self.text, self.done
