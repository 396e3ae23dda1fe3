"""A PostgreSQL server of the tests' own, on a private port."""

import os
import pwd
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.support.ports import free_port
from tests.support.services import postgresql

_SPEED = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"


@contextmanager
def postgres_server() -> Iterator[str | None]:
    """Serve a fresh cluster and yield the address of its first database; None where PostgreSQL is not installed."""
    programs = postgresql()
    if programs is None:
        yield None
        return
    # Not below pytest's own folders: another run of pytest closes those to everybody but their owner.
    with TemporaryDirectory(prefix="tests-postgres-", ignore_cleanup_errors=True) as name:
        user = _unprivileged(Path(name))
        data, port = f"{name}/data", free_port()
        _run([programs / "initdb", "-D", data, "-U", "test", "--auth=trust", "--no-sync"], user)
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {name} {_SPEED}"
        _run([programs / "pg_ctl", "-D", data, "-w", "-l", f"{name}/log", "-o", options, "start"], user)
        try:
            yield f"postgresql+psycopg://test@127.0.0.1:{port}/postgres"
        finally:
            _run([programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"], user)


@contextmanager
def copy_of_migrated(server: str | None) -> Iterator[str]:
    """Yield the address of a copy of the server's database `migrated`, and drop it; skip the test without a server."""
    if server is None:
        pytest.skip("PostgreSQL IS NOT INSTALLED: nothing is tested on it")
    name = f"test_{uuid.uuid4().hex}"
    run_sql(server, f"CREATE DATABASE {name} TEMPLATE migrated STRATEGY FILE_COPY")
    yield with_database(server, name)
    run_sql(server, f"DROP DATABASE {name} WITH (FORCE)")


def run_sql(url: str, statement: str) -> None:
    """Run a statement outside any transaction."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


def with_database(url: str, name: str) -> str:
    """Return the address of another database on the same server."""
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _unprivileged(folder: Path) -> str | None:
    """Choose who runs the server, which refuses to run as root, and give them the folder."""
    if os.geteuid() != 0:
        return None
    user = "postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody"
    owner = pwd.getpwnam(user)
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    return user


def _run(command: list[object], user: str | None) -> None:
    subprocess.run([str(part) for part in command], check=True, user=user, stdout=subprocess.DEVNULL, cwd="/")
