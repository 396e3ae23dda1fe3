"""What this process does for conversations in the background: replies being written, messages being judged."""

from typing import cast

from flask import current_app

from app.conversations.evaluation import Evaluations
from app.conversations.judges import Judges
from app.conversations.models import Conversation
from app.conversations.replies import Replies
from app.conversations.safety.moderations import Moderations
from app.conversations.service import Turn


def replies() -> Replies:
    """Return the replies that this process writes."""
    return cast(Replies, current_app.extensions["replies"])


def judges() -> Judges:
    """Return the judgements that this process makes."""
    return cast(Judges, current_app.extensions["judges"])


def evaluations() -> Evaluations:
    """Return what makes evaluations."""
    return cast(Evaluations, current_app.extensions["evaluations"])


def moderations() -> Moderations:
    """Return what looks at messages beside their replies."""
    return cast(Moderations, current_app.extensions["moderations"])


def begin_turn(conversation: Conversation, turn: Turn) -> None:
    """Have a turn's reply written and its message judged, unless another request is at it. Both must be committed."""
    if turn.to_write:
        replies().begin(turn.reply, conversation, turn.said)
        if turn.message is not None:
            judges().begin(conversation, turn.message.id)
            moderations().begin(turn.message)
