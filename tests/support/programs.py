"""Programs that use the API: how they are registered, sent to people, and given tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient
from sqlmodel import select
from werkzeug.test import TestResponse

from app.api.oauth.clients import ClientEntry, register_client
from app.lti.models import Deployment, Platform
from tests.support.people import BIOLOGY, Visitor

TOOL = "http://localhost:8000"
TOKEN = "/login/oauth2/token"
BACK = "https://notebook.example.edu/back"
VERIFIER = "a-verifier-that-is-long-enough-to-be-one-of-pkce-43"
READ = "url:GET|/api/v1/courses/:course_id/ai_experiences"
WRITE = "url:POST|/api/v1/courses/:course_id/ai_experiences"


@dataclass
class Program:
    """A registered program."""

    app: Flask
    client_id: str
    secret: str | None = field(default=None, repr=False)
    redirect_uri: str = BACK

    @classmethod
    def register(cls, app: Flask, *, of_deployment: bool = False, **entry: Any) -> Program:
        """Register a program at the one platform that there is."""
        redirect_uris = entry.setdefault("redirect_uris", (BACK,))
        with app.extensions["database"].transaction() as session:
            platform = session.exec(select(Platform).order_by("id")).first()
            deployment = session.exec(select(Deployment).order_by("id")).first() if of_deployment else None
            made = register_client(
                session, platform, deployment, ClientEntry(**{"name": "Notebook"} | entry), production=True
            )
            return cls(app, made.client.client_id, made.secret, next(iter(redirect_uris), ""))

    @property
    def is_public(self) -> bool:
        return self.secret is None

    @property
    def credentials(self) -> dict[str, str]:
        return {"client_id": self.client_id} | ({"client_secret": self.secret} if self.secret else {})

    def address(self, **changes: str | None) -> str:
        """Return the address to which the program sends people."""
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": "xyz",
            "code_challenge": create_s256_code_challenge(VERIFIER),
            "code_challenge_method": "S256",
        } | changes
        kept = {name: value for name, value in asked.items() if value is not None}
        return f"/login/oauth2/auth?{urlencode(kept)}"

    def ask(self, grant_type: str, **parameters: str | None) -> TestResponse:
        """Ask for a token."""
        body = {"grant_type": grant_type} | self.credentials | parameters
        kept = {name: value for name, value in body.items() if value is not None}
        return self.app.test_client().post(TOKEN, data=kept)

    def exchange(self, code: str, **changes: str | None) -> TestResponse:
        """Bring a code."""
        given = {"code": code, "redirect_uri": self.redirect_uri, "code_verifier": VERIFIER}
        return self.ask("authorization_code", **given | changes)

    def refresh(self, refresh_token: str, **changes: str | None) -> TestResponse:
        return self.ask("refresh_token", refresh_token=refresh_token, **changes)


def sign_in(visitor: Visitor, browser: FlaskClient | None = None) -> FlaskClient:
    """Sign in for other programs, by the button on a page of a launch; return the browser in which that holds."""
    page = BeautifulSoup(visitor.get("/programs").text, "html.parser")
    form = page.select_one("form:has([data-testid=sign-in])")
    browser = browser or visitor.client
    ticket = str(form.select_one("[name=ticket]")["value"])
    answer = browser.post(str(form["action"]), data={"ticket": ticket}, headers={"Origin": TOOL})
    assert answer.status_code == 303, answer.text
    return browser


def decide(browser: FlaskClient, address: str, decision: str = "allow") -> TestResponse:
    """Answer a program's question as the page has it."""
    page = BeautifulSoup(browser.get(address).text, "html.parser")
    proof = page.select_one("[name=proof]")
    assert proof is not None, page.text
    return browser.post(address, data={"decision": decision, "proof": str(proof["value"])})


def answer_of(response: TestResponse) -> dict[str, str]:
    """Return what a redirect carries to a program."""
    assert response.status_code == 303, response.text
    return {name: values[0] for name, values in parse_qs(urlsplit(response.location).query).items()}


def allow(program: Program, visitor: Visitor, **changes: str | None) -> str:
    """Have somebody allow a program, and return the code."""
    return answer_of(decide(sign_in(visitor), program.address(**changes)))["code"]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def list_with(app: Flask, token: str, course: int = BIOLOGY) -> TestResponse:
    """List a course's experiences by the API."""
    return app.test_client().get(f"/api/v1/courses/{course}/ai_experiences", headers=bearer(token))
