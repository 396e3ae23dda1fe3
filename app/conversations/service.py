"""Starting, resuming and ending conversations, and the short transactions of a turn.

Every query goes through the identity: another person's conversation is not there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from itertools import pairwise
from uuid import uuid4

from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, bindparam, func, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from app.conversations.completion import complete
from app.conversations.models import LOCK, Conversation, ConversationState, Message, MessageState, ReplyNote
from app.conversations.prompt import PROMPT_VERSION, pin
from app.conversations.safety.findings import Finding, fit_around, is_in_danger, self_harm_in
from app.conversations.safety.flags import follow_text, notice_for, raise_flags
from app.conversations.safety.models import Source
from app.conversations.safety.safety import current_safety
from app.conversations.standing import latest_conversation, own
from app.database import insert_rows, utc_now, write_into
from app.errors import AppError, ConflictError, FieldError, InvalidInputError, NotFoundError
from app.experiences.models import Experience, WorkflowState
from app.experiences.service import get_experience, mark_started
from app.identity import Identity
from app.llm.interface import Speaker
from app.lti.services import grades
from app.lti.services.grades import Work
from app.text import clean_text, is_blank
from app.usage.allowances import Kind, spend
from app.usage.budgets import require_budget

MAX_MESSAGE = 4_000
MAX_CLIENT_KEY = 64
LEASE = timedelta(seconds=20)
# So much of what is sent is read, so much of a refused message looked at, and so many of a conversation are kept: no
# program fills the database, or keeps everybody waiting.
LOOKED_AT = 10 * MAX_MESSAGE
MOST_READ = 2 * LOOKED_AT
MOST_KEPT = 50


class MessageMissingError(AppError):
    """Nothing was written."""

    status, code = 400, "message_missing"
    title = _l("There is no message")
    message = _l("Write something first.")


class MessageTooLongError(AppError):
    """More than a message may hold; the model is not called."""

    status, code = 422, "message_too_long"
    title = _l("The message is too long")
    message = _l("At most %(limit)s characters fit into one message. Please shorten it.", limit=MAX_MESSAGE)


class ConversationEndedError(ConflictError):
    """Writing into a conversation that is over."""

    code = "conversation_ended"
    message = _l("This conversation has ended. Start again to go on.")


class TurnsUsedUpError(ConflictError):
    """Writing more messages than the teacher lets a student send in one conversation."""

    code = "turns_used_up"
    title = _l("This conversation has come to its end")
    message = _l(
        "You have sent all the messages that this conversation has. Read the last reply, then finish it to hand it in."
    )


class TurnInProgressError(ConflictError):
    """Writing while a reply is on its way."""

    code = "turn_in_progress"
    retryable = True
    message = _l("A reply is still on its way. Wait for it, then send again.")


class MovedOnError(ConflictError):
    """Writing below a page that lacks what was said since, in another window or on another device."""

    code = "conversation_moved_on"
    retryable = True
    message = _l("The conversation has gone on elsewhere. Read what is new, then send your message again.")


class NothingToRetryError(ConflictError):
    """Asking again for a reply that did not fail."""

    code = "nothing_to_retry"
    message = _l("This reply did not fail, or the conversation has moved on. Reload the page.")


class ClientKeyReusedError(ConflictError):
    """Sending another text with the key of an earlier message."""

    code = "client_key_reused"
    message = _l(
        "Another message was sent with the same key, so this one was not sent. Reload the page, then send it again."
    )


@dataclass(frozen=True, slots=True)
class Start:
    """A conversation begun. ``opening`` is the persona's first message where this start made it, else None."""

    conversation: Conversation
    opening: Message | None


@dataclass(frozen=True, slots=True)
class _Heard:
    """What is stored of a student's message, what was found in it, and whether its reply ``waits``."""

    text: str
    findings: Sequence[Finding]
    waits: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """A student's message and the reply to it, or the opening, to which there is none. ``to_write`` is True for the
    one caller who is to have it written, who finds in ``said`` the conversation up to the reply.
    """

    message: Message | None
    reply: Message
    to_write: bool
    said: Sequence[Message] = ()


# Queries that are asked with every message, or page, are built once: building one takes longer than running it.
# `own` gives the parameters of those about somebody's own conversations.
_OWN_ONE = (
    select(Conversation)
    .join(Experience, col(Experience.id) == Conversation.experience_id)
    .where(
        Conversation.id == bindparam("id"),
        Conversation.user_id == bindparam("user_id"),
        Conversation.is_preview == bindparam("is_preview"),
        Experience.course_id == bindparam("course_id"),
        Experience.workflow_state != WorkflowState.DELETED,
    )
)
_OWN_TO_WRITE = _OWN_ONE.with_for_update(of=Conversation, **LOCK)
_MESSAGES = (
    select(Message).where(Message.conversation_id == bindparam("conversation_id")).order_by(col(Message.id))
)


def conversation_for(
    session: Session, identity: Identity, conversation_id: int, *, to_write: bool = False
) -> Conversation:
    """Load one of the person's own conversations in this course, trials apart from real ones.

    ``to_write`` locks it until the transaction ends, so that no message slips in behind its end.
    Raises `NotFoundError` for any other, `ForbiddenError` for a role that holds none.
    """
    identity.require_conversations()
    asked = own(identity) | {"id": conversation_id, "course_id": identity.course.id}
    found = session.exec(_OWN_TO_WRITE if to_write else _OWN_ONE, params=asked).first()
    if found is None:
        raise NotFoundError(log=f"conversation {conversation_id}")
    return found


def messages_of(session: Session, conversation: Conversation) -> Sequence[Message]:
    """Load a conversation's messages, oldest first."""
    return session.exec(_MESSAGES, params={"conversation_id": conversation.id}).all()


def start_conversation(
    session: Session,
    identity: Identity,
    experience_id: int,
    *,
    instead_of: int | None,
    client_key: object = None,
) -> Start:
    """Begin a conversation, ending the active one that the person sees.

    ``instead_of`` is the id of that one, 0 for somebody who sees none, None for whichever there is. A repeated start,
    told by what it replaces or by its ``client_key``, finds the conversation that the first one made. The key is as it
    came from outside: raises `InvalidInputError` for one that is neither text nor an integer.
    """
    identity.require_conversations()
    experience = get_experience(session, identity, experience_id)
    if experience.started_at is None and not identity.converses_as_preview:
        mark_started(session, identity, experience_id)
    current = latest_conversation(session, identity, experience)
    if current is not None:
        session.refresh(current, with_for_update=LOCK)
    opening_key = _opening_key(uuid4().hex if client_key is None else client_key)
    if repeated := _started_with(session, identity, experience, opening_key):
        return Start(repeated, None)
    if current is not None and current.active:
        if instead_of not in {None, current.id}:
            return Start(current, None)
        end_conversation(session, current)
    try:
        with session.begin_nested():
            return _add_conversation(session, identity, experience, opening_key)
    except IntegrityError:  # another worker was first
        started = latest_conversation(session, identity, experience)
        if started is None:
            raise
        return Start(started, None)


def end_conversation(session: Session, conversation: Conversation) -> None:
    """Let the person leave the conversation; its reply under way is stopped.

    One that has met every objective is completed, however it ends.
    """
    if conversation.active:
        _end(session, conversation, completed=conversation.all_objectives_met)


def finish_conversation(session: Session, conversation: Conversation) -> bool:
    """Let the person hand the conversation in; False where it was over. One without a word of theirs is only ended.

    A reply under way is stopped.
    """
    if not conversation.active:
        return False
    spoken = session.exec(
        select(Message.id).where(
            Message.conversation_id == conversation.id, Message.speaker == Speaker.STUDENT
        )
    ).first()
    _end(session, conversation, completed=spoken is not None)
    return True


def counting_of(
    session: Session, identity: Identity, experience: Experience, conversation: Conversation | None
) -> grades.Counting | None:
    """Tell whether the person's work counts in the gradebook, and where it stands; None for a trial's."""
    if identity.converses_as_preview or not identity.may_hold_conversations:
        return None
    work = Work(experience.id, identity.user.id, conversation.id if conversation else None)
    return grades.counting_of(session, experience, work)


def turns_left(conversation: Conversation, messages: Sequence[Message]) -> int:
    """Return how many messages the student may still send after `messages`."""
    return max(0, conversation.max_turns - _sent(messages))


def send_message(
    session: Session, conversation: Conversation, text: str, client_key: object, *, seen: int | None = None
) -> Turn:
    """Store what the student wrote and an empty reply to it, before any model is called.

    The conversation must be locked (`conversation_for` with ``to_write``), so that its turns follow one another. The
    same ``client_key``, text or an integer, sent again with the same text returns the same turn. ``seen`` is the newest
    message that the sender has read, where that is known: a conversation that has gone on since is not forked. Raises
    an `AppError` for what cannot be sent now, unless it speaks of self-harm (`_hear`).
    """
    messages, text = messages_of(session, conversation), read_text(text)
    try:
        key = _message_key(client_key)
        if repeated := _turn_in(messages, key, text):
            return repeated
    except (InvalidInputError, ClientKeyReusedError) as refusal:
        key = _digest(f"{client_key!r}\n{text}")
        repeated = _turn_in(messages, key, text)
        return repeated or _add_turn(session, conversation, messages, _kept_of(text, messages, refusal), key)
    heard = _hear(session, conversation, messages, text, seen)
    return _add_turn(session, conversation, messages, heard, key)


def read_text(given: str) -> str:
    """Return what somebody has written as it is kept; of what is endless, as much as anybody looks at."""
    return clean_text(given.strip()[:MOST_READ])


def may_be_retried(session: Session, conversation: Conversation, reply: Message) -> bool:
    """Tell whether a reply was cut short and can be written again: the newest, while the conversation goes on."""
    return reply.cut_short and conversation.active and newest_message(session, conversation).id == reply.id


def retry_reply(session: Session, conversation: Conversation, reply_id: int) -> Turn:
    """Set a failed or interrupted reply to be written again; it must be the last message. Raises an `AppError`.

    One to a message beyond the last (`_hear` takes such) stays unwritten.
    """
    if not conversation.active:
        raise ConversationEndedError(log=f"conversation {conversation.id}")
    *said, former = messages_of(session, conversation)
    moved = len(former.replaced) + 1  # so far on does its text stand among what came of earlier attempts
    if _sent(said) > conversation.max_turns:
        raise TurnsUsedUpError(log=f"conversation {conversation.id}")
    interrupt_abandoned(session, conversation)
    require_budget(session, conversation.experience_id)
    spend(session, conversation.user_id, Kind.RETRY)
    newest = select(func.max(Message.id)).where(Message.conversation_id == conversation.id).scalar_subquery()
    try:
        with session.begin_nested():
            reply = session.scalars(
                update(Message)
                .where(
                    col(Message.id) == reply_id,
                    col(Message.id) == newest,
                    col(Message.conversation_id) == conversation.id,
                    col(Message.state).in_([MessageState.FAILED, MessageState.INTERRUPTED]),
                )
                .values(
                    state=MessageState.GENERATING,
                    text="",
                    replaced=Message.replaced + "\n" + Message.text,
                    error_code=None,
                    attempts=Message.attempts + 1,
                    lease_until=utc_now() + LEASE,
                )
                .returning(Message),
                execution_options={"populate_existing": True},
            ).one_or_none()
    except IntegrityError as error:
        raise TurnInProgressError(log=f"conversation {conversation.id}") from error
    if reply is None:
        raise NothingToRetryError(log=f"reply {reply_id}")
    follow_text(session, reply.id, Source.REPLACED, by=moved)
    return Turn(said[-1] if said else None, reply, to_write=True, said=said)


def reply_for(session: Session, conversation: Conversation, reply_id: int) -> Message:
    """Load one of the conversation's replies. Raises `NotFoundError`."""
    reply = session.exec(
        select(Message).where(
            Message.id == reply_id,
            Message.conversation_id == conversation.id,
            Message.speaker == Speaker.PERSONA,
        )
    ).first()
    if reply is None:
        raise NotFoundError(log=f"reply {reply_id}")
    return reply


def message_before(session: Session, reply: Message) -> Message | None:
    """Load the student's message that a reply answers; None for an opening."""
    return session.exec(
        select(Message)
        .where(Message.conversation_id == reply.conversation_id, Message.id < reply.id)
        .order_by(col(Message.id).desc())
        .limit(1)
    ).first()


def newest_message(session: Session, conversation: Conversation) -> Message:
    """Load the conversation's last message; its opening is there from the start."""
    return session.exec(
        select(Message)
        .where(Message.conversation_id == conversation.id)
        .order_by(col(Message.id).desc())
        .limit(1)
    ).one()


def version_of(conversation: Conversation, newest: Message) -> str:
    """Return what changes whenever a page that shows the conversation is no longer as it stands."""
    shown = (
        conversation.workflow_state,
        conversation.updated_at.timestamp(),
        conversation.judged_until,
        conversation.decisions,
        newest.id,
        newest.attempts,
        newest.shown_state,
    )
    return "-".join(map(str, shown))


def stop_reply(session: Session, conversation: Conversation, reply_id: int) -> Message:
    """Ask whoever writes a reply to end it now, keeping what there is; one that has ended stays as it is.

    Its writer, in whichever process, hears of it within a second (`Replies`). Raises `NotFoundError`.
    """
    reply = reply_for(session, conversation, reply_id)
    _stop(session, col(Message.id) == reply.id)
    return reply


def interrupt_abandoned(session: Session, conversation: Conversation) -> None:
    """Mark a reply whose writer is gone (its lease ran out) as interrupted, so that it can be tried again."""
    session.execute(
        update(Message)
        .where(
            col(Message.conversation_id) == conversation.id,
            col(Message.state) == MessageState.GENERATING,
            col(Message.lease_until) < utc_now(),
        )
        .values(state=MessageState.INTERRUPTED, lease_until=None)
    )


def _sent(messages: Sequence[Message]) -> int:
    return sum(message.speaker is Speaker.STUDENT for message in messages)


def _started_with(
    session: Session, identity: Identity, experience: Experience, opening_key: str
) -> Conversation | None:
    """Find the conversation that the person's start with this key made."""
    return session.exec(
        select(Conversation)
        .join(Message, col(Message.conversation_id) == Conversation.id)
        .where(
            Conversation.experience_id == experience.id,
            Conversation.user_id == identity.user.id,
            Conversation.is_preview == identity.converses_as_preview,
            Message.speaker == Speaker.PERSONA,
            Message.client_key == opening_key,
        )
    ).first()


def _opening_key(given: object) -> str:
    """Return a start's key as its opening carries it: no message's, whose keys are one line each."""
    return f"start\n{_digest(_key_text(given))}"[:MAX_CLIENT_KEY]


def _message_key(given: object) -> str:
    """Return a message's key as it is stored: one that is too long, or not one line, by its digest."""
    given = _key_text(given)
    if len(given) <= MAX_CLIENT_KEY and given.isprintable():
        return given
    return _digest(given)


def _key_text(given: object) -> str:
    """Return a key as text. Raises `InvalidInputError` for one that is neither text nor an integer."""
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    if not isinstance(given, str):
        raise InvalidInputError({"client_key": [FieldError("invalid", "must be text or an integer")]})
    return given


def _digest(key: str) -> str:
    """Return what any key is told by; JSON may carry half of a surrogate pair."""
    return sha256(key.encode(errors="surrogatepass")).hexdigest()


def _add_conversation(
    session: Session, identity: Identity, experience: Experience, opening_key: str
) -> Start:
    require_budget(session, experience.id)
    spend(session, identity.user.id, Kind.START)
    conversation = Conversation(
        experience_id=experience.id,
        user_id=identity.user.id,
        is_preview=identity.converses_as_preview,
        scenario=pin(experience),
        prompt_version=PROMPT_VERSION,
    )
    session.add(conversation)
    session.flush()
    opening = _opening(conversation, experience.opening_line)
    opening.client_key = opening_key
    session.add(opening)
    session.flush()
    return Start(conversation, opening)


def _opening(conversation: Conversation, opening_line: str) -> Message:
    """Return the persona's first message: as written in the experience, otherwise for the model to write."""
    if opening_line:
        return Message(conversation_id=conversation.id, speaker=Speaker.PERSONA, text=opening_line)
    return _empty_reply(conversation)


def _empty_reply(conversation: Conversation) -> Message:
    return Message(
        conversation_id=conversation.id,
        speaker=Speaker.PERSONA,
        state=MessageState.GENERATING,
        attempts=1,
        lease_until=utc_now() + LEASE,
    )


def _let_wait(reply: Message) -> None:
    """Ask no model for a reply until the student wants to go on (`retry_reply`)."""
    reply.state, reply.error_code, reply.lease_until = MessageState.INTERRUPTED, ReplyNote.HELD, None


def _require_no_reply_under_way(
    session: Session, conversation: Conversation, messages: Sequence[Message]
) -> None:
    """Give up a reply whose writer is gone. Raises `TurnInProgressError` for any other."""
    for reply in messages:
        if reply.abandoned:
            interrupt_abandoned(session, conversation)
            session.refresh(reply)
        elif reply.state is MessageState.GENERATING:
            raise TurnInProgressError(log=f"conversation {conversation.id}")


def _hear(
    session: Session, conversation: Conversation, messages: Sequence[Message], text: str, seen: int | None
) -> _Heard:
    """Take in what a student sends, or raise an `AppError`.

    A message of self-harm is taken whatever stands against it, so that the student finds help and teachers are told.
    """
    try:
        _require_leave(session, conversation, messages, text, seen)
    except AppError as refusal:
        return _kept_of(text, messages, refusal)
    findings = current_safety().look_at(text, Speaker.STUDENT)
    return _Heard(text, findings, waits=is_in_danger(findings))


def _require_leave(
    session: Session, conversation: Conversation, messages: Sequence[Message], text: str, seen: int | None
) -> None:
    """Raise an `AppError` where a student may not send `text` now; otherwise count that they do."""
    if is_blank(text):
        raise MessageMissingError
    if len(text) > MAX_MESSAGE:
        raise MessageTooLongError(log=f"{len(text)} characters")
    if not conversation.active:
        raise ConversationEndedError(log=f"conversation {conversation.id}")
    _require_no_reply_under_way(session, conversation, messages)
    if seen is not None and messages[-1].id > seen:
        raise MovedOnError(log=f"conversation {conversation.id}")
    if not turns_left(conversation, messages):
        raise TurnsUsedUpError(log=f"conversation {conversation.id}")
    require_budget(session, conversation.experience_id)
    spend(session, conversation.user_id, Kind.MESSAGE)


def _kept_of(text: str, messages: Sequence[Message], refusal: AppError) -> _Heard:
    """Take in a message of self-harm that is refused. Raises the `refusal` for any other."""
    heard = _hear_danger(text)
    if heard is None or sum(message.notice is not None for message in messages) >= MOST_KEPT:
        raise refusal
    return heard


def _hear_danger(text: str) -> _Heard | None:
    """Take in as much of a text as fits around words of self-harm; None where there are none."""
    findings = current_safety().look_at(text[:LOOKED_AT], Speaker.STUDENT)
    found = self_harm_in(findings)
    if found is None:
        return None
    return _Heard(*fit_around(found, text, findings, MAX_MESSAGE), waits=True)


def _add_turn(
    session: Session, conversation: Conversation, before: Sequence[Message], heard: _Heard, client_key: str
) -> Turn:
    """Store a message, what is found in it, and a reply, which is to be written or waits."""
    message = Message(
        conversation_id=conversation.id,
        speaker=Speaker.STUDENT,
        text=heard.text,
        client_key=client_key,
        notice=notice_for(heard.findings),
    )
    reply = _empty_reply(conversation)
    if heard.waits:
        _let_wait(reply)
    write_into(session, conversation, {"updated_at": utc_now()})
    insert_rows(session, message, reply)
    raise_flags(session, message.id, heard.findings)
    return Turn(message, reply, to_write=not heard.waits, said=(*before, message))


def _turn_in(messages: Sequence[Message], client_key: str, text: str) -> Turn | None:
    """Find the turn that was sent with this key; its reply comes right after its message.

    Raises `ClientKeyReusedError` where its message is another, which would be lost without a word.
    """
    for message, reply in pairwise(messages):
        if message.speaker is Speaker.STUDENT and message.client_key == client_key:
            if text and text != message.text and not _was_cut_to(message.text, text):
                raise ClientKeyReusedError(log=f"message {message.id}")
            return Turn(message, reply, to_write=False)
    return None


def _was_cut_to(stored: str, text: str) -> bool:
    """Tell whether a text that is too long was stored so, because it speaks of self-harm."""
    heard = _hear_danger(text) if len(text) > MAX_MESSAGE else None
    return heard is not None and heard.text == stored


def _end(session: Session, conversation: Conversation, *, completed: bool) -> None:
    conversation.workflow_state = ConversationState.ENDED
    conversation.ended_at = conversation.updated_at = utc_now()
    _stop(session, col(Message.conversation_id) == conversation.id)
    if completed:
        complete(session, conversation)


def _stop(session: Session, chosen: ColumnElement[bool]) -> None:
    session.execute(
        update(Message)
        .where(chosen, col(Message.state) == MessageState.GENERATING)
        .values(error_code=ReplyNote.STOPPED)
    )
