"""Progress by learning objective: what a judgement has proved, and what a teacher has decided over it.

What is covered stays covered, whatever later judgements say; only a teacher takes it back.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, update
from sqlmodel import Session, col, select

from app.conversations.completion import complete
from app.conversations.models import LOCK, Conversation, ConversationState, ObjectiveMark
from app.courses.models import User
from app.database import insert_into, upsert, utc_now
from app.errors import NotFoundError
from app.identity import Identity, Right
from app.llm.demo import Demo, demo_named


@dataclass(frozen=True, slots=True)
class ObjectiveProgress:
    """How it stands with one objective; ``position`` counts from 0.

    ``message_id`` and ``quote`` are the proof that a judgement by ``model`` gave. ``decided_by`` is the teacher who
    overruled it, with or without such a proof.
    """

    position: int
    objective: str
    covered: bool = False
    message_id: int | None = None
    quote: str | None = None
    model: str | None = None
    decided_by: User | None = None
    decided_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How it stands with a conversation's objectives, in their order."""

    objectives: tuple[ObjectiveProgress, ...]

    @property
    def current(self) -> int:
        """How many are covered."""
        return sum(objective.covered for objective in self.objectives)

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.objectives)

    @property
    def percentage(self) -> int:
        """The share that is covered, 0 to 100, rounded down."""
        return 100 * self.current // self.total if self.total else 0

    @property
    def all_met(self) -> bool:
        """True where there are objectives and all of them are covered."""
        return 0 < self.total == self.current

    @property
    def demo(self) -> Demo | None:
        """What kind of a demo model has judged, where one has and no teacher has decided since."""
        judged = (demo_named(objective.model) for objective in self.objectives if not objective.decided_by)
        return next(filter(None, judged), None)


@dataclass(frozen=True, slots=True)
class Credit:
    """An objective that a judgement found covered, with its proof."""

    position: int
    message_id: int
    quote: str


def progress_of(session: Session, conversations: Sequence[Conversation]) -> dict[int, Progress]:
    """Return the progress of each conversation by its id. One query."""
    marks: dict[int, dict[int, tuple[ObjectiveMark, User | None]]] = defaultdict(dict)
    if conversations:
        ids = [conversation.id for conversation in conversations]
        found = session.exec(
            select(ObjectiveMark, User)
            .outerjoin(User, col(User.id) == ObjectiveMark.decided_by_id)
            .where(col(ObjectiveMark.conversation_id).in_(ids))
        )
        for mark, teacher in found:
            marks[mark.conversation_id][mark.position] = mark, teacher
    return {
        conversation.id: Progress(
            tuple(
                _objective_progress(position, objective, *marks[conversation.id].get(position, (None, None)))
                for position, objective in enumerate(conversation.learning_objectives)
            )
        )
        for conversation in conversations
    }


def open_positions(session: Session, conversation: Conversation) -> list[int]:
    """Return the positions on which nothing is decided yet."""
    decided = session.exec(
        select(ObjectiveMark.position).where(ObjectiveMark.conversation_id == conversation.id)
    ).all()
    return sorted(set(range(len(conversation.learning_objectives))).difference(decided))


def decisions_of(session: Session, conversation: Conversation) -> dict[int, bool]:
    """Return by position on which objectives a teacher has decided, and whether they are covered."""
    decided = session.exec(
        select(ObjectiveMark.position, ObjectiveMark.covered).where(
            ObjectiveMark.conversation_id == conversation.id, col(ObjectiveMark.decided_by_id).is_not(None)
        )
    )
    return dict(decided.all())


def record_judgement(
    session: Session,
    conversation_id: int,
    credits_given: Sequence[Credit],
    *,
    until: int,
    model: str,
    prompt_version: str,
) -> None:
    """Cover the objectives that are credited and still undecided; note that messages up to `until` are judged.

    A conversation that was left before all were known to be met is completed all the same.
    """
    if not credits_given:
        _note_judged(session, conversation_id, until)
        return
    conversation = session.get_one(Conversation, conversation_id, with_for_update=LOCK)
    rows = [
        ObjectiveMark(
            conversation_id=conversation_id,
            position=credit.position,
            covered=True,
            message_id=credit.message_id,
            quote=credit.quote,
            model=model,
            prompt_version=prompt_version,
        ).model_dump(exclude={"id"})
        for credit in credits_given
    ]
    session.execute(insert_into(session, ObjectiveMark).on_conflict_do_nothing(), rows)
    conversation.judged_until = max(conversation.judged_until, until)
    _note_whether_all_are_met(session, conversation)
    if conversation.all_objectives_met and conversation.workflow_state is ConversationState.ENDED:
        complete(session, conversation)


def _note_judged(session: Session, conversation_id: int, until: int) -> None:
    session.execute(
        update(Conversation)
        .where(col(Conversation.id) == conversation_id, col(Conversation.judged_until) < until)
        .values(judged_until=until)
    )


def overrule(
    session: Session, identity: Identity, conversation: Conversation, position: int, *, covered: bool
) -> None:
    """Let a teacher decide on an objective, in their name; no judgement changes it afterwards.

    The caller has found the conversation in the teacher's course. Raises `ForbiddenError`, or `NotFoundError` for a
    position without an objective.
    """
    identity.require(Right.GRADE)
    if position >= len(conversation.learning_objectives):
        raise NotFoundError(log=f"conversation {conversation.id} objective {position}")
    session.refresh(conversation, with_for_update=LOCK)
    upsert(
        session,
        ObjectiveMark,
        key={"conversation_id": conversation.id, "position": position},
        values={"covered": covered, "decided_by_id": identity.user.id, "decided_at": utc_now()},
    )
    conversation.decisions += 1
    _note_whether_all_are_met(session, conversation)


def _note_whether_all_are_met(session: Session, conversation: Conversation) -> None:
    """Keep the conversation's own note true; its row is locked, so that two who cover the last two both see it."""
    covered = session.exec(
        select(func.count())
        .select_from(ObjectiveMark)
        .where(ObjectiveMark.conversation_id == conversation.id, col(ObjectiveMark.covered))
    ).one()
    conversation.all_objectives_met = 0 < covered == len(conversation.learning_objectives)


def _objective_progress(
    position: int, objective: str, mark: ObjectiveMark | None, teacher: User | None
) -> ObjectiveProgress:
    if mark is None:
        return ObjectiveProgress(position, objective)
    return ObjectiveProgress(
        position,
        objective,
        covered=mark.covered,
        message_id=mark.message_id,
        quote=mark.quote,
        model=mark.model,
        decided_by=teacher,
        decided_at=mark.decided_at,
    )
