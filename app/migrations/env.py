"""Alembic's entry: runs the migrations on the engine that the application gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from alembic import context
from sqlalchemy import Connection, text
from sqlmodel import AutoString, SQLModel

import app.api.oauth.models
import app.conversations.feedback
import app.conversations.models
import app.conversations.safety.models
import app.courses.models
import app.experiences.models
import app.lti.models
import app.usage.models  # noqa: F401
from app.database import UtcDateTime

UPGRADE_LOCK = 815_001_300


def plain_type(kind: str, item: object, _autogen: object) -> str | Literal[False]:
    """Write SQLAlchemy's own types into migrations, so that they outlive changes of the application."""
    if kind == "type" and isinstance(item, AutoString):
        return f"sa.String({item.length})"
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def run() -> None:
    """Migrate in one transaction; on PostgreSQL one machine at a time."""
    with context.config.attributes["engine"].connect() as connection, _tables_rebuilt_freely(connection):
        context.configure(
            connection=connection,
            target_metadata=SQLModel.metadata,
            render_as_batch=connection.dialect.name == "sqlite",
            render_item=plain_type,
        )
        with context.begin_transaction():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
            context.run_migrations()


@contextmanager
def _tables_rebuilt_freely(connection: Connection) -> Iterator[None]:
    """Let SQLite drop and rebuild a table that others refer to, as its own documentation of ALTER TABLE has it.

    The setting holds for a connection and changes outside of transactions only.
    """
    sqlite = connection.connection.dbapi_connection if connection.dialect.name == "sqlite" else None
    if sqlite is None:
        yield
        return
    sqlite.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        sqlite.execute("PRAGMA foreign_keys=ON")


run()
