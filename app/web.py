"""What holds for every page: limits, security headers, static files, and helpers that templates use."""

import secrets
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import IO, cast
from wsgiref.headers import Headers

from babel import Locale, negotiate_locale
from flask import Flask, Request, Response, current_app, g, render_template, request
from flask_babel import LazyString, get_locale
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.routing import IntegerConverter
from werkzeug.utils import cached_property
from werkzeug.wsgi import LimitedStream
from whitenoise import WhiteNoise

from app.courses.names import person_name, role_name
from app.errors import BadRequestError, NotFoundError
from app.files import write_private
from app.markdown import plain_text, render_markdown
from app.settings import Settings

MAX_REQUEST_BYTES = 1024 * 1024
STATIC_SECONDS = 3600
PLAIN_TEXTS = 512  # descriptions of experiences that a process remembers without their Markdown
HSTS_SECONDS = 365 * 24 * 3600
SOURCE_LANGUAGE = "en"
LARGEST_ID = 2**31 - 1
# Platforms on loopback are sandboxes, where everything runs on one machine over plain http.
_PLATFORMS = {True: "https:", False: "http://127.0.0.1:* http://localhost:* https:"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def row_id(text: str) -> int:
    """Read a row's id from an address or a form. A number that no column holds is 0, which is no row's.

    Raises `ValueError` for what is no number.
    """
    number = int(text)
    return number if 0 < number <= LARGEST_ID else 0


class IdConverter(IntegerConverter):
    """A row's id in an address (`row_id`).

    To refuse one that no column holds, Werkzeug would answer 405 wherever the address has other methods too.
    """

    regex = "[0-9]{1,10}"

    def to_python(self, value: str) -> int:
        """Return the id."""
        return row_id(value)


class WholeRequest(Request):
    """A request whose body is read whole or refused, whether it tells its length or comes in chunks."""

    @cached_property
    def stream(self) -> IO[bytes]:
        """The body."""
        if self.content_length is None and "wsgi.input_terminated" in self.environ:
            return cast(IO[bytes], _Chunks(self.environ["wsgi.input"], MAX_REQUEST_BYTES))
        return super().stream


class _Chunks(LimitedStream):
    """A body that comes in chunks. Of one beyond the limit, Werkzeug would give the beginning for the whole."""

    def __init__(self, chunks: IO[bytes], limit: int) -> None:
        super().__init__(chunks, limit, is_max=True)
        self._chunks = chunks

    def readall(self) -> bytes:
        """Return the whole body. Raises `RequestEntityTooLarge`."""
        body = super().readall()
        if self.is_exhausted and self._chunks.read(1):
            raise RequestEntityTooLarge
        return body


def configure(app: Flask, settings: Settings) -> None:
    """Set what Flask must know, and the headers and template helpers of every answer."""
    app.request_class = WholeRequest
    app.config.update(
        SETTINGS=settings,
        SECRET_KEY=settings.secret_key or _development_secret(settings.keys_dir),
        SESSION_COOKIE_NAME="launch",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="None",
        SESSION_COOKIE_PARTITIONED=True,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=False,
        MAX_CONTENT_LENGTH=MAX_REQUEST_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_REQUEST_BYTES,
        BOOTSTRAP_SERVE_LOCAL=True,
    )
    app.jinja_env.filters["markdown"] = render_markdown
    app.jinja_env.filters["plain"] = lru_cache(PLAIN_TEXTS)(plain_text)
    app.jinja_env.globals.update(person_name=person_name, role_name=role_name, language_tag=language_tag)
    app.jinja_env.finalize = _escapable
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.before_request(_require_readable_address)
    app.after_request(_add_headers(settings))
    app.url_map.converters["id"] = IdConverter
    app.url_map.merge_slashes = False
    app.add_url_rule("/", "home", _home)


def serve_static_files(app: Flask) -> None:
    """Serve static files, the front-end packages' own too, without going through Flask."""
    files = WhiteNoise(
        app.wsgi_app, max_age=STATIC_SECONDS, allow_all_origins=False, add_headers_function=_protect_file
    )
    folders = {app.static_url_path: app.static_folder}
    for blueprint in app.blueprints.values():
        if blueprint.static_url_path and blueprint.static_folder:
            folders[blueprint.static_url_path] = blueprint.static_folder
    for prefix, folder in folders.items():
        files.add_files(str(folder), prefix=prefix)
    app.wsgi_app = files  # type: ignore[method-assign]


def current_settings() -> Settings:
    """Return the running application's settings."""
    return cast(Settings, current_app.config["SETTINGS"])


def choose_locale() -> str:
    """Choose the language of a page: the launch's where there is a translation, otherwise English."""
    wanted: str | None = g.get("locale")
    if not wanted:
        return SOURCE_LANGUAGE
    return negotiate_locale([wanted.replace("-", "_")], _available_locales()) or SOURCE_LANGUAGE


def _available_locales() -> list[str]:
    """Return what pages can be in; the folders of translations are read once."""
    if "locales" not in current_app.extensions:
        translations: list[Locale] = current_app.extensions["babel"].instance.list_translations()
        current_app.extensions["locales"] = [SOURCE_LANGUAGE, *map(str, translations)]
    return cast(list[str], current_app.extensions["locales"])


def language_tag() -> str:
    """Return the page's language as HTML writes it (BCP 47)."""
    return str(get_locale()).replace("_", "-")


def let_post_to_platform(response: Response) -> Response:
    """Let the form on this page, and no other, be posted to a platform.

    Which host it is cannot be said: Chromium holds form-action against redirects too, and a platform may send the
    browser on from one of its hosts to another.
    """
    settings = current_settings()
    policy = _content_security_policy(settings, form_action=_PLATFORMS[settings.production])
    response.headers["Content-Security-Policy"] = policy
    return response


def stand_alone(response: Response, *, form_action: str = "'self'") -> Response:
    """Let no page frame this one; its forms may lead to where `form_action` says, redirects included."""
    policy = _content_security_policy(current_settings(), form_action=form_action, frame_ancestors="'none'")
    response.headers["Content-Security-Policy"] = policy
    return response


def _escapable(value: object) -> object:
    """Turn a lazy translation into text: it would pass for safe HTML, whatever was put into it."""
    return str(value) if isinstance(value, LazyString) else value


def _protect_file(headers: Headers, _path: str, _url: str) -> None:
    headers["X-Content-Type-Options"] = "nosniff"


def _home() -> str:
    return render_template("home.html")


def _content_security_policy(
    settings: Settings, form_action: str = "'self'", frame_ancestors: str | None = None
) -> str:
    framers = frame_ancestors or f"'self' {_PLATFORMS[settings.production]}"
    return "; ".join(
        (
            "default-src 'self'",
            "img-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            f"form-action {form_action}",
            f"frame-ancestors {framers}",
        )
    )


def _require_readable_address() -> None:
    """Refuse an address that is no text: PostgreSQL takes no NUL, and Werkzeug stumbles over a query of odd bytes."""
    if "\0" in request.path:
        raise NotFoundError(log="NUL in the path")
    try:
        request.query_string.decode()
    except UnicodeDecodeError as error:
        raise BadRequestError(log="the query is no UTF-8") from error


def _add_headers(settings: Settings) -> Callable[[Response], Response]:
    headers = _HEADERS | {"Content-Security-Policy": _content_security_policy(settings)}
    if settings.production:
        headers["Strict-Transport-Security"] = f"max-age={HSTS_SECONDS}"

    def add(response: Response) -> Response:
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    return add


def _development_secret(keys_dir: Path) -> str:
    path = keys_dir / "secret_key"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(48).encode())
    return path.read_text()
