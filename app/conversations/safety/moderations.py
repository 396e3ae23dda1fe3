"""Looking at students' messages beside their replies, in the background, with a check that takes its time."""

import logging
import threading
from collections.abc import Sequence

from app.conversations.models import LOCK, Conversation, Message
from app.conversations.safety.findings import Check, Finding
from app.conversations.safety.flags import notice_for, raise_flags
from app.database import Database, patiently, utc_now
from app.llm.interface import Speaker

logger = logging.getLogger(__name__)
PATIENCE = 30.0  # no check takes longer; whoever waits gives up then


class Moderations:
    """The messages that this process has looked at beside their replies; none where there is no ``check``."""

    def __init__(self, database: Database, check: Check | None) -> None:
        self._database, self._check = database, check
        self._under_way: set[int] = set()
        self._changed = threading.Condition()

    def begin(self, message: Message) -> None:
        """Have a message looked at, by a thread of its own. It must have been committed."""
        if self._check is None:
            return
        with self._changed:
            self._under_way.add(message.id)
        name = f"moderation-{message.id}"
        threading.Thread(
            target=self._look_at, args=(self._check, message.id, message.text), name=name, daemon=True
        ).start()

    def looked_at(self, message: Message) -> Message:
        """Return a message as it is once it has been looked at, where this process is at it."""
        if self._check is None:
            return message
        with self._changed:
            self._changed.wait_for(lambda: message.id not in self._under_way, timeout=PATIENCE)
        with self._database.snapshot() as session:
            return session.get_one(Message, message.id)

    def _look_at(self, check: Check, message_id: int, text: str) -> None:
        try:
            findings = check.look_at(text, Speaker.STUDENT)
            if findings:
                patiently(lambda: self._note(message_id, findings), f"what was found in message {message_id}")
        except Exception:
            logger.exception("message %s was not looked at", message_id)
        finally:
            with self._changed:
                self._under_way.discard(message_id)
                self._changed.notify_all()

    def _note(self, message_id: int, findings: Sequence[Finding]) -> None:
        with self._database.transaction() as session:
            if notice := notice_for(findings):
                message = session.get_one(Message, message_id)
                # Pages that are open elsewhere learn of it by the conversation's time.
                conversation = session.get_one(Conversation, message.conversation_id, with_for_update=LOCK)
                conversation.updated_at, message.notice = utc_now(), notice
            raise_flags(session, message_id, findings)
