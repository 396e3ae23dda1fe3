"""What holds for every page: limits, security headers, static files, and helpers that templates use."""

import secrets
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

from flask import Flask, Response, render_template, request
from flask_babel import get_locale, gettext
from whitenoise import WhiteNoise

from app.courses.models import Role, User
from app.lti.keys import write_private
from app.markdown import render_markdown
from app.settings import Settings

MAX_REQUEST_BYTES = 1024 * 1024
STATIC_SECONDS = 3600
# Frames on loopback are the sandbox's, where everything runs on one machine over plain http.
_FRAME_ANCESTORS = {True: "https:", False: "http://127.0.0.1:* http://localhost:* https:"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def configure(app: Flask, settings: Settings) -> None:
    """Set what Flask must know, and the headers and template helpers of every answer."""
    app.config.update(
        SETTINGS=settings,
        SECRET_KEY=settings.secret_key or _development_secret(settings.keys_dir),
        SESSION_COOKIE_NAME="launch",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="None",
        SESSION_COOKIE_PARTITIONED=True,
        PERMANENT_SESSION_LIFETIME=timedelta(days=1),
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=False,
        MAX_CONTENT_LENGTH=MAX_REQUEST_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_REQUEST_BYTES,
        BOOTSTRAP_SERVE_LOCAL=True,
    )
    app.jinja_env.filters["markdown"] = render_markdown
    app.jinja_env.globals.update(person_name=person_name, get_locale=get_locale)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.after_request(_add_headers(_content_security_policy(settings)))
    app.add_url_rule("/", "home", _home)


def serve_static_files(app: Flask) -> None:
    """Serve static files, the front-end packages' own too, without going through Flask."""
    files = WhiteNoise(app.wsgi_app, max_age=STATIC_SECONDS)
    folders = {app.static_url_path: app.static_folder}
    for blueprint in app.blueprints.values():
        if blueprint.static_url_path and blueprint.static_folder:
            folders[blueprint.static_url_path] = blueprint.static_folder
    for prefix, folder in folders.items():
        files.add_files(str(folder), prefix=prefix)
    app.wsgi_app = files  # type: ignore[method-assign]


def person_name(user: User, role: Role = Role.STUDENT) -> str:
    """Return what to call a person: their name, or for one whose name never came a role and a short code."""
    if user.name:
        return user.name
    code = sha256(user.sub.encode()).hexdigest()[:4]
    kinds = {
        Role.STUDENT: gettext("Student"),
        Role.TEACHER: gettext("Teacher"),
        Role.OBSERVER: gettext("Observer"),
    }
    return f"{kinds.get(role, gettext('Person'))} {code}"


def _home() -> str:
    return render_template("home.html")


def _content_security_policy(settings: Settings) -> str:
    return "; ".join(
        (
            "default-src 'self'",
            "img-src 'self' data: https:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            f"frame-ancestors 'self' {_FRAME_ANCESTORS[settings.production]}",
        )
    )


def _add_headers(policy: str) -> Callable[[Response], Response]:
    def add(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", policy)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        if not request.path.startswith("/static/"):
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    return add


def _development_secret(keys_dir: Path) -> str:
    path = keys_dir / "secret_key"
    if not path.exists():
        keys_dir.mkdir(parents=True, exist_ok=True)
        write_private(path, secrets.token_urlsafe(48).encode())
    return path.read_text()
