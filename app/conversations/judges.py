"""Judging beside the replies, in the background: a judgement that fails or comes late never keeps a chat waiting."""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from sqlmodel import Session

from app.conversations.judge import Judgement, judge
from app.conversations.models import Conversation, Message
from app.conversations.progress import open_positions, record_judgement
from app.conversations.prompt import JUDGE_VERSION
from app.conversations.service import messages_of
from app.conversations.structured import UnansweredError
from app.database import Database, patiently, utc_now
from app.llm.interface import ModelAdapter, ModelError, ModelStatus, Speaker
from app.usage.budgets import is_used_up
from app.usage.meter import TokenMeter

logger = logging.getLogger(__name__)
# A student's message that is unjudged for so long was missed: its judgement failed, or its process went. After one
# that failed here, a conversation is left alone for as long.
MISSED_AFTER = timedelta(minutes=1)
FAR_OFF = datetime.max.replace(tzinfo=UTC)


class Judges:
    """The judgements that this process makes, those of one conversation one after another.

    Another process may judge the same conversation at the same time: what is recorded is the same.
    """

    def __init__(self, database: Database, model: ModelAdapter, meter: TokenMeter) -> None:
        self._database, self._model, self._meter = database, model, meter
        self._wanted: dict[int, int] = {}
        self._failed: dict[int, datetime] = {}
        self._changed = threading.Condition()

    def status(self) -> ModelStatus:
        """Say which model judges."""
        return self._model.status()

    def begin(self, conversation: Conversation, message_id: int) -> None:
        """Have what was said up to a message judged, by a thread of its own, unless all objectives are met.

        The message must have been committed, and have been within the course's budget.
        """
        if conversation.all_objectives_met:
            return
        with self._changed:
            under_way = conversation.id in self._wanted
            self._wanted[conversation.id] = max(message_id, self._wanted.get(conversation.id, 0))
        if not under_way:
            name = f"judge-{conversation.id}"
            threading.Thread(target=self._work, args=(conversation.id,), name=name, daemon=True).start()

    def begin_unpaid(self, conversation: Conversation, message_id: int) -> None:
        """Do as `begin` where no message has just been paid for, if the course may still use the AI this month."""
        with self._database.snapshot() as session:
            used_up = is_used_up(session, conversation.experience_id)
        if not used_up:
            self.begin(conversation, message_id)

    def catch_up(self, session: Session, conversation: Conversation, messages: Sequence[Message]) -> None:
        """Have a conversation judged whose last judgement was missed, if the course may still use the AI this month.

        One that may be under way, or has failed a moment ago, is left alone. Asks by the caller's own session: callers
        that each waited for a second connection would leave none for anybody.
        """
        waiting = unjudged(conversation, messages)
        if not waiting:
            return
        sent = waiting[-1].created_at
        tried = max(sent, self._failed.get(conversation.id, sent))
        if tried < utc_now() - MISSED_AFTER and not is_used_up(session, conversation.experience_id):
            self.begin(conversation, waiting[-1].id)

    def wait_for(self, conversation_id: int, seconds: float) -> bool:
        """Wait until nothing of a conversation is being judged here; False where that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: conversation_id not in self._wanted, seconds)

    def _work(self, conversation_id: int) -> None:
        judged = 0
        while wanted := self._next(conversation_id, judged):
            self._attempt(conversation_id, wanted)
            judged = wanted

    def _next(self, conversation_id: int, judged: int) -> int | None:
        """Return up to which message is to be judged; None, and the end, where nothing was added meanwhile."""
        with self._changed:
            wanted = self._wanted[conversation_id]
            if wanted > judged:
                return wanted
            del self._wanted[conversation_id]
            self._changed.notify_all()
            return None

    def _attempt(self, conversation_id: int, until: int) -> None:
        try:
            while self._judge_some(conversation_id, until):
                pass
        except ModelError as error:
            # The next message's judgement begins where this one should have.
            logger.warning("conversation %s was not judged: %s", conversation_id, error)
            self._note_failure(conversation_id)
        except Exception:
            logger.exception("conversation %s was not judged", conversation_id)
            self._note_failure(conversation_id)

    def _note_failure(self, conversation_id: int) -> None:
        now = utc_now()
        with self._changed:
            recent = {each: when for each, when in self._failed.items() if when > now - MISSED_AFTER}
            self._failed = recent | {conversation_id: now}

    def _judge_some(self, conversation_id: int, until: int) -> bool:
        """Judge as much as one judgement takes in; False where nothing is left."""
        with self._database.snapshot() as session:
            conversation = session.get_one(Conversation, conversation_id)
            said = _counting(conversation, messages_of(session, conversation))
            messages = [message for message in said if message.id <= until]
            positions = open_positions(session, conversation)
        if not unjudged(conversation, messages):
            return False
        judgement = self._judge(conversation, messages, positions)
        self._record(conversation, judgement)
        return judgement.until < until

    def _judge(
        self, conversation: Conversation, messages: Sequence[Message], positions: Sequence[int]
    ) -> Judgement:
        if not positions:
            return Judgement(until=messages[-1].id)
        try:
            return judge(self._model, conversation, messages, positions)
        except UnansweredError as error:
            self._meter.note(conversation.experience_id, *error.tokens)
            raise

    def _record(self, conversation: Conversation, judgement: Judgement) -> None:
        if judgement.unproved:
            logger.info("conversation %s: %s findings without proof", conversation.id, judgement.unproved)

        def record() -> None:
            with self._database.transaction() as session:
                record_judgement(
                    session,
                    conversation.id,
                    judgement.credits,
                    until=judgement.until,
                    model=judgement.model,
                    prompt_version=JUDGE_VERSION,
                )

        self._meter.note(conversation.experience_id, *judgement.tokens)
        patiently(record, f"the judgement of conversation {conversation.id}")


def unjudged(conversation: Conversation, messages: Sequence[Message]) -> list[Message]:
    """Return the student's messages that no judgement has taken in yet; none once all objectives are met."""
    if conversation.all_objectives_met:
        return []
    return [
        message
        for message in _counting(conversation, messages)
        if message.speaker is Speaker.STUDENT and message.id > conversation.judged_until
    ]


def _counting(conversation: Conversation, messages: Iterable[Message]) -> Iterator[Message]:
    """Yield the messages up to the first that was only taken, after the end or the last turn, because of danger."""
    sent = 0
    for message in messages:
        if message.speaker is Speaker.STUDENT:
            sent += 1
            if sent > conversation.max_turns or message.created_at > (conversation.ended_at or FAR_OFF):
                return
        yield message
