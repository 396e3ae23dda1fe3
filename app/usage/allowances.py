"""What one person may do in a day and in a minute, counted in the database so that it holds across workers.

A day is UTC's and a minute the clock's: counts begin anew with each.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l
from sqlalchemy import Integer, bindparam, case, delete, or_, tuple_
from sqlmodel import Session, col, select

from app.database import prepared_insert, utc_now
from app.errors import RateLimitedError
from app.usage.models import Use
from app.web import current_settings

MINUTE = 60
DAY = 24 * 60 * MINUTE
KEPT = timedelta(days=2)
FORGET_ONE_IN = 50  # starts, at which old counts are forgotten
FORGET_AT_ONCE = 100


class Kind(StrEnum):
    """Something that people do and that has its limits. ``retry`` has a reply written anew, and counts as a message."""

    START = "start"
    MESSAGE = "message"
    RETRY = "retry"
    EVALUATION = "evaluation"


@dataclass(frozen=True, slots=True)
class Limit:
    """So many (the setting's value) in so many seconds, counted under a name; what to say where they are used up."""

    name: str
    setting: str
    seconds: int
    message: LazyString

    @property
    def most(self) -> int:
        """How many it allows."""
        most: int = getattr(current_settings(), self.setting)
        return most

    def window(self, now: datetime) -> datetime:
        """Return when the window that is under way began."""
        return datetime.fromtimestamp(now.timestamp() // self.seconds * self.seconds, UTC)

    def seconds_left(self, now: datetime) -> int:
        """Return the whole seconds until the next window begins, at least one."""
        return self.seconds - int((now - self.window(now)).total_seconds())


_PACE = Limit(
    "replies a minute",
    "messages_per_minute",
    MINUTE,
    _l("That was faster than a conversation goes. Wait a moment, then send it again."),
)
_MESSAGES = Limit(
    "messages a day",
    "daily_messages",
    DAY,
    _l("You have sent as many messages as fit into one day. Send this one later."),
)
_LIMITS: dict[Kind, tuple[Limit, ...]] = {
    Kind.START: (
        Limit(
            "starts a day",
            "daily_starts",
            DAY,
            _l(
                "You have begun as many conversations as fit into one day. Go on with one of them, or begin "
                "another later."
            ),
        ),
    ),
    Kind.MESSAGE: (_MESSAGES, _PACE),
    Kind.RETRY: (_MESSAGES, _PACE),
    Kind.EVALUATION: (
        Limit(
            "evaluations a day",
            "daily_evaluations",
            DAY,
            _l("You have asked for as many evaluations as fit into one day. Ask for this one later."),
        ),
    ),
}


def spend(session: Session, user_id: int, kind: Kind) -> None:
    """Count that a person does something, in the transaction that does it. One statement.

    Lock a conversation before, never after. Raises `RateLimitedError` where it is too much: who commits then has it
    counted in part.
    """
    now, limits = utc_now(), _LIMITS[kind]
    counted = _count(session, user_id, limits, now)
    for limit in limits:
        if limit.name not in counted:
            raise RateLimitedError(
                limit.message, retry_after=limit.seconds_left(now), log=f"{limit.name} are used up"
            )
    if kind is Kind.START and secrets.randbelow(FORGET_ONE_IN) == 0:
        forget_old_uses(session)


def forget_old_uses(session: Session) -> None:
    """Delete a hundred counts that are two days old, passing over those that somebody is about to write."""
    old = (
        select(Use.user_id, Use.kind)
        .where(Use.begins_at < utc_now() - KEPT)
        .limit(FORGET_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    session.execute(
        delete(Use)
        .where(tuple_(col(Use.user_id), col(Use.kind)).in_(old))
        .execution_options(synchronize_session=False)
    )


def _count(session: Session, user_id: int, limits: Sequence[Limit], now: datetime) -> set[str]:
    """Count one more for each limit, unless it would be one too many; return the names of those that were counted."""
    rows: dict[str, Any] = {"user_id": user_id}
    for number, limit in enumerate(limits):
        rows |= {
            f"kind_{number}": limit.name,
            f"begins_at_{number}": limit.window(now),
            f"most_{number}": limit.most,
        }
    return set(session.connection().scalars(_ONE_MORE[len(limits)](session), rows))


def _complete(limits: int, insert: Any) -> Any:  # noqa: ANN401 - each database has its own INSERT
    """Make it count one more for each of so many limits, but for those of which that would be over ``most``."""
    fresh = insert.values(
        [
            {
                "user_id": bindparam("user_id"),
                "kind": bindparam(f"kind_{number}"),
                "begins_at": bindparam(f"begins_at_{number}"),
                "count": 1,
            }
            for number in range(limits)
        ]
    )
    # A machine whose clock is behind counts in the window that others have begun.
    begins_anew = col(Use.begins_at) < fresh.excluded.begins_at
    most = case(
        *(
            (fresh.excluded.kind == bindparam(f"kind_{number}"), bindparam(f"most_{number}", type_=Integer))
            for number in range(limits)
        )
    )
    return fresh.on_conflict_do_update(
        index_elements=["user_id", "kind"],
        set_={
            "begins_at": case((begins_anew, fresh.excluded.begins_at), else_=col(Use.begins_at)),
            "count": case((begins_anew, 1), else_=col(Use.count) + 1),
        },
        where=or_(begins_anew, col(Use.count) < most),
    ).returning(col(Use.kind))


_ONE_MORE = {
    limits: prepared_insert(Use, partial(_complete, limits))
    for limits in {len(each) for each in _LIMITS.values()}
}
