"""What to say to a student where a reply is not whole; never in the upstream's words."""

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from app.conversations.models import Message, ReplyNote
from app.llm.interface import ModelErrorCode

_INTERRUPTED = _l("The reply was interrupted. Your message is saved; try again.")
_FAILED = _l("The AI did not answer. Your message is saved; try again.")
_SENTENCES: dict[str | None, LazyString] = {
    None: _INTERRUPTED,
    ReplyNote.SHUT_DOWN: _INTERRUPTED,
    ReplyNote.HELD: _l("The conversation waits here. Go on with it whenever you like, or leave it."),
    ReplyNote.WITHHELD: _l(
        "The AI wrote something that it should not have, so its reply is not shown. Your message is saved; try again."
    ),
    ReplyNote.STOPPED: _l("You stopped this reply. Leave it as it is, or try again."),
    ModelErrorCode.BUSY: _l("The AI is too busy just now. Your message is saved; try again in a moment."),
    ModelErrorCode.TIMEOUT: _l("The AI took too long to answer. Your message is saved; try again."),
    ModelErrorCode.REFUSED: _l(
        "The AI is not set up correctly. Your message is saved; please tell your teacher, and try again later."
    ),
}


def failure_sentence(reply: Message) -> str:
    """Return why a reply is not whole, and what to do, in the reader's language."""
    return str(_SENTENCES.get(reply.error_code, _FAILED))
