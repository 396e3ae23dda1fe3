"""The words that the cases are written in: a tool, a platform, a browser between them, and what comes of a launch."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Set
from copy import copy
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import jwt
import pytest
import requests
from bs4 import BeautifulSoup
from flask import Flask
from requests.cookies import get_cookie_header
from sqlmodel import func, select, update

from app.database import utc_now
from app.lti.models import CourseServices, Launch, RegistrationSource, Score
from app.lti.registration.platforms import PlatformEntry, save_platform
from app.sandbox import Sandbox, Storage, registration
from app.sandbox import Tool as InstalledTool
from tests.support.people import BIOLOGY, EXPERIENCE

CLAIM = "https://purl.imsglobal.org/spec/lti/claim/"
ROSTER = "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice"
MEMBERSHIP = "http://purl.imsglobal.org/vocab/lis/v2/membership#"
INSTITUTION = "http://purl.imsglobal.org/vocab/lis/v2/institution/person#"
TEACHER, ASSISTANT, DESIGNER = "miriam.okafor", "priya.raman", "elena.petrova"
STUDENT, OBSERVER, STUDENT_VIEW = "amara.diallo", "grace.diallo", "test.student.1101"
ADMINISTRATOR = "ingrid.bauer"
_Seen = TypeVar("_Seen")
REFUSALS = frozenset({400, 401, 403})

on_both_databases = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)


def cases(names: str, table: Mapping[str, Any]) -> pytest.MarkDecorator:
    """One test for each row of a table, called by its name."""
    return pytest.mark.parametrize(names, table.values(), ids=table.keys())


@dataclass(frozen=True)
class FromNow:
    """A moment in a token (NumericDate), so many seconds after it is signed."""

    seconds: float

    def __call__(self) -> float:
        return int(time.time()) + self.seconds


@dataclass(frozen=True)
class Tool:
    """The running tool: its address, what it has logged, and what it has written down."""

    app: Flask
    url: str
    caplog: pytest.LogCaptureFixture

    def register(self, platform: Platform, installed: InstalledTool | None = None) -> None:
        """Write down a registration at a platform, as an administrator does."""
        entry = PlatformEntry.model_validate(registration(platform.sandbox.config, installed))
        with self.database.transaction() as db:
            save_platform(db, platform.sandbox.config.issuer, entry, RegistrationSource.COMMAND)

    def let_time_pass(self) -> None:
        """Have all that waits for its time, such as what a platform refused, done now."""
        with self.database.transaction() as db:
            db.execute(update(CourseServices).values(roster_due_at=utc_now()))
            db.execute(update(Score).values(due_at=utc_now()))
        self.app.extensions["owed"].wake()

    def launches(self) -> int:
        with self.database.snapshot() as db:
            return db.exec(select(func.count()).select_from(Launch)).one()

    def refusals(self, reference: str) -> list[tuple[str, str]]:
        """The code and reason of what the log has under a reference."""
        logged = (record.args for record in self.caplog.records if record.name == "app.errors")
        return [(str(args[1]), str(args[3])) for args in logged if args and args[2] == reference]

    @property
    def database(self) -> Any:
        return self.app.extensions["database"]


@dataclass(frozen=True)
class Platform:
    """The platform, and what a forger would make of its tokens."""

    sandbox: Sandbox

    def login(self, who: str = STUDENT, course: int = BIOLOGY, **options: Any) -> dict[str, str]:
        """The login request that opens the tool; ``options`` are those of `Sandbox.launch`, and ``storage``."""
        storage = options.pop("storage", Storage.OFF)
        return self.sandbox.login_parameters(self.sandbox.launch(who, course, **options), storage=storage)

    def token(self, id_token: str, **changes: Any) -> str:
        """The platform's token with other claims, header, key or algorithm, as `Sandbox.sign` has them."""
        claims = jwt.decode(id_token, options={"verify_signature": False})
        now = {name: value() if isinstance(value, FromNow) else value for name, value in changes.items()}
        return self.sandbox.sign(claims, **now)

    def fetched_keys(self) -> int:
        """How often its keys were asked for."""
        return sum(request.path.endswith("/jwks") for request in self.sandbox.requests)


class Browser:
    """A browser: it keeps cookies (also on plain localhost, as browsers do), and follows where it is told to."""

    def __init__(self, tool: Tool, platform: Platform, *, keeps_cookies: bool = True) -> None:
        self.tool, self.platform = tool, platform
        self._http = requests.Session()
        self._http.trust_env = False
        allowed = None if keeps_cookies else []
        self._http.cookies.set_policy(
            DefaultCookiePolicy(secure_protocols=("http", "https"), allowed_domains=allowed)
        )

    def get(self, address: str, *, follow: bool = False) -> requests.Response:
        response = self._ask("GET", address)
        while follow and response.is_redirect:
            response = self._ask("GET", urljoin(response.url, response.headers["Location"]))
        return response

    def post(self, address: str, data: Any, **headers: str) -> requests.Response:
        return self._ask("POST", address, data=data, headers=headers)

    def begin(self, login: Mapping[str, str], *, by_get: bool = False) -> Answer:
        """Bring the tool a platform's login request."""
        address = f"{self.tool.url}/lti/login"
        return self._answer(
            lambda: self.get(f"{address}?{urlencode(login)}") if by_get else self.post(address, login)
        )

    def authorize(self, begun: Answer) -> dict[str, str]:
        """Go on to the platform, and return the form that it would have the browser post."""
        page = BeautifulSoup(self.get(authorization_url(begun)).text, "html.parser")
        form = page.select_one("form[data-auto-submit]")
        assert form is not None, page
        return {str(field["name"]): str(field["value"]) for field in form.select("input")}

    def finish(self, form: Mapping[str, Any] | Iterable[tuple[str, str]], at: str | None = None) -> Answer:
        """Post a form to the launch address."""
        return self._answer(lambda: self.post(f"{at or self.tool.url}/lti/launch", form))

    def visit(self, address: str) -> Answer:
        """Go to an address of the tool, which begins with a slash, by hand or by a link."""
        return self._answer(lambda: self.get(self.tool.url + address))

    def fill_in(self, address: str, fields: Mapping[str, str]) -> Answer:
        """Post a form of one of the tool's pages."""
        return self._answer(lambda: self.post(self.tool.url + address, fields, Origin=self.tool.url))

    def launch(self, login: Mapping[str, str] | None = None, **changes: Any) -> Answer:
        """Open the tool by way of the platform; ``changes`` forge its token."""
        form = self.authorize(self.begin(login or self.platform.login()))
        if changes:
            form["id_token"] = self.platform.token(form["id_token"], **changes)
        return self.finish(form)

    def enter(self, who: str = STUDENT, course: int = BIOLOGY, **changes: Any) -> Inside:
        """Open the tool as somebody, which works."""
        return accepted(self.launch(self.platform.login(who, course), **changes))

    def twin(self) -> Browser:
        """Another window of the same browser, with the same cookies."""
        twin = copy(self)
        twin._http = copy(self._http)
        twin._http.cookies = self._http.cookies.copy()
        return twin

    def _ask(self, method: str, address: str, **content: Any) -> requests.Response:
        request = self._http.prepare_request(requests.Request(method, address, **content))
        # Of itself, `requests` keeps secure cookies from plain localhost.
        request.headers["Cookie"] = get_cookie_header(self._http.cookies, request) or ""
        return self._http.send(request, allow_redirects=False, timeout=20)

    def _answer(self, ask: Callable[[], requests.Response]) -> Answer:
        before = self.tool.launches()
        response = ask()
        return Answer(self, response, self.tool.launches() - before)


@dataclass(frozen=True)
class Answer:
    """What the tool answered, and how many sessions it began thereby."""

    browser: Browser = field(repr=False)
    response: requests.Response
    begun_sessions: int

    @property
    def page(self) -> BeautifulSoup:
        return BeautifulSoup(self.response.text, "html.parser")

    @property
    def location(self) -> str:
        return self.response.headers["Location"]


@dataclass(frozen=True)
class Inside:
    """Somebody inside one launch. Paths are relative to it."""

    browser: Browser
    root: str

    def get(self, path: str) -> requests.Response:
        return self.browser.get(self.root + path, follow=True)

    def page(self, path: str = "/experiences") -> BeautifulSoup:
        response = self.get(path)
        assert response.status_code == 200, response.text
        return BeautifulSoup(response.text, "html.parser")

    def post(self, path: str, **data: Any) -> requests.Response:
        token = self.page().select_one("[name=csrf-token]")
        assert token is not None
        return self.browser.post(self.root + path, {"csrf_token": token["content"], **data})

    def send(self, path: str, **data: Any) -> requests.Response:
        """Post a form of a page, and have it taken."""
        response = self.post(path, **data)
        assert response.status_code in {200, 303}, response.text
        return response

    def write_experience(self) -> int:
        """Write and publish an experience, and return its id."""
        written = self.send("/experiences", **EXPERIENCE)
        experience_id = int(written.headers["Location"].rsplit("/", 1)[1])
        self.send(f"/experiences/{experience_id}/publish")
        return experience_id


def accepted(answer: Answer) -> Inside:
    """Hold an answer to what an accepted launch is, and be in it."""
    assert answer.response.status_code == 303, answer.response.text
    address = urlsplit(answer.location)
    assert address.path.startswith("/launches/"), address
    assert answer.begun_sessions == 1
    first_page = answer.browser.get(f"{answer.browser.tool.url}{answer.location}", follow=True)
    assert first_page.status_code == 200, first_page.text
    return Inside(answer.browser, answer.browser.tool.url + "/".join(address.path.split("/")[:3]))


def refused(answer: Answer, because: str = "", *, status: int | None = None) -> BeautifulSoup:
    """Hold an answer to what the refusal of a login or launch is, and return its page."""
    page = explained(answer, because, {status} if status else REFUSALS)
    assert len(text_of(page, "[data-testid=administrator-message]")) > 20
    return page


def explained(answer: Answer, because: str, statuses: Set[int]) -> BeautifulSoup:
    """Hold an answer to what every refusal is: a sentence, a reference to the reason in the log, and no session."""
    response, page = answer.response, answer.page
    assert response.status_code in statuses, response.text
    assert len(text_of(page, "[data-testid=error-message]")) > 20
    reference = re.search(r"Reference: ([0-9a-f]{8})", text_of(page, ".reference"))
    assert reference is not None
    ((code, reason),) = answer.browser.tool.refusals(reference[1])
    assert because in reason
    assert reason not in {"", code}
    assert "launch=" not in response.headers.get("Set-Cookie", "")
    assert "Location" not in response.headers
    assert answer.begun_sessions == 0
    return page


def eventually(look: Callable[[], _Seen | None]) -> _Seen:
    """Look until there is something to see, as what is owed to platforms is done in the background."""
    until = time.monotonic() + 20
    while not (seen := look()):
        assert time.monotonic() < until, "nothing came of it"
        time.sleep(0.02)
    return seen


def authorization_url(begun: Answer) -> str:
    """Where a login sends the browser, at once or by way of the page that uses the platform's storage."""
    if begun.response.status_code == 302:
        return begun.location
    login = begun.page.select_one("[data-login]")
    assert login is not None, begun.response.text
    return str(login["data-next"])


def asked(begun: Answer) -> dict[str, str]:
    """The parameters of the authorization request."""
    query = parse_qs(urlsplit(authorization_url(begun)).query)
    return {name: value for name, (value,) in query.items()}


def text_of(page: BeautifulSoup, selector: str) -> str:
    found = page.select_one(selector)
    assert found is not None, page
    return " ".join(found.text.split())
