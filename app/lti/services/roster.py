"""Class lists, read from platforms by Names and Role Provisioning Services 2.0.

A course's list is read by one worker at a time, which holds it by a lease; of the lists of one platform, one at a time
is read, so that a slow platform keeps no other waiting. `CourseServices` says where it stands:

    roster_due_at  roster_error
    None           None          nobody wants it
    passed         None          it is to be read, or its reader has died
    ahead          None          it is being read
    any            a reason      it could not be read, and is tried again then; after the last attempt, by a visit then
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self, cast

from sqlalchemy import CursorResult, exists, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from app.courses.class_list import ListedPerson, batches, mark_missing_as_left, record_people
from app.courses.models import Course
from app.database import Database, utc_now
from app.lti.addresses import with_query
from app.lti.claims import full_name, picture, subject
from app.lti.models import CourseServices, Platform, RegistrationState
from app.lti.refusals import NoPersonError
from app.lti.roles import course_role, read_roles
from app.lti.services.client import (
    PlatformServices,
    ServiceError,
    ServiceRefusedError,
    ServiceUnavailableError,
)
from app.lti.tool import ROSTER_SCOPE
from app.text import N_

logger = logging.getLogger(__name__)
MEMBERS_TYPE = "application/vnd.ims.lti-nrps.v2.membershipcontainer+json"
PAGE_SIZE = 50
MAX_PEOPLE = 20_000
LEASE = timedelta(minutes=5)  # longer than `PlatformServices.pages` reads
FRESH = timedelta(minutes=5)
ON_DEMAND = timedelta(minutes=1)
WAIT_SECONDS = 2.0
LOOK_EVERY_SECONDS = 0.1
BETWEEN_WRITES_SECONDS = 0.1  # SQLite's writers wait in steps of at most this
# After each failure in a row.
PAUSES = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 360))


class RosterState(StrEnum):
    """Where a course's class list stands."""

    NOT_OFFERED = "not_offered"
    READ = "read"
    READING = "reading"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RosterStatus:
    """A course's class list: when it was last read whole, and why it could not be read since."""

    state: RosterState
    synced_at: datetime | None = None
    error: str | None = None


@dataclass(slots=True)
class _Reading:
    """A list that this worker has claimed, until ``lease`` runs out."""

    course: Course
    platform: Platform
    url: str
    attempts: int
    began: datetime
    lease: datetime

    @classmethod
    def of(cls, session: Session, offer: CourseServices, began: datetime) -> Self:
        course = session.get_one(Course, offer.course_id)
        platform = session.get_one(Platform, course.platform_id)
        return cls(course, platform, offer.roster_url or "", offer.roster_attempts, began, began + LEASE)


class _TakenOverError(Exception):
    """The lease ran out, and another worker reads the list."""


class Rosters:
    """The class lists of one process. `wake` is called when one has become due."""

    def __init__(self, database: Database, services: PlatformServices, wake: Callable[[], None]) -> None:
        self._database, self._services, self._wake = database, services, wake

    def freshen(self, course_id: int) -> RosterStatus:
        """Have the list read in the background if it is older than five minutes; wait up to two seconds for it."""
        offer = self._offer(course_id)
        if offer is not None and self.begin(offer):
            offer = self._offer(course_id)
        until = time.monotonic() + WAIT_SECONDS
        while (status := _status_of(offer)).state is RosterState.READING and time.monotonic() < until:
            time.sleep(LOOK_EVERY_SECONDS)
            offer = self._offer(course_id)
        return status

    def begin(self, offer: CourseServices) -> bool:
        """Have the list read in the background if it is older than five minutes; False where it need not be."""
        due = offer.roster_url is not None and _is_due_at_visit(offer)
        if due:
            self._have_read(offer)
        return due

    def update(self, course_id: int) -> bool:
        """Have the list read now; False within a minute of the last time, and while it is being read."""
        offer = self._offer(course_id)
        if offer is None or not _may_be_asked_for(offer):
            return False
        self._have_read(offer)
        return True

    def work(self) -> bool:
        """Read one list that is due; False where none is (`app.lti.services.owed.Work`)."""
        reading = self._claim()
        if reading is None:
            return False
        people: list[ListedPerson] = []
        try:
            problem = self._read_into(people, reading)
            self._settle(reading, self._write(reading, people), problem)
        except _TakenOverError:
            logger.warning("class list of course %s: another worker has taken it over", reading.course.id)
        return True

    def _offer(self, course_id: int) -> CourseServices | None:
        with self._database.snapshot() as session:
            offer = session.get(CourseServices, course_id)
        return offer if offer is not None and offer.roster_url else None

    def _have_read(self, offer: CourseServices) -> None:
        with self._database.transaction() as session:
            session.execute(
                update(CourseServices)
                .where(
                    col(CourseServices.course_id) == offer.course_id,
                    col(CourseServices.roster_due_at).is_not_distinct_from(offer.roster_due_at),
                )
                .values(roster_due_at=utc_now(), roster_attempts=0, roster_error=None)
            )
        self._wake()

    def _claim(self) -> _Reading | None:
        now = utc_now()
        being_read, its_course = aliased(CourseServices), aliased(Course)
        platform_is_asked = exists().where(
            col(being_read.roster_due_at) > now,
            col(being_read.roster_error).is_(None),
            col(its_course.id) == being_read.course_id,
            col(its_course.platform_id) == Platform.id,
        )
        due = (
            select(CourseServices.course_id)
            .join(Course, col(Course.id) == CourseServices.course_id)
            .join(Platform, col(Platform.id) == Course.platform_id)
            .where(
                col(CourseServices.roster_due_at) <= now,
                col(CourseServices.roster_url).is_not(None),
                CourseServices.roster_attempts < len(PAUSES),
                Platform.workflow_state == RegistrationState.ACTIVE,
                ~platform_is_asked,
            )
            .order_by(col(CourseServices.roster_due_at))
            .limit(1)
            # The platform's row too: two workers would not see each other's claims before they are committed.
            .with_for_update(skip_locked=True, key_share=True, of=[CourseServices, Platform])
        )
        with self._database.transaction() as session:
            offer = session.scalars(
                update(CourseServices)
                .where(col(CourseServices.course_id) == due.scalar_subquery())
                .values(
                    roster_due_at=now + LEASE,
                    roster_attempts=CourseServices.roster_attempts + 1,
                    roster_error=None,
                )
                .returning(CourseServices)
            ).first()
            return _Reading.of(session, offer, now) if offer else None

    def _read_into(self, people: list[ListedPerson], reading: _Reading) -> ServiceError | None:
        """Read page by page; return what went wrong before the end."""
        # Some platforms send everybody at once unless asked for pages (NRPS 2.0, section 2.4.1).
        first = with_query(reading.url, limit=PAGE_SIZE)
        pages = self._services.pages(reading.platform, [ROSTER_SCOPE], first, accept=MEMBERS_TYPE)
        try:
            for page in pages:
                for person in _read_page(page):
                    if len(people) == MAX_PEOPLE:
                        raise ServiceRefusedError(N_("The list is too long."))
                    people.append(person)
        except ServiceError as problem:
            logger.warning("class list of course %s: %s", reading.course.id, problem)
            return problem
        return None

    def _write(self, reading: _Reading, people: list[ListedPerson]) -> set[int]:
        """Write down who was read, in short transactions that let others write in between; return their ids.

        Where it ends half-way, the next reading goes on: nobody has been marked as left.
        """
        present: set[int] = set()
        for batch in batches(people):
            if present:
                time.sleep(BETWEEN_WRITES_SECONDS)
            with self._database.transaction() as session:
                lease = utc_now() + LEASE
                _change_held(session, reading, roster_due_at=lease)
                present |= record_people(session, reading.course, batch, as_of=reading.began)
            reading.lease = lease
        return present

    def _settle(self, reading: _Reading, present: set[int], problem: ServiceError | None) -> None:
        """Write down how the reading ended, and who has left where all was read."""
        outcome = _success(reading) if problem is None else _failure(reading, problem)
        with self._database.transaction() as session:
            _change_held(session, reading, **outcome)
            # A list without anybody says nothing: whoever asked for it is in the course.
            if problem is None and present:
                mark_missing_as_left(session, reading.course, present, as_of=reading.began)


def _status_of(offer: CourseServices | None) -> RosterStatus:
    if offer is None:
        return RosterStatus(RosterState.NOT_OFFERED)
    state = RosterState.READ
    if offer.roster_error is not None:
        state = RosterState.FAILED
    elif offer.roster_due_at is not None and not _is_given_up(offer):
        state = RosterState.READING
    return RosterStatus(state, offer.roster_synced_at, offer.roster_error)


def _is_due_at_visit(offer: CourseServices) -> bool:
    """Tell whether a teacher's visit has the list read. One that failed waits for its next attempt."""
    return _is_older_than(FRESH, offer) or _is_given_up(offer)


def _may_be_asked_for(offer: CourseServices) -> bool:
    """Tell whether a teacher may have the list read now."""
    if offer.roster_error is not None and offer.roster_due_at is not None:
        failed_at = offer.roster_due_at - _pause_after(offer.roster_attempts)
        return utc_now() - failed_at >= ON_DEMAND
    return _is_older_than(ON_DEMAND, offer) or _is_given_up(offer)


def _is_older_than(age: timedelta, offer: CourseServices) -> bool:
    if offer.roster_due_at is not None:
        return False
    return offer.roster_synced_at is None or utc_now() - offer.roster_synced_at >= age


def _is_given_up(offer: CourseServices) -> bool:
    """Tell whether no worker tries it any more, and enough time has passed to begin anew."""
    passed = offer.roster_due_at is not None and offer.roster_due_at <= utc_now()
    return passed and offer.roster_attempts >= len(PAUSES)


def _pause_after(attempts: int) -> timedelta:
    return PAUSES[min(max(attempts, 1), len(PAUSES)) - 1]


def _change_held(session: Session, reading: _Reading, **values: object) -> None:
    """Change the row of a list that is being read. Raises `_TakenOverError` where its lease is another's by now."""
    changed = session.execute(
        update(CourseServices)
        .where(
            col(CourseServices.course_id) == reading.course.id,
            col(CourseServices.roster_due_at) == reading.lease,
        )
        .values(**values)
    )
    if cast(CursorResult[Any], changed).rowcount == 0:
        raise _TakenOverError


def _success(reading: _Reading) -> dict[str, object]:
    return {
        "roster_synced_at": reading.began,
        "roster_due_at": None,
        "roster_attempts": 0,
        "roster_error": None,
    }


def _failure(reading: _Reading, problem: ServiceError) -> dict[str, object]:
    pause = max(_pause_after(reading.attempts), problem.retry_after)
    return {"roster_due_at": utc_now() + pause, "roster_error": str(problem)}


def _read_page(body: object) -> Iterator[ListedPerson]:
    members = body.get("members") if isinstance(body, Mapping) else None
    if not isinstance(members, list):
        raise ServiceUnavailableError(N_("The platform's answer is no class list."))
    people = (_person(member) for member in members if isinstance(member, Mapping))
    return (person for person in people if person is not None)


def _person(member: Mapping[str, Any]) -> ListedPerson | None:
    """Read a member (NRPS 2.0, section 2.2); None for one who is inactive, deleted, or has no usable id."""
    if member.get("status") not in {None, "Active"}:
        return None
    try:
        sub = subject(member.get("user_id"))
    except NoPersonError:
        return None
    held = course_role(read_roles(member.get("roles")))
    return ListedPerson(
        sub=sub,
        role=held.role if held else None,
        is_teaching_assistant=held is not None and held.is_teaching_assistant,
        is_test=held is not None and held.is_test,
        name=full_name(member),
        avatar_url=picture(member.get("picture")),
    )
