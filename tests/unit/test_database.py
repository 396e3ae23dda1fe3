"""The engine."""

import pytest
from sqlalchemy import text

from app import database
from app.database import Database
from tests.support.postgres import run_sql, with_database


@pytest.mark.postgres
def test_a_connection_that_died_while_it_was_idle_is_replaced(
    migrated_postgres: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if migrated_postgres is None:
        pytest.skip("PostgreSQL IS NOT INSTALLED: nothing is tested on it")
    monkeypatch.setattr(database, "PING_AFTER_SECONDS", -1)
    ours = Database(with_database(migrated_postgres, "postgres"))
    with ours.snapshot() as session:
        process = session.connection().scalar(text("SELECT pg_backend_pid()"))
    run_sql(migrated_postgres, f"SELECT pg_terminate_backend({process})")
    with ours.snapshot() as session:
        assert session.connection().scalar(text("SELECT pg_backend_pid()")) != process
    ours.engine.dispose()
