"""Many chats at once with a model that emits 60 tokens at 50 ms, of our application and of a bare asyncio proxy.

    python -m tests.benchmarks.chats [--chats 200] [--rounds 3] [--turns 2] [--workers 2] [--json]

Every chat is a student's own conversation in a launch of their own; chats begin spread over the time of one reply, and
a chat's next message follows when its reply is whole. All objectives are met, so that nothing is judged: a judgement is
a second call to the model, which the proxy knows nothing of. The model runs in a process of its own and marks its first
and its last token with their times, so that what it takes itself is in no figure. Afterwards every turn must be stored.
"""

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import func, make_url
from sqlmodel import Session, SQLModel, col, select

from app import serving
from app.conversations.models import Conversation, Message, MessageState
from app.conversations.prompt import PROMPT_VERSION, pin
from app.courses.models import Course, Enrollment, Role, User
from app.database import Database
from app.experiences.models import Experience, WorkflowState
from app.llm.interface import Speaker
from app.lti.models import Deployment, Launch, Platform, RegistrationSource
from app.lti.sessions import csrf_token_of
from app.secret import hash_of, new_secret
from tests.benchmarks.measure import THROUGHPUT, Contender, Metric, Result, compare, percentile
from tests.benchmarks.servers import OURS, Postgres, Server, our_environment, postgres, run_server, serve
from tests.support.ports import free_port

Row = TypeVar("Row", bound=SQLModel)
TOKENS, BETWEEN = 60, 0.05
REPLY_SECONDS = TOKENS * BETWEEN
LONGEST_SECONDS = 90.0
GUIDANCE = (
    "You are an angry customer whose bill is forty euros too high. Calm down when you get an apology. " * 5
)
FIRST = re.compile(rb"@([\d.]+):([\d.]+)@")
LAST = re.compile(rb"~([\d.]+)~")


@dataclass(frozen=True)
class Door:
    """Where a chat's messages are posted, and what makes the server believe who posts."""

    path: str
    csrf: str = ""


@dataclass(frozen=True)
class Turn:
    """One reply. ``waited`` is the seconds to its first token over the model's own, ``first`` with them; ``stretch`` is
    the time from its first to its last token over the model's.
    """

    waited: float
    first: float
    stretch: float


class Reading(asyncio.Protocol):
    """A message that is sent, and its reply as it arrives."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.received = bytearray()
        self.first = self.last = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.sent = time.monotonic()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if b"event: text" in data:
            self.last = time.monotonic()
            self.first = self.first or self.last
        if b"event: done" in self.received[-len(data) - 16 :] and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"cut off ({error}): {bytes(self.received[-500:])!r}"))

    def turn(self) -> Turn:
        """Hold what was seen against what the model says of itself. Raises for a reply that is not whole."""
        begun, ended = FIRST.search(self.received), LAST.search(self.received)
        if begun is None or ended is None:
            raise RuntimeError(f"no whole reply: {bytes(self.received[-500:])!r}")
        came, went = float(begun[1]), float(begun[2])
        first = self.first - self.sent
        return Turn(first - (went - came), first, (self.last - self.first) / (float(ended[1]) - went))


class Load:
    """Chats of one server, all at once."""

    def __init__(self, server: Server, doors: Sequence[Door], turns: int) -> None:
        parts = urlsplit(server.url)
        self._host, self._port, self._doors, self._turns = parts.hostname, parts.port, doors, turns

    def drive(self) -> list[Turn]:
        # In a thread of its own: the browser tests before this keep a loop running in the main one.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: asyncio.run(self._drive())).result()

    async def _drive(self) -> list[Turn]:
        pause = REPLY_SECONDS / len(self._doors)
        chats = [self._chat(door, number * pause) for number, door in enumerate(self._doors)]
        return [turn for turns in await asyncio.gather(*chats) for turn in turns]

    async def _chat(self, door: Door, pause: float) -> list[Turn]:
        await asyncio.sleep(pause)
        return [await self._send(door) for _ in range(self._turns)]

    async def _send(self, door: Door) -> Turn:
        loop = asyncio.get_running_loop()
        request = _request(self._host, door)
        _, reading = await loop.create_connection(lambda: Reading(request), self._host, self._port)
        await asyncio.wait_for(reading.done, LONGEST_SECONDS)
        reading.transport.close()
        return reading.turn()


def _request(host: str | None, door: Door) -> bytes:
    form = {"message": "I-am-sorry-to-hear-that.", "client_key": uuid4().hex}
    body = urlencode(form).encode()
    head = (
        f"POST {door.path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nX-CSRFToken: {door.csrf}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def fill(database: Database, chats: int, secret_key: str) -> tuple[list[Door], list[Door]]:
    """Make a course whose students have each begun a conversation; return our doors and the proxy's."""
    with database.transaction() as session:
        experience, students = _class(session, chats)
        doors = [_begin(session, experience, student, secret_key) for student in students]
    return [ours for ours, _ in doors], [bare for _, bare in doors]


def _class(session: Session, chats: int) -> tuple[Experience, list[User]]:
    address = "https://canvas.example.edu"
    addresses = dict.fromkeys(("auth_login_url", "auth_token_url", "key_set_url"), address)
    registered = {"client_id": "1", "source": RegistrationSource.COMMAND}
    platform = _add(session, Platform(issuer=address, **registered, **addresses))
    home = {"platform_id": platform.id}
    deployment = _add(session, Deployment(deployment_id="1", source=RegistrationSource.COMMAND, **home))
    course = _add(session, Course(deployment_id=deployment.id, context_id="1", **home))
    experience = _add(
        session,
        Experience(
            course_id=course.id,
            title="A wrong bill",
            pedagogical_guidance=GUIDANCE,
            facts=GUIDANCE,
            learning_objectives=["Stay friendly", "Solve the problem"],
            workflow_state=WorkflowState.PUBLISHED,
        ),
    )
    students = [User(sub=str(number), name=f"Student {number}", **home) for number in range(chats)]
    session.add_all(students)
    session.flush()
    session.add_all(Enrollment(course_id=course.id, user_id=each.id, role=Role.STUDENT) for each in students)
    return experience, students


def _begin(session: Session, experience: Experience, student: User, secret_key: str) -> tuple[Door, Door]:
    """Open a student's launch and two conversations, one for each server: a trial beside the real one."""
    key = new_secret()
    launch = _add(
        session,
        Launch(
            id=uuid4().hex,
            platform_id=student.platform_id,
            deployment_id=1,
            user_id=student.id,
            course_id=experience.course_id,
            key_hash=hash_of(key),
        ),
    )
    bare, ours = (_conversation(session, experience, student, is_preview) for is_preview in (True, False))
    root = f"{launch.id}~{key}"
    session_token = csrf_token_of(secret_key, root)
    csrf = URLSafeTimedSerializer(secret_key, salt="wtf-csrf-token").dumps(session_token)
    return Door(f"/launches/{root}/conversations/{ours}/messages", str(csrf)), Door(f"/chats/{bare}")


def _conversation(session: Session, experience: Experience, student: User, is_preview: bool) -> int:
    conversation = _add(
        session,
        Conversation(
            experience_id=experience.id,
            user_id=student.id,
            is_preview=is_preview,
            scenario=pin(experience),
            prompt_version=PROMPT_VERSION,
            all_objectives_met=True,
        ),
    )
    opening = Message(conversation_id=conversation.id, speaker=Speaker.PERSONA, text="My bill is wrong!")
    session.add(opening)
    return conversation.id


def _add(session: Session, row: Row) -> Row:
    session.add(row)
    session.flush()
    return row


METRICS: dict[str, Metric] = THROUGHPUT | {
    "first token, ms over the model's, median": lambda s: median(each.waited for each in s.work) * 1000,
    "first token, 95th percentile": lambda s: percentile(each.waited for each in s.work) * 1000,
    "the same, with the model's own": lambda s: percentile(each.first for each in s.work) * 1000,
    "stretch of the stream, median": lambda s: median(each.stretch for each in s.work),
    "stretch, 95th percentile": lambda s: percentile(each.stretch for each in s.work),
    "MB of memory": lambda s: s.memory / 1e6,
}


@contextmanager
def model_server(folder: Path) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.paced_model", str(port), str(TOKENS), str(BETWEEN)]
    with run_server(command, port, folder, {}) as server:
        yield server


@contextmanager
def servers(
    database: Postgres, folder: Path, chats: int, workers: int
) -> Iterator[tuple[tuple[Server, list[Door]], tuple[Server, list[Door]], Database]]:
    """Our application and the proxy, each with its doors, and the database of both."""
    url, ports = database.create("chats"), (free_port(), free_port())
    tables = Database(url)
    tables.upgrade()
    with ExitStack() as stack:
        stack.callback(tables.engine.dispose)
        model = stack.enter_context(model_server(folder))
        environment = our_environment(ports[0], folder, url) | {
            "LLM_PROVIDER": "openai",
            "LLM_BASE_URL": f"{model.url}/v1",
            "LLM_MODEL": "paced",
            "MESSAGES_PER_MINUTE": "1000",
        }
        doors = fill(tables, chats, environment["SECRET_KEY"])
        ours = stack.enter_context(serve(OURS, ports[0], folder, environment, workers))
        plain_url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        bare = stack.enter_context(
            run_server(
                _uvicorn(ports[1], workers),
                ports[1],
                folder,
                {"PLAIN_DATABASE_URL": plain_url, "LLM_BASE_URL": f"{model.url}/v1"},
            )
        )
        yield (ours, doors[0]), (bare, doors[1]), tables


def _uvicorn(port: int, workers: int) -> list[str]:
    options = ["--port", str(port), "--workers", str(workers), "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", "tests.benchmarks.bare_chat:app", *options]


def run(*, chats: int, rounds: int, turns: int, workers: int) -> Result:
    """Start everything, measure, check that every turn is stored, and stop everything."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres())
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="benchmark-")))
        ours, bare, tables = stack.enter_context(servers(database, folder, chats, workers))
        contenders = tuple(
            Contender(name, server.pid, Load(server, doors, turns).drive)
            for name, (server, doors) in (("ours", ours), ("proxy", bare))
        )
        title = f"{chats} chats at once, {rounds} rounds of {turns} turns each, {workers} workers"
        result = compare(title, contenders, database.pid, rounds, METRICS)
        _check_stored(tables, 2 * chats * turns * (rounds + 1))
        return result


def _check_stored(tables: Database, turns: int) -> None:
    """Raise unless every reply that was driven is in the database, whole."""
    whole = (
        select(func.count())
        .select_from(Message)
        .where(
            Message.speaker == Speaker.PERSONA,
            Message.state == MessageState.COMPLETE,
            col(Message.text).contains("~"),
        )
    )
    with tables.snapshot() as session:
        stored = session.exec(whole).one()
    if stored != turns:
        raise RuntimeError(f"{stored} of {turns} replies are stored")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Many chats at once.")
    parser.add_argument("--chats", type=int, default=200, help="at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=2, help="of each chat in each round")
    parser.add_argument("--workers", type=int, default=serving.workers)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = vars(parser.parse_args(arguments))
    as_json = options.pop("json")
    result = run(**options)
    print(result.as_json() if as_json else result.as_text())


if __name__ == "__main__":
    main()
