"""Putting the sandbox together, and serving it."""

from urllib.parse import urlsplit

from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from app.paths import templates_dir
from app.sandbox.config import SandboxConfig, refuse_unless_local
from app.sandbox.frames import frames, images
from app.sandbox.oidc import oidc
from app.sandbox.pages import PROBLEMS, pages, show_problem
from app.sandbox.platform import EXTENSION, Sandbox, sandbox_of
from app.sandbox.registrations import registrations
from app.sandbox.services import services
from app.sandbox.signed import FetchJson, fetch_json
from app.sandbox.traffic import RequestRecord

HOST = "127.0.0.1"


class QuietHandler(WSGIRequestHandler):
    """Serves without a line for every request, so that a demo's own words stay readable."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of requests; errors are still logged."""


def create_sandbox(config: SandboxConfig, *, fetch: FetchJson = fetch_json) -> Flask:
    """The sandbox as an application; `app.extensions["sandbox"]` is its `Sandbox`.

    ``fetch`` reads the tool's key set; tests may give one that needs no network. Raises `SandboxRefusedError`
    for a tool that is not on this machine.
    """
    refuse_unless_local(config)
    app = Flask(__name__, template_folder=str(templates_dir()), static_folder="static")
    app.extensions[EXTENSION] = Sandbox(config, fetch=fetch)
    for blueprint in (oidc, registrations, services, frames, images, pages):
        app.register_blueprint(blueprint)
    for status in PROBLEMS:
        app.register_error_handler(status, _show_http_problem)
    app.add_template_filter(points)
    app.before_request(_meet_traffic)
    app.after_request(_with_security_headers)
    return app


def make_sandbox_server(config: SandboxConfig) -> BaseWSGIServer:
    """A server for the sandbox, bound but not yet serving: one process with threads, state is shared."""
    app = create_sandbox(config)
    return make_server(
        HOST, urlsplit(config.url).port or 80, app, threaded=True, request_handler=QuietHandler
    )


def run(config: SandboxConfig) -> None:
    """Serve the sandbox on this machine until it is interrupted."""
    make_sandbox_server(config).serve_forever()


def _meet_traffic() -> Response | None:
    record = RequestRecord(request.method, request.path, request.args.to_dict())
    outage = sandbox_of(current_app).traffic.note(record)
    return outage.meet() if outage else None


def points(value: float) -> str:
    """A number of points without a needless decimal point."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _show_http_problem(error: HTTPException) -> tuple[str, int]:
    return show_problem(error.code or 404)


def _with_security_headers(answer: Response) -> Response:
    origins = [*sandbox_of(current_app).tools.origins(), *g.get("framed_origins", ())]
    headers = {
        "Content-Security-Policy": _policy(" ".join(dict.fromkeys(origins))),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    for name, value in headers.items():
        answer.headers.setdefault(name, value)
    return answer


def _policy(tools: str) -> str:
    # The authorization page is shown inside the tool's frame; forms lead to the tool and redirect back.
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        f"form-action 'self' {tools}; frame-src 'self' {tools}; frame-ancestors 'self'"
    )
