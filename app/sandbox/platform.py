"""The sandbox as tests and its own pages hold it: people, courses, keys, tokens, grades, launches."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask

from app.sandbox.claims import Launch, launch_claims
from app.sandbox.config import STORAGE_FRAME, SandboxConfig
from app.sandbox.directory import Directory
from app.sandbox.errors import OAuthError, ServiceError
from app.sandbox.gradebook import Gradebook, LineItem, Score
from app.sandbox.keys import SigningKeys
from app.sandbox.people import Course, Person
from app.sandbox.tokens import FetchJson, TokenStore

EXTENSION = "sandbox"
HINT_ALGORITHM = "HS256"


class Absent:
    """The type of `ABSENT`."""


ABSENT = Absent()
"""Given as the value of a claim to `Sandbox.sign`, leaves the claim out."""


@dataclass(frozen=True, slots=True)
class Outage:
    """One service request that is going to fail, whatever it asks."""

    status: int
    headers: Mapping[str, str]
    path_contains: str


class Sandbox:
    """One running Canvas look-alike. All its state is here, in memory, and safe between threads."""

    def __init__(self, config: SandboxConfig, *, fetch: FetchJson) -> None:
        self.config = config
        self.fetch = fetch
        self.directory = Directory()
        self.gradebook = Gradebook()
        self.tokens = TokenStore(config.token_seconds)
        self.keys = SigningKeys(config.state_dir)
        self._hint_secret = secrets.token_bytes(32)
        self._outages: list[Outage] = []
        self._lock = RLock()

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every score that the tool has sent and the sandbox has accepted."""
        return self.gradebook.scores

    def person(self, key: str | int) -> Person:
        """Somebody by login, LTI id or Canvas id. Raises `LookupError`."""
        person = self.directory.person(key)
        if person is None:
            raise LookupError(f"Nobody is called {key}")
        return person

    def course(self, canvas_id: int) -> Course:
        """A course by its Canvas id. Raises `LookupError`."""
        course = self.directory.course(canvas_id)
        if course is None:
            raise LookupError(f"No course has the id {canvas_id}")
        return course

    def launch_claims(
        self,
        person: Person | str,
        course: Course | int,
        *,
        nonce: str,
        target_link_uri: str | None = None,
        document_target: str = "iframe",
        line_item: LineItem | None = None,
    ) -> dict[str, Any]:
        """The claims of a good launch, to be signed as they are or changed first."""
        launch = Launch(
            person=self.person(person) if isinstance(person, str) else person,
            course=self.course(course) if isinstance(course, int) else course,
            target_link_uri=target_link_uri or self.config.launch_url,
            document_target=document_target,
            line_item=line_item,
        )
        return launch_claims(launch, nonce=nonce, config=self.config, directory=self.directory)

    def sign(
        self,
        claims: Mapping[str, Any],
        *,
        headers: Mapping[str, Any] | None = None,
        private_key: rsa.RSAPrivateKey | str | None = None,
        algorithm: str = "RS256",
        **overrides: object,
    ) -> str:
        """An id token of these claims. Good by default; each argument is a way to make a bad one.

        ``overrides`` replace claims, and `ABSENT` removes them; ``headers`` replace fields of the token's
        header, and None removes them; another key or algorithm makes a forgery.
        """
        payload = {name: value for name, value in {**claims, **overrides}.items() if value is not ABSENT}
        header = {"kid": self.keys.kid, **(headers or {})}
        key = private_key or (self.keys.current if algorithm.startswith("RS") else "")
        present = {name: value for name, value in header.items() if value is not None}
        return jwt.encode(payload, key, algorithm=algorithm, headers=present)

    def login_parameters(self, launch: Launch) -> dict[str, str]:
        """The third-party login initiation that opens a launch, as Canvas posts it."""
        config = self.config
        return {
            "iss": config.issuer,
            "login_hint": launch.person.lti11_id,
            "client_id": config.client_id,
            "lti_deployment_id": config.deployment_id,
            "deployment_id": config.deployment_id,
            "target_link_uri": launch.target_link_uri,
            "lti_message_hint": self.message_hint(launch),
            "canvas_environment": "prod",
            "canvas_region": "not_configured",
            "lti_storage_target": STORAGE_FRAME,
        }

    def message_hint(self, launch: Launch) -> str:
        """What a launch is about, signed for the way through the tool and back, and good for minutes only."""
        item = launch.line_item
        hint = {
            "sub": launch.person.login,
            "course_id": launch.course.canvas_id,
            "target_link_uri": launch.target_link_uri,
            "document_target": launch.document_target,
            "line_item_id": item.id if item else None,
            "exp": int(time.time()) + self.config.hint_seconds,
        }
        return jwt.encode(hint, self._hint_secret, algorithm=HINT_ALGORITHM)

    def read_hint(self, hint: str) -> Launch:
        """The launch of a message hint. Raises `OAuthError` where it is old, altered or not ours."""
        try:
            content = jwt.decode(hint, self._hint_secret, algorithms=[HINT_ALGORITHM])
            course = self.course(content["course_id"])
            item_id = content["line_item_id"]
            return Launch(
                person=self.person(content["sub"]),
                course=course,
                target_link_uri=content["target_link_uri"],
                document_target=content["document_target"],
                line_item=self.gradebook.line_item(course, item_id) if item_id else None,
            )
        except (jwt.PyJWTError, LookupError, ServiceError) as error:
            raise OAuthError(
                "launch_no_longer_valid", "The launch has expired. Open the tool again."
            ) from error

    def fail_next(
        self,
        status: int,
        *,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        path_contains: str = "",
    ) -> None:
        """Make the next service requests fail, those only whose path holds ``path_contains``."""
        with self._lock:
            self._outages.extend([Outage(status, dict(headers or {}), path_contains)] * times)

    def take_outage(self, path: str) -> Outage | None:
        """The failure due for a request, once."""
        with self._lock:
            due = next((outage for outage in self._outages if outage.path_contains in path), None)
            if due is not None:
                self._outages.remove(due)
            return due


def sandbox_of(app: Flask) -> Sandbox:
    """The sandbox that an application serves."""
    sandbox: Sandbox = app.extensions[EXTENSION]
    return sandbox
