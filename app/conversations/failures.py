"""What to say to a student where a reply is not whole; never in the upstream's words."""

from dataclasses import dataclass, replace

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from app.conversations.models import Message, ReplyNote
from app.llm.interface import ModelErrorCode

_BEGIN_AGAIN = _l("Please try again.")


@dataclass(frozen=True, slots=True)
class Failure:
    """``what`` has become of a reply, which stays true; the ``remedy`` is for as long as there is one.

    ``retryable`` is False where another try soon would fail in the same way. ``of_opening`` is the remedy where nobody
    has written anything yet.
    """

    what: LazyString
    remedy: LazyString
    of_opening: LazyString = _BEGIN_AGAIN
    retryable: bool = True

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


_AGAIN = _l("Your message is saved; try again.")
_INTERRUPTED = Failure(_l("The reply was interrupted."), _AGAIN)
_FAILED = Failure(_l("The AI did not answer."), _AGAIN)
_BROKEN_OFF = Failure(_l("The AI broke off its reply."), _AGAIN)
_FAILURES: dict[str | None, Failure] = {
    None: _INTERRUPTED,
    ReplyNote.SHUT_DOWN: _INTERRUPTED,
    ReplyNote.HELD: Failure(
        _l("The conversation paused here."), _l("Go on with it whenever you like, or leave it.")
    ),
    ReplyNote.WITHHELD: Failure(
        _l("The AI wrote something that it should not have, so its reply is not shown."), _AGAIN
    ),
    ReplyNote.STOPPED: Failure(_l("This reply was stopped."), _l("Leave it as it is, or try again.")),
    ModelErrorCode.BUSY: Failure(
        _l("The AI was too busy to answer."),
        _l("Your message is saved; try again in a moment."),
        _l("Please try again in a moment."),
    ),
    ModelErrorCode.TIMEOUT: Failure(_l("The AI took too long to answer."), _AGAIN),
    ModelErrorCode.REFUSED: Failure(
        _l("The AI was not set up correctly."),
        _l("Your message is saved; please tell your teacher, and try again later."),
        _l("Please tell your teacher, and try again later."),
        retryable=False,
    ),
}


def failure_of(reply: Message) -> Failure:
    """Return why a reply is not whole, and what to do."""
    failure = _FAILURES.get(reply.error_code, _BROKEN_OFF if reply.text else _FAILED)
    return replace(failure, remedy=failure.of_opening) if reply.is_opening else failure
