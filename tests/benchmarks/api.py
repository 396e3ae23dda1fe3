"""Lists of the REST API: a course's experiences against the cheapest Flask answer, a large class against a small one.

    python -m tests.benchmarks.api [--rounds 5] [--requests 400] [--connections 4] [--workers 2] [--json]

One teacher's token; 100 experiences in the course; classes of 100 and 10,000 students, of whom three in five have held
two conversations. Each answer is checked for what it must hold.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar
from urllib.parse import urlsplit

import orjson
from sqlalchemy import insert, text
from sqlmodel import Session, SQLModel

from app import serving
from app.api.oauth.models import AccessToken
from app.conversations.models import Conversation, ConversationState
from app.courses.models import Course, Enrollment, Role, User
from app.database import Database, utc_now
from app.experiences.models import Experience, WorkflowState
from app.lti.models import Deployment, Platform, RegistrationSource
from app.secret import hash_of, new_secret
from tests.benchmarks.measure import Contender, Result, compare
from tests.benchmarks.servers import OURS, Postgres, Server, our_environment, postgres, serve
from tests.support.ports import free_port

Row = TypeVar("Row", bound=SQLModel)
BARE = "tests.benchmarks.bare_list:create_app()"
EXPERIENCES = 100
SMALL, LARGE = 100, 10_000
ATTEMPTS = 2
WORDS = "A customer calls about a bill that is forty euros too high, and wants to be heard. " * 4
SCENARIO = {"title": "A wrong bill", "pedagogical_guidance": "Be angry.", "learning_objectives": ["Listen"]}


@dataclass(frozen=True)
class Asked:
    """A request, and how many entries its answer must hold."""

    path: str
    entries: Callable[[object], int]
    expected: int
    token: str = ""


class Load:
    """The same request over and over, on connections that are kept alive."""

    def __init__(self, server: Server, asked: Asked) -> None:
        self._host, self._asked = urlsplit(server.url).netloc, asked

    def run(self, requests: int, connections: int) -> list[float]:
        """Return the seconds that each request took."""
        with ThreadPoolExecutor(connections) as pool:
            shares = pool.map(self._ask, [requests // connections] * connections)
            return [seconds for share in shares for seconds in share]

    def _ask(self, requests: int) -> list[float]:
        connection = HTTPConnection(self._host, timeout=60)
        headers = {"Authorization": f"Bearer {self._asked.token}"}
        taken = []
        for _ in range(requests):
            begun = time.perf_counter()
            connection.request("GET", self._asked.path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            taken.append(time.perf_counter() - begun)
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {body[:500]!r}")
        if self._asked.entries(orjson.loads(body)) != self._asked.expected:
            raise RuntimeError(f"not {self._asked.expected} entries: {body[:500]!r}")
        connection.close()
        return taken


@dataclass(frozen=True)
class Filled:
    """What the database was filled with."""

    token: str
    course_id: int
    experience_ids: Mapping[int, int]


def fill(database: Database, sizes: Sequence[int]) -> Filled:
    """Make a teacher with a token, and a course for each size of class."""
    token = new_secret()
    with database.transaction() as session:
        platform = _add(session, _platform())
        deployment = _add(
            session,
            Deployment(platform_id=platform.id, deployment_id="1", source=RegistrationSource.COMMAND),
        )
        teacher = _add(session, User(platform_id=platform.id, sub="teacher", name="Miriam Okafor"))
        _add(
            session,
            AccessToken(token_hash=hash_of(token), hint="bench", platform_id=platform.id, user_id=teacher.id),
        )
        courses = {
            size: _add(
                session,
                Course(
                    platform_id=platform.id,
                    deployment_id=deployment.id,
                    context_id=str(size),
                    canvas_course_id=str(size),
                ),
            )
            for size in sizes
        }
        session.add_all(
            Enrollment(course_id=course.id, user_id=teacher.id, role=Role.TEACHER)
            for course in courses.values()
        )
        experience_ids = {size: _fill_course(session, course, size) for size, course in courses.items()}
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))
    return Filled(token, courses[sizes[0]].id, experience_ids)


def _platform() -> Platform:
    addresses = dict.fromkeys(
        ("auth_login_url", "auth_token_url", "key_set_url"), "https://canvas.example.edu/"
    )
    return Platform(
        issuer="https://canvas.example.edu", client_id="1", source=RegistrationSource.COMMAND, **addresses
    )


def _fill_course(session: Session, course: Course, students: int) -> int:
    """Return the id of the experience that the class has used."""
    experiences = [
        Experience(
            course_id=course.id,
            title=f"Experience {number}",
            description=WORDS,
            facts=WORDS,
            learning_objectives=["Listen actively", "Solve the problem"],
            pedagogical_guidance=WORDS,
            workflow_state=WorkflowState.PUBLISHED,
            started_at=utc_now(),
        )
        for number in range(EXPERIENCES)
    ]
    session.add_all(experiences)
    session.flush()
    people = [
        User(platform_id=course.platform_id, sub=f"{students}-{n}", name=f"Student {n}")
        for n in range(students)
    ]
    session.add_all(people)
    session.flush()
    _insert(session, [Enrollment(course_id=course.id, user_id=each.id, role=Role.STUDENT) for each in people])
    used = experiences[-1]
    for last in range(ATTEMPTS):
        state = ConversationState.COMPLETED if last else ConversationState.ENDED
        _insert(
            session,
            [
                Conversation(
                    experience_id=used.id,
                    user_id=each.id,
                    scenario=SCENARIO,
                    prompt_version="1",
                    workflow_state=state,
                )
                for number, each in enumerate(people)
                if number % 5 < 3
            ],
        )
    return used.id


def _insert(session: Session, rows: Sequence[SQLModel]) -> None:
    session.execute(insert(type(rows[0])), [row.model_dump(exclude={"id"}) for row in rows])


def _add(session: Session, row: Row) -> Row:
    session.add(row)
    session.flush()
    return row


@contextmanager
def filled_server(
    database: Postgres, folder: Path, workers: int, sizes: Sequence[int]
) -> Iterator[tuple[Server, Filled, str]]:
    """Our application with the courses in it, and the address of its database."""
    port, url = free_port(), database.create("ours")
    tables = Database(url)
    tables.upgrade()
    filled = fill(tables, sizes)
    tables.engine.dispose()
    environment = our_environment(port, folder, url) | {
        "API_TOKEN_REQUESTS_PER_MINUTE": "1000000",
        "API_USER_REQUESTS_PER_MINUTE": "1000000",
    }
    with serve(OURS, port, folder, environment, workers) as server:
        yield server, filled, url


def run(
    *, rounds: int, requests: int, connections: int, workers: int, small: int = SMALL, large: int = LARGE
) -> list[Result]:
    """Start everything, measure, and stop everything."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="benchmark-")))
        ours, filled, url = stack.enter_context(filled_server(database, folder, workers, (small, large)))
        bare = stack.enter_context(serve(BARE, free_port(), folder, {"DATABASE_URL": url}, workers))

        def contender(name: str, server: Server, asked: Asked) -> Contender:
            load = Load(server, asked)
            return Contender(name, server.pid, lambda: load.run(requests, connections))

        def first_page(size: int) -> Asked:
            path = f"/api/v1/courses/{size}/ai_experiences/{filled.experience_ids[size]}/ai_conversations"
            return Asked(path, _conversations, 10, filled.token)

        experiences = f"/api/v1/courses/{small}/ai_experiences?per_page=100"
        much = f"{rounds} rounds of {requests}, {connections} connections, {workers} workers"
        return [
            compare(
                f"100 experiences: {much}",
                (
                    contender("ours", ours, Asked(experiences, len, EXPERIENCES, filled.token)),
                    contender("bare", bare, Asked(f"/experiences/{filled.course_id}", len, EXPERIENCES)),
                ),
                database.pid,
                rounds,
            ),
            compare(
                f"First page of a class: {much}",
                (
                    contender(f"{large:,}", ours, first_page(large)),
                    contender(f"{small:,}", ours, first_page(small)),
                ),
                database.pid,
                rounds,
            ),
        ]


def _conversations(answer: object) -> int:
    assert isinstance(answer, dict)
    return len(answer["conversations"])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Lists of the REST API.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=400, help="of each contender in each round")
    parser.add_argument("--connections", type=int, default=4, help="at once")
    parser.add_argument("--workers", type=int, default=serving.workers)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = vars(parser.parse_args(arguments))
    as_json = options.pop("json")
    for result in run(**options):
        print(result.as_json() if as_json else result.as_text())


if __name__ == "__main__":
    main()
