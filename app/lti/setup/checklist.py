"""How the tool is set up at a platform: which of its features are ready in a course, and what is missing for others.

What there is to know comes from the platform's launches and from how its services have answered since.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from flask_babel import LazyString, gettext, ngettext
from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, and_, case, exists, func, or_
from sqlmodel import Session, col, select

from app.courses.models import Course, Enrollment, EnrollmentState, User
from app.database import utc_now
from app.experiences.models import Experience
from app.identity import Identity, Right
from app.lti import canvas, tool
from app.lti.claims import full_name
from app.lti.models import CourseServices, Deployment, Launch, LineItem, Platform, Score, ScoreState
from app.lti.roles import RoleUse
from app.lti.services.client import SCOPE_REFUSED
from app.lti.sessions import REMEMBERED
from app.lti.setup.received import FieldState, custom_fields, explained_roles


class State(StrEnum):
    """Whether a feature works. ``unseen`` is one of which only its use will tell."""

    READY = "ready"
    MISSING = "missing"
    UNSEEN = "unseen"


class Lack(StrEnum):
    """What a feature lacks."""

    NAMES = "names"
    ROSTER = "roster"
    ROSTER_ANSWER = "roster answer"
    GRADES = "grades"
    SCORES = "scores"
    COLUMNS = "columns"
    GRADES_FIRST = "grades first"
    REVIEW = "review"
    EMBEDDING = "embedding"
    HISTORY = "history"
    HISTORY_VALUE = "history value"
    NOT_TOLD = "not told"
    IDS = "ids"
    ROLES = "roles"


# What teachers can do about it,
REQUESTS: dict[Lack, LazyString] = {
    Lack.NAMES: _l("Ask your administrator to let the tool know people's names."),
    Lack.ROSTER: _l(
        "Ask your administrator to let the tool read the class list. "
        "Until then, each student appears at the first visit."
    ),
    Lack.ROSTER_ANSWER: _l("The tool tries again. If this stays, ask your administrator to look into it."),
    Lack.GRADES: _l("Ask your administrator to let the tool use the gradebook."),
    Lack.SCORES: _l("Ask your administrator to let the tool send grades."),
    Lack.COLUMNS: _l(
        "Grades go only where an experience is embedded as an assignment. "
        "Ask your administrator to let the tool make columns in the gradebook."
    ),
    Lack.GRADES_FIRST: _l("It comes with grades: ask your administrator for those."),
    Lack.REVIEW: _l("Ask your administrator whether the platform opens students' work in the tool."),
    Lack.EMBEDDING: _l(
        "Nobody has chosen an experience from within the platform lately. If the tool is not offered there, "
        "ask your administrator to add it."
    ),
    Lack.HISTORY: _l("Ask your administrator to let the tool know which course a copy was made from."),
    Lack.HISTORY_VALUE: _l("The platform does not tell which course a copy was made from."),
    Lack.NOT_TOLD: _l("It shows once an administrator of the platform has opened the tool."),
    Lack.IDS: _l("Ask your administrator to let the tool know the ids of courses and people."),
    Lack.ROLES: _l("Somebody whose role is not known cannot open the tool: ask your administrator."),
}
# and what administrators change, where the platform has no words of its own for it.
CHANGES: dict[Lack, LazyString] = {
    Lack.NAMES: _l(
        "Let the platform share people's names with the tool: in its privacy settings for this tool."
    ),
    Lack.ROSTER: _l("Grant the tool the scope %(scope)s", scope=tool.ROSTER_SCOPE),
    Lack.ROSTER_ANSWER: _l("The tool tries again by itself. If this stays, check the platform's service."),
    Lack.GRADES: _l(
        "Grant the tool the scopes %(line_items)s and %(scores)s",
        line_items=tool.LINE_ITEM_SCOPE,
        scores=tool.SCORE_SCOPE,
    ),
    Lack.SCORES: _l("Grant the tool the scope %(scope)s", scope=tool.SCORE_SCOPE),
    Lack.COLUMNS: _l("Grant the tool the scope %(scope)s", scope=tool.LINE_ITEM_SCOPE),
    Lack.GRADES_FIRST: _l("It is handed in with grades: these must work first."),
    Lack.REVIEW: _l(
        "It works where the platform knows LTI Submission Review 1.0; none of its launches has shown it."
    ),
    Lack.EMBEDDING: _l(
        "Nobody has chosen an experience from within the platform lately. Let the tool take "
        "LtiDeepLinkingRequest messages, wherever teachers choose content, at its address %(path)s",
        path=tool.DEEP_LINK_PATH,
    ),
    Lack.HISTORY: _l(
        "Add the custom parameter context_id_history=%(variable)s",
        variable=tool.CUSTOM_FIELDS["context_id_history"],
    ),
    Lack.HISTORY_VALUE: _l(
        "The platform left %(variable)s as it stands: it does not tell what a course was copied from.",
        variable=tool.CUSTOM_FIELDS["context_id_history"],
    ),
    Lack.NOT_TOLD: _l("Open the tool again: this launch's message was not kept."),
    Lack.ROLES: _l(
        "The launch carried no course role that the tool knows. Map the roles below that are unknown to roles of "
        "LTI's membership vocabulary: who has nothing else cannot open the tool."
    ),
}
NAMES: dict[str, LazyString] = {
    "names": _l("Names of people"),
    "roster": _l("Class list"),
    "grades": _l("Grades"),
    "review": _l("Students' work, opened from the gradebook"),
    "embedding": _l("Experiences embedded in the course (deep linking)"),
    "history": _l("Experiences imported into copies of a course"),
    "roles": _l("Role of every person"),
}
PURPOSES: dict[str, LazyString] = {
    tool.LINE_ITEM_SCOPE: _l("Find and make columns in the gradebook"),
    tool.SCORE_SCOPE: _l("Hand in work and send grades"),
    tool.RESULT_SCOPE: _l("See the grades in its columns"),
    tool.ROSTER_SCOPE: _l("Read the class list"),
}
WITHDRAWN = _l("It was granted before, and is not any more.")


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature of the tool in a course. ``advice`` says what to change, for whoever asked."""

    key: str
    name: str
    state: State
    notes: tuple[str, ...] = ()
    advice: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope that the tool asks for. ``refused`` where a service did not take it, whatever the launches say.

    ``label`` is what the platform's own pages call it, where that is known.
    """

    scope: str
    purpose: LazyString
    label: LazyString | None
    granted: bool
    refused: bool


@dataclass(frozen=True, slots=True)
class _Finding:
    """What has been found of a feature. One that lacks nothing is ready."""

    lack: Lack | None = None
    notes: tuple[str, ...] = ()
    unseen: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a course and its platform.

    ``own`` is the message of this launch, where it was kept. ``told`` is the latest that an administrator has brought
    by the same deployment: what it says of the set-up holds for everyone. None where there is none.
    """

    platform: Platform
    deployment: Deployment
    identity: Identity
    offer: CourseServices
    people: int
    named: int
    scores_taken: bool
    scores_refused: bool
    embedded: bool
    own: Mapping[str, Any] | None = field(repr=False)
    told: Mapping[str, Any] | None = field(repr=False)

    @property
    def on_canvas(self) -> bool:
        """True where Canvas's own words are understood."""
        return self.platform.product == canvas.PRODUCT

    @property
    def roster_refused(self) -> bool:
        """True where the class list was offered, and then not given for want of its scope."""
        return self.offer.roster_error == SCOPE_REFUSED

    def grants(self, scope: str) -> bool:
        """Tell whether the launches of the course say that a scope is granted."""
        if scope == tool.ROSTER_SCOPE:
            return self.offer.roster_url is not None
        return scope in self.offer.grade_scopes

    def refuses(self, scope: str) -> bool:
        """Tell whether a service has lately refused a scope."""
        return self.roster_refused if scope == tool.ROSTER_SCOPE else self.scores_refused


def find_facts(session: Session, identity: Identity, launch: Launch) -> Facts:
    """Gather what is known of the course's set-up, in a constant number of queries. Raises `ForbiddenError`."""
    if not identity.may(Right.ADMINISTER_PLATFORM):
        identity.require(Right.WRITE_EXPERIENCES)
    course = identity.course
    people, named = session.exec(
        select(func.count(), func.count(col(User.name)))
        .select_from(Enrollment)
        .join(User, col(User.id) == Enrollment.user_id)
        .where(
            Enrollment.course_id == course.id,
            Enrollment.workflow_state == EnrollmentState.ACTIVE,
            col(Enrollment.is_test).is_(False),
        )
    ).one()
    taken_at, refused_at = _scores_answered(session, course)
    return Facts(
        platform=session.get_one(Platform, launch.platform_id),
        deployment=session.get_one(Deployment, launch.deployment_id),
        identity=identity,
        offer=session.get(CourseServices, course.id) or CourseServices(course_id=course.id),
        people=people,
        named=named,
        scores_taken=taken_at is not None,
        scores_refused=refused_at is not None and (taken_at is None or taken_at < refused_at),
        embedded=_embedded(session, course, launch),
        own=launch.received,
        told=launch.received or _told_lately(session, launch),
    )


def checklist(facts: Facts) -> list[Feature]:
    """Say of each feature whether it is ready, and what whoever asks can do about those that are not."""
    return [
        _as_feature(facts, key, find(facts))
        for key, find in _CHECKS.items()
        if key not in canvas.FEATURES or facts.on_canvas
    ]


def scopes(facts: Facts) -> list[Scope]:
    """Return the scopes that the tool asks for with what became of each."""
    return [
        Scope(
            scope,
            PURPOSES[scope],
            canvas.SCOPE_LABELS[scope] if facts.on_canvas else None,
            facts.grants(scope),
            facts.refuses(scope),
        )
        for scope in tool.SCOPES
    ]


def _as_feature(facts: Facts, key: str, finding: _Finding) -> Feature:
    names = NAMES | canvas.FEATURE_NAMES if facts.on_canvas else NAMES
    state = State.UNSEEN if finding.unseen else State.MISSING if finding.lack else State.READY
    advice = _advice(facts, finding.lack) if finding.lack else None
    return Feature(key, str(names[key]), state, finding.notes, advice)


def _advice(facts: Facts, lack: Lack) -> str:
    if not facts.identity.may(Right.ADMINISTER_PLATFORM):
        return str(REQUESTS[lack])
    return str((CHANGES | canvas.CHANGES if facts.on_canvas else CHANGES)[lack])


def _check_names(facts: Facts) -> _Finding:
    came = full_name(facts.own) if facts.own is not None else facts.identity.user.name
    if came is None:
        return _Finding(Lack.NAMES)
    nameless = facts.people - facts.named
    if nameless == 0:
        return _Finding()
    note = ngettext(
        "%(num)d person of this course came without a name.",
        "%(num)d people of this course came without a name.",
        nameless,
    )
    return _Finding(notes=(note,))


def _check_roster(facts: Facts) -> _Finding:
    offer = facts.offer
    if offer.roster_url is None or facts.roster_refused:
        granted_before = facts.roster_refused or offer.roster_synced_at is not None
        return _Finding(Lack.ROSTER, (str(WITHDRAWN),) if granted_before else ())
    if offer.roster_error is not None:
        return _Finding(Lack.ROSTER_ANSWER, (gettext(offer.roster_error),))
    return _Finding()


def _check_grades(facts: Facts) -> _Finding:
    lack = _grades_lack(facts)
    withdrawn = lack is not None and (facts.scores_refused or facts.scores_taken)
    return _Finding(lack, (str(WITHDRAWN),) if withdrawn else ())


def _grades_lack(facts: Facts) -> Lack | None:
    sends, makes = facts.grants(tool.SCORE_SCOPE), facts.grants(tool.LINE_ITEM_SCOPE)
    if facts.scores_refused or not (sends or makes):
        return Lack.GRADES
    if not sends:
        return Lack.SCORES
    return None if makes and facts.offer.line_items_url else Lack.COLUMNS


def _check_review(facts: Facts) -> _Finding:
    if facts.scores_refused or not facts.grants(tool.SCORE_SCOPE):
        return _Finding(Lack.GRADES_FIRST)
    return _Finding() if facts.on_canvas else _Finding(Lack.REVIEW, unseen=True)


def _check_embedding(facts: Facts) -> _Finding:
    return _Finding() if facts.embedded else _Finding(Lack.EMBEDDING, unseen=True)


def _check_history(facts: Facts) -> _Finding:
    state = _custom_state(facts, "context_id_history")
    course = facts.identity.course
    if state is FieldState.RESOLVED or course.history or course.claimed_history:
        return _Finding()
    if facts.told is None:
        return _Finding(Lack.NOT_TOLD, unseen=True)
    return _Finding(Lack.HISTORY_VALUE if state is FieldState.UNRESOLVED else Lack.HISTORY)


def _check_ids(facts: Facts) -> _Finding:
    known = (facts.identity.course.canvas_course_id, facts.identity.user.canvas_user_id)
    sent = [_custom_state(facts, name) for name in canvas.ID_FIELDS]
    resolved = all(known) if facts.told is None else all(state is FieldState.RESOLVED for state in sent)
    return _Finding() if resolved else _Finding(Lack.IDS)


def _check_roles(facts: Facts) -> _Finding:
    uses = {role.use for role in explained_roles(facts.own or {})}
    return _Finding(Lack.ROLES) if RoleUse.UNKNOWN in uses and RoleUse.DECIDES not in uses else _Finding()


_CHECKS: dict[str, Callable[[Facts], _Finding]] = {
    "names": _check_names,
    "roster": _check_roster,
    "grades": _check_grades,
    "review": _check_review,
    "embedding": _check_embedding,
    "history": _check_history,
    "ids": _check_ids,
    "roles": _check_roles,
}


def _custom_state(facts: Facts, name: str) -> FieldState:
    return next(
        (each.state for each in custom_fields(facts.told or {}, on_canvas=True) if each.name == name),
        FieldState.ABSENT,
    )


def _scores_answered(session: Session, course: Course) -> tuple[datetime | None, datetime | None]:
    """Tell when the gradebook last took something, and when it last refused a scope."""
    refused = and_(
        col(Score.state) == ScoreState.FAILED, col(Score.error).contains(SCOPE_REFUSED, autoescape=True)
    )
    taken_at, refused_at = session.exec(
        select(
            func.max(case((col(Score.state) == ScoreState.SENT, Score.timestamp))),
            func.max(case((refused, Score.timestamp))),
        ).where(col(Score.experience_id).in_(select(Experience.id).where(Experience.course_id == course.id)))
    ).one()
    return taken_at, refused_at


def _embedded(session: Session, course: Course, launch: Launch) -> bool:
    """Tell whether somebody has chosen content lately, or a link to an experience stands in the course."""
    chosen = exists().where(_lately(launch), col(Launch.deep_linking).is_not(None))
    linked = exists().where(col(LineItem.course_id) == course.id, col(LineItem.resource_link_id).is_not(None))
    return bool(session.scalar(select(or_(chosen, linked))))


def _told_lately(session: Session, launch: Launch) -> Mapping[str, Any] | None:
    kept = select(Launch.received).where(_lately(launch), col(Launch.received).is_not(None))
    return session.exec(kept.order_by(col(Launch.created_at).desc()).limit(1)).first()


def _lately(launch: Launch) -> ColumnElement[bool]:
    """Choose the launches by the same deployment."""
    return and_(
        col(Launch.deployment_id) == launch.deployment_id, col(Launch.created_at) > utc_now() - REMEMBERED
    )
