"""Migrations make the tables that the models declare, on both databases, and go back again."""

import pytest
from alembic import command

from app.database import Database
from tests.support.postgres import run_sql, with_database


def _there_and_back(url: str) -> None:
    database = Database(url)
    database.upgrade()
    command.check(database.alembic_config())
    command.downgrade(database.alembic_config(), "base")
    database.upgrade()
    database.engine.dispose()


def test_on_sqlite(tmp_path: object) -> None:
    _there_and_back(f"sqlite:///{tmp_path}/new/fresh.db")


@pytest.mark.postgres
def test_on_postgresql(migrated_postgres: str | None) -> None:
    if migrated_postgres is None:
        pytest.skip("PostgreSQL IS NOT INSTALLED: nothing is tested on it")
    run_sql(migrated_postgres, "CREATE DATABASE fresh")
    _there_and_back(with_database(migrated_postgres, "fresh"))
