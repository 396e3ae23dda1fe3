"""Functional tests run on SQLite and on PostgreSQL."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import run_sql, with_database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, migrated_sqlite: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a migrated database of the test's own."""
    if request.param == "sqlite":
        copy = tmp_path / "test.db"
        shutil.copy(migrated_sqlite, copy)
        yield f"sqlite:///{copy}"
        return
    server: str | None = request.getfixturevalue("migrated_postgres")
    if server is None:
        pytest.skip("PostgreSQL IS NOT INSTALLED: nothing is tested on it")
    name = f"test_{uuid.uuid4().hex}"
    run_sql(server, f"CREATE DATABASE {name} TEMPLATE migrated STRATEGY FILE_COPY")
    yield with_database(server, name)
    run_sql(server, f"DROP DATABASE {name} WITH (FORCE)")
