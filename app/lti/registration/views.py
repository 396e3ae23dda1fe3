"""The pages on which a platform's administrator registers the tool; shown in a frame of the platform's."""

from typing import cast

from flask import Blueprint, current_app, render_template, request

from app.database import database
from app.lti.outbound import OutboundSession
from app.lti.registration.dynamic import (
    PATH,
    check_invitation,
    read_initiation,
    register_platform,
)
from app.web import current_settings

blueprint = Blueprint("registration", __name__, url_prefix=PATH)


@blueprint.get("", defaults={"invitation": ""})
@blueprint.get("/<invitation>")
def ask(invitation: str) -> str:
    """Show who wants to be registered; a preview of the link uses nothing up."""
    with database().snapshot() as db:
        check_invitation(db, invitation)
    return render_template(
        "lti/register.html", invitation=invitation, initiation=read_initiation(request.args)
    )


@blueprint.post("/<invitation>")
def register(invitation: str) -> str:
    """Register platform and tool with each other."""
    registered = register_platform(
        database(),
        cast(OutboundSession, current_app.extensions["registration_http"]),
        invitation,
        read_initiation(request.form),
        current_settings().app_url,
    )
    return render_template("lti/registered.html", registered=registered)
