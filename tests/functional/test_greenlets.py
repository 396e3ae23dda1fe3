"""Waiting for PostgreSQL where greenlets take the place of threads; in a process of its own, which gevent patches."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.postgres import copy_of_migrated

pytestmark = pytest.mark.postgres
BEGINNING = """
from gevent import monkey; monkey.patch_all()
import sys
from threading import Thread
from sqlalchemy import text
from app.database import Database
from app.postgres import GreenConnection

database = Database(sys.argv[1])

def ask(statement):
    with database.snapshot() as session:
        assert isinstance(session.connection().connection.driver_connection, GreenConnection)
        return session.scalar(text(statement))
"""


@pytest.fixture
def url(migrated_postgres: str | None) -> Iterator[str]:
    with copy_of_migrated(migrated_postgres) as url:
        yield url


def run(program: str, url: str) -> None:
    subprocess.run([sys.executable, "-c", BEGINNING + program, url], check=True, timeout=60)


def test_who_waits_holds_nobody_up(url: str) -> None:
    run(
        """
sleepers = [Thread(target=ask, args=("SELECT pg_sleep(30)",), daemon=True) for _ in range(5)]
for each in sleepers: each.start()
assert ask("SELECT 1") == 1
assert all(each.is_alive() for each in sleepers)
""",
        url,
    )


def test_more_than_a_socket_holds_goes_both_ways(url: str) -> None:
    run(
        """
with database.snapshot() as session:
    assert session.scalar(text("SELECT reverse(:it)"), {"it": "ab" * 5_000_000}) == "ba" * 5_000_000
""",
        url,
    )


def test_a_connection_that_the_server_ends_is_an_error(url: str) -> None:
    run(
        """
from sqlalchemy.exc import OperationalError
try:
    ask("SELECT pg_terminate_backend(pg_backend_pid())")
except OperationalError:
    pass
else:
    raise AssertionError
assert ask("SELECT 1") == 1
""",
        url,
    )
