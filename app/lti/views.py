"""The addresses that a platform calls: login, launch, keys, and the configuration that it reads."""

from typing import cast

from flask import Blueprint, Response, current_app, jsonify, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.courses.service import record_visit
from app.database import database, request_session
from app.lti.canvas import developer_key
from app.lti.claims import parse_claims
from app.lti.key_sets import KeySets
from app.lti.keys import KeyRing
from app.lti.launch import require_deployment, verify_launch
from app.lti.login import forget_cookie, start_login, take_login
from app.lti.models import Platform, RegistrationState
from app.lti.refusals import LaunchRefusedError, StateRefusedError, UnknownPlatformError
from app.lti.sessions import hand_cookie_to, open_launch

blueprint = Blueprint("lti", __name__, url_prefix="/lti")


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> Response:
    """Third-party initiated login (LTI Security Framework 1.1, section 5.1.1.1)."""
    params = request.values.to_dict()
    return start_login(request_session(), params, current_app.config["SETTINGS"].app_url)


@blueprint.post("/launch")
def launch() -> BaseResponse:
    """Receive an id_token (LTI Core 1.3, section 5): check it, write down who came where, open a session."""
    if "error" in request.form:
        raise LaunchRefusedError(log=f"the platform answered {request.form['error']!r:.200}")
    with database().transaction() as db:
        login = take_login(db, request.form.get("state"), request.cookies)
        platform = db.get_one(Platform, login.platform_id)
    if platform.workflow_state is not RegistrationState.ACTIVE:
        raise UnknownPlatformError(log=f"platform {platform.id} was removed")
    # No transaction is open here: the platform's keys may have to be fetched.
    key_sets = cast(KeySets, current_app.extensions["key_sets"])
    body = verify_launch(platform, login, request.form.get("id_token", ""), key_sets)
    claims = parse_claims(body)
    db = request_session()
    deployment = require_deployment(db, platform, body)
    enrollment = record_visit(db, platform.id, claims.visit)
    opened = open_launch(db, enrollment, platform.id, deployment.id, claims)
    hand_cookie_to(opened)
    response = redirect(url_for("experiences.index", launch_id=opened.id), code=303)
    forget_cookie(response, login.state)
    return response


@blueprint.get("/launch")
def launch_by_hand() -> Response:
    """Tell someone who came to the launch address by hand where to begin."""
    raise StateRefusedError(log="GET instead of POST")


@blueprint.get("/jwks.json")
def key_set() -> Response:
    """The tool's public keys."""
    return jsonify(cast(KeyRing, current_app.extensions["key_ring"]).public_key_set())


@blueprint.get("/config.json")
def canvas_configuration() -> Response:
    """The Canvas developer key's JSON, made for this host."""
    return jsonify(
        developer_key(
            current_app.config["SETTINGS"].app_url,
            "AI Experiences",
            "Chat simulations that teachers write and students hold, with learning objectives.",
        )
    )
