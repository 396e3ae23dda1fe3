"""The class of an experience and its transcripts. Trials and Canvas's student view are in none of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from sqlalchemy import Select as Subselect
from sqlalchemy import case, func
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import Select

from app.conversations.feedback import MessageFeedback, feedback_of
from app.conversations.models import Conversation, ConversationState, Message, ObjectiveMark
from app.conversations.progress import Progress, progress_of
from app.conversations.prompt import Scenario
from app.conversations.safety.models import Flag
from app.conversations.service import messages_of
from app.conversations.standing import Status, status_of
from app.courses.models import Enrollment, EnrollmentState, Role, User
from app.errors import NotFoundError
from app.experiences.models import Experience, WorkflowState
from app.identity import Identity, Right
from app.llm.interface import Speaker
from app.lti.services.grades import Work
from app.review.flags import flags_of


@dataclass(frozen=True, slots=True)
class StudentRow:
    """A student of the course and where they stand.

    ``conversation`` is the one that stands for their work, ``messages`` how many they wrote in it, ``covered`` how many
    of its objectives are covered; ``attempts`` is how often they have begun, ``active_id`` the one that goes on, and
    ``last_activity`` when anything happened in any.
    """

    user: User
    status: Status
    conversation: Conversation | None
    messages: int
    covered: int
    attempts: int
    active_id: int | None
    last_activity: datetime | None

    @property
    def goes_on_in(self) -> int | None:
        """The id of a conversation that goes on beside the one that stands for the work; None where there is none."""
        shown = self.conversation.id if self.conversation else None
        return self.active_id if self.active_id != shown else None


@dataclass(frozen=True, slots=True)
class ClassList:
    """The students of an experience by name: those in the course, and those who left it and have work in it."""

    students: Sequence[StudentRow]
    left: Sequence[StudentRow]

    @property
    def counts(self) -> dict[Status, int]:
        """How many students of the course there are in each status."""
        return {status: sum(row.status is status for row in self.students) for status in Status}


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation as a teacher reads it, with the experience as it was when it began.

    ``feedback`` is what the student thought of replies, by the reply's id; ``flags`` are those of messages, by theirs.
    """

    experience: Experience
    conversation: Conversation
    student: User
    scenario: Scenario
    messages: Sequence[Message]
    progress: Progress
    feedback: Mapping[int, MessageFeedback]
    flags: Mapping[int, Sequence[Flag]]

    @property
    def work(self) -> Work:
        """The student's work, as it is graded."""
        return Work(self.experience.id, self.student.id, self.conversation.id)

    def flag(self, flag_id: int | None) -> Flag | None:
        """Return one of its flags; None where it has none of that id."""
        return next((flag for flag in chain.from_iterable(self.flags.values()) if flag.id == flag_id), None)


def class_of(session: Session, identity: Identity, experience: Experience) -> ClassList:
    """List every student known in the course with the conversation that stands for their work. One query."""
    identity.require(Right.READ_TRANSCRIPTS)
    latest = _latest_conversations(experience).subquery()
    written = (
        select(Message.conversation_id, func.count().label("messages"))
        .where(Message.speaker == Speaker.STUDENT)
        .join(latest, latest.c.id == Message.conversation_id)
        .group_by(col(Message.conversation_id))
        .subquery()
    )
    marked = (
        select(ObjectiveMark.conversation_id, func.count().label("covered"))
        .where(col(ObjectiveMark.covered))
        .join(latest, latest.c.id == ObjectiveMark.conversation_id)
        .group_by(col(ObjectiveMark.conversation_id))
        .subquery()
    )
    found = session.execute(
        select_columns(
            col(Enrollment.workflow_state),
            User,
            Conversation,
            func.coalesce(written.c.messages, 0),
            func.coalesce(marked.c.covered, 0),
            func.coalesce(latest.c.attempts, 0),
            latest.c.active,
            latest.c.last_activity,
        )
        .join(User, col(User.id) == Enrollment.user_id)
        .outerjoin(latest, latest.c.user_id == User.id)
        .outerjoin(Conversation, col(Conversation.id) == latest.c.id)
        .outerjoin(written, written.c.conversation_id == Conversation.id)
        .outerjoin(marked, marked.c.conversation_id == Conversation.id)
        .where(
            col(Enrollment.course_id) == identity.course.id,
            col(Enrollment.role) == Role.STUDENT,
            col(Enrollment.is_test).is_(False),
        )
        .order_by(func.lower(User.name), col(User.id))
    )
    rows = [
        (state, StudentRow(user, status_of(conversation), conversation, *counts))
        for state, user, conversation, *counts in found
    ]
    return ClassList(
        students=[row for state, row in rows if state is EnrollmentState.ACTIVE],
        left=[row for state, row in rows if state is EnrollmentState.LEFT and row.conversation],
    )


def transcript(session: Session, identity: Identity, conversation_id: int) -> Transcript:
    """Load one student's conversation of the course. Raises `NotFoundError` for a trial or another course's."""
    identity.require(Right.READ_TRANSCRIPTS)
    found = session.exec(_readable(identity).where(Conversation.id == conversation_id)).first()
    if found is None:
        raise NotFoundError(log=f"conversation {conversation_id}")
    conversation = found[0]
    messages, progress = messages_of(session, conversation), progress_of(session, [conversation])
    feedback, flags = feedback_of(session, messages), flags_of(session, [conversation])
    return _as_transcript(found, messages, progress[conversation.id], feedback, flags)


def all_transcripts(session: Session, identity: Identity, experience: Experience) -> list[Transcript]:
    """Load every conversation in which a student has said something, by name and time, to print. Five queries."""
    identity.require(Right.READ_TRANSCRIPTS)
    spoken = select(Message.conversation_id).where(Message.speaker == Speaker.STUDENT)
    chosen = (
        _readable(identity)
        .where(Conversation.experience_id == experience.id, col(Conversation.id).in_(spoken))
        .order_by(func.lower(User.name), col(User.id), col(Conversation.id))
    )
    found = session.exec(chosen).all()
    said: dict[int, list[Message]] = defaultdict(list)
    for message in session.exec(
        select(Message)
        .join(Conversation, col(Conversation.id) == Message.conversation_id)
        .where(Conversation.experience_id == experience.id, col(Conversation.is_preview).is_(False))
        .order_by(col(Message.id))
    ):
        said[message.conversation_id].append(message)
    progress = progress_of(session, [conversation for conversation, _, _ in found])
    feedback = feedback_of(session, chain.from_iterable(said.values()))
    flags = flags_of(session, [conversation for conversation, _, _ in found])
    return [_as_transcript(each, said[each[0].id], progress[each[0].id], feedback, flags) for each in found]


def _latest_conversations(experience: Experience) -> Subselect[int | None, int, int, int | None, datetime]:
    """Select for each student the latest conversation that was handed in, or else that counts, and how many there are.

    Besides, the one that goes on, and when anything happened. Who begins another attempt has handed in the one before
    all the same.
    """
    handed_in = case((col(Conversation.workflow_state) == ConversationState.COMPLETED, Conversation.id))
    counting = case((col(Conversation.workflow_state) != ConversationState.ENDED, Conversation.id))
    active = case((col(Conversation.workflow_state) == ConversationState.ACTIVE, Conversation.id))
    return (
        select_columns(
            func.coalesce(func.max(handed_in), func.max(counting)).label("id"),
            col(Conversation.user_id),
            func.count().label("attempts"),
            func.max(active).label("active"),
            func.max(col(Conversation.updated_at)).label("last_activity"),
        )
        .where(col(Conversation.experience_id) == experience.id, col(Conversation.is_preview).is_(False))
        .group_by(col(Conversation.user_id))
    )


def _readable(identity: Identity) -> Select[Conversation, Experience, User]:
    return (
        select(Conversation, Experience, User)
        .join(Experience, col(Experience.id) == Conversation.experience_id)
        .join(User, col(User.id) == Conversation.user_id)
        .where(
            Experience.course_id == identity.course.id,
            Experience.workflow_state != WorkflowState.DELETED,
            col(Conversation.is_preview).is_(False),
        )
    )


def _as_transcript(
    found: tuple[Conversation, Experience, User],
    messages: Sequence[Message],
    progress: Progress,
    feedback: Mapping[int, MessageFeedback],
    flags: Mapping[int, Sequence[Flag]],
) -> Transcript:
    conversation, experience, student = found
    scenario = Scenario.model_validate(conversation.scenario)
    return Transcript(experience, conversation, student, scenario, messages, progress, feedback, flags)
