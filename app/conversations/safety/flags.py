"""Raising flags, in the transaction that stores what they are about."""

import logging
from collections.abc import Sequence

from sqlalchemy import and_, literal
from sqlalchemy import select as select_columns
from sqlmodel import Session, col

from app.conversations.models import Conversation, Message, Notice
from app.conversations.safety.findings import Category, Finding, Severity
from app.conversations.safety.models import Flag, FlagState
from app.database import insert_into

logger = logging.getLogger(__name__)


def note_findings(session: Session, message: Message, findings: Sequence[Finding]) -> None:
    """Flag a student's message, which is in the database, and have the tool answer one who may harm themselves."""
    if any(finding.category is Category.SELF_HARM for finding in findings):
        message.notice = Notice.HELP
    raise_flags(session, message.id, findings)


def raise_flags(
    session: Session, message_id: int, findings: Sequence[Finding], *, withheld: str | None = None
) -> None:
    """Flag a message for the teachers, once for each category; a trial's raises none. A statement for each finding.

    ``withheld`` is what a model wrote that no student is shown. Found again graver, an open flag becomes so.
    """
    for finding in findings:
        logger.info("message %s: %s, severity %s", message_id, finding.category, finding.severity)
        fresh = Flag(
            message_id=message_id,
            conversation_id=0,
            category=finding.category,
            severity=finding.severity,
            excerpt_start=finding.start,
            excerpt_end=finding.end,
            withheld=withheld,
        )
        _insert(session, fresh)


def _insert(session: Session, flag: Flag) -> None:
    """Insert a flag, with its conversation, unless that is a trial."""
    columns = flag.model_dump(exclude={"id", "conversation_id"})
    types = {name: Flag.__table__.c[name].type for name in columns}
    row = (
        select_columns(
            Message.conversation_id, *(literal(value, types[name]) for name, value in columns.items())
        )
        .join(Conversation, col(Conversation.id) == Message.conversation_id)
        .where(col(Message.id) == flag.message_id, col(Conversation.is_preview).is_(False))
    )
    insert = insert_into(session, Flag).from_select(["conversation_id", *columns], row)
    graver = {name: insert.excluded[name] for name in ("severity", "excerpt_start", "excerpt_end")}
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["message_id", "category"],
            set_=graver,
            where=and_(
                col(Flag.workflow_state) == FlagState.OPEN,
                col(Flag.severity) == Severity.LOW,
                insert.excluded.severity == Severity.HIGH,
            ),
        )
    )
