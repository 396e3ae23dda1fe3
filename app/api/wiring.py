"""The REST API's parts in an application: routes by token and within a launch, refusals, limits, tokens, documents."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Blueprint, Flask, current_app, g
from flask_wtf import CSRFProtect
from werkzeug.wrappers import Response

from app.api import chat, conversations, experiences  # noqa: F401 - they declare the endpoints
from app.api.caller import bearer_identity, find_token, launch_identity
from app.api.docs import blueprint as docs
from app.api.endpoints import PREFIX, Endpoint, add_routes
from app.api.errors import as_canvas, concerns_api
from app.api.limits import Limits
from app.api.limits import init_app as init_limits
from app.api.oauth.wiring import init_app as init_oauth
from app.errors import RateLimitedError, render_where
from app.lti.sessions import launch_blueprint
from app.settings import Settings


def init_app(app: Flask, settings: Settings, csrf: CSRFProtect) -> None:
    """Serve the API at `/api/v1` to tokens, which need no CSRF token, and at `/launches/<id>/api/v1` to browsers."""
    render_where(app, concerns_api, as_canvas)
    init_limits(app, settings)
    for_tokens = Blueprint("api", __name__, url_prefix=PREFIX)
    csrf.exempt(for_tokens)
    add_routes(for_tokens, _by_token)
    for_launches = launch_blueprint("launch_api", __name__)
    add_routes(for_launches, _by_launch, prefix=PREFIX)
    for blueprint in (for_tokens, for_launches):
        blueprint.after_request(_tell_standing)
        app.register_blueprint(blueprint)
    app.register_blueprint(docs)
    init_oauth(app, csrf)


def _by_token(declared: Endpoint) -> Callable[..., Response]:
    @wraps(declared.view)
    def view(course_id: str, **ids: Any) -> Response:  # noqa: ANN401 - the path's
        token, places = find_token(course_id)
        _take(f"token:{token.id}", f"user:{token.user_id}")
        return declared.view(bearer_identity(token, places, declared.scope), **ids)

    return view


def _by_launch(declared: Endpoint) -> Callable[..., Response]:
    @wraps(declared.view)
    def view(course_id: str, **ids: Any) -> Response:  # noqa: ANN401 - the path's
        identity = launch_identity(course_id)
        _take(f"user:{identity.user.id}")
        return declared.view(identity, **ids)

    return view


def _take(*keys: str) -> None:
    """Count a request. Raises `RateLimitedError`."""
    limits: Limits = current_app.extensions["api_limits"]
    g.api_standing = limits.take(*keys)
    if g.api_standing.retry_after is not None:
        raise RateLimitedError(retry_after=g.api_standing.retry_after, log=" ".join(keys))


def _tell_standing(response: Response) -> Response:
    if "api_standing" in g:
        response.headers.update(g.api_standing.headers)
    return response
