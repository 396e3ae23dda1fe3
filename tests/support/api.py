"""Scripts that use the REST API with a token."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlmodel import select
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from app.api.oauth.models import AccessToken
from app.courses.models import User
from app.secret import hash_of, new_secret
from tests.support.people import BIOLOGY

POLL = 0.01


@dataclass
class Script:
    """A program with somebody's token. Paths begin in the course's experiences: `""`, `/7`, `/7/conversations`."""

    client: FlaskClient
    token: str
    course: str = str(BIOLOGY)

    @classmethod
    def of(cls, app: Flask, sub: str, *, course: str = str(BIOLOGY), **columns: Any) -> Script:
        """A program with a fresh token of a person who has launched the tool."""
        token = new_secret()
        with app.extensions["database"].transaction() as session:
            user = session.exec(select(User).where(User.sub == sub)).one()
            fields = {"platform_id": user.platform_id, "user_id": user.id} | columns
            session.add(AccessToken(token_hash=hash_of(token), hint=token[:8], **fields))
        return cls(app.test_client(), token, course)

    def ask(self, method: str, path: str = "", **options: Any) -> TestResponse:
        """Send a request; a header of None is left out."""
        given = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        headers = {name: value for name, value in given.items() if value is not None}
        address = f"/api/v1/courses/{self.course}/ai_experiences{path}"
        return self.client.open(address, method=method, headers=headers, **options)

    def get(self, path: str = "", **options: Any) -> TestResponse:
        return self.ask("GET", path, **options)

    def post(self, path: str = "", **options: Any) -> TestResponse:
        return self.ask("POST", path, **options)

    def put(self, path: str, **options: Any) -> TestResponse:
        return self.ask("PUT", path, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        return self.ask("DELETE", path, **options)


@contextmanager
def listening(app: Flask) -> Iterator[str]:
    """Serve an application over HTTP from a thread of this process; the address is yielded."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(POLL,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
