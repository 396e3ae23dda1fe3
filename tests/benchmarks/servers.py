"""The servers that benchmarks load: PostgreSQL, and applications as `ai-experiences serve` runs them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from secrets import token_urlsafe

from sqlalchemy import create_engine, text

from app.cli import gunicorn_command
from tests.support.postgres import postgres_server, run_sql, with_database

OURS = "app:create_app()"
ROOT = Path(__file__).parents[2]
START_SECONDS = 60
STOP_SECONDS = 10


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server with the id of its first process."""

    url: str
    pid: int

    def create(self, name: str) -> str:
        """Create an empty database and return its address."""
        run_sql(self.url, f"CREATE DATABASE {name}")
        return with_database(self.url, name)


@dataclass(frozen=True)
class Server:
    """A running application with the id of its first process."""

    url: str
    pid: int


@contextmanager
def postgres() -> Iterator[Postgres]:
    with postgres_server() as url:
        if url is None:
            sys.exit("PostgreSQL is not installed, and the benchmarks need it.")
        engine = create_engine(url)
        with engine.connect() as connection:
            data = Path(str(connection.scalar(text("SHOW data_directory"))))
        engine.dispose()
        yield Postgres(url, int((data / "postmaster.pid").read_text().split()[0]))


@contextmanager
def serve(
    application: str, port: int, folder: Path, environment: Mapping[str, str], workers: int
) -> Iterator[Server]:
    """Serve an application, `OURS` or another, in `folder` with nothing but `environment` to set it up."""
    command = [application if part == OURS else part for part in gunicorn_command("127.0.0.1", port, workers)]
    with run_server(command, port, folder, environment) as server:
        yield server


@contextmanager
def run_server(
    command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str]
) -> Iterator[Server]:
    """Run a program that serves on a port, in `folder` with nothing but `environment` to set it up."""
    process = subprocess.Popen(command, cwd=folder, env=_plain(environment))
    try:
        _wait_for(port, process)
        yield Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def our_environment(port: int, folder: Path, database_url: str) -> dict[str, str]:
    """Return the settings of our application, with whatever it keeps on disk in `folder`."""
    return {
        "APP_URL": f"http://127.0.0.1:{port}",
        "DATABASE_URL": database_url,
        "KEYS_DIR": str(folder),
        "LLM_PROVIDER": "scripted",
        "LOG_LEVEL": "WARNING",
        "SECRET_KEY": token_urlsafe(48),
        "TOOL_CONFIG": str(folder / "tool_config.json"),
    }


def ai_experiences(folder: Path, environment: Mapping[str, str], *arguments: str) -> None:
    """Run our command line as an administrator would."""
    command = [sys.executable, "-m", "app.cli", *arguments]
    subprocess.run(command, cwd=folder, env=_plain(environment), check=True, stdout=subprocess.DEVNULL)


def _plain(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | dict(environment)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)) as connection:
            try:
                connection.request("GET", "/")
                connection.getresponse().read()
            except OSError:
                time.sleep(0.05)
            else:
                return
    raise RuntimeError(f"the server on port {port} did not start")
