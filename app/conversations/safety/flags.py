"""Raising flags, in the transaction that stores what they are about."""

import logging
from collections.abc import Sequence

from sqlalchemy import and_, delete, or_, update
from sqlmodel import Session, col, select

from app.conversations.models import Conversation, Message, Notice
from app.conversations.safety.findings import Finding, Severity, self_harm_in
from app.conversations.safety.models import Flag, FlagState, Source
from app.database import insert_into, once_committed

logger = logging.getLogger(__name__)


def notice_for(findings: Sequence[Finding]) -> Notice | None:
    """Return what the tool itself answers to a message in which this was found: help to who may harm themselves."""
    return Notice.HELP if self_harm_in(findings) else None


def raise_flags(
    session: Session,
    message_id: int,
    findings: Sequence[Finding],
    *,
    withheld: str | None = None,
    reason: str | None = None,
) -> None:
    """Flag a message for the teachers, once for each category and source; a trial's raises none.

    The findings are in its text, in what a model wrote that no student is shown (``withheld``), or in the ``reason``
    for which a student dislikes it: none of these hides what was found in another. A flag becomes what is found graver,
    in a further attempt at a reply that was withheld, or in another reason, and is opened again; what is open gives way
    to nothing less grave.
    """
    conversation_id = _conversation_that_counts(session, message_id) if findings else None
    if conversation_id is None:
        return
    once_committed(session, lambda: _log(message_id, findings))
    rows = [
        Flag(
            message_id=message_id,
            conversation_id=conversation_id,
            category=finding.category,
            source=_source_of(withheld, reason),
            severity=finding.severity,
            excerpt_start=finding.start,
            excerpt_end=finding.end,
            withheld=withheld,
            reason=reason,
        ).model_dump(exclude={"id"})
        for finding in findings
    ]
    insert = insert_into(session, Flag)
    found = {
        name: insert.excluded[name]
        for name in ("severity", "excerpt_start", "excerpt_end", "withheld", "reason", "workflow_state")
    }
    is_graver = and_(col(Flag.severity) == Severity.LOW, insert.excluded.severity == Severity.HIGH)
    is_further = and_(
        or_(col(Flag.withheld).is_not(None), col(Flag.reason).is_distinct_from(insert.excluded.reason)),
        or_(col(Flag.workflow_state) == FlagState.RESOLVED, insert.excluded.severity == col(Flag.severity)),
    )
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["message_id", "category", "source"], set_=found, where=or_(is_graver, is_further)
        ),
        rows,
    )


def follow_text(session: Session, message_id: int, source: Source, *, by: int = 0, **copy: str) -> None:
    """Let the flags in a reply's text point to where that is from now on: ``by`` so many characters, or in a ``copy``.

    They take the place of what was flagged there before for the same reason.
    """
    flagged = col(Flag.message_id) == message_id
    in_text = and_(flagged, col(Flag.source) == Source.TEXT)
    categories = select(Flag.category).where(in_text)
    session.execute(
        delete(Flag).where(flagged, col(Flag.source) == source, col(Flag.category).in_(categories))
    )
    moved = {"excerpt_start": Flag.excerpt_start + by, "excerpt_end": Flag.excerpt_end + by}
    session.execute(update(Flag).where(in_text).values(source=source, **moved, **copy))


def _source_of(withheld: str | None, reason: str | None) -> Source:
    if reason is not None:
        return Source.REASON
    return Source.TEXT if withheld is None else Source.WITHHELD


def _log(message_id: int, findings: Sequence[Finding]) -> None:
    for finding in findings:
        logger.info("message %s is flagged: %s, %s", message_id, finding.category, finding.severity)


def _conversation_that_counts(session: Session, message_id: int) -> int | None:
    """Return the id of a message's conversation, None for a trial's."""
    return session.exec(
        select(Message.conversation_id)
        .join(Conversation, col(Conversation.id) == Message.conversation_id)
        .where(Message.id == message_id, col(Conversation.is_preview).is_(False))
    ).one_or_none()
