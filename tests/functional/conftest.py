"""Functional tests run on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.lti.services.roster import Rosters
from app.usage import allowances
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


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No day or minute ends while a test counts what people may do."""
    monkeypatch.setattr(allowances, "utc_now", lambda: datetime(2026, 3, 4, 12, tzinfo=UTC))


@pytest.fixture
def unread_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """No class list is read in the background: who is in a course as what stays as the test has it."""
    monkeypatch.setattr(Rosters, "begin", lambda _rosters, _offer: False)
