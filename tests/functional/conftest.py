"""Functional tests run on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import copy_of_migrated


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, migrated_sqlite: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a migrated database of the test's own."""
    if request.param == "sqlite":
        copy = tmp_path / "test.db"
        shutil.copy(migrated_sqlite, copy)
        yield f"sqlite:///{copy}"
        return
    with copy_of_migrated(request.getfixturevalue("migrated_postgres")) as url:
        yield url
