"""What a launch says of its platform and of the services that it offers, kept for later."""

from typing import Any

from sqlalchemy import bindparam
from sqlmodel import Session, select

from app.database import bring_up_to_date, upsert
from app.experiences.course_copy import find_linked
from app.lti.claims import LaunchClaims
from app.lti.models import CourseServices, Deployment, LineItem, Platform
from app.lti.services.grades import record_line_item

# Built once: each launch asks it.
_OFFER = select(CourseServices).where(CourseServices.course_id == bindparam("course_id"))


def record_instance(deployment: Deployment, claims: LaunchClaims) -> None:
    """Write down which instance of the platform a deployment is of, approved or not. A launch may leave it out."""
    told = {"platform_guid": claims.platform_guid, "platform_name": claims.platform_name}
    bring_up_to_date(deployment, {name: value for name, value in told.items() if value})


def record_offer(
    session: Session, platform: Platform, course_id: int, claims: LaunchClaims
) -> LineItem | None:
    """Write down the platform's product and the course's services where they have changed.

    Returns the column that the link brings for an experience of the course; None for a link without one.

    A teacher's launch that names no roster says that there is none. Line items and their scopes belong to a link
    (AGS 2.0, section 3.1): one that leaves them out says nothing of the others'.
    """
    if claims.platform_product not in {None, platform.product}:
        session.get_one(Platform, platform.id).product = claims.platform_product
    offer = session.exec(_OFFER, params={"course_id": course_id}).first() or upsert(
        session, CourseServices, key={"course_id": course_id}, values={}
    )
    services = claims.services
    told: dict[str, Any] = {
        "roster_url": services.roster_url or (None if claims.says_all else offer.roster_url),
        "line_items_url": services.line_items_url or offer.line_items_url,
        "grade_scopes": list(services.grade_scopes) or offer.grade_scopes,
    }
    bring_up_to_date(offer, told)
    if services.line_item_url and claims.target.experience_id:
        return _record_line_item(session, course_id, claims, services.line_item_url)
    return None


def _record_line_item(session: Session, course_id: int, claims: LaunchClaims, url: str) -> LineItem | None:
    experience_id = find_linked(session, course_id, claims.target.experience_id or 0)
    if experience_id is None:
        return None
    return record_line_item(
        session,
        course_id,
        experience_id,
        url,
        claims.resource_link_id,
        link_title=claims.resource_link_title,
    )
