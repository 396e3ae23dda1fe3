"""OAuth's parts in an application."""

from flask import Flask, request
from flask_wtf import CSRFProtect

from app.api.errors import as_canvas
from app.api.oauth.pages import blueprint as pages
from app.api.oauth.server import make_server
from app.api.oauth.views import blueprint as views
from app.errors import render_where


def init_app(app: Flask, csrf: CSRFProtect) -> None:
    """Give out tokens. Programs post no CSRF token; the pages where people answer have a proof of their own."""
    app.extensions["authorization_server"] = make_server(app)
    render_where(app, lambda: request.endpoint == "oauth.revoke_token", as_canvas)
    csrf.exempt(views)
    for blueprint in (views, pages):
        app.register_blueprint(blueprint)
