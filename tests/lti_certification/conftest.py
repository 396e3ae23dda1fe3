"""The tool and a platform, each running on a port of its own, and the count of cases at the end."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import BaseWSGIServer, make_server

from app import create_app
from app.sandbox import Sandbox, SandboxConfig, make_sandbox_server
from app.sandbox.factory import QuietHandler
from app.sandbox.people import CanvasRole, Course
from app.settings import Settings
from tests.lti_certification.vocabulary import STUDENT, TEACHER, Browser, Platform, Tool
from tests.support.applications import end
from tests.support.ports import free_port
from tests.support.postgres import copy_of_migrated

HERE = Path(__file__).parent.name


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many cases of the contract passed."""
    reports = {outcome: terminalreporter.getreports(outcome) for outcome in ("passed", "failed", "error")}
    passed, *failed = (sum(f"/{HERE}/" in f"/{r.nodeid}" for r in listed) for listed in reports.values())
    if passed or any(failed):
        terminalreporter.write_line(f"LTI certification: {passed} cases passed, {sum(failed)} failed")


@pytest.fixture(scope="session")
def tool_server() -> Iterator[BaseWSGIServer]:
    """The port of the tool. Each test puts its own application behind it."""
    with serving(
        make_server("127.0.0.1", 0, Flask("none"), threaded=True, request_handler=QuietHandler)
    ) as s:
        yield s


@pytest.fixture(scope="session")
def tool_url(tool_server: BaseWSGIServer) -> str:
    return f"http://localhost:{tool_server.port}"


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory, tool_url: str) -> Iterator[Sandbox]:
    with a_sandbox(tmp_path_factory.mktemp("sandbox"), tool_url) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def another_sandbox(tmp_path_factory: pytest.TempPathFactory, tool_url: str) -> Iterator[Sandbox]:
    with a_sandbox(tmp_path_factory.mktemp("another-sandbox"), tool_url) as sandbox:
        yield sandbox


@pytest.fixture
def settings(database_url: str, keys_dir: Path, tool_url: str) -> Settings:
    return Settings(
        _env_file=None,
        app_url=tool_url,
        database_url=database_url,
        keys_dir=keys_dir,
        llm_provider="scripted",
        llm_scripted_pause=0,
    )


@pytest.fixture
def database_url(request: pytest.FixtureRequest, database_url: str) -> Iterator[str]:
    """A database on SQLite, or on PostgreSQL where `on_both_databases` says so."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield database_url
        return
    with copy_of_migrated(request.getfixturevalue("migrated_postgres")) as url:
        yield url


@pytest.fixture
def tool(
    app: Flask, tool_server: BaseWSGIServer, tool_url: str, caplog: pytest.LogCaptureFixture
) -> Iterator[Tool]:
    caplog.set_level(logging.INFO)
    tool_server.app = app
    yield Tool(app, tool_url, caplog)
    tool_server.app = Flask("none")


@pytest.fixture
def platform(sandbox: Sandbox) -> Platform:
    sandbox.traffic.clear()
    sandbox.links_to = None
    return Platform(sandbox)


@pytest.fixture
def course(sandbox: Sandbox) -> Course:
    """A course of the test's own, with a teacher and a student."""
    course = sandbox.directory.add_course("Biology")
    sandbox.directory.enroll(sandbox.person(TEACHER), course, CanvasRole.TEACHER)
    sandbox.directory.enroll(sandbox.person(STUDENT), course, CanvasRole.STUDENT)
    return course


@pytest.fixture
def another_platform(another_sandbox: Sandbox, tool: Tool) -> Platform:
    """A second platform that the tool knows: an issuer, keys and a port of its own."""
    another_sandbox.traffic.clear()
    platform = Platform(another_sandbox)
    tool.register(platform)
    return platform


@pytest.fixture
def browser(tool: Tool, platform: Platform) -> Browser:
    return Browser(tool, platform)


@pytest.fixture
def another_worker(settings: Settings) -> Iterator[Callable[..., Flask]]:
    """Return what starts the tool once more on the same database, with other settings where they are given."""
    with ExitStack() as workers:

        def start(**changes: Any) -> Flask:
            app = create_app(settings.model_copy(update=changes))
            workers.callback(end, app)
            return app

        yield start


@pytest.fixture
def serve() -> Iterator[Callable[[Flask], str]]:
    """Return what serves an application on one more port; it returns the address."""
    with ExitStack() as servers:

        def start(app: Flask) -> str:
            server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=QuietHandler)
            servers.enter_context(serving(server))
            return f"http://localhost:{server.port}"

        yield start


@contextmanager
def a_sandbox(state_dir: Path, tool_url: str) -> Iterator[Sandbox]:
    url = f"http://127.0.0.1:{free_port()}"
    server = make_sandbox_server(SandboxConfig(url=url, tool_url=tool_url, state_dir=state_dir))
    with serving(server):
        yield server.app.extensions["sandbox"]


@contextmanager
def serving(server: BaseWSGIServer) -> Iterator[BaseWSGIServer]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
