"""Writing replies in the background, so that a reader who leaves stops nothing and one who returns sees it grow.

A reply is written by one thread of one process. A keeper thread saves what there is of every reply under way, renews
their leases and learns which of them are to be stopped; a process that dies stops renewing, and its replies can then be
tried again. One that is told to go lets replies end for a while and then stores what there is of the others (`drain`).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import bindparam, tuple_, update
from sqlalchemy import select as select_columns
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session, col, select

from app.conversations.live import HEARTBEAT_EVERY, LiveReply, Scene
from app.conversations.models import Conversation, Message, MessageState, ReplyNote
from app.conversations.performance import Played, ReplyGuard, play
from app.conversations.prompt import build_request, secret_of
from app.conversations.recital import Secret
from app.conversations.safety.findings import Category, Finding, Severity, worst_by_category
from app.conversations.safety.flags import follow_text, raise_flags
from app.conversations.safety.models import Source
from app.conversations.safety.safety import Safety
from app.conversations.safety.watch import UnsafeReplyError
from app.conversations.service import LEASE, interrupt_abandoned, messages_of
from app.database import Database, patiently, utc_now
from app.llm.interface import ChatRequest, ModelAdapter, ModelError, ModelErrorCode, Speaker
from app.llm.selection import prime
from app.usage.budgets import tokens_of
from app.usage.meter import TokenMeter

logger = logging.getLogger(__name__)
SAVE_EVERY = 1.0
SAVED_AT_ONCE = 50
RENEW_EVERY = 5.0  # a quarter of a lease
POLL_EVERY = 0.4
TURN_MARGIN = 30.0  # seconds over a turn's own limit after which its writer is given up
STORED_WITHIN = 3.0  # of the seconds that a server which goes down has left

# Built once: building takes longer than running them. A reply that was taken over by a later attempt is left alone.
_OURS = (
    col(Message.id) == bindparam("of"),
    col(Message.attempts) == bindparam("by"),
    col(Message.state) == MessageState.GENERATING,
)
# Replies under way, by `these`: pairs of a reply's id and the number of its attempt.
_THESE = (
    tuple_(col(Message.id), col(Message.attempts)).in_(bindparam("these", expanding=True)),
    col(Message.state) == MessageState.GENERATING,
)
_TOLD_TO_STOP = select_columns(col(Message.id), col(Message.attempts)).where(
    *_THESE, col(Message.error_code) == ReplyNote.STOPPED
)
_RENEW = update(Message).where(*_THESE).values(lease_until=bindparam("new_lease"))
_SAVE_TEXT = update(Message).where(*_OURS).values(text=bindparam("so_far"))
# One that somebody else has stored as far as it had come.
_CUT_OFF = (
    col(Message.id) == bindparam("of"),
    col(Message.attempts) == bindparam("by"),
    col(Message.state).in_([MessageState.INTERRUPTED, MessageState.FAILED]),
)
_TAKE_BACK = (
    update(Message)
    .where(*_CUT_OFF)
    .values(state=MessageState.FAILED, error_code=ReplyNote.WITHHELD, text="")
    .returning(col(Message.id))
)
_STANDS = select_columns(col(Message.id)).where(*_CUT_OFF)
_AT_THE_END: dict[str, Any] = {
    "state": None,
    "text": "",
    "error_code": None,
    "model": None,
    "prompt_tokens": None,
    "completion_tokens": None,
    "truncated": False,
    "created_at": None,
    "latency_ms": None,
    "first_token_ms": None,
    "lease_until": None,
}
_SETTLE = (
    update(Message)
    .where(*_OURS)
    .values({name: bindparam(f"new_{name}") for name in _AT_THE_END})
    .returning(Message)
)


class _InterruptedError(Exception):
    """What the model writes is wanted no more: somebody else stores the reply as far as it had come."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How a reply ended: the columns that tell, and what teachers are to look at.

    That is in its text, or in what the model wrote where nobody is to read it (``withheld``).
    """

    columns: dict[str, Any]
    findings: Sequence[Finding] = ()
    withheld: str | None = None


class Replies:
    """The replies that this process writes."""

    def __init__(
        self,
        database: Database,
        model: ModelAdapter,
        safety: Safety,
        meter: TokenMeter,
        *,
        max_tokens: int,
        turn_seconds: float,
    ) -> None:
        self._database, self._model, self._safety, self._meter = database, model, safety, meter
        self._max_tokens = max_tokens
        self._longest_ms = (turn_seconds + TURN_MARGIN) * 1000
        self._live: dict[int, LiveReply] = {}
        self._changed = threading.Condition()
        self._keeper: threading.Thread | None = None

    def begin(
        self, reply: Message, conversation: Conversation | None = None, said: Sequence[Message] = ()
    ) -> None:
        """Have a reply written, by a thread of its own. No database session may hold the reply's row locked.

        The `conversation` and what was `said` in it before the reply are loaded where the caller has not done so.
        """
        scene = Scene(conversation, said) if conversation is not None and said else None
        live = LiveReply(reply_id=reply.id, attempt=reply.attempts, scene=scene)
        with self._changed:
            earlier = self._live.get(live.reply_id)
            self._live[live.reply_id] = live
            if self._keeper is None or not self._keeper.is_alive():
                self._keeper = threading.Thread(target=self._keep, name="reply-keeper", daemon=True)
                self._keeper.start()
        threading.Thread(target=self._write, args=(live,), name=f"reply-{live.reply_id}", daemon=True).start()
        if earlier is not None:  # its lease has run out
            self._cut_off([earlier], MessageState.INTERRUPTED)

    def open(self, conversation: Conversation, opening: Message) -> None:
        """Have the opening written; where it stands already, let the model read the persona meanwhile."""
        if opening.state is MessageState.GENERATING:
            self.begin(opening)
            return
        request = self._build(conversation, [opening])
        threading.Thread(target=prime, args=(self._model, request), name="warm-up", daemon=True).start()

    def stop(self, reply_id: int) -> None:
        """End a reply that is to be stopped (`service.stop_reply`) at once where this process writes it."""
        with self._changed:
            live = self._live.get(reply_id)
        if live is not None:
            self._cut_off([live], MessageState.INTERRUPTED, ReplyNote.STOPPED)

    def drain(self, seconds: float) -> None:
        """Wait `seconds` for the replies under way, then store what there is of the others, before the process goes."""
        with self._changed:
            self._changed.wait_for(lambda: not self._live, timeout=seconds)
            left = list(self._live.values())
        if left:
            logger.warning("%s replies are interrupted: the server goes down", len(left))
            self._cut_off(left, MessageState.INTERRUPTED, ReplyNote.SHUT_DOWN)
            with self._changed:  # those that are being stored by their writers
                self._changed.wait_for(lambda: not self._live, timeout=STORED_WITHIN)
        _keep_trying(self._meter.store, "what models took")

    def follow(self, reply_id: int) -> Iterator[str | Message | None]:
        """Yield the text of a reply as it grows, None as a sign of life meanwhile, and at last the settled reply.

        A reply that another process writes is read from the database.
        """
        with self._changed:
            live = self._live.get(reply_id)
        sent = (yield from live.follow()) if live else 0
        if live and live.settled:
            yield live.settled
        else:
            yield from self._follow_stored(reply_id, sent)

    def _write(self, live: LiveReply) -> None:
        try:
            outcome = self._outcome(live)
            if not live.claim_end():
                raise _InterruptedError
            if not self._settle(live, outcome) and outcome.findings:
                self._flag_afterwards(live, outcome.findings, outcome.withheld)
        except _InterruptedError:
            logger.info("reply %s was interrupted", live.reference)
            self._look_back(live)
        finally:
            self._forget(live)

    def _outcome(self, live: LiveReply) -> _Outcome:
        """Generate the reply and return how it ended."""
        try:
            return self._generate(live)
        except _InterruptedError:
            raise
        except ModelError as error:
            if live.ending:
                raise _InterruptedError from error
            logger.warning("reply %s failed: %s", live.reference, error)
            return self._broken_off(live, error.code)
        except UnsafeReplyError as error:
            return self._withheld(live, error)
        except Exception:
            logger.exception("reply %s failed", live.reference)
            return self._broken_off(live, "internal_error")

    def _generate(self, live: LiveReply) -> _Outcome:
        request, secret = self._request(live)
        live.attempts = request.attempts
        if live.ending:  # before there was anything to give up
            raise _InterruptedError

        def show(piece: str) -> None:
            if not live.append(piece):
                raise _InterruptedError

        played = play(self._model, request, lambda: ReplyGuard(secret, self._safety.watch()), show)
        columns = {
            "state": MessageState.COMPLETE,
            "text": played.text,
            "error_code": ReplyNote.RECITED if played.recited else None,
            "model": played.completion.model,
            "prompt_tokens": played.completion.prompt_tokens,
            "completion_tokens": played.completion.completion_tokens,
            "truncated": played.completion.truncated,
        }
        return _Outcome(columns, self._found_in(played))

    def _found_in(self, played: Played) -> list[Finding]:
        """Return what teachers are to look at in a whole reply. Raises `UnsafeReplyError`."""
        recital = [Finding(Category.RECITAL, Severity.LOW)] if played.recited else []
        return worst_by_category(
            [*played.findings, *self._safety.look_closer(played.text), *recital],
        )

    def _broken_off(self, live: LiveReply, code: str) -> _Outcome:
        """Return how a reply has failed, unless nobody is to read what came of it."""
        part = self._part(live, MessageState.FAILED, code)
        try:
            found = worst_by_category([*part.findings, *self._look_closer(live)])
        except UnsafeReplyError as error:
            return self._withheld(live, error)
        return replace(part, findings=found)

    def _withheld(self, live: LiveReply, error: UnsafeReplyError) -> _Outcome:
        """Return the end of a reply that nobody is to read; what readers have seen of it is taken back."""
        logger.warning("reply %s is withheld: %s", live.reference, error)
        columns = {
            "state": MessageState.FAILED,
            "error_code": ReplyNote.WITHHELD,
            "text": "",
            "model": self._writer_of(live),
        }
        return _Outcome(columns, error.findings, error.text)

    def _look_closer(self, live: LiveReply) -> list[Finding]:
        """Return what the check beside the lists finds in what came of a reply. Raises `UnsafeReplyError`."""
        return self._safety.look_closer(live.text) if live.text else []

    def _look_back(self, live: LiveReply) -> None:
        """Look closer at what there is of an interrupted reply once that is stored: flag it, or take it back."""
        try:
            found, withheld = self._look_closer(live), None
        except UnsafeReplyError as error:
            found, withheld = list(error.findings), error.text
        if not found:
            return
        with self._changed:
            self._changed.wait_for(lambda: self._live.get(live.reply_id) is not live, timeout=LEASE.seconds)
        self._flag_afterwards(live, found, withheld)

    def _flag_afterwards(self, live: LiveReply, found: Sequence[Finding], withheld: str | None) -> None:
        """Flag a reply that somebody else has stored as far as it had come, or take it back, if it still stands so."""

        def flag() -> None:
            with self._database.transaction() as session:
                _hold_conversation(session, live.reply_id)
                row = {"of": live.reply_id, "by": live.attempt}
                statement = _STANDS if withheld is None else _TAKE_BACK
                if session.connection().execute(statement, row).first():
                    if withheld is not None:
                        follow_text(session, live.reply_id, Source.WITHHELD, withheld=withheld)
                    raise_flags(session, live.reply_id, found, withheld=withheld)

        _keep_trying(flag, f"what is found in reply {live.reference}")

    def _request(self, live: LiveReply) -> tuple[ChatRequest, Secret]:
        scene = live.scene or self._scene_of(live.reply_id)
        live.experience_id = scene.conversation.experience_id
        return self._build(scene.conversation, scene.said), secret_of(scene.conversation)

    def _scene_of(self, reply_id: int) -> Scene:
        with self._database.snapshot() as session:
            reply = session.get_one(Message, reply_id)
            conversation = session.get_one(Conversation, reply.conversation_id)
            messages = messages_of(session, conversation)
        return Scene(conversation, [message for message in messages if message.id < reply_id])

    def _build(self, conversation: Conversation, said: Sequence[Message]) -> ChatRequest:
        return build_request(conversation, said, self._model.context_tokens, self._max_tokens)

    def _part(self, live: LiveReply, state: MessageState, code: str | None) -> _Outcome:
        """Return the end of a reply that is not whole, with what the lists find in it."""
        text = live.text.strip()
        model = self._writer_of(live) if text else None
        columns = {"state": state, "error_code": code, "text": text, "model": model}
        return _Outcome(columns, self._safety.look_at(text, Speaker.PERSONA))

    def _cut_off(self, cut: Iterable[LiveReply], state: MessageState, code: str | None = None) -> None:
        """End replies here and now, keeping what there is, whatever their model does.

        One whose writer is about to store it is left to that.
        """
        for live in cut:
            if live.claim_end():
                self._settle(live, self._part(live, state, code))
                self._forget(live)
                live.attempts.give_up()

    def _settle(self, live: LiveReply, outcome: _Outcome) -> bool:
        """Write the end of a reply; False where it was written or has been taken over by a later attempt."""
        values = outcome.columns | {
            "created_at": utc_now(),
            "latency_ms": live.elapsed_ms(),
            "first_token_ms": live.first_token_ms,
            "lease_until": None,
        }
        # Where it cannot be stored, its lease runs out, and it can be tried again.
        _keep_trying(lambda: self._store(live, values, outcome), f"reply {live.reference}")
        self._meter.note(live.experience_id, *map(tokens_of, live.attempts))
        return live.settled is not None

    def _store(self, live: LiveReply, values: dict[str, Any], outcome: _Outcome) -> None:
        new = {f"new_{name}": value for name, value in (_AT_THE_END | values).items()}
        # Without findings one statement is all.
        with self._database.transaction() if outcome.findings else self._database.statements() as session:
            if outcome.findings:
                _hold_conversation(session, live.reply_id)
            row = (
                session.connection().execute(_SETTLE, {"of": live.reply_id, "by": live.attempt} | new).first()
            )
            if row is not None:
                raise_flags(session, live.reply_id, outcome.findings, withheld=outcome.withheld)
        live.settled = Message(**row._mapping) if row is not None else None

    def _writer_of(self, live: LiveReply) -> str:
        """Return the name of the model that speaks, or the one that would have been asked first."""
        return live.attempts[-1].writer if live.attempts else self._model.status().name

    def _forget(self, live: LiveReply) -> None:
        with self._changed:
            if self._live.get(live.reply_id) is live:
                del self._live[live.reply_id]
            self._changed.notify_all()
        live.close()

    def _keep(self) -> None:
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: not self._live, SAVE_EVERY):
                    self._keeper = None
                    return
                live = list(self._live.values())
            try:
                self._save(live)
            except Exception:
                logger.exception("saving %s replies under way failed", len(live))

    def _save(self, under_way: Sequence[LiveReply]) -> None:
        """Renew leases before anything else: what cannot be stored of one reply must not end the others."""
        overdue = [live for live in under_way if live.elapsed_ms() >= self._longest_ms]
        self._renew([live for live in under_way if live not in overdue])
        told = self._told_to_stop(under_way)
        if told or overdue:
            threading.Thread(
                target=self._end_early, args=(told, overdue), name="reply-ender", daemon=True
            ).start()
        grown = [live for live in under_way if len(live.text) > live.saved]
        for begin in range(0, len(grown), SAVED_AT_ONCE):
            self._save_texts(grown[begin : begin + SAVED_AT_ONCE])

    def _end_early(self, told: Sequence[LiveReply], overdue: Sequence[LiveReply]) -> None:
        """End those that are to be stopped, and those whose model takes longer than it may."""
        self._cut_off(told, MessageState.INTERRUPTED, ReplyNote.STOPPED)
        self._cut_off(overdue, MessageState.FAILED, ModelErrorCode.TIMEOUT)

    def _save_texts(self, grown: Sequence[LiveReply]) -> None:
        """Save a few at once, and hold their rows no longer than that takes: whoever ends a reply waits for its row."""
        texts = [(live, live.text) for live in grown]
        rows = [{"of": live.reply_id, "by": live.attempt, "so_far": text} for live, text in texts]
        with self._database.statements() as session:
            session.connection().execute(_SAVE_TEXT, rows)
        for live, text in texts:
            live.saved = len(text)

    def _told_to_stop(self, under_way: Sequence[LiveReply]) -> list[LiveReply]:
        attempts = {(live.reply_id, live.attempt): live for live in under_way}
        with self._database.snapshot() as session:
            told = session.connection().execute(_TOLD_TO_STOP, {"these": list(attempts)}).all()
        return [attempts[reply_id, attempt] for reply_id, attempt in told]

    def _renew(self, alive: Sequence[LiveReply]) -> None:
        now = time.monotonic()
        due = [live for live in alive if now - live.renewed > RENEW_EVERY]
        if not due:
            return
        values = {
            "these": [(live.reply_id, live.attempt) for live in due],
            "new_lease": utc_now() + LEASE,
        }
        with self._database.statements() as session:
            session.connection().execute(_RENEW, values)
        for live in due:
            live.renewed = now

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


def _keep_trying(store: Callable[[], None], what: str) -> None:
    """Store patiently; log what cannot be stored."""
    try:
        patiently(store, what)
    except SQLAlchemyError:
        logger.exception("%s could not be stored", what)


def _hold_conversation(session: Session, reply_id: int) -> None:
    """Lock a reply's conversation, which its flags refer to, before the reply: so does whoever ends a conversation."""
    of_reply = select(Message.conversation_id).where(Message.id == reply_id).scalar_subquery()
    session.exec(
        select(Conversation.id).where(Conversation.id == of_reply).with_for_update(read=True, key_share=True)
    ).one()
