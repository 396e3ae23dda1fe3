"""What every test may use: a migrated database of its own, the application, a platform, people who launch."""

import gc
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event
from sqlmodel import Session
from werkzeug.routing import Rule

from app import create_app
from app.database import Database
from app.lti.keys import KeyRing
from app.lti.models import RegistrationSource
from app.lti.registration.platforms import PlatformEntry, save_platform
from app.sandbox import Sandbox, SandboxConfig, make_sandbox_server, registration
from app.settings import Settings
from tests.support.applications import end
from tests.support.fake_model import FakeModel
from tests.support.people import Visitor
from tests.support.ports import free_port
from tests.support.postgres import postgres_server, run_sql, with_database

TOOL_URL = "http://localhost:8000"


@pytest.fixture(scope="session", autouse=True)
def _routes_compile_undisturbed() -> Iterator[None]:
    """Python 3.11 fails now and then where garbage is collected while code is parsed, as werkzeug does for routes
    (cpython issue 106905): of a thousand applications, one.
    """
    compile_rule = Rule.compile

    def compile_undisturbed(rule: Rule) -> None:
        gc.disable()
        try:
            compile_rule(rule)
        finally:
            gc.enable()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "compile", compile_undisturbed)
        yield


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "migrated.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgres() -> Iterator[str | None]:
    """The address of a server whose database `migrated` is a template; None without PostgreSQL."""
    with postgres_server() as url:
        if url is not None:
            run_sql(url, "CREATE DATABASE migrated")
            _migrate(with_database(url, "migrated"))
        yield url


@pytest.fixture
def database_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    copy = tmp_path / "test.db"
    shutil.copy(migrated_sqlite, copy)
    return f"sqlite:///{copy}"


def _migrate(url: str) -> None:
    database = Database(url)
    database.upgrade()
    database.engine.dispose()


@pytest.fixture(scope="session")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory, keys_dir: Path) -> Iterator[Sandbox]:
    """A real platform on a port of its own. Nobody serves the tool: its keys are handed over."""
    config = SandboxConfig(
        url=f"http://127.0.0.1:{free_port()}",
        tool_url=TOOL_URL,
        state_dir=tmp_path_factory.mktemp("sandbox"),
    )
    server = make_sandbox_server(config)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sandbox: Sandbox = server.app.extensions["sandbox"]
    sandbox.fetch = lambda _url: KeyRing(keys_dir).public_key_set()
    yield sandbox
    server.shutdown()
    server.server_close()


@pytest.fixture
def fake_model() -> Iterator[FakeModel]:
    with FakeModel() as model:
        yield model


@pytest.fixture
def settings(database_url: str, keys_dir: Path, fake_model: FakeModel) -> Settings:
    return Settings(
        _env_file=None,
        app_url=TOOL_URL,
        database_url=database_url,
        keys_dir=keys_dir,
        llm_provider="openai",
        llm_base_url=fake_model.base_url,
        llm_model="fake",
        llm_retries=0,
    )


@pytest.fixture
def app(settings: Settings, sandbox: Sandbox) -> Iterator[Flask]:
    app = create_app(settings)
    app.testing = False
    database: Database = app.extensions["database"]
    with database.transaction() as session:
        entry = PlatformEntry.model_validate(registration(sandbox.config))
        save_platform(session, sandbox.config.issuer, entry, RegistrationSource.COMMAND)
    yield app
    end(app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def db(app: Flask) -> Iterator[Session]:
    """A session beside the application's own."""
    with app.extensions["database"].transaction() as session:
        yield session


@pytest.fixture
def count_queries(app: Flask) -> Callable[[Callable[[], object]], int]:
    """Return a function that tells how many statements a call sends to the database, from its own thread."""
    engine, thread = app.extensions["database"].engine, threading.get_ident()

    def count(call: Callable[[], object]) -> int:
        statements: list[str] = []

        def note(_conn: object, _cursor: object, statement: str, *_rest: object) -> None:
            if threading.get_ident() == thread:
                statements.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        call()
        event.remove(engine, "before_cursor_execute", note)
        return len(statements)

    return count


@pytest.fixture
def teacher(app: Flask, sandbox: Sandbox) -> Visitor:
    return Visitor.launch(app, sandbox, "miriam.okafor")


@pytest.fixture
def student(app: Flask, sandbox: Sandbox) -> Visitor:
    return Visitor.launch(app, sandbox, "amara.diallo")
