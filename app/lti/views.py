"""The addresses that a platform calls: login, launch, keys, and the configuration that it reads."""

from typing import cast

from flask import Blueprint, Response, current_app, jsonify, redirect, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from app.database import database
from app.lti.canvas import developer_key
from app.lti.key_sets import KeySets
from app.lti.keys import KeyRing
from app.lti.launch import receive_launch
from app.lti.login import start_login
from app.lti.refusals import StateRefusedError
from app.lti.sessions import hand_cookie_to

blueprint = Blueprint("lti", __name__, url_prefix="/lti")


@blueprint.route("/login", methods=["GET", "POST"])
def login() -> Response:
    """Third-party initiated login (LTI Security Framework 1.1, section 5.1.1.1)."""
    with database().transaction() as db:
        return start_login(db, request.values.to_dict(), current_app.config["SETTINGS"].app_url)


@blueprint.post("/launch")
def launch() -> BaseResponse:
    """Receive an id_token (LTI Core 1.3, section 5) and open the tool on it."""
    key_sets = cast(KeySets, current_app.extensions["key_sets"])
    opened = receive_launch(database(), key_sets, request.form, request.cookies)
    hand_cookie_to(opened)
    return redirect(url_for("experiences.index", launch_id=opened.id), code=303)


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
