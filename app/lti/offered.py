"""What a launch says of its platform and of the services that it offers, kept for later."""

from sqlmodel import Session

from app.database import upsert
from app.experiences.course_copy import find_linked
from app.lti.claims import LaunchClaims
from app.lti.grades import record_line_item
from app.lti.models import CourseServices, Platform


def record_offer(session: Session, platform: Platform, course_id: int, claims: LaunchClaims) -> None:
    """Write down the platform's name and the course's services where they have changed.

    Only a teacher's launch of a resource link says all that there is; from others, what they leave out stays.
    """
    said = (claims.platform_name or platform.name, claims.platform_product or platform.product)
    if said != (platform.name, platform.product):
        known = session.get_one(Platform, platform.id)
        known.name, known.product = said
    offer = session.get(CourseServices, course_id) or upsert(
        session, CourseServices, key={"course_id": course_id}, values={}
    )
    services, complete = claims.services, claims.says_all
    if services.roster_url or complete:
        offer.roster_url = services.roster_url
    if services.line_items_url or complete:
        offer.line_items_url = services.line_items_url
    if services.grade_scopes or complete:
        offer.grade_scopes = list(services.grade_scopes)
    if services.line_item_url and claims.target.experience_id:
        _record_line_item(session, course_id, claims, services.line_item_url)


def _record_line_item(session: Session, course_id: int, claims: LaunchClaims, url: str) -> None:
    experience_id = find_linked(session, course_id, claims.target.experience_id or 0)
    if experience_id is not None:
        record_line_item(
            session,
            course_id,
            experience_id,
            url,
            claims.resource_link_id,
            label=claims.resource_link_title,
        )
