"""What launches are held against: a Flask tool that does what pylti1p3next's README shows, and nothing more.

State, nonce and launch data are in PostgreSQL, behind the library's own seam for that. The platform's key set is part
of its configuration, so that no launch fetches it.
"""

import json
import os
from pathlib import Path
from typing import Any

from flask import Flask, redirect, render_template, url_for
from pylti1p3.contrib.flask import FlaskMessageLaunch, FlaskOIDCLogin, FlaskRequest
from pylti1p3.launch_data_storage.base import LaunchDataStorage
from pylti1p3.tool_config import ToolConfDict
from sqlalchemy import Column, DateTime, Engine, MetaData, String, Table, create_engine, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from werkzeug.wrappers import Response

CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"
TABLES = MetaData()
LAUNCH_DATA = Table(
    "launch_data",
    TABLES,
    Column("key", String(200), primary_key=True),
    Column("value", JSONB, nullable=False),
    Column("expires_at", DateTime(timezone=True)),
)


class DatabaseStorage(LaunchDataStorage[Any]):
    """Keys and values in one table, for as long as the library asks."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = engine

    def can_set_keys_expiration(self) -> bool:
        return True

    def get_value(self, key: str) -> Any:
        kept = LAUNCH_DATA.c.key == self._prepare_key(key)
        with self._engine.connect() as connection:
            return connection.scalar(
                select(LAUNCH_DATA.c.value).where(kept, LAUNCH_DATA.c.expires_at > func.now())
            )

    def set_value(self, key: str, value: Any, exp: int | None = None) -> None:
        expiry = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, exp)
        row = {"key": self._prepare_key(key), "value": value, "expires_at": expiry}
        statement = insert(LAUNCH_DATA).values(row)
        with self._engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["key"], set_=statement.excluded)
            )

    def check_value(self, key: str) -> bool:
        return self.get_value(key) is not None


def create_app() -> Flask:
    """Build the tool from DATABASE_URL and PLATFORM, a file in pylti1p3's format."""
    app = Flask(__name__)
    platform = ToolConfDict(json.loads(Path(os.environ["PLATFORM"]).read_text()))
    engine = create_engine(os.environ["DATABASE_URL"])

    def parts() -> dict[str, Any]:
        # As behind the TLS proxy that every tool has.
        return {
            "request": FlaskRequest(request_is_secure=True),
            "tool_config": platform,
            "launch_data_storage": DatabaseStorage(engine),
        }

    @app.get("/")
    def home() -> str:
        return ""

    @app.route("/lti/login", methods=["GET", "POST"])
    def login() -> Response:
        using = parts()
        return FlaskOIDCLogin(**using).redirect(using["request"].get_param("target_link_uri"))

    @app.post("/lti/launch")
    def launch() -> Response:
        message = FlaskMessageLaunch(**parts()).validate()
        return redirect(url_for("page", launch_id=message.get_launch_id()), 303)

    @app.get("/page/<launch_id>")
    def page(launch_id: str) -> str:
        data = FlaskMessageLaunch.from_cache(launch_id, **parts()).get_launch_data()
        return render_template(
            "bare_page.html",
            name=data["name"],
            course=data[CLAIM + "context"]["title"],
            role=data[CLAIM + "roles"][0],
        )

    return app


def create_tables(database_url: str) -> None:
    engine = create_engine(database_url)
    TABLES.create_all(engine)
    engine.dispose()
