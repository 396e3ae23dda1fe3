"""Writing replies in the background, so that a reader who leaves stops nothing and one who returns sees it grow.

A reply is written by one thread of one process. A keeper thread saves what there is of every reply under way and
renews their leases; a process that dies stops renewing, and its replies can then be tried again.
"""

import logging
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlmodel import col

from app.conversations.models import Conversation, Message, MessageState
from app.conversations.prompt import build_request
from app.conversations.service import LEASE, interrupt_abandoned, messages_of
from app.database import Database, utc_now
from app.llm.interface import ChatRequest, Completion, ModelAdapter, ModelError, ModelErrorCode
from app.llm.selection import prime
from app.text import without_controls

logger = logging.getLogger(__name__)
SAVE_EVERY = 1.0
COALESCE = 0.04
POLL_EVERY = 0.4
HEARTBEAT_EVERY = 10.0
SETTLE_PAUSES = (0.5, 2.0)
TURN_MARGIN = 30.0  # seconds over a turn's own limit after which its writer is given up
CHARACTERS_PER_TOKEN = 12  # more than any language needs: only a model without end runs into it
PIECES_A_TURN = 32


@dataclass
class LiveReply:
    """A reply under way in this process. ``changed`` wakes readers; ``text`` only grows."""

    reply_id: int
    attempt: int
    text: str = ""
    done: bool = False
    started: float = field(default_factory=time.monotonic)
    first_token_ms: int | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    def append(self, piece: str) -> None:
        """Take in the next piece."""
        with self.changed:
            if self.first_token_ms is None:
                self.first_token_ms = self.elapsed_ms()
            self.text += piece
            self.changed.notify_all()

    def wait_beyond(self, length: int) -> tuple[str, bool]:
        """Wait for more text than `length`, the end, or a heartbeat's time; return the text and whether it is whole."""
        with self.changed:
            self.changed.wait_for(lambda: self.done or len(self.text) > length, timeout=HEARTBEAT_EVERY)
            return self.text, self.done

    def close(self) -> None:
        """Tell readers that the rest is in the database."""
        with self.changed:
            self.done = True
            self.changed.notify_all()

    def elapsed_ms(self) -> int:
        """Return the milliseconds since the model was asked."""
        return round((time.monotonic() - self.started) * 1000)


class Replies:
    """The replies that this process writes."""

    def __init__(
        self, database: Database, model: ModelAdapter, *, max_tokens: int, turn_seconds: float
    ) -> None:
        self._database, self._model, self._max_tokens = database, model, max_tokens
        self._longest_ms = (turn_seconds + TURN_MARGIN) * 1000
        self._live: dict[int, LiveReply] = {}
        self._lock = threading.Lock()
        self._keeper: threading.Thread | None = None

    def begin(self, reply: Message) -> None:
        """Have a reply written, by a thread of its own. No database session may hold the reply's row locked."""
        live = LiveReply(reply_id=reply.id, attempt=reply.attempts)
        with self._lock:
            self._live[live.reply_id] = live
            if self._keeper is None or not self._keeper.is_alive():
                self._keeper = threading.Thread(target=self._keep, name="reply-keeper", daemon=True)
                self._keeper.start()
        threading.Thread(target=self._write, args=(live,), name=f"reply-{live.reply_id}", daemon=True).start()

    def open(self, conversation: Conversation, opening: Message) -> None:
        """Have the opening written; where it stands already, let the model read the persona meanwhile."""
        if opening.state is MessageState.GENERATING:
            self.begin(opening)
            return
        request = self._build(conversation, [opening])
        threading.Thread(target=prime, args=(self._model, request), name="warm-up", daemon=True).start()

    def follow(self, reply_id: int) -> Iterator[str | Message | None]:
        """Yield the text of a reply as it grows, None as a sign of life meanwhile, and at last the settled reply.

        A reply that another process writes is read from the database.
        """
        with self._lock:
            live = self._live.get(reply_id)
        sent = (yield from _follow_live(live)) if live else 0
        yield from self._follow_stored(reply_id, sent)

    def _write(self, live: LiveReply) -> None:
        try:
            self._settle(live, self._outcome(live))
        except SQLAlchemyError:
            # Its lease runs out, and it can be tried again.
            logger.exception("reply %s could not be stored", live.reply_id)
        finally:
            with self._lock:
                if self._live.get(live.reply_id) is live:
                    del self._live[live.reply_id]
            live.close()

    def _outcome(self, live: LiveReply) -> dict[str, Any]:
        """Generate the reply and return the columns that tell how it ended."""
        try:
            return self._generate(live)
        except ModelError as error:
            logger.warning("reply %s failed: %s", live.reply_id, error)
            return {"state": MessageState.FAILED, "error_code": error.code}
        except Exception:
            logger.exception("reply %s failed", live.reply_id)
            return {"state": MessageState.FAILED, "error_code": "internal_error"}

    def _generate(self, live: LiveReply) -> dict[str, Any]:
        completion: Completion | None = None
        pieces = self._model.stream(self._request(live.reply_id))
        for number, piece in enumerate(pieces):
            if isinstance(piece, Completion):
                completion = piece
                break
            live.append(without_controls(piece))
            if len(live.text) > CHARACTERS_PER_TOKEN * self._max_tokens:
                completion = Completion(self._model.status().name, truncated=True)
                break
            if number % PIECES_A_TURN == 0:
                time.sleep(0)  # a model that never pauses must not keep other chats from going on
        if completion is None or not live.text.strip():
            raise ModelError(ModelErrorCode.BAD_ANSWER, "an empty reply")
        return {
            "state": MessageState.COMPLETE,
            "text": live.text.strip(),
            "model": completion.model,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
            "truncated": completion.truncated,
        }

    def _request(self, reply_id: int) -> ChatRequest:
        with self._database.snapshot() as session:
            reply = session.get_one(Message, reply_id)
            conversation = session.get_one(Conversation, reply.conversation_id)
            said = [message for message in messages_of(session, conversation) if message.id < reply_id]
        return self._build(conversation, said)

    def _build(self, conversation: Conversation, said: Sequence[Message]) -> ChatRequest:
        return build_request(conversation, said, self._model.context_tokens, self._max_tokens)

    def _settle(self, live: LiveReply, result: dict[str, Any]) -> None:
        """Write the end of a reply, unless it has been taken over by a later attempt."""
        values = result | {
            "created_at": utc_now(),
            "latency_ms": live.elapsed_ms(),
            "first_token_ms": live.first_token_ms,
            "lease_until": None,
        }
        for pause in SETTLE_PAUSES:
            try:
                return self._store(live, values)
            except OperationalError:
                logger.warning("storing reply %s is tried again", live.reply_id)
                time.sleep(pause)
        return self._store(live, values)

    def _store(self, live: LiveReply, values: dict[str, Any]) -> None:
        with self._database.transaction() as session:
            session.execute(update(Message).where(_is_ours(live)).values(**values))

    def _keep(self) -> None:
        while True:
            time.sleep(SAVE_EVERY)
            with self._lock:
                live = list(self._live.values())
                if not live:
                    self._keeper = None
                    return
            try:
                self._save(live)
            except Exception:
                logger.exception("saving %s replies under way failed", len(live))

    def _save(self, under_way: list[LiveReply]) -> None:
        """Renew the leases first: what cannot be saved of one reply must not end the others."""
        alive = [live.reply_id for live in under_way if live.elapsed_ms() < self._longest_ms]
        with self._database.transaction() as session:
            session.execute(
                update(Message)
                .where(col(Message.id).in_(alive), col(Message.state) == MessageState.GENERATING)
                .values(lease_until=utc_now() + LEASE)
            )
        with self._database.transaction() as session:
            for live in under_way:
                session.execute(update(Message).where(_is_ours(live)).values(text=live.text))

    def _follow_stored(self, reply_id: int, sent: int) -> Iterator[str | Message | None]:
        quiet_since = time.monotonic()
        while (reply := self._stored(reply_id)).state is MessageState.GENERATING:
            if len(reply.text) > sent:
                yield reply.text[sent:]
                sent, quiet_since = len(reply.text), time.monotonic()
            elif time.monotonic() - quiet_since > HEARTBEAT_EVERY:
                yield None
                quiet_since = time.monotonic()
            time.sleep(POLL_EVERY)
        yield reply

    def _stored(self, reply_id: int) -> Message:
        with self._database.snapshot() as session:
            reply = session.get_one(Message, reply_id)
            if not reply.abandoned:
                return reply
            conversation = session.get_one(Conversation, reply.conversation_id)
        with self._database.transaction() as session:
            interrupt_abandoned(session, conversation)
            return session.get_one(Message, reply_id)


def _follow_live(live: LiveReply) -> Generator[str | None, None, int]:
    """Yield the text as it grows; return how much of it was sent."""
    sent = 0
    while True:
        text, done = live.wait_beyond(sent)
        if len(text) > sent:
            yield text[sent:]
            sent = len(text)
        elif not done:
            yield None
        if done:
            return sent
        time.sleep(COALESCE)  # tokens that come meanwhile go out together


def _is_ours(live: LiveReply) -> ColumnElement[bool]:
    return (
        (col(Message.id) == live.reply_id)
        & (col(Message.attempts) == live.attempt)
        & (col(Message.state) == MessageState.GENERATING)
    )
