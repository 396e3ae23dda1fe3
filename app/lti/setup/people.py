"""People whom a platform knows by two subs: after two accounts were merged, Canvas sends the older ``sub`` in some
courses still.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import delete, exists, func, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, SQLModel, col, select

from app.api.oauth.models import AccessToken, AuthorizationCode, OAuthClient, SignIn
from app.conversations.feedback import MessageFeedback
from app.conversations.models import Conversation, ConversationState, ObjectiveMark
from app.conversations.safety.models import Flag
from app.courses.models import Course, Enrollment, EnrollmentState, User
from app.database import utc_now
from app.errors import ConflictError, NotFoundError
from app.experiences.models import Experience
from app.identity import Identity, Right
from app.lti.models import Launch, Score

logger = logging.getLogger(__name__)
MAX_PEOPLE = 100
_NEVER = datetime.min.replace(tzinfo=UTC)
# All that refers to a person. Whoever stood for the other already then stands for the kept one: one step leads to a
# person, never two.
_BELONGINGS: tuple[tuple[type[SQLModel], Any], ...] = (
    (Enrollment, Enrollment.user_id),
    (Conversation, Conversation.user_id),
    (MessageFeedback, MessageFeedback.user_id),
    (ObjectiveMark, ObjectiveMark.decided_by_id),
    (Flag, Flag.resolved_by_id),
    (Score, Score.user_id),
    (Score, Score.created_by_id),
    (Launch, Launch.user_id),
    (Experience, Experience.created_by_id),
    (AccessToken, AccessToken.user_id),
    (AccessToken, AccessToken.created_by_id),
    (AuthorizationCode, AuthorizationCode.user_id),
    (SignIn, SignIn.user_id),
    (OAuthClient, OAuthClient.service_user_id),
    (User, User.merged_into_id),
)


class NotOnePersonError(ConflictError):
    """Linking people who do not seem to be one, or not any more."""

    code = "not_one_person"
    message = _l(
        "These two do not seem to be one person, or something has changed meanwhile. Reload the page."
    )


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """A person by one ``sub``, with how many courses of the deployment they are in and when they last came."""

    user: User
    courses: int
    last_launch_at: datetime | None


@dataclass(frozen=True, slots=True)
class SeemingPair:
    """Two who seem to be one: who came last would be ``kept``, and what the ``other`` has be theirs."""

    kept: KnownPerson
    other: KnownPerson


def people_to_link(session: Session, identity: Identity) -> list[SeemingPair]:
    """Pair people of the administrator's own deployment who have one Canvas id, a hundred of them at most. One query.

    Raises `ForbiddenError`.
    """
    identity.require(Right.ADMINISTER_PLATFORM)
    here = (
        col(User.platform_id) == identity.course.platform_id,
        col(User.merged_into_id).is_(None),
        col(User.canvas_user_id).is_not(None),
        col(Course.deployment_id) == identity.course.deployment_id,
    )
    enrolled = (
        select(User.canvas_user_id)
        .join(Enrollment, col(Enrollment.user_id) == User.id)
        .join(Course, col(Course.id) == Enrollment.course_id)
        .where(*here)
        .group_by(col(User.canvas_user_id))
        .having(func.count(func.distinct(User.id)) > 1)
    )
    found = session.exec(
        select(User, func.count(), func.max(Enrollment.last_launch_at))
        .join(Enrollment, col(Enrollment.user_id) == User.id)
        .join(Course, col(Course.id) == Enrollment.course_id)
        .where(*here, col(User.canvas_user_id).in_(enrolled))
        .group_by(col(User.id))
        .order_by(col(User.canvas_user_id), col(User.id))
        .limit(MAX_PEOPLE)
    )
    people = [KnownPerson(*row) for row in found]
    groups = (list(group) for _id, group in groupby(people, key=lambda each: each.user.canvas_user_id))
    return [pair for group in groups for pair in _pairs(group)]


def link_people(session: Session, identity: Identity, kept_id: int, other_id: int) -> None:
    """Make one person of a `SeemingPair`: whoever comes as the other from now on comes in as the one who is kept.

    Of two enrollments in a course, the active and later one stays; of two active conversations about one experience,
    the older ends. A constant number of statements. Raises `ForbiddenError`, `NotFoundError` or `NotOnePersonError`.
    """
    identity.require(Right.ADMINISTER_PLATFORM)
    kept, other = _lock(session, identity, kept_id, other_id)
    offered = {(pair.kept.user.id, pair.other.user.id) for pair in people_to_link(session, identity)}
    if (kept.id, other.id) not in offered:
        raise NotOnePersonError(log=f"users {kept_id} and {other_id}")
    make_one(session, kept, other)
    logger.info("user %s linked user %s to user %s", identity.user.id, other.id, kept.id)


def make_one(session: Session, kept: User, other: User) -> None:
    """Give to the one who is kept all that the other has. The session must hold nothing of theirs unwritten."""
    _drop_weaker_enrollments(session, kept, other)
    _end_older_conversations(session, kept, other)
    for model, owner in _BELONGINGS:
        session.execute(
            update(model)
            .where(col(owner) == other.id)
            .values({owner: kept.id})
            .execution_options(synchronize_session=False)
        )
    other.merged_into_id = kept.id
    kept.name, kept.avatar_url = kept.name or other.name, kept.avatar_url or other.avatar_url


def _pairs(group: Sequence[KnownPerson]) -> list[SeemingPair]:
    kept = max(group, key=lambda each: (each.last_launch_at or _NEVER, each.user.id))
    return [SeemingPair(kept, each) for each in group if each is not kept]


def _lock(session: Session, identity: Identity, kept_id: int, other_id: int) -> tuple[User, User]:
    """Have one writer at a time for both: two links at once may not make a circle."""
    found = session.exec(
        select(User)
        .where(User.platform_id == identity.course.platform_id, col(User.id).in_([kept_id, other_id]))
        .order_by(col(User.id))
        .with_for_update()
    )
    users = {user.id: user for user in found}
    if len(users) != len({kept_id, other_id}):
        raise NotFoundError(log=f"users {kept_id} and {other_id}")
    return users[kept_id], users[other_id]


def _drop_weaker_enrollments(session: Session, kept: User, other: User) -> None:
    places = session.exec(
        select(Enrollment)
        .where(col(Enrollment.user_id).in_([kept.id, other.id]))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    weakest_first = sorted(
        places,
        key=lambda place: (place.workflow_state is EnrollmentState.ACTIVE, place.last_launch_at or _NEVER),
    )
    strongest = {place.course_id: place.id for place in weakest_first}
    weaker = [place.id for place in places if strongest[place.course_id] != place.id]
    session.execute(
        delete(Enrollment).where(col(Enrollment.id).in_(weaker)).execution_options(synchronize_session=False)
    )


def _end_older_conversations(session: Session, kept: User, other: User) -> None:
    newer, now = aliased(Conversation), utc_now()
    both = [kept.id, other.id]
    session.execute(
        update(Conversation)
        .where(
            col(Conversation.user_id).in_(both),
            col(Conversation.workflow_state) == ConversationState.ACTIVE,
            exists().where(
                col(newer.user_id).in_(both),
                col(newer.workflow_state) == ConversationState.ACTIVE,
                col(newer.experience_id) == Conversation.experience_id,
                col(newer.is_preview) == Conversation.is_preview,
                col(newer.id) > Conversation.id,
            ),
        )
        .values(workflow_state=ConversationState.ENDED, ended_at=now, updated_at=now)
        .execution_options(synchronize_session=False)
    )
