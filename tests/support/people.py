"""People who come from the platform and use the tool as a browser does, through the whole stack but the network."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.sandbox import Sandbox
from app.sandbox.claims import Launch

BIOLOGY = 1101
HISTORY = 1102
BIOLOGY_COPY = 1103
EXPERIENCE = {
    "title": "A customer with a wrong bill",
    "description": "A customer calls about a bill.",
    "learning_objectives-0": "Listen actively",
    "learning_objectives-1": "Solve the problem",
    "facts": "The bill is 40 euros too high.",
    "pedagogical_guidance": "You are an angry customer. Calm down when you get an apology.",
    "persona_name": "Kim Berger",
    "opening_line": "My bill is wrong!",
}


def begin_login(
    client: FlaskClient, sandbox: Sandbox, who: str, course: int = BIOLOGY, **changes: str
) -> TestResponse:
    """Post the platform's login initiation."""
    launch = Launch(
        person=sandbox.person(who),
        course=sandbox.course(course),
        target_link_uri=sandbox.config.launch_url,
        document_target="iframe",
        line_item=None,
    )
    return client.post("/lti/login", data=sandbox.login_parameters(launch) | changes)


def authorization_url(response: TestResponse) -> str:
    """Return where the tool sends the browser next, at once or by way of the page that uses the platform's storage."""
    if response.status_code == 302:
        return response.location
    page = BeautifulSoup(response.text, "html.parser").select_one("[data-login]")
    assert page is not None, response.text
    return str(page["data-next"])


def login_answer(response: TestResponse) -> dict[str, str]:
    """Return the parameters that the tool sends to the platform's authorization endpoint."""
    return {name: values[0] for name, values in parse_qs(urlsplit(authorization_url(response)).query).items()}


def finish_launch(
    client: FlaskClient, sandbox: Sandbox, who: str, login: TestResponse, course: int = BIOLOGY, **sign: Any
) -> TestResponse:
    """Post the signed id_token that answers a login. ``sign`` changes claims, headers or key."""
    asked = login_answer(login)
    claims = sandbox.launch_claims(who, course, nonce=asked["nonce"])
    token = sandbox.sign(claims, **sign)
    return client.post("/lti/launch", data={"id_token": token, "state": asked["state"]})


@dataclass
class Visitor:
    """Somebody inside one launch. Paths are relative to it; ``landing`` is the whole address of its first page."""

    client: FlaskClient
    root: str
    csrf: str = field(default="", repr=False)
    landing: str = ""

    @classmethod
    def launch(cls, app: Flask, sandbox: Sandbox, who: str, course: int = BIOLOGY, **sign: Any) -> Visitor:
        return cls.launch_in(app.test_client(), sandbox, who, course, **sign)

    @classmethod
    def launch_in(
        cls, client: FlaskClient, sandbox: Sandbox, who: str, course: int = BIOLOGY, **sign: Any
    ) -> Visitor:
        """Launch in a browser that may hold other launches already."""
        login = begin_login(client, sandbox, who, course)
        return cls.arrive(client, finish_launch(client, sandbox, who, login, course, **sign))

    @classmethod
    def open(cls, app: Flask, sandbox: Sandbox, launch: Launch, **sign: Any) -> Visitor:
        """Come by whatever the platform opens: a link in the course, or a choice of what to put there."""
        client = app.test_client()
        asked = login_answer(client.post("/lti/login", data=sandbox.login_parameters(launch)))
        token = sandbox.sign(sandbox.claims_of(launch, nonce=asked["nonce"]), **sign)
        form = {"id_token": token, "state": asked["state"]}
        return cls.arrive(client, client.post("/lti/launch", data=form))

    @classmethod
    def arrive(cls, client: FlaskClient, response: TestResponse) -> Visitor:
        """Be in the launch to which the tool's answer to an id_token leads."""
        assert response.status_code == 303, response.text
        root = "/".join(urlsplit(response.location).path.split("/")[:3])
        visitor = cls(client, root, landing=response.location)
        visitor.csrf = _csrf(client, visitor.root)
        return visitor

    def once_more(self, app: Flask) -> Visitor:
        """Be in the same launch in another tab of the same browser, which may come upon another worker, ``app``."""
        client = app.test_client()
        cookie = self.client.get_cookie("launch", path=self.root)
        assert cookie is not None
        client.set_cookie("launch", cookie.value, path=self.root)
        return Visitor(client, self.root, self.csrf, self.landing)

    def land(self) -> TestResponse:
        """Go to the launch's first page, and on to where it leads."""
        return self.client.get(self.landing, follow_redirects=True)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(self.root + path, **options)

    def post(self, path: str, data: dict[str, Any] | None = None, **options: Any) -> TestResponse:
        return self.client.post(self.root + path, data={"csrf_token": self.csrf, **(data or {})}, **options)

    def page(self, path: str) -> BeautifulSoup:
        response = self.get(path, follow_redirects=True)
        assert response.status_code == 200, response.text
        return BeautifulSoup(response.text, "html.parser")

    def write_experience(self, publish: bool = True, **changes: str) -> int:
        """Write an experience through the form and return its id."""
        response = self.post("/experiences", EXPERIENCE | changes)
        assert response.status_code == 303, response.text
        experience_id = int(response.location.rsplit("/", 1)[1])
        if publish:
            assert self.post(f"/experiences/{experience_id}/publish").status_code == 303
        return experience_id

    def start(self, experience_id: int, instead_of: int = 0) -> int:
        """Start a conversation and return its id."""
        data = {"instead_of": str(instead_of)}
        assert self.post(f"/experiences/{experience_id}/conversations", data).status_code == 303
        chat = self.page(f"/experiences/{experience_id}/conversation").select_one("[data-chat]")
        return int(chat["data-conversation"])

    def send(self, conversation_id: int, text: str, key: str = "key-1") -> TestResponse:
        """Send a message and read the whole stream of the reply."""
        return self.post(
            f"/conversations/{conversation_id}/messages",
            {"message": text, "client_key": key},
            headers={"Accept": "text/event-stream"},
            buffered=True,
        )

    def retry(self, conversation_id: int, reply_id: int) -> TestResponse:
        """Have a reply written again and read its whole stream."""
        path = f"/conversations/{conversation_id}/messages/{reply_id}/retry"
        return self.post(path, headers={"Accept": "text/event-stream"}, buffered=True)


def events(response: TestResponse) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of a stream: name and data."""
    blocks = [block for block in response.text.split("\n\n") if block.startswith("event: ")]
    return [(name[7:], json.loads(data[6:])) for name, data in (block.split("\n", 1) for block in blocks)]


def _csrf(client: FlaskClient, root: str) -> str:
    page = client.get(f"{root}/experiences", follow_redirects=True)
    return str(BeautifulSoup(page.text, "html.parser").select_one("[name=csrf-token]")["content"])
