"""Full launches, login to first page, of our application and of a bare pylti1p3next tool.

    python -m tests.benchmarks.launches [--rounds 5] [--launches 500] [--browsers 8] [--workers 2] [--storage] [--json]

One course, 500 students and some teachers; state and people in PostgreSQL; the platform is the sandbox, whose key signs
each token here in the driver. With ``--storage`` the platform offers its storage, as Canvas does: our login
then answers with a page that asks once whether its cookie was kept. The bare tool has nothing of the kind.
"""

import argparse
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from html import unescape
from http.client import HTTPConnection, HTTPResponse
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt

from app import serving
from app.sandbox import Sandbox, SandboxConfig, make_sandbox_server, registration
from app.sandbox.claims import Launch
from app.sandbox.people import Person
from tests.benchmarks.bare_tool import create_tables
from tests.benchmarks.measure import Contender, Result, compare
from tests.benchmarks.servers import OURS, Postgres, Server, ai_experiences, our_environment, postgres, serve
from tests.support.people import BIOLOGY
from tests.support.ports import free_port

BARE = "tests.benchmarks.bare_tool:create_app()"
ROLES = "https://purl.imsglobal.org/spec/lti/claim/roles"
STUDENTS = 500
TEACHERS = 5
_DATA = re.compile(r'data-([a-z-]+)="([^"]*)"')


@dataclass(frozen=True)
class Visitor:
    """Somebody who launches: the login that Canvas posts for them, and the claims of their token but its nonce."""

    login: Mapping[str, str]
    claims: Mapping[str, Any]


class Browser:
    """A kept-alive connection to one server, with the cookies of one launch."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._cookies: list[tuple[str, str]] = []

    def forget(self) -> None:
        """Be another person's browser."""
        self._cookies.clear()

    def open(self, path: str, form: Mapping[str, str] | None = None) -> tuple[HTTPResponse, bytes]:
        headers = {"Cookie": "; ".join(cookie for at, cookie in self._cookies if path.startswith(at))}
        if form is None:
            self._connection.request("GET", path, headers=headers)
        else:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            self._connection.request("POST", path, urlencode(form), headers)
        response = self._connection.getresponse()
        body = response.read()
        self._cookies += map(_cookie, response.headers.get_all("Set-Cookie", ()))
        return response, body

    def close(self) -> None:
        self._connection.close()


class Load:
    """Launches of one server by many people at once. Any that does not end on the first page ends the benchmark."""

    def __init__(self, url: str, sandbox: Sandbox, first_page_shows: str, *, storage: bool = False) -> None:
        self._url, self._shows = url, first_page_shows.encode()
        self._key, self._headers = sandbox.keys.current, {"kid": sandbox.keys.kid}
        self._visitors = cycle(visitors(sandbox, f"{url}/lti/launch", storage=storage))

    def run(self, launches: int, browsers: int) -> list[float]:
        """Return the seconds that each launch took."""
        with ThreadPoolExecutor(browsers) as pool:
            shares = pool.map(self._browse, [launches // browsers] * browsers)
            return [seconds for share in shares for seconds in share]

    def _browse(self, launches: int) -> list[float]:
        browser = Browser(self._url)
        taken = []
        for _ in range(launches):
            begun = time.perf_counter()
            self.launch(browser, next(self._visitors))
            taken.append(time.perf_counter() - begun)
        browser.close()
        return taken

    def launch(self, browser: Browser, visitor: Visitor) -> None:
        browser.forget()
        asked = parse_qs(urlsplit(self._log_in(browser, visitor)).query)
        now = int(time.time())
        claims = {**visitor.claims, "nonce": asked["nonce"][0], "iat": now, "exp": now + 3600}
        token = jwt.encode(claims, self._key, algorithm="RS256", headers=self._headers)
        response, page = browser.open("/lti/launch", {"id_token": token, "state": asked["state"][0]})
        while response.status in {302, 303}:
            target = urlsplit(response.headers["Location"])
            response, page = browser.open(f"{target.path}?{target.query}" if target.query else target.path)
        if response.status != 200 or self._shows not in page:
            raise RuntimeError(f"no first page but {response.status}: {page[:2000]!r}")

    def _log_in(self, browser: Browser, visitor: Visitor) -> str:
        """Return the platform's address that the login leads to, by redirect or by a page's script."""
        response, page = browser.open("/lti/login", visitor.login)
        if response.status == 302:
            return str(response.headers["Location"])
        data = {name: unescape(value) for name, value in _DATA.findall(page.decode())}
        browser.open(data["cookie-check"])
        return data["next"]


def visitors(sandbox: Sandbox, target: str, *, storage: bool) -> list[Visitor]:
    """Return a course full of people, a teacher first and the others among the students."""
    teacher, student = sandbox.person("miriam.okafor"), sandbox.person("amara.diallo")
    every = STUDENTS // TEACHERS
    return [
        _visitor(sandbox, target, teacher if number % every == 0 else student, number, storage=storage)
        for number in range(STUDENTS + TEACHERS)
    ]


def _visitor(sandbox: Sandbox, target: str, like: Person, number: int, *, storage: bool) -> Visitor:
    person = replace(like, canvas_id=10_000 + number, login=f"person.{number}", given_name=f"Person {number}")
    course = sandbox.course(BIOLOGY)
    claims = sandbox.launch_claims(person, course, nonce="", target_link_uri=target)
    claims[ROLES] = sandbox.launch_claims(like, course, nonce="")[ROLES]
    login = sandbox.login_parameters(Launch(person, course, target))
    if not storage:
        del login["lti_storage_target"]
    return Visitor(login, claims)


def _cookie(header: str) -> tuple[str, str]:
    """Return a cookie's path and ``name=value``."""
    cookie, *attributes = header.split(";")
    named = dict(part.strip().partition("=")[::2] for part in attributes)
    return named.get("Path", "/"), cookie


@contextmanager
def platform(folder: Path) -> Iterator[Sandbox]:
    """A platform that serves its keys."""
    server = make_sandbox_server(SandboxConfig(url=f"http://127.0.0.1:{free_port()}", state_dir=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.app.extensions["sandbox"]
    server.shutdown()
    server.server_close()


@contextmanager
def our_tool(
    sandbox: Sandbox, database: Postgres, folder: Path, *, workers: int, storage: bool
) -> Iterator[tuple[Server, Load]]:
    """Our application with one platform, and a course whose teacher has written experiences."""
    port, entry = free_port(), registration(sandbox.config)
    environment = our_environment(port, folder, database.create("ours"))
    options = ("issuer", "client_id", "auth_login_url", "auth_token_url", "key_set_url")
    named = [part for name in options for part in (f"--{name.replace('_', '-')}", entry[name])]
    ai_experiences(folder, environment, "db", "upgrade")
    ai_experiences(
        folder, environment, "platform", "add", *named, "--deployment-id", entry["deployment_ids"][0]
    )
    with serve(OURS, port, folder, environment, workers) as server:
        Load(server.url, sandbox, "").run(1, 1)
        ai_experiences(
            folder, environment, "seed", "--issuer", sandbox.config.issuer, "--course", str(BIOLOGY)
        )
        yield server, Load(server.url, sandbox, 'data-testid="experience"', storage=storage)


@contextmanager
def bare_tool(
    sandbox: Sandbox, database: Postgres, folder: Path, *, workers: int, storage: bool
) -> Iterator[tuple[Server, Load]]:
    """The bare tool with the same platform."""
    entry = registration(sandbox.config)
    config = {entry["issuer"]: [{**entry, "key_set": sandbox.keys.key_set()}]}
    (folder / "platform.json").write_text(json.dumps(config))
    environment = {"DATABASE_URL": database.create("bare"), "PLATFORM": str(folder / "platform.json")}
    create_tables(environment["DATABASE_URL"])
    with serve(BARE, free_port(), folder, environment, workers) as server:
        yield server, Load(server.url, sandbox, sandbox.course(BIOLOGY).title, storage=storage)


def run(*, rounds: int, launches: int, browsers: int, workers: int, storage: bool = False) -> Result:
    """Start everything, measure, and stop everything."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())

        def folder() -> Path:
            return Path(stack.enter_context(TemporaryDirectory(prefix="benchmark-")))

        sandbox = stack.enter_context(platform(folder()))
        ours, our_load = stack.enter_context(
            our_tool(sandbox, database, folder(), workers=workers, storage=storage)
        )
        bare, bare_load = stack.enter_context(
            bare_tool(sandbox, database, folder(), workers=workers, storage=storage)
        )
        return compare(
            f"Full launches: {rounds} rounds of {launches}, {browsers} browsers at once, {workers} workers",
            (
                Contender("ours", ours.pid, lambda: our_load.run(launches, browsers)),
                Contender("bare", bare.pid, lambda: bare_load.run(launches, browsers)),
            ),
            database.pid,
            rounds,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Full launches of our application and of a bare tool.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--launches", type=int, default=500, help="of each contender in each round")
    parser.add_argument("--browsers", type=int, default=8, help="at once")
    parser.add_argument("--workers", type=int, default=serving.workers)
    parser.add_argument("--storage", action="store_true", help="let the platform offer its storage")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = vars(parser.parse_args(arguments))
    as_json = options.pop("json")
    result = run(**options)
    print(result.as_json() if as_json else result.as_text())


if __name__ == "__main__":
    main()
