"""Copied courses: the experiences that may be imported from where they come from, and the links copied with them.

An experience and its copies are versions of one; a course has one version of it at most. Where a teacher may have
written what a course was copied from, only who writes there, or administers the platform, hears of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, Subquery, and_, exists, or_, true
from sqlmodel import Session, col, select

from app.courses.models import Course, Enrollment, EnrollmentState
from app.errors import NotFoundError
from app.experiences.models import Experience, WorkflowState
from app.experiences.service import copy_for, get_experience
from app.identity import Identity, Right, roles_with


@dataclass(frozen=True, slots=True)
class ImportOffer:
    """A course that this one was copied from, with those of its experiences that have no version here."""

    course_id: int
    course_title: str | None
    experience_ids: tuple[int, ...]


class NotImportedError(NotFoundError):
    """A link that was copied with its course, to an experience that was not.

    ``offers`` are for those who may import; ``experience_id`` is what the link names.
    """

    code = "not_imported"
    title = _l("This experience is not here yet")
    message = _l(
        "The link was copied from another course. A teacher can import that course's experiences "
        "from the list of AI Experiences; then the link opens."
    )
    template = "experiences/not_imported.html"

    def __init__(self, experience_id: int, offers: Sequence[ImportOffer]) -> None:
        super().__init__(log=f"experience {experience_id} waits for its import")
        if offers:
            self.message = _l(
                "The link was copied from another course. Import that course's experiences, and it opens."
            )
        self.experience_id, self.offers = experience_id, offers


def import_offers(session: Session, identity: Identity) -> list[ImportOffer]:
    """Say what those who write may import, the course copied last first.

    Two queries at most, none where the course is no copy.
    """
    return _offers(session, identity) if identity.may(Right.WRITE_EXPERIENCES) else []


def import_experiences(session: Session, identity: Identity, source_id: int) -> int:
    """Copy what an offer holds into the course, published as it is there; return how many.

    Texts only: no conversations. Twice at once, the second finds nothing left. Raises `ForbiddenError`.
    """
    identity.require(Right.WRITE_EXPERIENCES)
    session.exec(
        select(Course.id).where(Course.id == identity.course.id).with_for_update(key_share=True)
    ).one()
    offered = [offer for offer in _offers(session, identity) if offer.course_id == source_id]
    originals = session.exec(
        select(Experience)
        .where(col(Experience.id).in_([each for offer in offered for each in offer.experience_ids]))
        .order_by(col(Experience.id))
    ).all()
    session.add_all(copy_for(identity, original, copied_from_id=original.id) for original in originals)
    session.flush()
    return len(originals)


def linked_experience(session: Session, identity: Identity, experience_id: int) -> Experience:
    """Load the course's version of the experience that a link names.

    Raises as `get_experience` does, and `NotImportedError` where it can be imported.
    """
    found = find_linked(session, identity.course.id, experience_id)
    if found is None:
        offers = _offers(session, identity)
        offered = col(Experience.id).in_([each for offer in offers for each in offer.experience_ids])
        if offers and _find_version(session, experience_id, offered) is not None:
            raise NotImportedError(experience_id, import_offers(session, identity))
    return get_experience(session, identity, found or experience_id)


def find_linked(session: Session, course_id: int, experience_id: int) -> int | None:
    """Find the id of a course's own experience for a link: the one that it names, or the version of it here."""
    here = and_(
        col(Experience.course_id) == course_id, col(Experience.workflow_state) != WorkflowState.DELETED
    )
    itself = session.exec(select(Experience.id).where(Experience.id == experience_id, here)).first()
    return itself or _find_version(session, experience_id, here)


def _find_version(session: Session, experience_id: int, among: ColumnElement[bool]) -> int | None:
    first = _first_versions(or_(among, col(Experience.id) == experience_id))
    wanted = select(first.c.first_id).where(first.c.id == experience_id).scalar_subquery()
    return session.exec(
        select(Experience.id)
        .join(first, first.c.id == Experience.id)
        .where(among, first.c.first_id == wanted)
        .order_by(col(Experience.id).desc())
    ).first()


def _offers(session: Session, identity: Identity) -> list[ImportOffer]:
    """Of several versions, that of the course copied last counts, even where it was deleted there."""
    course = identity.course
    sources = _sources(session, identity)
    if not sources:
        return []
    first = _first_versions(col(Experience.course_id).in_([course.id, *(source.id for source in sources)]))
    rows = session.exec(
        select(Experience.course_id, Experience.id, Experience.workflow_state, first.c.first_id)
        .join(first, first.c.id == Experience.id)
        .order_by(col(Experience.id))
    ).all()
    known = {first_id for course_id, _id, _state, first_id in rows if course_id == course.id}
    offers = []
    for source in sources:
        new = [row for row in rows if row[0] == source.id and row[3] not in known]
        known.update(first_id for *_, first_id in new)
        ids = tuple(each for _course, each, state, _first in new if state is not WorkflowState.DELETED)
        if ids:
            offers.append(ImportOffer(source.id, source.title or source.label, ids))
    return offers


def _sources(session: Session, identity: Identity) -> list[Course]:
    """Return the courses that this one was copied from, the last first. Deployments share none."""
    course = identity.course
    history = [*course.history, *course.claimed_history]
    if not history:
        return []
    found = session.exec(
        select(Course).where(
            Course.deployment_id == course.deployment_id,
            Course.id != course.id,
            or_(
                col(Course.context_id).in_(course.history),
                and_(col(Course.context_id).in_(course.claimed_history), _may_take_from(identity)),
            ),
        )
    )
    return sorted(found, key=lambda source: history.index(source.context_id))


def _may_take_from(identity: Identity) -> ColumnElement[bool]:
    if identity.may(Right.ADMINISTER_PLATFORM):
        return true()
    return exists().where(
        col(Enrollment.course_id) == Course.id,
        col(Enrollment.user_id) == identity.user.id,
        col(Enrollment.workflow_state) == EnrollmentState.ACTIVE,
        col(Enrollment.role).in_(roles_with(Right.WRITE_EXPERIENCES)),
    )


def _first_versions(of: ColumnElement[bool]) -> Subquery:
    """Select experiences by ``id``, with what each is a copy (of a copy) of as ``first_id``: itself for an original."""
    walk = (
        select(
            col(Experience.id).label("id"),
            col(Experience.id).label("first_id"),
            col(Experience.copied_from_id).label("next_id"),
        )
        .where(of)
        .cte("walk", recursive=True)
    )
    walk = walk.union_all(
        select(walk.c.id, Experience.id, Experience.copied_from_id).join(
            Experience, col(Experience.id) == walk.c.next_id
        )
    )
    return select(walk.c.id, walk.c.first_id).where(walk.c.next_id.is_(None)).subquery()
