"""The engine, one session a request that commits once at its end, short transactions beside it, and migrations."""

import logging
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from alembic import command
from alembic.config import Config
from flask import Flask, Response, current_app, g, request
from gevent.monkey import is_module_patched
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Dialect,
    Engine,
    Enum,
    Insert,
    Update,
    bindparam,
    create_engine,
    event,
    insert,
    inspect,
    make_url,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.orm import Session as OrmSession
from sqlalchemy.orm.attributes import set_committed_value
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session, SQLModel

from app.paths import MIGRATIONS

logger = logging.getLogger(__name__)
SQLITE_BUSY_MS = 10_000
# After so many seconds what could not be stored is tried again.
PATIENT_PAUSES = (0.5, 2.0)
# What a database answers that fails for a moment.
PASSING = (OperationalError, NoConnectionError)
PING_AFTER_SECONDS = 5.0
# Of a process to PostgreSQL. All are kept: one that is opened anew plans each query anew.
CONNECTIONS = 8
CONNECTION_WITHIN = 10.0  # seconds to wait for one: less than any lease lasts
# PostgreSQL reads without a transaction: ending one that only read would throw away its prepared statements.
_READING: dict[str, dict[str, Any]] = {
    "sqlite": {"sqlite_begin": "DEFERRED"},
    "postgresql": {"isolation_level": "AUTOCOMMIT"},
}
# Statements of which each holds by itself need none either; SQLite locks for writing as ever.
_ALONE: dict[str, dict[str, Any]] = {"sqlite": {}, "postgresql": {"isolation_level": "AUTOCOMMIT"}}
READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_Row = TypeVar("_Row", bound=SQLModel)
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a moment without a zone; store it in UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the moment back in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def text_enum(states: type[StrEnum]) -> Any:  # noqa: ANN401 - SQLModel declares column types as types
    """Return a column type that stores the enum's values as short text, readable in any SQL client."""
    return Enum(states, native_enum=False, length=20, values_callable=lambda e: [s.value for s in e])


def utc_now() -> datetime:
    """Return the current moment, in UTC."""
    return datetime.now(UTC)


class Database:
    """One database of one process."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.engine = _make_engine(self.url)
        self._reading_engine = self.engine.execution_options(**_READING[self.url.get_backend_name()])
        self._statement_engine = self.engine.execution_options(**_ALONE[self.url.get_backend_name()])

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a short session of its own; commit at its end, or undo all of it on an error."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def statements(self) -> Iterator[Session]:
        """Open a short session of statements that need not hold together: on PostgreSQL each is committed as it ends.

        Beginning and ending a transaction are two round trips more.
        """
        with Session(self._statement_engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """Open a short session to read with, which on SQLite waits for no writer."""
        with Session(self._reading_engine, expire_on_commit=False) as session:
            yield session

    def request_session(self) -> Session:
        """Open a session for a request. SQLite locks for writing at once where the request may write."""
        reading = request.method in READING_METHODS
        return Session(self._reading_engine if reading else self.engine, expire_on_commit=False)

    def upgrade(self) -> None:
        """Bring the tables up to date. Safe to run from several machines at once on PostgreSQL."""
        if self.url.database and self.url.get_backend_name() == "sqlite":
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        command.upgrade(self.alembic_config(), "head")

    def alembic_config(self) -> Config:
        """Return Alembic's configuration for this database."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["engine"] = self.engine
        return config

    def init_app(self, app: Flask) -> None:
        """Give each request of `app` one session, committed once at its end."""
        app.extensions["database"] = self
        app.after_request(_commit_request_session)
        app.teardown_request(_close_request_session)


def patiently(store: Callable[[], None], what: str) -> None:
    """Call `store`, which commits, again and once more where the database fails for a moment."""
    for pause in PATIENT_PAUSES:
        try:
            return store()
        except PASSING:
            logger.warning("storing %s is tried again", what)
            time.sleep(pause)
    return store()


def database() -> Database:
    """Return the running application's database."""
    return cast(Database, current_app.extensions["database"])


def request_session() -> Session:
    """Return this request's session, opened at first use."""
    if "database_session" not in g:
        g.database_session = database().request_session()
    return cast(Session, g.database_session)


def release_request_session() -> None:
    """Commit this request's session and give its connection back before a long answer begins."""
    session: Session | None = g.pop("database_session", None)
    if session is not None:
        try:
            session.commit()
        finally:
            session.close()


def once_committed(session: Session, tell: Callable[[], None]) -> None:
    """Call `tell` when what the session is writing has been committed, and never where it is undone."""
    writing = session.get_transaction()

    def tell_if_written(committed: OrmSession) -> None:
        if committed.get_transaction() is writing and not committed.in_nested_transaction():
            tell()

    event.listen(session, "after_commit", tell_if_written)


def roll_back_request_session() -> None:
    """Undo what this request has written."""
    session: Session | None = g.get("database_session")
    if session is not None:
        session.rollback()


def insert_into(session: Session, model: type[SQLModel]) -> Any:  # noqa: ANN401 - one of two that share no base
    """Begin an INSERT that knows ON CONFLICT, which each database has of its own."""
    return _INSERTS[session.get_bind().dialect.name](model)


def insert_row(session: Session, row: SQLModel) -> None:
    """Write a new row that has its key. The session does not come to know it, which would take as long again."""
    statement, columns = _plain_insert(type(row))
    session.flush()
    session.connection().execute(statement, {name: getattr(row, name) for name in columns})


def insert_rows(session: Session, *rows: SQLModel) -> None:
    """Write new rows of one table at once and give them their ids, in order. The session does not come to know them."""
    statement, columns = _numbering_insert(type(rows[0]))
    session.flush()
    values = [{name: getattr(row, name) for name in columns} for row in rows]
    ids = session.connection().execute(statement, values).scalars()
    for row, row_id in zip(rows, ids, strict=True):
        set_committed_value(row, "id", row_id)


def bring_up_to_date(row: SQLModel, values: Mapping[str, Any]) -> None:
    """Give a row the values that it has not: setting one costs more than comparing it."""
    row.sqlmodel_update({name: value for name, value in values.items() if getattr(row, name) != value})


def write_into(session: Session, row: SQLModel, values: Mapping[str, Any]) -> None:
    """Write values into a row at once, whether they differ from what was read of it or not."""
    session.flush()
    session.connection().execute(_plain_update(type(row)), {"row_id": inspect(row).identity[0], **values})
    for name, value in values.items():
        set_committed_value(row, name, value)


@cache
def _plain_update(model: type[SQLModel]) -> Update:
    table = inspect(model).local_table
    return update(table).where(table.primary_key.columns[0] == bindparam("row_id"))


@cache
def _plain_insert(model: type[SQLModel]) -> tuple[Insert, tuple[str, ...]]:
    table = inspect(model).local_table
    return insert(table), tuple(table.columns.keys())


@cache
def _numbering_insert(model: type[SQLModel]) -> tuple[Any, tuple[str, ...]]:
    table = inspect(model).local_table
    given = tuple(column.name for column in table.columns if column.name != "id")
    return insert(table).returning(table.c.id, sort_by_parameter_order=True), given


def prepared_insert(model: type[SQLModel], complete: Callable[[Any], Any]) -> Callable[[Session], Any]:
    """Return what gives the INSERT that `complete` makes of the one that knows ON CONFLICT.

    It is built once for each database: building one takes ten times as long as running it.
    """
    built: dict[str, Any] = {}

    def statement(session: Session) -> Any:  # noqa: ANN401 - one of two that share no base
        dialect = session.get_bind().dialect.name
        if dialect not in built:
            built[dialect] = complete(insert_into(session, model))
        return built[dialect]

    return statement


def upsert(
    session: Session,
    model: type[_Row],
    key: dict[str, Any],
    values: dict[str, Any],
    *,
    where: ColumnElement[bool] | None = None,
) -> _Row:
    """Write `values` into the row that `key` (a unique constraint's columns) names, made where it is missing.

    Safe when two workers meet the same key at once. Raises `NoResultFound` for a row that is not as `where` wants it,
    which stays as it is.
    """
    fresh = model(**key, **values).model_dump(exclude={"id"})
    statement = (
        insert_into(session, model)
        .values(fresh)
        .on_conflict_do_update(index_elements=list(key), set_=values or key, where=where)
    )
    rows = session.scalars(statement.returning(model), execution_options={"populate_existing": True})
    row: _Row = rows.one()
    return row


def _commit_request_session(response: Response) -> Response:
    session: Session | None = g.get("database_session")
    if session is not None:
        session.commit()
    return response


def _close_request_session(_error: BaseException | None) -> None:
    session: Session | None = g.pop("database_session", None)
    if session is not None:
        session.close()


def _make_engine(url: URL) -> Engine:
    # hide_parameters: what people wrote must not stand in a log beside an error.
    if url.get_backend_name() != "sqlite":
        engine = create_engine(
            url,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=CONNECTION_WITHIN,
            hide_parameters=True,
        )
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", _refuse_dead)
        if is_module_patched("select"):
            event.listen(engine, "do_connect", _connect_green)
        return engine
    engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_MS / 1000}, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _connect_green(
    _dialect: Dialect, _record: ConnectionPoolEntry, arguments: list[Any], options: dict[str, Any]
) -> DBAPIConnection:
    from app.postgres import GreenConnection  # its driver is there only where it is needed

    return cast(DBAPIConnection, GreenConnection.connect(*arguments, **options))


def _note_use(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _refuse_dead(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Ask a connection that was idle for a while whether it is alive: the server may have been started anew.

    The pool's own `pool_pre_ping` asks each time, which is a fifth of a launch's round trips.
    """
    if time.monotonic() - record.info.get("used_at", math.inf) < PING_AFTER_SECONDS:
        return
    try:
        connection.cursor().execute("")
        connection.rollback()
    except Exception as error:
        raise DisconnectionError from error


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns into a writer fails at once if another wrote meanwhile; an immediate one waits.
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")
