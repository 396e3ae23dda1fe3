"""Pages on which a teacher chooses experiences for a course, and the way back to the platform."""

from http import HTTPStatus

from flask import Response, current_app, make_response, render_template, request

from app.database import request_session
from app.experiences.course_copy import import_offers
from app.experiences.models import Experience
from app.experiences.service import list_experiences
from app.lti.deep_linking.forms import ChoiceForm
from app.lti.deep_linking.service import (
    Answers,
    LinkRequest,
    LinksNotTakenError,
    read_request,
    summary,
)
from app.lti.services.grades import DEFAULT_MAXIMUM
from app.lti.sessions import current_identity, current_launch, launch_blueprint
from app.points import show_points
from app.web import current_settings, let_post_to_platform, row_id

blueprint = launch_blueprint("deep_linking", __name__)


@blueprint.get("/deep-link")
def choose() -> str:
    """The course's experiences, to choose from."""
    wish, listed = _wish_for_links(), _listed()
    data = {
        "experience": request.args.getlist("chosen", type=row_id),
        "graded": wish.takes_line_items is True and not wish.takes_several,
        "points": show_points(DEFAULT_MAXIMUM),
    }
    return _picker(wish, listed, ChoiceForm(wish, listed, data))


@blueprint.post("/deep-link")
def answer() -> Response | tuple[str, int]:
    """Go back to the platform with what was chosen; with mistakes, the page comes back."""
    wish, listed = _wish_for_links(), _listed()
    form = ChoiceForm(wish, listed)
    if not form.validate():  # type: ignore[no-untyped-call]
        return _picker(wish, listed, form), HTTPStatus.BAD_REQUEST
    message = _answers().choose(request_session(), current_identity(), current_launch(), wish, form.choice)
    return _go_back(wish, message)


@blueprint.post("/deep-link/cancel")
def cancel() -> Response:
    """Go back to the platform with nothing."""
    wish = _wish()
    return _go_back(wish, _answers().cancel(request_session(), current_launch(), wish))


def _picker(wish: LinkRequest, listed: list[Experience], form: ChoiceForm) -> str:
    return render_template(
        "lti/deep_link.html",
        wish=wish,
        experiences=listed,
        form=form,
        summary=summary,
        offers=import_offers(request_session(), current_identity()),
    )


def _go_back(wish: LinkRequest, message: str) -> Response:
    page = render_template("lti/deep_link_answer.html", return_url=wish.return_url, message=message)
    return let_post_to_platform(make_response(page))


def _listed() -> list[Experience]:
    return list(list_experiences(request_session(), current_identity()))


def _wish_for_links() -> LinkRequest:
    wish = _wish()
    if not wish.takes_links:
        raise LinksNotTakenError(log=f"accept_types {wish.settings['accept_types']!r:.300}")
    return wish


def _wish() -> LinkRequest:
    return read_request(current_launch(), current_identity(), production=current_settings().production)


def _answers() -> Answers:
    return Answers(current_app.extensions["key_ring"], current_settings().app_url)
