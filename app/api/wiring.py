"""The REST API's parts in an application: routes by token and within a launch, refusals, limits, tokens, documents."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, Flask
from flask_wtf import CSRFProtect
from werkzeug.wrappers import Response

from app.api import chat, conversations, experiences  # noqa: F401 - they declare the endpoints
from app.api.caller import bearer_identity, launch_identity
from app.api.docs import blueprint as docs
from app.api.endpoints import PREFIX, Endpoint, add_routes
from app.api.errors import as_canvas, concerns_api
from app.api.oauth.wiring import init_app as init_oauth
from app.errors import render_where
from app.lti.sessions import launch_blueprint


def init_app(app: Flask, csrf: CSRFProtect) -> None:
    """Serve the API at `/api/v1` to tokens, which need no CSRF token, and at `/launches/<id>/api/v1` to browsers."""
    render_where(app, concerns_api, as_canvas)
    for_tokens = Blueprint("api", __name__, url_prefix=PREFIX)
    csrf.exempt(for_tokens)
    add_routes(for_tokens, _by_token)
    for_launches = launch_blueprint("launch_api", __name__)
    add_routes(for_launches, _by_launch, prefix=PREFIX)
    for blueprint in (for_tokens, for_launches, docs):
        app.register_blueprint(blueprint)
    init_oauth(app, csrf)


def _by_token(declared: Endpoint) -> Callable[..., Response]:
    @wraps(declared.view)
    def view(course_id: str, **ids: Any) -> Response:  # noqa: ANN401 - the path's
        return declared.view(bearer_identity(course_id, declared.scope), **ids)

    return view


def _by_launch(declared: Endpoint) -> Callable[..., Response]:
    @wraps(declared.view)
    def view(course_id: str, **ids: Any) -> Response:  # noqa: ANN401 - the path's
        return declared.view(launch_identity(course_id), **ids)

    return view
