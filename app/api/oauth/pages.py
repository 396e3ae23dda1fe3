"""Pages within a launch: one's own access tokens, the programs that one allowed, and signing in for others."""

from http import HTTPStatus
from typing import cast

from flask import current_app, flash, redirect, render_template, url_for
from flask_babel import gettext
from werkzeug.wrappers import Response

from app.api.caller import CONTEXT_MARK
from app.api.oauth import tokens
from app.api.oauth.forms import TokenForm
from app.api.oauth.scopes import groups_of
from app.api.oauth.sign_ins import make_ticket
from app.database import request_session
from app.identity import Right
from app.lti.sessions import current_identity, current_launch, launch_blueprint
from app.web import current_settings

blueprint = launch_blueprint("access", __name__)


@blueprint.get("/programs")
def programs() -> str:
    """The programs that may act for somebody, and signing in for others."""
    return _show()


@blueprint.get("/access-tokens")
def access_tokens() -> str:
    """The same, with one's own access tokens and the form for another."""
    current_identity().require(Right.MAKE_TOKENS)
    return _show(TokenForm())  # type: ignore[no-untyped-call]


@blueprint.post("/access-tokens")
def make_token() -> str | tuple[str, int]:
    """Make a token and show it, this once; with mistakes, the form comes back."""
    current_identity().require(Right.MAKE_TOKENS)
    form = TokenForm()  # type: ignore[no-untyped-call]
    if not form.validate():  # type: ignore[no-untyped-call]
        return _show(form), HTTPStatus.BAD_REQUEST
    issued = tokens.issue_personal(
        request_session(),
        current_identity(),
        name=form.chosen_name,
        lifetime=form.lifetime,
        scopes=form.scopes,
    )
    return render_template("oauth/made.html", issued=issued, api_address=_api_address()), HTTPStatus.CREATED


@blueprint.post("/access-tokens/<id:token_id>/revoke")
def revoke_token(token_id: int) -> Response:
    """Revoke one of one's own tokens."""
    tokens.revoke_personal(request_session(), current_identity(), token_id)
    flash(gettext("Revoked. Nobody can use the token any more."), "success")
    return redirect(url_for(".access_tokens"), code=303)


@blueprint.post("/programs/<id:client_id>/revoke")
def revoke_program(client_id: int) -> Response:
    """Let a program no longer act for oneself."""
    tokens.revoke_program(request_session(), current_identity(), client_id)
    flash(gettext("The program can no longer act for you."), "success")
    may_make = current_identity().may(Right.MAKE_TOKENS)
    return redirect(url_for(".access_tokens" if may_make else ".programs"), code=303)


def _show(form: TokenForm | None = None) -> str:
    session, identity = request_session(), current_identity()
    return render_template(
        "oauth/access.html",
        form=form,
        tokens=tokens.personal_tokens(session, identity) if form else [],
        programs=tokens.allowed_programs(session, identity),
        ticket=make_ticket(cast(str, current_app.secret_key), identity, current_launch().locale),
        groups_of=groups_of,
        api_address=_api_address(),
    )


def _api_address() -> str:
    """Where programs find the experiences of this course."""
    course = current_identity().course
    named = course.canvas_course_id or f"{CONTEXT_MARK}{course.context_id}"
    return current_settings().app_url + url_for("api.list_experiences", course_id=named)
